//! `/stats`: how often the farm's answers stood when idle workers repeated them, and how its searches ended.

use askama::Template;
use serde::Serialize;

use super::{BuilderLine, Frame, Page};
use crate::format::units::Moment;

#[derive(Debug, Clone, Serialize)]
pub struct StatsView {
    /// `Of 40 answers that were repeated in the last 45 days, 39 stood and 1 fell.`
    pub sentence: String,
    /// How many days `recent` is.
    pub days: i64,
    /// One line for each part of an answer that is repeated.
    pub checks: Vec<CheckLine>,
    /// The last ones that fell, newest first.
    pub fallen: Vec<FallenLine>,
    /// How the searches ended that found their answer in these days, and have not withdrawn it.
    pub searches: Vec<FoundLine>,
}

#[derive(Debug, Clone, Serialize)]
pub struct CheckLine {
    /// `parent`, `culprit`, `flaky` or `repair`
    pub kind: &'static str,
    /// `the change before a culprit passes`
    pub claim: &'static str,
    pub recent: CheckResults,
    pub ever: CheckResults,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CheckResults {
    pub stood: u64,
    pub fell: u64,
    /// Runs that showed nothing about the answer.
    pub none: u64,
}

impl CheckResults {
    /// `12 stood, 1 fell, 2 showed nothing`
    pub fn text(&self) -> String {
        let CheckResults { stood, fell, none } = *self;
        match (stood + fell, none) {
            (0, 0) => "not repeated yet".into(),
            (_, 0) => format!("{stood} stood, {fell} fell"),
            _ => format!("{stood} stood, {fell} fell, {none} showed nothing"),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct FallenLine {
    pub breakage: i64,
    /// The state of the breakage now.
    pub state: String,
    pub claim: &'static str,
    pub build: i64,
    pub builder: BuilderLine,
    pub ended_at: Moment,
}

#[derive(Debug, Clone, Serialize)]
pub struct FoundLine {
    /// `named`, `flaky`
    pub found: String,
    pub searches: u64,
}

#[derive(Template)]
#[template(path = "stats.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a StatsView,
}

impl Page for StatsView {
    const HERE: &'static str = "";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
