//! The range as the arithmetic sees it: of neighbours with the very same toolchain only the first can be to blame.

use super::{Candidate, CandidateToolchain};
use crate::culprit;

/// Places, each of one change or of several in a row with one toolchain.
pub(super) struct Axis {
    place_of: Vec<usize>,
    /// First and last change of each place, and what there is to test it with.
    places: Vec<(usize, usize, CandidateToolchain)>,
}

impl Axis {
    pub fn of(range: &[Candidate]) -> Axis {
        let mut axis = Axis { place_of: Vec::with_capacity(range.len()), places: Vec::new() };
        for (at, candidate) in range.iter().enumerate() {
            match axis.places.last_mut() {
                Some((_, last, toolchain)) if is_same(*toolchain, candidate.toolchain) => *last = at,
                Some(_) | None => axis.places.push((at, at, candidate.toolchain)),
            }
            axis.place_of.push(axis.places.len() - 1);
        }
        // Where all toolchains are equal no change of the trunk can be to blame; the ends are told apart all the same.
        if let ([(_, last, toolchain)], [.., _, _]) = (axis.places.as_mut_slice(), range) {
            let (head, toolchain) = (range.len() - 1, *toolchain);
            *last = head - 1;
            axis.places.push((head, head, toolchain));
            axis.place_of[head] = 1;
        }
        axis
    }

    pub fn place_of(&self, at: usize) -> usize {
        self.place_of[at]
    }

    pub fn first_of(&self, place: usize) -> usize {
        self.places[place].0
    }

    pub fn last_of(&self, place: usize) -> usize {
        self.places[place].1
    }

    /// The place of the bad end.
    pub fn head(&self) -> usize {
        self.places.len() - 1
    }

    pub fn toolchains(&self) -> Vec<culprit::ToolchainSupply> {
        let seen = |toolchain: &CandidateToolchain| match toolchain {
            CandidateToolchain::Unknown => culprit::ToolchainSupply::Unbuilt,
            CandidateToolchain::Broken => culprit::ToolchainSupply::Broken,
            // Each probe builds it, wherever it is.
            CandidateToolchain::Built(_) | CandidateToolchain::Itself => culprit::ToolchainSupply::Cached,
        };
        self.places.iter().map(|(_, _, toolchain)| seen(toolchain)).collect()
    }

    /// Adds up what belongs to the changes of each place behind the first. `of` begins at the second change.
    pub fn sums(&self, of: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.head()];
        for (at, value) in of.iter().enumerate() {
            if let Some(place) = self.place_of(at + 1).checked_sub(1) {
                sums[place] += value;
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
