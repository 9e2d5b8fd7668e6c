//! `/queue`: the builds that run, and those that wait.

use askama::Template;
use serde::Serialize;

use super::{BuilderLine, ChangeLine, Frame, Page};
use crate::format::status_style::StatusStyle;
use crate::format::units::Moment;

#[derive(Debug, Clone, Serialize)]
pub struct QueueView {
    pub sentence: String,
    /// Running ones first, then in the order in which they were enqueued.
    pub builds: Vec<WaitingLine>,
    pub more: usize,
}

#[derive(Debug, Clone, Serialize)]
pub struct WaitingLine {
    pub build: i64,
    pub status_style: StatusStyle,
    pub builder: BuilderLine,
    pub change: ChangeLine,
    pub reason: String,
    /// On which worker it runs, or what it waits for.
    pub status: String,
    pub queued_at: Moment,
}

#[derive(Template)]
#[template(path = "queue.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a QueueView,
}

impl Page for QueueView {
    const HERE: &'static str = "/queue";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
