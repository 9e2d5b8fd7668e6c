//! `/builds/N`: the inputs, the steps and the results, compared with the build before.

use askama::Template;
use serde::Serialize;

use super::log::LogLine;
use super::{BuilderLine, ChangeLine, Frame, MarkLine, Page};
use crate::format::status_style::StatusStyle;
use crate::format::units::{ByteCount, Moment, Span};

#[derive(Debug, Clone, Serialize)]
pub struct BuildView {
    pub id: i64,
    pub status_style: StatusStyle,
    /// `sandbox at Lua 5.2.4 failed in test (exit): 3 new`
    pub sentence: String,
    pub builder: BuilderLine,
    pub change: ChangeLine,
    pub reason: String,
    pub state: String,
    pub outcome: Option<String>,
    pub cause: Option<String>,
    pub revision: Option<String>,
    pub artifact: Option<String>,
    /// What recipes see on its worker that they did not see when the worker last ran this builder.
    pub environment: Option<EnvironmentLine>,
    pub inputs: Option<String>,
    pub queued_at: Moment,
    pub finished_at: Option<Moment>,
    /// The build whose verdicts stand for this one's, since their inputs are equal.
    pub same_as: Option<i64>,
    pub breakage: Option<i64>,
    pub older: Option<i64>,
    pub newer: Option<i64>,
    pub counts: Option<CaseCounts>,
    pub attempts: Vec<AttemptLine>,
    /// The cases that differ from the history build before, worst first; then those that failed there as well.
    pub cases: Vec<CaseLine>,
    /// How many more differ than `cases` shows.
    pub more_cases: usize,
    /// The end of the log that readers look for: that of the failed step, or of the running one.
    pub tail: Option<LogTail>,
}

#[derive(Debug, Clone, Serialize)]
pub struct EnvironmentLine {
    /// The last run before.
    pub since: i64,
    pub differences: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct CaseCounts {
    pub passed: i64,
    pub failed: i64,
    pub skipped: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct AttemptLine {
    pub number: i64,
    pub worker: String,
    pub state: String,
    /// Why it failed although the build is not to blame.
    pub failure: Option<String>,
    /// How far it has fetched what it needs; none once its first step has started.
    pub progress: Option<String>,
    /// Its outcome, if it was reported too late to be the build's.
    pub late_outcome: Option<String>,
    pub started_at: Option<Moment>,
    pub duration_ms: Option<Span>,
    pub steps: Vec<StepLine>,
}

#[derive(Debug, Clone, Serialize)]
pub struct StepLine {
    pub position: i64,
    pub name: String,
    pub kind: String,
    pub status_style: StatusStyle,
    /// `ok`, `exit 2`, `killed by signal 11`, `silent for too long`, `running`
    pub result: String,
    pub duration_ms: Option<Span>,
    pub log_lines: u64,
    pub log_bytes: ByteCount,
    pub warnings: Vec<String>,
    /// Whether this is the attempt whose logs the pages show.
    pub has_log: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct CaseLine {
    pub name: String,
    pub was: Option<String>,
    pub became: String,
    /// How it differs from the build before: `new-failure`, `lost-by-skip`.
    pub transition: Option<String>,
    /// The same in words.
    pub label: String,
    pub status_style: StatusStyle,
    /// What a human expects of it.
    pub mark: Option<MarkLine>,
    /// Its failure message, bounded.
    pub message: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct LogTail {
    pub position: i64,
    pub step: String,
    pub lines: Vec<LogLine>,
    /// The byte from which the live stream continues; none if the step has ended.
    pub follow_from: Option<u64>,
}

#[derive(Template)]
#[template(path = "build.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a BuildView,
}

impl Page for BuildView {
    const HERE: &'static str = "";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }

    fn live(&self) -> String {
        format!("build {}", self.id)
    }
}
