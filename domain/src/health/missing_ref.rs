//! A branch or a tag that the configuration names and the remote does not have: renamed, deleted, or misspelt.

use crate::outcome::words;
use crate::words::ids::Timestamp;
use serde::{Deserialize, Serialize};

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefKind {
    /// A branch.
    Branch,
    /// A tag.
    Tag,
    /// Any tag with a version number.
    Version,
}

words!(RefKind { Branch = "branch", Tag = "tag", Version = "version" });

/// Whose configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefOwner {
    /// A trunk, by its name.
    Trunk(String),
    /// A project, by its name.
    Project(String),
}

/// A ref that is configured and that the remote does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRef {
    /// Whose it is.
    pub owner: RefOwner,
    /// What is missing.
    pub kind: RefKind,
    /// Its name as it is configured; empty for any version.
    pub name: String,
    /// The first poll that did not find it.
    pub since: Timestamp,
    /// The branch that the remote's HEAD names; none if it names no branch, or is not shown.
    pub head: Option<String>,
    /// The branches, or the tags, that the remote has: the names most like the missing one first.
    pub present: Vec<String>,
    /// How many more it has.
    pub more: u64,
}

/// How many of the remote's names are kept.
pub const MAX_PRESENT: usize = 8;

impl MissingRef {
    /// What is missing, since when, what is there, and what to do.
    pub fn sentence(&self, date: fn(Timestamp) -> String) -> String {
        let (owner, file, effect) = match &self.owner {
            RefOwner::Trunk(name) => (name, "farm.toml", "no new change of it is seen"),
            RefOwner::Project(name) => (name, "its file", "no new revision of it is seen"),
        };
        let key = match (&self.owner, self.kind) {
            (RefOwner::Trunk(_), _) => "branches",
            (RefOwner::Project(_), RefKind::Tag) => "tag",
            (RefOwner::Project(_), RefKind::Branch | RefKind::Version) => "follow",
        };
        let missing = match self.kind {
            RefKind::Branch => format!("branch `{}`", self.name),
            RefKind::Tag => format!("tag `{}`", self.name),
            RefKind::Version => "tag with a version number".into(),
        };
        let mut text =
            format!("{owner} has no {missing} (not found since {}), so {effect}", date(self.since));
        if let Some(head) = &self.head {
            text.push_str(&format!("; its HEAD points to `{head}`"));
        }
        let plural = match self.kind {
            RefKind::Branch => "branches",
            RefKind::Tag | RefKind::Version => "tags",
        };
        let present: Vec<String> = self.present.iter().map(|name| format!("`{name}`")).collect();
        match (present.is_empty(), self.more) {
            (true, _) => text.push_str(&format!("; it has no {plural}")),
            (false, 0) => text.push_str(&format!("; it has the {plural} {}", present.join(", "))),
            (false, more) => {
                text.push_str(&format!("; it has the {plural} {} and {more} more", present.join(", ")));
            }
        }
        text + &format!(". Correct `{key}` in {file}, or restore it.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(kind: RefKind, name: &str) -> MissingRef {
        MissingRef {
            owner: RefOwner::Trunk("lua".into()),
            kind,
            name: name.into(),
            since: Timestamp(5),
            head: None,
            present: Vec::new(),
            more: 0,
        }
    }

    fn shown(missing: &MissingRef) -> String {
        missing.sentence(|at| format!("day {}", at.0))
    }

    #[test]
    fn a_renamed_branch_is_named_with_the_branches_that_are_there() {
        let renamed = MissingRef {
            head: Some("main".into()),
            present: vec!["main".into(), "v5.4".into()],
            ..missing(RefKind::Branch, "master")
        };
        assert_eq!(
            shown(&renamed),
            "lua has no branch `master` (not found since day 5), so no new change of it is seen; its HEAD points to \
             `main`; it has the branches `main`, `v5.4`. Correct `branches` in farm.toml, or restore it."
        );
    }

    #[test]
    fn an_empty_remote_and_a_long_list_are_named_too() {
        let empty = missing(RefKind::Branch, "master");
        assert!(shown(&empty).contains("; it has no branches. Correct `branches`"), "{}", shown(&empty));
        let project = MissingRef {
            owner: RefOwner::Project("say".into()),
            present: vec!["v1".into()],
            more: 7,
            ..missing(RefKind::Tag, "v2")
        };
        assert_eq!(
            shown(&project),
            "say has no tag `v2` (not found since day 5), so no new revision of it is seen; it has the tags `v1` and 7 \
             more. Correct `tag` in its file, or restore it."
        );
        let version = MissingRef { kind: RefKind::Version, name: String::new(), ..project };
        assert!(shown(&version).starts_with("say has no tag with a version number (not found"));
    }

    #[test]
    fn every_word_round_trips() {
        assert!(RefKind::ALL.iter().all(|&kind| RefKind::parse(kind.as_str()) == Some(kind)));
    }
}
