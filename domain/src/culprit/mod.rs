//! Who broke it? The arithmetic of the search: what runs say of each change, and which run would say most.
//!
//! One axis holds all answers. A case is bad at change j just when j >= h, where h is 0 (bad at the good end already:
//! not the trunk), one of the changes 1..=n, or n + 1 (bad nowhere: flaky). Verdicts lie, at rates that are integrated
//! out. Everything here is exact, in log space, and takes time by the number of runs, not of changes.
//!
//! After M. Ben-Or, A. Hassidim: *The Bayesian Learner is Optimal for Noisy Binary Search* (FOCS 2008), and the Flake
//! Aware Culprit Finding of T. A. D. Henderson and others (ICST 2023).

mod claim;
mod noise;
mod posterior;
mod prior;
mod probes;
#[cfg(test)]
mod tests;
mod toolchains;
mod world;

use std::sync::Arc;

pub use claim::Conclusion;
pub use posterior::Posterior;
pub use prior::Prior;
pub use probes::{Probe, Purpose};
pub use toolchains::{Cost, ToolchainSupply};

use toolchains::Toolchains;
use world::{Open, World};

/// A search rests at this certainty, and a page may show what it found.
pub const SHOWN: f64 = 0.99;
/// Nobody hears of it by mail before this one. It takes about two more probes.
pub const ANNOUNCED: f64 = 0.999;

/// What runs of one case on one change did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    pub fails: u32,
    pub passes: u32,
}

impl Tally {
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

/// What one run said of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CaseRunResult {
    /// Index of its change in the range; 0 is the good end.
    pub at: usize,
    /// Any number, the same for the runs of one machine.
    pub worker: i64,
    pub failed: bool,
}

/// A case that went bad in the range. Each has a posterior of its own: cases never vote for each other, since one
/// bad machine would then outvote the truth.
#[derive(Debug, Clone)]
pub struct SearchedCase {
    pub prior: Arc<Prior>,
    /// What it did elsewhere where it is good, and where it is known to be bad.
    pub good: Tally,
    pub bad: Tally,
    pub runs: Vec<CaseRunResult>,
}

#[derive(Debug, Clone)]
pub struct Question {
    /// Of the good end, then of each change up to the bad end.
    pub toolchains: Vec<ToolchainSupply>,
    pub cost: Cost,
    /// How many of such changes cannot be built.
    pub unbuildable: f64,
    pub cases: Vec<SearchedCase>,
    /// Changes whose probes are under way.
    pub pending: Vec<usize>,
    /// Workers that wait for something to do.
    pub idle: usize,
    /// How sure to be of an answer.
    pub sure: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Of each case, once it is sure.
    pub verdicts: Vec<Option<Conclusion>>,
    /// What to run for those that are not, best first.
    pub probes: Vec<Probe>,
}

pub fn answer(question: &Question) -> Answer {
    let toolchains = Toolchains::new(&question.toolchains, question.cost, question.unbuildable);
    let more = question.pending.len() + question.idle;
    let (groups, group_of) = alike(&question.cases);
    let cases: Vec<Open> = groups.iter().map(|&(case, cases)| Open::new(case, cases, more)).collect();
    let worlds: Vec<World> = cases.iter().map(|open| World::new(open, &toolchains, question.sure)).collect();
    let verdicts = group_of.into_iter().map(|group| worlds[group].verdict()).collect();
    let undecided: Vec<World> = worlds.into_iter().filter(|world| world.verdict().is_none()).collect();
    let probes = probes::choose(&undecided, &toolchains, question);
    Answer { verdicts, probes }
}

/// What is thought of a case by now.
pub fn believe(case: &SearchedCase) -> Posterior<'_> {
    Open::new(case, 1, 0).posterior(&world::tallies(&case.runs))
}

/// Cases of which the same is known are thought about once. Says how many are like each, and which group each is in.
fn alike(cases: &[SearchedCase]) -> (Vec<(&SearchedCase, usize)>, Vec<usize>) {
    let mut groups: Vec<(&SearchedCase, usize)> = Vec::new();
    let mut known = std::collections::BTreeMap::new();
    let group_of = cases
        .iter()
        .map(|case| {
            let group = *known
                .entry((Arc::as_ptr(&case.prior), case.good, case.bad, &case.runs))
                .or_insert_with(|| {
                    groups.push((case, 0));
                    groups.len() - 1
                });
            groups[group].1 += 1;
            group
        })
        .collect();
    (groups, group_of)
}
