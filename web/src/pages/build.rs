//! `/builds/N`: what went in, what was done, what came out, compared with the build before.

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
    /// `sandbox at Lua 5.2.4 failed: 7 cases went bad`
    pub sentence: String,
    pub builder: BuilderLine,
    pub change: ChangeLine,
    pub reason: String,
    pub state: String,
    pub outcome: Option<String>,
    pub cause: Option<String>,
    pub revision: Option<String>,
    pub artifact: Option<String>,
    /// What its worker's recipes see that they did not see when it last ran this builder.
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
    /// What differs from the cover build before, worst first; then what is bad as it was there.
    pub cases: Vec<CaseLine>,
    /// How many more differ than `cases` shows.
    pub more_cases: usize,
    /// The end of the log that a reader came for: the failed step's, or the running one's.
    pub tail: Option<LogTail>,
}

#[derive(Debug, Clone, Serialize)]
pub struct EnvironmentLine {
    /// The last run before.
    pub since: i64,
    pub differs: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct CaseCounts {
    pub passes: i64,
    pub bads: i64,
    pub skips: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct AttemptLine {
    pub number: i64,
    pub worker: String,
    pub state: String,
    pub trouble: Option<String>,
    /// What it came to, told too late to be the build's outcome.
    pub late: Option<String>,
    pub started_at: Option<Moment>,
    pub took: Option<Span>,
    pub steps: Vec<StepLine>,
}

#[derive(Debug, Clone, Serialize)]
pub struct StepLine {
    pub position: i64,
    pub name: String,
    pub kind: String,
    pub status_style: StatusStyle,
    /// `ok`, `exit 2`, `signal 11`, `said nothing for too long`, `running`
    pub ended: String,
    pub took: Option<Span>,
    pub log_lines: i64,
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
    /// What became of it since the build before, in one word: `new-failure`, `lost-by-skip`.
    pub transition: Option<String>,
    /// The same, as the page says it.
    pub said: String,
    pub status_style: StatusStyle,
    /// What a human says of it.
    pub mark: Option<MarkLine>,
    /// What it said, bounded.
    pub text: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct LogTail {
    pub position: i64,
    pub step: String,
    pub lines: Vec<LogLine>,
    /// Where the live stream goes on; none when the step has ended.
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
