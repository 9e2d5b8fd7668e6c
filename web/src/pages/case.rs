//! `/cases/BUILDER?name=NAME`: the history of one case on one builder.

use askama::Template;
use serde::Serialize;

use super::{BuildMark, BuilderLine, ChangeLine, Frame, Page};
use crate::format::status_style::StatusStyle;

#[derive(Debug, Clone, Serialize)]
pub struct CaseView {
    pub name: String,
    pub builder: BuilderLine,
    /// Its verdict in the newest build; none if that build does not have the case.
    pub now: Option<String>,
    pub status_style: StatusStyle,
    pub sentence: String,
    /// How often it failed although no breakage explains it, as a sentence.
    pub noise: Option<String>,
    /// The newest history builds, oldest first.
    pub recent_builds: Vec<BuildMark>,
    /// Where its verdict changed, newest first.
    pub transitions: Vec<TransitionLine>,
    /// Whether there are older ones.
    pub more_transitions: bool,
    pub breakages: Vec<i64>,
}

/// A build in which the verdict differs from that of the build before.
#[derive(Debug, Clone, Serialize)]
pub struct TransitionLine {
    pub build: i64,
    pub change: ChangeLine,
    pub was: Option<String>,
    pub became: String,
    pub status_style: StatusStyle,
    /// Its failure message, bounded.
    pub message: Option<String>,
}

#[derive(Template)]
#[template(path = "case.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a CaseView,
}

impl Page for CaseView {
    const HERE: &'static str = "";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
