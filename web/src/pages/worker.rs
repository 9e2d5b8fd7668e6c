//! `/workers/NAME`: one volunteer's machine, for its owner above all: what it is, what it does, why it does nothing, and what
//! it found.

use askama::Template;
use serde::Serialize;

use super::workers::WorkerLine;
use super::{BuildMark, Frame, Page, short};
use crate::format::units::{Moment, Span};

#[derive(Debug, Clone, Serialize)]
pub struct WorkerView {
    /// As the list of workers has it.
    #[serde(flatten)]
    pub line: WorkerLine,
    /// Why it has nothing to do; none while it works.
    pub idle: Option<String>,
    /// What its owner allows, where that is not everything.
    pub terms: Option<String>,
    /// `busy for 3 h 4 min of the last 24 h`
    pub load: String,
    /// `Of its last 40 attempts, 38 gave a build its outcome.`
    pub agreement: String,
    /// Newest last.
    pub recent_builds: Vec<BuildMark>,
    /// Newest first.
    pub culprits: Vec<FoundCulprit>,
    /// How long it was busy in the last day.
    pub busy_ms: Span,
}

/// A culprit that a search found which began on this worker.
#[derive(Debug, Clone, Serialize)]
pub struct FoundCulprit {
    pub breakage: i64,
    pub sha: String,
    pub title: String,
    /// The project, or `toolchain`.
    pub broke: String,
    pub found_at: Moment,
}

impl FoundCulprit {
    pub fn short(&self) -> &str {
        short(&self.sha)
    }
}

#[derive(Template)]
#[template(path = "worker.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a WorkerView,
}

impl Page for WorkerView {
    const HERE: &'static str = "/workers";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
