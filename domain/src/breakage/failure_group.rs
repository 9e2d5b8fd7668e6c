//! Failures that say the same, wherever they come from: one change that breaks many projects mostly breaks them with
//! the same words.

use std::collections::{BTreeMap, BTreeSet};

use crate::readers::signature;

/// What one case said where it went bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseFailure {
    pub project: String,
    pub case: String,
    pub text: String,
}

/// Cases with the same signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureGroup {
    /// Their first telling line, folded.
    pub line: String,
    pub projects: BTreeSet<String>,
    /// By project and name.
    pub cases: BTreeSet<(String, String)>,
}

/// Groups what cases said of one change; those that most projects share come first. One case alone is like nothing.
pub fn alike(said: impl IntoIterator<Item = CaseFailure>) -> Vec<FailureGroup> {
    let mut groups: BTreeMap<String, FailureGroup> = BTreeMap::new();
    for CaseFailure { project, case, text } in said {
        let Some(line) = signature(&text) else { continue };
        let group = groups.entry(line.clone()).or_insert_with(|| FailureGroup {
            line,
            projects: BTreeSet::new(),
            cases: BTreeSet::new(),
        });
        group.projects.insert(project.clone());
        group.cases.insert((project, case));
    }
    let mut groups: Vec<FailureGroup> = groups.into_values().filter(|group| group.cases.len() > 1).collect();
    groups.sort_by_key(|group| std::cmp::Reverse((group.projects.len(), group.cases.len())));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was said as a picture: `project/case: text`, one a line; the groups as `line: projects/cases`.
    fn groups(picture: &str) -> Vec<String> {
        let said = |line: &str| {
            let (who, text) = line.trim().split_once(": ").unwrap();
            let (project, case) = who.split_once('/').unwrap();
            CaseFailure { project: project.into(), case: case.into(), text: text.into() }
        };
        let groups = alike(picture.trim().lines().map(said));
        groups.iter().map(|g| format!("{}: {}/{}", g.line, g.projects.len(), g.cases.len())).collect()
    }

    #[test]
    fn cases_that_say_the_same_come_together_across_projects() {
        let told = "
            click/a: NameError: name 'x' at 0x7f01
            click/b: NameError: name 'x' at 0x7f02
            flask/c: a.py:12: NameError: name 'x' at 0x7f03
            flask/d: TypeError: no
            jinja/e: TypeError: no
            jinja/f: ValueError: of nobody else";
        assert_eq!(groups(told), ["NameError: name 'x' at #: 2/3", "TypeError: no: 2/2"]);
    }

    #[test]
    fn a_case_that_is_told_of_twice_is_like_nothing_but_itself() {
        assert_eq!(groups("click/a: TypeError: no\nclick/a: TypeError: no"), [""; 0]);
    }
}
