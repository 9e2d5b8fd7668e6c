//! `/projects/NAME`: its sides now and before, what a proposed one waits for, and what its builders last did.

use askama::Template;
use serde::Serialize;

use super::breakages::BreakageLine;
use super::status::Strip;
use super::{Frame, Page};
use crate::shade::Shade;
use crate::units::At;

#[derive(Debug, Clone, Serialize)]
pub struct Project {
    pub name: String,
    pub sentence: String,
    pub trunk: String,
    /// A public address; none where its source is a folder or comes from a registry.
    pub git: Option<String>,
    pub newest: Option<String>,
    pub polled_at: Option<At>,
    /// Why it cannot be asked for its newest revision.
    pub trouble: Option<String>,
    pub wants: Vec<String>,
    /// What is proposed or in use, on each branch.
    pub sides: Vec<Side>,
    /// What was, the newest first.
    pub before: Vec<Side>,
    pub strips: Vec<Strip>,
    pub breakages: Vec<BreakageLine>,
    pub needed_by: Vec<String>,
    /// The cases that were proven flaky, the noisiest first.
    pub flaky: Vec<Flaky>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Flaky {
    pub case: String,
    pub platform: String,
    /// How often it failed where it should have passed, of so many runs.
    pub fails: u32,
    pub runs: u32,
}

#[derive(Debug, Clone, Serialize)]
pub struct Side {
    pub branch: String,
    /// `proposed`, `current`, `past` or `dropped`.
    pub state: String,
    pub shade: Shade,
    pub revision: String,
    /// In what it differs from the side before it.
    pub differs: Vec<String>,
    /// What it waits for, or since when it is in use.
    pub said: String,
    pub needs: Vec<Need>,
    /// SHA-256 of the locked dependencies' file, in hexadecimal.
    pub lock: Option<String>,
    pub seams: Vec<Seam>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Need {
    pub name: String,
    pub revision: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Seam {
    pub build: i64,
    pub shade: Shade,
    pub said: String,
    /// The first of the cases that got worse.
    pub cases: Vec<String>,
    pub more_cases: i64,
}

impl Project {
    /// The two tables of sides.
    pub fn chapters(&self) -> [(&'static str, &[Side]); 2] {
        [("Proposed and in use", &self.sides), ("Before", &self.before)]
    }
}

impl Flaky {
    pub fn rate(&self) -> f64 {
        f64::from(self.fails) / f64::from(self.runs.max(1))
    }
}

impl Need {
    pub fn short(&self) -> &str {
        domain::side::short(&self.revision)
    }
}

impl Side {
    pub fn short(&self) -> &str {
        domain::side::short(&self.revision)
    }
}

#[derive(Template)]
#[template(path = "project.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a Project,
}

impl Page for Project {
    const HERE: &'static str = "";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
