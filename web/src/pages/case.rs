//! `/cases/BUILDER?name=NAME`: what one case did on one builder, from change to change.

use askama::Template;
use serde::Serialize;

use super::{BuildMark, BuilderLine, ChangeLine, Frame, Page};
use crate::format::status_style::StatusStyle;

#[derive(Debug, Clone, Serialize)]
pub struct CaseView {
    pub name: String,
    pub builder: BuilderLine,
    /// None when the newest build does not know the case.
    pub now: Option<String>,
    pub status_style: StatusStyle,
    pub sentence: String,
    /// How often it failed where it should have passed, in words.
    pub noise: Option<String>,
    /// The newest cover builds, oldest first.
    pub strip: Vec<BuildMark>,
    /// Where it did otherwise than before, newest first.
    pub turns: Vec<TransitionLine>,
    /// Whether there are older ones.
    pub more_turns: bool,
    pub breakages: Vec<i64>,
}

/// A build in which the case did otherwise than in the one before.
#[derive(Debug, Clone, Serialize)]
pub struct TransitionLine {
    pub build: i64,
    pub change: ChangeLine,
    pub was: Option<String>,
    pub became: String,
    pub status_style: StatusStyle,
    /// What it said, bounded.
    pub text: Option<String>,
}

#[derive(Template)]
#[template(path = "case.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a CaseView,
}

impl Page for CaseView {
    const HERE: &'static str = "";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
