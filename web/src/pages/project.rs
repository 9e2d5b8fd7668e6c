//! `/projects/NAME`: its sides now and before, what a proposed one waits for, and what its builders last did.

use askama::Template;
use serde::Serialize;

use super::breakages::BreakageLine;
use super::status::RecentBuilds;
use super::{Frame, MarkLine, Page};
use crate::format::status_style::StatusStyle;
use crate::format::units::Moment;

#[derive(Debug, Clone, Serialize)]
pub struct ProjectView {
    pub name: String,
    pub sentence: String,
    pub trunk: String,
    /// A public address; none where its source is a folder or comes from a registry.
    pub git: Option<String>,
    pub newest: Option<String>,
    pub polled_at: Option<Moment>,
    /// Why it cannot be asked for its newest revision.
    pub trouble: Option<String>,
    pub wants: Vec<String>,
    /// What is proposed or in use, on each branch.
    pub sides: Vec<ProjectInputsLine>,
    /// What was, the newest first.
    pub before: Vec<ProjectInputsLine>,
    pub strips: Vec<RecentBuilds>,
    pub breakages: Vec<BreakageLine>,
    pub needed_by: Vec<String>,
    pub marks: Vec<ProjectMark>,
    /// The cases that were proven flaky, the noisiest first.
    pub flaky: Vec<FlakyLine>,
}

/// What a human says of cases of the project, and whether it still holds.
#[derive(Debug, Clone, Serialize)]
pub struct ProjectMark {
    /// Their names; `*` stands for anything.
    pub cases: String,
    /// The one branch and the one platform on which it holds; none: on all.
    pub branch: Option<String>,
    pub platform: Option<String>,
    pub mark: MarkLine,
    pub is_void: bool,
    /// Where the newest build says that cases pass which it expects to fail.
    pub passing: Vec<PassingMark>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PassingMark {
    pub branch: String,
    pub platform: String,
    pub build: i64,
    /// The first of them by name.
    pub case: String,
    pub more_cases: usize,
}

#[derive(Debug, Clone, Serialize)]
pub struct FlakyLine {
    pub case: String,
    pub platform: String,
    /// How often it failed where it should have passed, of so many runs.
    pub fails: u32,
    pub runs: u32,
}

#[derive(Debug, Clone, Serialize)]
pub struct ProjectInputsLine {
    pub branch: String,
    /// `proposed`, `current`, `past` or `dropped`.
    pub state: String,
    pub status_style: StatusStyle,
    pub revision: String,
    /// In what it differs from the side before it.
    pub differs: Vec<String>,
    /// What it waits for, or since when it is in use.
    pub said: String,
    pub needs: Vec<NeedLine>,
    /// SHA-256 of the locked dependencies' file, in hexadecimal.
    pub lock: Option<String>,
    pub baselines: Vec<BaselineLine>,
}

#[derive(Debug, Clone, Serialize)]
pub struct NeedLine {
    pub name: String,
    pub revision: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct BaselineLine {
    pub build: i64,
    pub status_style: StatusStyle,
    pub said: String,
    /// The first of the cases that got worse.
    pub cases: Vec<String>,
    pub more_cases: i64,
}

impl ProjectView {
    /// The two tables of sides.
    pub fn chapters(&self) -> [(&'static str, &[ProjectInputsLine]); 2] {
        [("Proposed and in use", &self.sides), ("Before", &self.before)]
    }

    /// How many marks expect failures of what passes now.
    pub fn outdated_marks(&self) -> usize {
        self.marks.iter().filter(|mark| !mark.passing.is_empty()).count()
    }
}

impl FlakyLine {
    pub fn rate(&self) -> f64 {
        f64::from(self.fails) / f64::from(self.runs.max(1))
    }
}

impl NeedLine {
    pub fn short(&self) -> &str {
        domain::project_inputs::short(&self.revision)
    }
}

impl ProjectInputsLine {
    pub fn short(&self) -> &str {
        domain::project_inputs::short(&self.revision)
    }
}

#[derive(Template)]
#[template(path = "project.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a ProjectView,
}

impl Page for ProjectView {
    const HERE: &'static str = "";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
