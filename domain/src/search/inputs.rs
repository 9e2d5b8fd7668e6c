//! What a search is given: the range, its cases, their runs, and who can run more.

use std::collections::BTreeMap;

use protocol::{Sha256, Verdict};

use crate::culprit::{Cost, Tally};
use crate::words::ids::{CaseId, ChangeId, WorkerId};

/// A change of the range; the first is the last good one, the last the first bad one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The change.
    pub change: ChangeId,
    /// What there is to test it with.
    pub toolchain: CandidateToolchain,
}

/// The toolchain of a change of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateToolchain {
    /// It is not built yet.
    Unknown,
    /// It cannot be built.
    Broken,
    /// It is built, and has this hash.
    Built(Sha256),
    /// The toolchain is what is tested: each probe builds it.
    Itself,
}

/// One run on one change, with its verdicts for the breakage's cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRun {
    /// Index of its change in the range.
    pub at: usize,
    /// The worker that made it.
    pub worker: WorkerId,
    /// The worker's environment at that time, if it is known.
    pub environment: Option<Sha256>,
    /// Whether it raised the alarm, at one end or the other. The prior contains that already, so it is not evidence a
    /// second time; but it shows how its machine behaves.
    pub is_alarm: bool,
    /// How much of the suite it ran.
    pub scope: RunScope,
    /// By case; a case that the run did not report may be absent.
    pub verdicts: BTreeMap<CaseId, Verdict>,
}

/// How much of a suite a run was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RunScope {
    /// All of it.
    #[default]
    Whole,
    /// Only the cases in question: it says nothing about others.
    Selected,
    /// Only the cases in question, and it ran most of the suite nevertheless.
    Ignored,
}

/// How searches of a trunk have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PastSearches {
    /// How many have ended.
    pub ended: u32,
    /// How many of them found that the case is flaky.
    pub flaky: u32,
    /// How many of them found that the environment is to blame.
    pub environment: u32,
}

impl PastSearches {
    /// The prior probabilities that the environment is to blame, and that a case is flaky: the posterior means of a
    /// Beta(1, 9) and a Beta(3, 7), which are the beliefs before any search has ended.
    pub(super) fn environment_and_flaky(self) -> (f64, f64) {
        let share = |before: f64, seen: u32| (before + f64::from(seen)) / (10.0 + f64::from(self.ended));
        (share(1.0, self.environment), share(3.0, self.flaky))
    }
}

/// A worker that may take probes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvailableWorker {
    /// The worker.
    pub worker: WorkerId,
    /// How many more builds it can start.
    pub free: u32,
}

/// All inputs of a search.
#[derive(Debug, Clone)]
pub struct SearchInputs {
    /// In first-parent order.
    pub range: Vec<Candidate>,
    /// How suspicious each change after the good end is; see [`super::suspicion`].
    pub suspicion: Vec<f64>,
    /// For each case its runs outside the range: where it is known to be good, and where it is known to be broken.
    pub cases: BTreeMap<CaseId, (Tally, Tally)>,
    /// In the order in which they were made.
    pub runs: Vec<SearchRun>,
    /// How earlier searches of the trunk ended.
    pub past: PastSearches,
    /// The share of the trunk's changes that have no toolchain, from 0 to 1.
    pub unbuildable: f64,
    /// In seconds of a worker's time.
    pub cost: Cost,
    /// What the search's builds have cost since [`super::budget_since`], in seconds of a worker's time.
    pub spent_seconds: f64,
    /// How many probes the search has made since then.
    pub probes: u32,
    /// Changes for which a probe, or the toolchain for one, is under way; indices in the range.
    pub pending: Vec<usize>,
    /// First the one that raised the alarm.
    pub available_workers: Vec<AvailableWorker>,
    /// The worker that raised the alarm.
    pub alarm: Option<WorkerId>,
    /// Whether to wait for it while it is away.
    pub await_alarm: bool,
    /// Whether the suite can be asked for these cases alone, and was not found to lie.
    pub selects: bool,
}

/// Whether a case passed; none if the run does not show it.
pub(super) fn passed(verdict: Verdict) -> Option<bool> {
    match verdict {
        Verdict::Pass | Verdict::Xfail | Verdict::Xpass => Some(true),
        Verdict::Fail | Verdict::Error => Some(false),
        Verdict::Skip | Verdict::Missing | Verdict::Unreached => None,
    }
}
