//! Groups failures with the same normalized message, wherever they come from: a change that breaks many projects mostly
//! breaks them with the same message.

use std::collections::{BTreeMap, BTreeSet};

use crate::readers::signature;

/// The failure message of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseFailure {
    /// The name of its project.
    pub project: String,
    /// Its name.
    pub case: String,
    /// The failure message.
    pub text: String,
}

/// Cases whose failure messages have the same signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureGroup {
    /// The signature; see [`crate::readers::signature`].
    pub line: String,
    /// The names of their projects.
    pub projects: BTreeSet<String>,
    /// The project and the name of each case.
    pub cases: BTreeSet<(String, String)>,
}

/// Groups the failures of one change; the groups of the most projects come first. A case that is alone forms no group.
pub fn group_failures(failures: impl IntoIterator<Item = CaseFailure>) -> Vec<FailureGroup> {
    let mut groups: BTreeMap<String, FailureGroup> = BTreeMap::new();
    for CaseFailure { project, case, text } in failures {
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

    /// Failures as a picture: `project/case: text`, one on each line; the groups as `line: projects/cases`.
    fn groups(picture: &str) -> Vec<String> {
        let failure = |line: &str| {
            let (owner, text) = line.trim().split_once(": ").unwrap();
            let (project, case) = owner.split_once('/').unwrap();
            CaseFailure { project: project.into(), case: case.into(), text: text.into() }
        };
        let groups = group_failures(picture.trim().lines().map(failure));
        groups.iter().map(|g| format!("{}: {}/{}", g.line, g.projects.len(), g.cases.len())).collect()
    }

    #[test]
    fn cases_with_the_same_message_are_grouped_across_projects() {
        let failures = "
            click/a: NameError: name 'x' at 0x7f01
            click/b: NameError: name 'x' at 0x7f02
            flask/c: a.py:12: NameError: name 'x' at 0x7f03
            flask/d: TypeError: no
            jinja/e: TypeError: no
            jinja/f: ValueError: of no other case";
        assert_eq!(groups(failures), ["NameError: name 'x' at #: 2/3", "TypeError: no: 2/2"]);
    }

    #[test]
    fn a_case_that_is_reported_twice_forms_no_group() {
        assert_eq!(groups("click/a: TypeError: no\nclick/a: TypeError: no"), [""; 0]);
    }
}
