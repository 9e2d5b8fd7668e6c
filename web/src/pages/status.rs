//! `/`: one sentence, then what is broken, by how much it broke; trunks, workers in trouble, one strip a builder.

use askama::Template;
use serde::Serialize;

use super::waterfall::Culprit;
use super::{BuildMark, BuilderLine, ChangeLine, Frame, Page};
use crate::format::status_style::StatusStyle;
use crate::format::units::Moment;

#[derive(Debug, Clone, Serialize)]
pub struct StatusView {
    pub sentence: String,
    /// Widest blast first.
    pub culprits: Vec<Culprit>,
    /// Breakages without a culprit yet, each a sentence.
    pub searches: Vec<OpenSearch>,
    pub trunks: Vec<TrunkLine>,
    /// Canaries that say that the farm cannot see, each a sentence.
    pub blind: Vec<String>,
    /// Toolchains that the farm failed to build by its own trouble, each a sentence.
    pub unbuilt: Vec<String>,
    /// Workers that somebody should look after.
    pub workers: Vec<String>,
    /// Projects whose repository does not show what they follow.
    pub projects: Vec<String>,
    pub strips: Vec<RecentBuilds>,
}

#[derive(Debug, Clone, Serialize)]
pub struct OpenSearch {
    pub breakage: i64,
    pub status_style: StatusStyle,
    pub said: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct TrunkLine {
    pub trunk: String,
    pub branch: String,
    pub tip: Option<ChangeLine>,
    /// Why its remote cannot be asked, and since when.
    pub trouble: Option<String>,
    pub polled_at: Option<Moment>,
}

/// The last builds of a builder, oldest first.
#[derive(Debug, Clone, Serialize)]
pub struct RecentBuilds {
    pub builder: BuilderLine,
    pub marks: Vec<BuildMark>,
}

#[derive(Template)]
#[template(path = "status.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a StatusView,
}

impl Page for StatusView {
    const HERE: &'static str = "/";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
