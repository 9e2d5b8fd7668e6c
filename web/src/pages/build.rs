//! `/builds/N`: what went in, what was done, what came out, compared with the build before.

use askama::Template;
use serde::Serialize;

use super::log::Line;
use super::{BuilderLine, ChangeLine, Frame, MarkLine, Page};
use crate::format::shade::Shade;
use crate::format::units::{At, Bytes, Span};

#[derive(Debug, Clone, Serialize)]
pub struct Build {
    pub id: i64,
    pub shade: Shade,
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
    pub environment: Option<Environment>,
    pub inputs: Option<String>,
    pub queued_at: At,
    pub finished_at: Option<At>,
    /// The build whose verdicts stand for this one's, since their inputs are equal.
    pub same_as: Option<i64>,
    pub breakage: Option<i64>,
    pub older: Option<i64>,
    pub newer: Option<i64>,
    pub counts: Option<Counts>,
    pub attempts: Vec<Attempt>,
    /// What differs from the cover build before, worst first; then what is bad as it was there.
    pub cases: Vec<Case>,
    /// How many more differ than `cases` shows.
    pub more_cases: usize,
    /// The end of the log that a reader came for: the failed step's, or the running one's.
    pub tail: Option<Tail>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Environment {
    /// The last run before.
    pub since: i64,
    pub differs: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Counts {
    pub passes: i64,
    pub bads: i64,
    pub skips: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    pub number: i64,
    pub worker: String,
    pub state: String,
    pub trouble: Option<String>,
    /// What it came to, told too late to be the build's outcome.
    pub late: Option<String>,
    pub started_at: Option<At>,
    pub took: Option<Span>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Step {
    pub position: i64,
    pub name: String,
    pub kind: String,
    pub shade: Shade,
    /// `ok`, `exit 2`, `signal 11`, `said nothing for too long`, `running`
    pub ended: String,
    pub took: Option<Span>,
    pub log_lines: i64,
    pub log_bytes: Bytes,
    pub warnings: Vec<String>,
    /// Whether this is the attempt whose logs the pages show.
    pub has_log: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct Case {
    pub name: String,
    pub was: Option<String>,
    pub became: String,
    /// What became of it since the build before, in one word: `new-failure`, `lost-by-skip`.
    pub transition: Option<String>,
    /// The same, as the page says it.
    pub said: String,
    pub shade: Shade,
    /// What a human says of it.
    pub mark: Option<MarkLine>,
    /// What it said, bounded.
    pub text: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Tail {
    pub position: i64,
    pub step: String,
    pub lines: Vec<Line>,
    /// Where the live stream goes on; none when the step has ended.
    pub follow_from: Option<u64>,
}

#[derive(Template)]
#[template(path = "build.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a Build,
}

impl Page for Build {
    const HERE: &'static str = "";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }

    fn live(&self) -> String {
        format!("build {}", self.id)
    }
}
