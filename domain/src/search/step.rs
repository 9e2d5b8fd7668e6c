//! What a search does next.

use std::collections::BTreeSet;

use crate::culprit::Purpose;
use crate::words::ids::{CaseId, WorkerId};

/// A probe for a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeRequest {
    /// Index of the change in the range. If its toolchain is not built yet, that is built first.
    pub at: usize,
    /// The worker that is to run it.
    pub worker: WorkerId,
    /// Why it is made.
    pub purpose: Purpose,
    /// The information to expect from it, in bits.
    pub bits: f64,
    /// Whether it runs only the cases in question.
    pub selected: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum SearchStep {
    /// There is nothing to do before a probe ends or a worker becomes available.
    Wait,
    /// Make these probes.
    Ask(Vec<ProbeRequest>),
    /// These cases behave differently from the others: make them a breakage of their own.
    Split(BTreeSet<CaseId>),
    /// The search has ended.
    Found(SearchResult),
}

/// How a search ends. Changes are indices in the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchResult {
    /// The cases pass at `parent` and fail at `culprit`, the next change.
    Named {
        /// The last good change.
        parent: usize,
        /// The change that broke the cases.
        culprit: usize,
    },
    /// One of `parent + 1 ..= last`: the changes between have no toolchain, or the budget is spent.
    OneOf {
        /// The last good change.
        parent: usize,
        /// The first change that is known to be bad.
        last: usize,
    },
    /// The cases fail now and then, whatever the change is.
    Flaky,
    /// The trunk is not to blame, but a machine or the environment.
    Environment,
    /// The budget is spent, and the evidence shows nothing.
    Inconclusive,
}
