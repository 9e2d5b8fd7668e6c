//! `/`: one sentence, then what is broken; problems of trunks, workers and projects; the last builds of each builder.

use askama::Template;
use serde::Serialize;

use super::waterfall::Culprit;
use super::{BuildMark, BuilderLine, ChangeLine, Frame, MarkLine, NewFailureLine, Page, SwitchLine};
use crate::format::status_style::StatusStyle;
use crate::format::units::Moment;

#[derive(Debug, Clone, Serialize)]
pub struct StatusView {
    pub sentence: String,
    /// Newest first.
    pub culprits: Vec<Culprit>,
    /// Breakages without a culprit yet.
    pub searches: Vec<OpenSearch>,
    pub trunks: Vec<TrunkLine>,
    /// Canaries that do not have the outcome that they must have, each a sentence.
    pub failing_canaries: Vec<String>,
    /// Toolchains that are missing because of infra failures, each a sentence.
    pub missing_toolchains: Vec<String>,
    /// Workers that need attention, each a sentence.
    pub worker_problems: Vec<String>,
    /// Projects whose repository cannot be polled, or lacks the branch that they follow, each a sentence.
    pub project_problems: Vec<String>,
    /// Projects that have never had a passing case, whose results were never read, or that never could be run.
    pub never_worked: Vec<NeverWorked>,
    /// Cases that are new and fail from their first run on; they accuse no change.
    pub new_failures: Vec<NewFailureLine>,
    /// The last changes of toolchain inputs, and what differs there.
    pub toolchain_inputs: Vec<SwitchLine>,
    pub recent_builds: Vec<RecentBuilds>,
}

/// A project that has never worked.
#[derive(Debug, Clone, Serialize)]
pub struct NeverWorked {
    pub project: String,
    /// Its newest build.
    pub build: i64,
    /// Why, and since when.
    pub sentence: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct OpenSearch {
    pub breakage: i64,
    pub status_style: StatusStyle,
    pub sentence: String,
    /// The marks in force that speak for its cases.
    pub marks: Vec<MarkLine>,
}

#[derive(Debug, Clone, Serialize)]
pub struct TrunkLine {
    pub trunk: String,
    pub branch: String,
    pub tip: Option<ChangeLine>,
    /// Why its remote cannot be polled, and since when.
    pub problem: Option<String>,
    /// How far the fetch is that is under way: `fetching lua: 61 MB, 4,211 of 9,000 objects`.
    pub progress: Option<String>,
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
