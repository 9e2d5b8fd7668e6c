//! What it takes to name a change, beyond a high posterior: passes without it and failures with it on one machine, and
//! that luck does not explain them.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::CaseRunResult;

/// The posterior probability at which a change is named, and its author gets a mail. It takes about two more probes.
pub const ANNOUNCED: f64 = 0.999;
/// How many passes without a change, and failures with it, stand behind an announcement.
const PROOF_RUNS: usize = 3;
/// How likely luck may still be, compared with the culprit, when a change is announced. Flaky cases are searched more often
/// than broken ones where a suite is noisy, so this is less than what the posterior leaves open.
const LUCK: f64 = 0.0001;

/// What it takes to name a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standard {
    /// The posterior probability that it needs, from 0 to 1.
    pub posterior: f64,
    /// How many passes just before the change, and how many failures at it, one worker must have seen.
    pub runs: usize,
    /// Whether the runs must also be no luck of a case that fails at any rate which its history allows.
    pub rules_out_luck: bool,
}

impl Standard {
    /// What an announcement needs: its author gets a mail, and an innocent one must not.
    pub fn of_announcement() -> Standard {
        Standard { posterior: ANNOUNCED, runs: PROOF_RUNS, rules_out_luck: true }
    }

    /// Whether an answer of this posterior weight is certain enough; `luck` is the weight of luck on the same scale.
    pub(super) fn allows(&self, weight: f64, luck: f64) -> bool {
        weight >= self.posterior && (!self.rules_out_luck || luck <= LUCK * weight)
    }
}

/// How often a case passed and failed at each change, on each machine.
pub(super) struct RunCounts(BTreeMap<(i64, usize, bool), usize>);

impl RunCounts {
    pub fn new(runs: &[CaseRunResult]) -> RunCounts {
        let mut counts = BTreeMap::new();
        for run in runs {
            *counts.entry((run.worker, run.at, run.failed)).or_default() += 1;
        }
        RunCounts(counts)
    }

    pub fn of(&self, worker: i64, at: usize, failed: bool) -> usize {
        self.0.get(&(worker, at, failed)).copied().unwrap_or(0)
    }

    pub fn workers(&self) -> BTreeSet<i64> {
        self.0.keys().map(|(worker, _, _)| *worker).collect()
    }

    /// The changes at which a machine saw at least so many passes, or failures.
    pub fn with(&self, worker: i64, failed: bool, runs: usize) -> impl Iterator<Item = usize> + Clone {
        let of_it = move |&(&(by, _, how), &count): &(&(i64, usize, bool), &usize)| {
            (by, how) == (worker, failed) && count >= runs
        };
        self.0.iter().filter(of_it).map(|(&(_, at, _), _)| at)
    }
}
