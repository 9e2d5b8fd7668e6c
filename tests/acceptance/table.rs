//! Writes docs/cpython.md: what was measured, and nothing else.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use trunkfarm_tests::farm::Farm;

use crate::measure::{Measured, counted, key};
use crate::projects::Project;
use crate::trunk::STEPS;
use crate::verdict::{Finding, Judgement, words};

const HEAD: &str = include_str!("head.md");
const NOT_MEASURED: &str = "not measured";

pub struct Facts<'a> {
    pub farm: &'a Farm,
    pub commits: &'a [String],
    pub projects: &'a [Project],
    pub findings: &'a [Finding],
    pub bare: &'a Measured,
    pub is_idle: bool,
}

pub fn write(file: &Path, facts: &Facts<'_>) -> Result<()> {
    let mut text = HEAD.to_string();
    text += &facts.answers();
    text += &facts.changes()?;
    text += &facts.runs()?;
    text += &facts.exclusions();
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    println!("The table is in {}", file.display());
    Ok(())
}

impl Facts<'_> {
    /// What each project is broken by, and what the farm says.
    fn answers(&self) -> String {
        let mut text = String::from("\n## What the farm found\n\n");
        if !self.is_idle {
            text += "The run was stopped before the farm was idle: what is not decided yet is marked as such.\n\n";
        }
        text += "| project | release | broken by | named by the farm | |\n|---|---|---|---|---|\n";
        for (project, finding) in self.projects.iter().zip(self.findings) {
            text += &format!(
                "| {} | {} | {} | {} | {} |\n",
                project.name,
                project.release,
                words(&finding.expected),
                words(&finding.named),
                finding.judge(self.is_idle).as_str()
            );
        }
        let all = self.projects.iter().zip(self.findings);
        let noted = all.filter(|(project, finding)| {
            !project.note.is_empty() && finding.judge(self.is_idle) != Judgement::Right
        });
        let notes: Vec<String> = noted.map(|(p, _)| format!("- {}: {}\n", p.name, p.note)).collect();
        if !notes.is_empty() {
            text += &format!("\n{}", notes.concat());
        }
        text
    }

    /// The trunk, and how long each toolchain took.
    fn changes(&self) -> Result<String> {
        let mut text = String::from("\n## The trunk\n\n| change | title | toolchain |\n|---|---|---|\n");
        for (step, sha) in STEPS.iter().zip(self.commits) {
            let build = self.build(sha, "toolchain")?;
            let time = build
                .as_ref()
                .and_then(seconds_of_steps)
                .map_or(NOT_MEASURED.into(), |s| format!("{s:.0} s"));
            text += &format!("| {} | {} | {time} |\n", step.name, step.title);
        }
        Ok(text)
    }

    /// The suites on the two releases.
    fn runs(&self) -> Result<String> {
        let mut text = String::new();
        for (step, sha) in STEPS.iter().zip(self.commits).filter(|(step, _)| step.is_release()) {
            text += &format!(
                "\n## On {}\n\n| project | runner's report | pass / fail / skip, read by the farm | counted by the runner itself \
                 | steps in the farm | whole attempt | without a farm |\n|---|---|---|---|---|---|---|\n",
                step.title
            );
            let seconds = |s: Option<f64>| s.map_or(NOT_MEASURED.to_string(), |s| format!("{s:.1} s"));
            // None as soon as one is missing.
            let mut sums = [Some(0.0); 3];
            for project in self.projects {
                let build = self.build(sha, &project.name)?;
                let bare = self.bare.get(&key(project, step.name)).copied();
                let (steps, attempt) =
                    (build.as_ref().and_then(seconds_of_steps), build.as_ref().and_then(seconds_of_attempt));
                for (sum, part) in sums.iter_mut().zip([steps, attempt, bare]) {
                    *sum = sum.zip(part).map(|(sum, part)| sum + part);
                }
                text += &format!(
                    "| {} | {} | {} | {} | {} | {} | {} |\n",
                    project.name,
                    project.report,
                    build.as_ref().and_then(counts).unwrap_or(NOT_MEASURED.into()),
                    self.counted(build.as_ref())?,
                    seconds(steps),
                    seconds(attempt),
                    seconds(bare),
                );
            }
            let [steps, attempt, bare] = sums.map(seconds);
            text += &format!("| **all** | | | | {steps} | {attempt} | {bare} |\n");
        }
        Ok(text)
    }

    /// What the runner's closing line counts in the log of the same build.
    fn counted(&self, build: Option<&Value>) -> Result<String> {
        let test = build
            .and_then(last_attempt)
            .and_then(|attempt| attempt["steps"].as_array()?.iter().find(|step| step["name"] == "test"));
        let (Some(id), Some(test)) = (build.and_then(|build| build["id"].as_i64()), test) else {
            return Ok(NOT_MEASURED.to_string());
        };
        let log = self.farm.get(&format!("/builds/{id}/log/{}/raw", test["position"]))?;
        Ok(counted(&log).unwrap_or_else(|| "no closing line".to_string()))
    }

    fn exclusions(&self) -> String {
        let lines = self.projects.iter().filter(|project| !project.leaves.is_empty());
        let lines: Vec<String> = lines.map(|p| format!("- {}: {}\n", p.name, p.leaves)).collect();
        format!("\n## What is not run, and why\n\n{}", lines.concat())
    }

    /// The first history build of a change that has an outcome: what asked for the newest release is a build, too.
    fn build(&self, sha: &str, builder: &str) -> Result<Option<Value>> {
        let page = self.farm.json(&format!("/changes/{sha}"))?;
        let builders = page["builders"].as_array().context("builders")?;
        let Some(line) = builders.iter().find(|line| line["builder"]["name"] == builder) else {
            return Ok(None);
        };
        for mark in line["builds"].as_array().context("builds")? {
            let id = mark["build"].as_i64().context("a build has a number")?;
            let build = self.farm.json(&format!("/builds/{id}"))?;
            let is_history = ["tip", "backfill", "baseline"].iter().any(|reason| build["reason"] == *reason);
            if is_history && !build["outcome"].is_null() && last_attempt(&build).is_some() {
                return Ok(Some(build));
            }
        }
        Ok(None)
    }
}

fn last_attempt(build: &Value) -> Option<&Value> {
    build["attempts"].as_array()?.iter().rev().find(|attempt| !attempt["duration_ms"].is_null())
}

fn seconds_of_attempt(build: &Value) -> Option<f64> {
    Some(last_attempt(build)?["duration_ms"].as_f64()? / 1000.0)
}

fn seconds_of_steps(build: &Value) -> Option<f64> {
    let steps = last_attempt(build)?["steps"].as_array()?;
    Some(steps.iter().filter_map(|step| step["duration_ms"].as_f64()).sum::<f64>() / 1000.0)
}

fn counts(build: &Value) -> Option<String> {
    let counts = &build["counts"];
    let count = |key: &str| counts[key].as_i64();
    Some(format!("{} / {} / {}", count("passed")?, count("failed")?, count("skipped")?))
}
