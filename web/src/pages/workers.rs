//! `/workers`: the volunteers' machines, what they are, and which of them are connected.

use askama::Template;
use serde::Serialize;

use super::{BuildMark, Frame, Page};
use crate::format::status_style::StatusStyle;
use crate::format::units::Moment;

#[derive(Debug, Clone, Serialize)]
pub struct WorkersView {
    pub sentence: String,
    pub workers: Vec<WorkerLine>,
}

#[derive(Debug, Clone, Serialize)]
pub struct WorkerLine {
    pub name: String,
    pub owner: Option<String>,
    pub trust: Option<String>,
    pub status_style: StatusStyle,
    /// `idle`, `2 of 4 slots busy`, `offline`, `waits for approval`
    pub status: String,
    /// `linux x86_64, debian12, gnu, 8 CPUs, bubblewrap`
    pub machine: String,
    pub version: String,
    pub seen_at: Option<Moment>,
    pub running: Vec<BuildMark>,
}

#[derive(Template)]
#[template(path = "workers.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a WorkersView,
}

impl Page for WorkersView {
    const HERE: &'static str = "/workers";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
