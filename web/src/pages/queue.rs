//! `/queue`: what runs, and what waits.

use askama::Template;
use serde::Serialize;

use super::{BuilderLine, ChangeLine, Frame, Page};
use crate::format::shade::Shade;
use crate::format::units::At;

#[derive(Debug, Clone, Serialize)]
pub struct Queue {
    pub sentence: String,
    /// Running first, then in the order they came.
    pub builds: Vec<Waiting>,
    pub more: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Waiting {
    pub build: i64,
    pub shade: Shade,
    pub builder: BuilderLine,
    pub change: ChangeLine,
    pub reason: String,
    /// On which worker it runs, or what it waits for.
    pub said: String,
    pub queued_at: At,
}

#[derive(Template)]
#[template(path = "queue.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a Queue,
}

impl Page for Queue {
    const HERE: &'static str = "/queue";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
