//! `/builds/N/log/STEP`: a window of a step's log. Each line has its own link.

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
    pub result: String,
    pub bytes: ByteCount,
    /// How many lines the log has.
    pub line_count: u64,
    pub lines: Vec<LogLine>,
    /// Why the log is not there although the step printed one.
    pub unavailable: Option<String>,
    /// How many bytes of the middle are missing because the log was longer than its limit.
    pub missing_bytes: Option<ByteCount>,
    /// First lines of the windows around this one.
    pub earlier: Option<u64>,
    pub later: Option<u64>,
    /// The byte from which the live stream continues, if this window reaches the end of a step that still runs.
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

    /// Its lines come through a stream of their own.
    fn live(&self) -> String {
        String::new()
    }
}
