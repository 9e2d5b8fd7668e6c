//! The range as the inference sees it: of neighbouring changes with the same toolchain only the first can be to blame.

use super::inputs::{Candidate, CandidateToolchain};
use crate::culprit;

/// Groups of one change, or of several in a row with one toolchain.
pub(super) struct ToolchainGroups {
    group_of: Vec<usize>,
    /// The first and the last change of each group, and its toolchain.
    groups: Vec<(usize, usize, CandidateToolchain)>,
}

impl ToolchainGroups {
    pub fn new(range: &[Candidate]) -> ToolchainGroups {
        let mut groups = ToolchainGroups { group_of: Vec::with_capacity(range.len()), groups: Vec::new() };
        for (at, candidate) in range.iter().enumerate() {
            match groups.groups.last_mut() {
                Some((_, last, toolchain)) if is_same(*toolchain, candidate.toolchain) => *last = at,
                Some(_) | None => groups.groups.push((at, at, candidate.toolchain)),
            }
            groups.group_of.push(groups.groups.len() - 1);
        }
        // If all toolchains are equal, no change of the trunk can be to blame; the ends are two groups nevertheless.
        if let ([(_, last, toolchain)], [.., _, _]) = (groups.groups.as_mut_slice(), range) {
            let (head, toolchain) = (range.len() - 1, *toolchain);
            *last = head - 1;
            groups.groups.push((head, head, toolchain));
            groups.group_of[head] = 1;
        }
        groups
    }

    /// The group of a change.
    pub fn group_of(&self, at: usize) -> usize {
        self.group_of[at]
    }

    /// The first change of a group.
    pub fn first_of(&self, group: usize) -> usize {
        self.groups[group].0
    }

    /// The last change of a group.
    pub fn last_of(&self, group: usize) -> usize {
        self.groups[group].1
    }

    /// The group of the bad end.
    pub fn head(&self) -> usize {
        self.groups.len() - 1
    }

    /// What there is to test each group with.
    pub fn toolchains(&self) -> Vec<culprit::ToolchainSupply> {
        let supply = |toolchain: &CandidateToolchain| match toolchain {
            CandidateToolchain::Unknown => culprit::ToolchainSupply::Unbuilt,
            CandidateToolchain::Broken => culprit::ToolchainSupply::Broken,
            // Each probe builds it itself, so there is nothing to build before.
            CandidateToolchain::Built(_) | CandidateToolchain::Itself => culprit::ToolchainSupply::Cached,
        };
        self.groups.iter().map(|(_, _, toolchain)| supply(toolchain)).collect()
    }

    /// The sums of the values of each group's changes, without the first group. `values` begins at the second change.
    pub fn sums(&self, values: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.head()];
        for (at, value) in values.iter().enumerate() {
            if let Some(group) = self.group_of(at + 1).checked_sub(1) {
                sums[group] += value;
            }
        }
        sums
    }
}

fn is_same(one: CandidateToolchain, other: CandidateToolchain) -> bool {
    match (one, other) {
        (CandidateToolchain::Built(one), CandidateToolchain::Built(other)) => one == other,
        (
            CandidateToolchain::Unknown
            | CandidateToolchain::Broken
            | CandidateToolchain::Built(_)
            | CandidateToolchain::Itself,
            CandidateToolchain::Unknown
            | CandidateToolchain::Broken
            | CandidateToolchain::Built(_)
            | CandidateToolchain::Itself,
        ) => false,
    }
}
