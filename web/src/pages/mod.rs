//! One file a page: the struct that its JSON is made from, and the template that prints it.
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
pub mod stats;
pub mod status;
pub mod waterfall;
pub mod worker;
pub mod workers;

#[cfg(test)]
mod sample;

use domain::sentences::BrokenCounts;
use domain::variant::target;
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
    /// The address under which readers reach the page; empty for an error page.
    pub canonical: String,
    /// Path and query below `/api/v1` of the page's JSON.
    pub json: String,
    /// The events on which the page reloads itself: `all`, or a topic and its subject; empty for none.
    pub live: String,
}

/// A page, as HTML and as JSON.
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

/// Cases of a builder that were never run before, and fail from their first run on.
#[derive(Debug, Clone, Serialize)]
pub struct NewFailureLine {
    pub builder: BuilderLine,
    /// `new and failing since lua 012345678901`
    pub text: String,
    /// The change at which they were first run.
    pub change: ChangeLine,
    /// Whether other inputs begin there.
    pub with_inputs: bool,
    /// The first of them by name.
    pub cases: Vec<String>,
    pub more_cases: usize,
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

/// A mark: what a human expects of cases.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MarkLine {
    /// `expected to fail`, `known to be flaky`
    pub kind: String,
    pub issue: String,
    pub until: Moment,
}

/// Where the toolchain inputs of a builder changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SwitchLine {
    pub builder: BuilderLine,
    /// The change that was repeated with the new inputs.
    pub change: ChangeLine,
    /// The toolchain build that repeated it.
    pub build: i64,
    pub since: Moment,
    /// `the trunk's recipe changed`, `compiler: gcc 12.2 is now gcc 13.1`
    pub words: Vec<String>,
    /// The cases that differ there: `polite: greets pass is now fail`. Only the status page has them.
    pub cases: Vec<String>,
    pub has_more_cases: bool,
}

impl SwitchLine {
    /// `linux-x86_64: the trunk's recipe changed`
    pub fn sentence(&self) -> String {
        format!("{}: {}", self.builder.target(), self.words.join("; "))
    }
}

/// A builder in the words of a reader.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BuilderLine {
    pub id: i64,
    /// The project, or `toolchain`.
    pub name: String,
    pub trunk: String,
    pub branch: String,
    pub platform: String,
    /// Its variant, where its trunk has others than the default build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl BuilderLine {
    /// The platform, with the variant where that has a name.
    pub fn target(&self) -> String {
        target(&self.platform, self.variant.as_deref())
    }

    /// None if it builds toolchains.
    pub fn project(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| *name != "toolchain")
    }
}

/// One build as a mark among others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BuildMark {
    pub build: i64,
    pub status_style: StatusStyle,
    /// The tooltip.
    pub hint: String,
}

/// How much is broken, by kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseCountsLine {
    /// Tests that fail.
    pub failing: usize,
    /// Tests that are no longer run, or not reached any longer.
    pub not_run: usize,
    /// What is reported only when it is bad, such as a module that cannot be imported.
    pub faults: usize,
    /// The steps that fail.
    pub steps: Vec<String>,
    pub platforms: usize,
    /// In which variants, in words: `only in free-threaded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variants: Option<String>,
    /// The same in words: `897 tests not run, 1 fails; 4 platforms`.
    pub text: String,
}

impl From<BrokenCounts> for CaseCountsLine {
    fn from(counts: BrokenCounts) -> CaseCountsLine {
        CaseCountsLine {
            text: counts.brief(),
            variants: counts.variants.words(),
            failing: counts.failing,
            not_run: counts.not_run,
            faults: counts.faults,
            steps: counts.steps.into_iter().collect(),
            platforms: counts.platforms,
        }
    }
}

/// Cases whose failure messages are alike where a change broke them.
#[derive(Debug, Clone, Serialize)]
pub struct FailureGroupLine {
    /// `the same first line in 3 projects`
    pub summary: String,
    /// That line, without its numbers, addresses and folders.
    pub line: String,
    pub projects: Vec<String>,
    pub cases: usize,
}

#[cfg(test)]
mod tests {
    use super::Page;
    use super::sample::{breakages, builds, farm, frame, waterfall};

    /// Each page of the sample farm, with its file's name.
    pub fn all() -> Vec<(&'static str, String)> {
        let mut with_problem = frame("/", "/status");
        with_problem.problems = vec!["farm.toml:14: unknown key `plattforms`; expected one of name, git, branches, base, poll, platforms, recipe. The previous configuration stays in force.".into()];
        let at = |here| frame(here, here);
        vec![
            ("status", farm::status().html(&with_problem).expect("it prints")),
            ("waterfall", waterfall().html(&at("/waterfall")).expect("it prints")),
            ("build", builds::build().html(&at("")).expect("it prints")),
            ("case", builds::case().html(&at("")).expect("it prints")),
            ("log", builds::log().html(&at("")).expect("it prints")),
            ("change", breakages::change_page().html(&at("")).expect("it prints")),
            ("breakages", breakages::breakages().html(&at("/breakages")).expect("it prints")),
            ("breakage", breakages::breakage().html(&at("")).expect("it prints")),
            ("workers", farm::workers().html(&at("/workers")).expect("it prints")),
            ("worker", farm::worker().html(&at("/workers")).expect("it prints")),
            ("project", farm::project().html(&at("")).expect("it prints")),
            ("queue", farm::queue().html(&at("/queue")).expect("it prints")),
            ("stats", farm::stats().html(&at("")).expect("it prints")),
        ]
    }

    /// With `PAGES_TO=/tmp/pages` set, the pages are written there to be looked at.
    #[test]
    fn every_page_of_the_sample_farm_is_printed() {
        let folder = std::env::var_os("PAGES_TO");
        for (name, html) in all() {
            assert!(html.contains("<main"), "{name}");
            let Some(folder) = &folder else { continue };
            let path = std::path::Path::new(folder).join(format!("{name}.html"));
            std::fs::write(&path, html).expect("PAGES_TO names a folder that can be written");
        }
    }
}
