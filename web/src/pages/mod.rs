//! One file a page: the struct that its JSON is, and the template that prints it.
//!
//! A struct holds facts and finished sentences; a template decides nothing.

pub mod breakage;
pub mod breakages;
pub mod build;
pub mod case;
pub mod change;
pub mod log;
pub mod project;
pub mod queue;
pub mod status;
pub mod waterfall;
pub mod workers;

#[cfg(test)]
mod sample;

use serde::Serialize;

use crate::format::status_style::StatusStyle;
use crate::format::units::Moment;

/// What surrounds every page.
#[derive(Debug, Clone)]
pub struct Frame {
    pub farm: String,
    /// What is wrong with the farm itself, as sentences; each page shows them.
    pub problems: Vec<String>,
    /// Which entry of the navigation this is; empty for none.
    pub here: &'static str,
    /// The page's own address as readers reach it; empty of no page.
    pub canonical: String,
    /// Path and query below `/api/v1` of the same facts.
    pub json: String,
    /// Of which events the page fetches itself anew: `all`, or a topic and its subject; empty for none.
    pub live: String,
}

/// A page, however it is asked for.
pub trait Page: Serialize {
    /// Its entry in the navigation; empty for none.
    const HERE: &'static str;

    fn html(&self, frame: &Frame) -> askama::Result<String>;

    fn live(&self) -> String {
        "all".into()
    }
}

/// An upstream change, on one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangeLine {
    pub sha: String,
    pub title: String,
    pub author: String,
    pub committed_at: Moment,
}

impl ChangeLine {
    pub fn short(&self) -> &str {
        short(&self.sha)
    }
}

/// Enough of a commit id to recognise it.
pub fn short(sha: &str) -> &str {
    sha.get(..10).unwrap_or(sha)
}

/// What a human says of cases.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MarkLine {
    /// `expected to fail`, `known to be flaky`
    pub said: String,
    pub issue: String,
    pub until: Moment,
}

/// A builder as a reader calls it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BuilderLine {
    pub id: i64,
    /// The project, or `toolchain`.
    pub name: String,
    pub trunk: String,
    pub branch: String,
    pub platform: String,
}

impl BuilderLine {
    /// None of a toolchain's.
    pub fn project(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| *name != "toolchain")
    }
}

/// One build as a mark among others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BuildMark {
    pub build: i64,
    pub status_style: StatusStyle,
    /// What the pointer says of it.
    pub hint: String,
}

/// Cases that say the same where a change broke them.
#[derive(Debug, Clone, Serialize)]
pub struct FailureGroupLine {
    /// `the same first line in 3 projects`
    pub said: String,
    /// That line, without its numbers, addresses and folders.
    pub line: String,
    pub projects: Vec<String>,
    pub cases: usize,
}

#[cfg(test)]
mod drawn {
    use super::Page;
    use super::sample::{frame, others, waterfall};

    /// Each page of the sample farm, by its file's name.
    pub fn all() -> Vec<(&'static str, String)> {
        let mut troubled = frame("/", "/status");
        troubled.problems = vec!["farm.toml:14: unknown key `plattforms`; expected one of name, git, branches, base, poll, platforms, recipe. The farm goes on with the configuration it had.".into()];
        let at = |here| frame(here, here);
        vec![
            ("status", others::status().html(&troubled).expect("it prints")),
            ("waterfall", waterfall().html(&at("/waterfall")).expect("it prints")),
            ("build", others::build().html(&at("")).expect("it prints")),
            ("case", others::case().html(&at("")).expect("it prints")),
            ("log", others::log().html(&at("")).expect("it prints")),
            ("change", others::change_page().html(&at("")).expect("it prints")),
            ("breakages", others::breakages().html(&at("/breakages")).expect("it prints")),
            ("breakage", others::breakage().html(&at("")).expect("it prints")),
            ("workers", others::workers().html(&at("/workers")).expect("it prints")),
            ("project", others::project().html(&at("")).expect("it prints")),
            ("queue", others::queue().html(&at("/queue")).expect("it prints")),
        ]
    }

    /// To look at: `DRAW_TO=/tmp/pages cargo test -p web draw`.
    #[test]
    fn draw() {
        let Some(folder) = std::env::var_os("DRAW_TO") else { return };
        for (name, html) in all() {
            let path = std::path::Path::new(&folder).join(format!("{name}.html"));
            std::fs::write(&path, html).expect("DRAW_TO names a folder that can be written");
        }
    }
}
