//! `/builds/N/log/STEP`: a window of a step's log, each line with a link of its own.

use askama::Template;
use serde::Serialize;

use super::{Frame, Page};
use crate::format::log_text::StyledText;
use crate::format::status_style::StatusStyle;
use crate::format::units::ByteCount;

#[derive(Debug, Clone, Serialize)]
pub struct LogView {
    pub build: i64,
    pub position: i64,
    pub step: String,
    pub status_style: StatusStyle,
    pub ended: String,
    pub bytes: ByteCount,
    /// How many lines the log has.
    pub count: u64,
    pub lines: Vec<LogLine>,
    /// Why there is no log to be seen although the step printed one.
    pub gone: Option<String>,
    /// What was left out of the middle because the log was too long.
    pub cut: Option<ByteCount>,
    /// First lines of the windows around this one.
    pub earlier: Option<u64>,
    pub later: Option<u64>,
    /// Where the live stream goes on, when this window reaches the end of a step that still runs.
    pub follow_from: Option<u64>,
}

/// A line of a log, numbered from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    pub number: u64,
    pub pieces: Vec<StyledText>,
}

#[derive(Template)]
#[template(path = "log.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a LogView,
}

impl Page for LogView {
    const HERE: &'static str = "";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }

    /// Its lines come by a stream of their own.
    fn live(&self) -> String {
        String::new()
    }
}
