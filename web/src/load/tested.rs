//! How much is tested: "nothing is known to be broken" says little without it.

use std::collections::BTreeSet;

use store::pages::{BranchRow, TestedRow};
use store::{Read, Result};

use crate::format::units::count;

/// What is tested of one branch, or of several.
pub struct Tested {
    has_changes: bool,
    branches: Vec<TestedRow>,
}

pub async fn tested(read: &mut Read<'_>, branches: &[BranchRow]) -> Result<Tested> {
    let mut rows = Vec::with_capacity(branches.len());
    for branch in branches {
        rows.push(read.tested(branch.id).await?);
    }
    Ok(Tested { has_changes: branches.iter().any(|branch| branch.tip.is_some()), branches: rows })
}

impl Tested {
    pub fn has_changes(&self) -> bool {
        self.has_changes
    }

    /// Whether any change has a verdict.
    pub fn is_anything(&self) -> bool {
        self.branches.iter().any(|branch| branch.sha.is_some())
    }

    /// What has a verdict at the newest change that has any.
    pub fn sentence(&self) -> String {
        let tested = self.branches.iter().flat_map(|branch| &branch.tested);
        let (projects, targets): (BTreeSet<&str>, BTreeSet<(&str, Option<&str>)>) = tested
            .map(|suite| (suite.project.as_str(), (suite.platform.as_str(), suite.variant.as_deref())))
            .unzip();
        let mut text = match self.branches.iter().all(|branch| branch.suites.is_empty()) {
            true => {
                let toolchains = self.branches.iter().flat_map(|branch| &branch.toolchains);
                let targets =
                    toolchains.map(|(platform, variant)| (platform.as_str(), variant.as_deref())).collect();
                format!("the toolchain {}", on(&targets))
            }
            false => format!("{} {}", count(projects.len(), "project", "projects"), on(&targets)),
        };
        text.push_str(&self.place());
        text.push_str(&self.rest(&projects));
        format!("Tested: {text}.")
    }

    /// At which change; of several branches, on how many.
    fn place(&self) -> String {
        let place = |branch: &TestedRow| {
            let sha: String = branch.sha.as_deref().unwrap_or_default().chars().take(7).collect();
            match branch.newer {
                0 => format!(" at the newest change, {sha}"),
                newer => format!(" at {sha}; {} newer", count(newer, "change is", "changes are")),
            }
        };
        match self.branches.as_slice() {
            [branch] => place(branch),
            branches => {
                let with = branches.iter().filter(|branch| branch.sha.is_some()).count();
                format!(" on {with} of {} branches", branches.len())
            }
        }
    }

    /// What has no verdict there.
    fn rest(&self, tested: &BTreeSet<&str>) -> String {
        let suites = || self.branches.iter().flat_map(|branch| branch.suites.difference(&branch.tested));
        let without: BTreeSet<&str> = suites().map(|suite| suite.project.as_str()).collect();
        let (partly, never): (Vec<&str>, Vec<&str>) =
            without.into_iter().partition(|project| tested.contains(project));
        let mut text = String::new();
        if !never.is_empty() {
            text.push_str(&format!(
                "; {} no verdict yet",
                count(never.len(), "project has", "projects have")
            ));
        }
        if !partly.is_empty() {
            let projects = count(partly.len(), "project has", "projects have");
            let place = match suites().any(|suite| suite.variant.is_some()) {
                true => "platform, variant or branch",
                false => "platform or branch",
            };
            text.push_str(&format!("; {projects} none yet on some {place}"));
        }
        text
    }
}

/// `on 2 platforms`; of a trunk with variants, `on 2 platforms in 3 variants`.
fn on(targets: &BTreeSet<(&str, Option<&str>)>) -> String {
    let platforms: BTreeSet<&str> = targets.iter().map(|(platform, _)| *platform).collect();
    let variants: BTreeSet<&str> = targets.iter().filter_map(|(_, variant)| *variant).collect();
    let platforms = count(platforms.len(), "platform", "platforms");
    match variants.len() {
        0 => format!("on {platforms}"),
        variants => format!("on {platforms} in {}", count(variants, "variant", "variants")),
    }
}

#[cfg(test)]
mod tests {
    use store::pages::TestedSuite;

    use super::*;

    fn row(sha: Option<&str>, newer: i64, suites: &[&str], tested: &[&str]) -> TestedRow {
        let pairs = |names: &[&str]| -> BTreeSet<TestedSuite> {
            let suite = |name: &&str| {
                let (project, target) = name.split_once('@')?;
                let (platform, variant) = match target.split_once('/') {
                    Some((platform, variant)) => (platform, Some(variant)),
                    None => (target, None),
                };
                Some(TestedSuite {
                    project: project.into(),
                    platform: platform.into(),
                    variant: variant.map(str::to_string),
                })
            };
            names.iter().filter_map(suite).collect()
        };
        TestedRow {
            sha: sha.map(str::to_string),
            newer,
            suites: pairs(suites),
            tested: pairs(tested),
            toolchains: BTreeSet::from([("x86".to_string(), None)]),
        }
    }

    fn shown(branches: Vec<TestedRow>) -> String {
        Tested { has_changes: true, branches }.sentence()
    }

    #[test]
    fn how_much_is_tested_is_counted() {
        let sha = Some("abc12345");
        for (rows, expected) in [
            (
                vec![row(sha, 0, &["a@x", "b@x", "a@y", "b@y"], &["a@x", "b@x", "a@y", "b@y"])],
                "Tested: 2 projects on 2 platforms at the newest change, abc1234.",
            ),
            (
                vec![row(sha, 3, &["a@x", "b@x", "a@y", "c@x"], &["a@x"])],
                "Tested: 1 project on 1 platform at abc1234; 3 changes are newer; 2 projects have no verdict yet; 1 project \
                 has none yet on some platform or branch.",
            ),
            (
                vec![row(sha, 0, &[], &[])],
                "Tested: the toolchain on 1 platform at the newest change, abc1234.",
            ),
            (
                vec![row(sha, 0, &["a@x"], &["a@x"]), row(None, 0, &["a@x", "b@x"], &[])],
                "Tested: 1 project on 1 platform on 1 of 2 branches; 1 project has no verdict yet; 1 project has none yet on \
                 some platform or branch.",
            ),
            (
                vec![row(sha, 0, &["a@x/default", "a@x/asan", "b@x/asan"], &["a@x/default", "b@x/asan"])],
                "Tested: 2 projects on 1 platform in 2 variants at the newest change, abc1234; 1 project has none yet on \
                 some platform, variant or branch.",
            ),
        ] {
            assert_eq!(shown(rows), expected);
        }
    }
}
