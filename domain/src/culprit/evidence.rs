//! What is known of a case: its runs in the range, and its histories outside of it.

use std::sync::Arc;

use super::prior::Prior;

/// How often a case failed and passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// Runs in which it failed.
    pub fails: u32,
    /// Runs in which it passed.
    pub passes: u32,
}

impl Tally {
    /// Adds one run.
    pub fn count(&mut self, failed: bool) {
        self.fails += u32::from(failed);
        self.passes += u32::from(!failed);
    }
}

impl std::ops::Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally { fails: self.fails + other.fails, passes: self.passes + other.passes }
    }
}

impl std::ops::Sub for Tally {
    type Output = Tally;

    fn sub(self, other: Tally) -> Tally {
        Tally { fails: self.fails - other.fails, passes: self.passes - other.passes }
    }
}

/// The result of one run for one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CaseRunResult {
    /// Index of its change in the range; 0 is the good end.
    pub at: usize,
    /// Any number, the same for all runs of one machine.
    pub worker: i64,
    /// Whether the case failed.
    pub failed: bool,
}

/// A case that broke in the range. Each case has a posterior of its own: cases do not vote for each other, since one
/// faulty machine would then outvote the truth.
#[derive(Debug, Clone)]
pub struct SearchedCase {
    /// Shared by the cases of a breakage.
    pub prior: Arc<Prior>,
    /// Runs outside the range where the case is known to be good.
    pub good: Tally,
    /// Runs outside the range where the case is known to be broken.
    pub bad: Tally,
    /// Runs in the range, in the order in which they were made.
    pub runs: Vec<CaseRunResult>,
}
