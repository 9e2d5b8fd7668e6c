//! `/breakages`: open ones first, grouped by the change that caused them.

use askama::Template;
use serde::Serialize;

use super::{BuilderLine, CaseCountsLine, ChangeLine, Frame, MarkLine, Page};
use crate::format::status_style::StatusStyle;
use crate::format::units::Moment;

#[derive(Debug, Clone, Serialize)]
pub struct BreakagesView {
    pub sentence: String,
    pub groups: Vec<BreakageGroup>,
    /// The value of `before` in the link to older ones.
    pub older: Option<i64>,
}

/// Breakages with one culprit, or those that have none yet.
#[derive(Debug, Clone, Serialize)]
pub struct BreakageGroup {
    pub culprit: Option<ChangeLine>,
    /// What follows the culprit's title where others may be it: ` or one of the 3 changes before it`.
    pub rivals: String,
    /// The heading if they have none.
    pub heading: String,
    pub breakages: Vec<BreakageLine>,
}

#[derive(Debug, Clone, Serialize)]
pub struct BreakageLine {
    pub id: i64,
    pub builder: BuilderLine,
    pub state: String,
    pub status_style: StatusStyle,
    pub cases: i64,
    /// The marks in force that speak for its cases, while it is open.
    pub marks: Vec<MarkLine>,
    /// The same by kind.
    pub counts: CaseCountsLine,
    /// One of its cases, to recognize it by.
    pub example: Option<String>,
    pub opened_at: Moment,
    pub ended_at: Option<Moment>,
}

#[derive(Template)]
#[template(path = "breakages.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a BreakagesView,
}

impl Page for BreakagesView {
    const HERE: &'static str = "/breakages";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
