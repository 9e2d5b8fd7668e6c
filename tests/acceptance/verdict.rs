//! Compares what the farm has found with what there is to find: each real break at the right change, and nobody else accused.

use anyhow::Result;
use serde_json::Value;
use trunkfarm_tests::farm::Farm;

use crate::projects::Project;
use crate::trunk::STEPS;

/// What the farm has found about one project.
pub struct Finding {
    pub project: String,
    pub expected: Vec<&'static str>,
    unclear: Vec<&'static str>,
    /// The changes that the farm names.
    pub named: Vec<&'static str>,
    /// Breakages without an answer.
    pub undecided: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    Right,
    /// Something is not found, and may be found later.
    Open,
    /// Something is not found, and nothing is left to be searched.
    Missed,
    /// A change is accused that broke nothing.
    Wrong,
}

impl Judgement {
    pub fn as_str(self) -> &'static str {
        match self {
            Judgement::Right => "right",
            Judgement::Open => "not decided yet",
            Judgement::Missed => "MISSED",
            Judgement::Wrong => "WRONG",
        }
    }
}

impl Finding {
    /// `is_idle`: whether the farm has nothing left to do.
    pub fn judge(&self, is_idle: bool) -> Judgement {
        let allowed = |name: &&str| self.expected.contains(name) || self.unclear.contains(name);
        let found = |name: &&str| self.named.contains(name);
        match (self.named.iter().all(allowed), self.expected.iter().all(found), is_idle) {
            (false, _, _) => Judgement::Wrong,
            (true, true, _) if self.undecided == 0 && !self.expected.is_empty() => Judgement::Right,
            (true, true, true) => Judgement::Right,
            (true, _, false) => Judgement::Open,
            (true, false, true) => Judgement::Missed,
        }
    }
}

/// Reads the answers. `commits` are the trunk's, oldest first.
pub fn read(farm: &Farm, commits: &[String], projects: &[Project]) -> Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = projects
        .iter()
        .map(|project| Finding {
            project: project.name.clone(),
            expected: names(&project.breaks),
            unclear: names(&project.unclear),
            named: Vec::new(),
            undecided: 0,
        })
        .collect();
    for (step, sha) in STEPS.iter().zip(commits) {
        let page = farm.json(&format!("/changes/{sha}"))?;
        // A change that is only one of several possible culprits is accused, too.
        for effect in ["broke", "perhaps_broke"].iter().flat_map(|key| list(&page[*key])) {
            let project = &effect["builder"]["name"];
            let finding = findings.iter_mut().find(|finding| *project == finding.project.as_str());
            if let Some(finding) = finding.filter(|finding| !finding.named.contains(&step.name)) {
                finding.named.push(step.name);
            }
        }
    }
    for finding in &mut findings {
        let breakages = farm.breakages(&finding.project)?;
        let open = |breakage: &&Value| {
            matches!(breakage["state"].as_str(), Some("suspected" | "searching"))
                && breakage["ended_at"].is_null()
        };
        finding.undecided = breakages.iter().filter(open).count();
    }
    Ok(findings)
}

/// Prints the answers. Returns whether all are right.
pub fn print(findings: &[Finding], is_idle: bool) -> bool {
    println!("\n{:<12} {:<24} {:<24} verdict", "project", "broken by", "the farm says");
    for finding in findings {
        let verdict = finding.judge(is_idle).as_str();
        let (expected, named) = (words(&finding.expected), words(&finding.named));
        println!("{:<12} {expected:<24} {named:<24} {verdict}", finding.project);
    }
    findings.iter().all(|finding| finding.judge(is_idle) == Judgement::Right)
}

pub fn words(names: &[&str]) -> String {
    if names.is_empty() { "nothing".to_string() } else { names.join(", ") }
}

fn names(of: &[String]) -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).filter(|name| of.iter().any(|other| other == name)).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(
        expected: &[&'static str],
        named: &[&'static str],
        undecided: usize,
        is_idle: bool,
    ) -> &'static str {
        let finding = Finding {
            project: "nose".into(),
            expected: expected.to_vec(),
            unclear: vec!["3.13"],
            named: named.to_vec(),
            undecided,
        };
        finding.judge(is_idle).as_str()
    }

    #[test]
    fn only_the_right_changes_are_right() {
        assert_eq!(judge(&["imp"], &["imp"], 0, true), "right");
        assert_eq!(judge(&["imp"], &["imp", "3.13"], 0, true), "right");
        assert_eq!(judge(&["imp"], &["imp", "cgi"], 0, true), "WRONG");
        assert_eq!(judge(&[], &["cgi"], 0, false), "WRONG");
        assert_eq!(judge(&["imp"], &[], 0, true), "MISSED");
        assert_eq!(judge(&["imp"], &[], 1, false), "not decided yet");
        assert_eq!(judge(&["imp"], &["imp"], 1, false), "not decided yet");
        assert_eq!(judge(&[], &[], 0, true), "right");
        // Changes that are not tested yet may still be accused.
        assert_eq!(judge(&[], &[], 0, false), "not decided yet");
    }
}
