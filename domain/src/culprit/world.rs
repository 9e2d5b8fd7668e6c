//! One case in one world: the real one, or one in which some probes have ended in an imagined way.

use super::claim::{Claim, Conclusion};
use super::noise::Rate;
use super::posterior::Posterior;
use super::toolchains::Toolchains;
use super::{CaseRunResult, SearchedCase, Tally};

/// Segments that are looked into.
const HEAVIEST: usize = 5;
/// What a run is worth, in bits, without which an answer may not be given.
const LACKING: f64 = 0.5;

/// A case, and how many others are like it.
pub(super) struct Open<'a> {
    case: &'a SearchedCase,
    cases: usize,
    failing: Rate,
    passing: Rate,
}

impl<'a> Open<'a> {
    /// `more` runs than now may be imagined.
    pub fn new(case: &'a SearchedCase, cases: usize, more: usize) -> Open<'a> {
        let runs = case.runs.len() + more;
        let (failing, passing) = (Rate::of_failing(case.good, runs), Rate::of_passing(case.bad, runs));
        Open { case, cases, failing, passing }
    }

    pub fn posterior(&self, seen: &[(usize, Tally)]) -> Posterior<'a> {
        Posterior::new(&self.case.prior, &self.failing, &self.passing, seen)
    }
}

/// Runs by their changes, in the range's order.
pub(super) fn tallies(runs: &[CaseRunResult]) -> Vec<(usize, Tally)> {
    let mut seen = Vec::new();
    for run in runs {
        count(&mut seen, run);
    }
    seen
}

fn count(seen: &mut Vec<(usize, Tally)>, run: &CaseRunResult) {
    let index = seen.partition_point(|(at, _)| *at < run.at);
    if seen.get(index).is_none_or(|(at, _)| *at != run.at) {
        seen.insert(index, (run.at, Tally::default()));
    }
    seen[index].1.count(run.failed);
}

#[derive(Clone)]
pub(super) struct World<'a> {
    open: &'a Open<'a>,
    runs: Vec<CaseRunResult>,
    seen: Vec<(usize, Tally)>,
    pub posterior: Posterior<'a>,
    claim: Option<Claim>,
    /// Where runs are still to be seen before what is claimed may be said.
    lacking: Vec<usize>,
}

impl<'a> World<'a> {
    pub fn new(open: &'a Open<'a>, toolchains: &Toolchains, sure: f64) -> World<'a> {
        let runs = open.case.runs.clone();
        let seen = tallies(&runs);
        let posterior = open.posterior(&seen);
        let mut world = World { open, runs, seen, posterior, claim: None, lacking: vec![] };
        world.judge(toolchains, sure);
        world
    }

    fn judge(&mut self, toolchains: &Toolchains, sure: f64) {
        self.claim = Claim::of(&self.posterior, toolchains, sure);
        self.lacking = self.claim.map_or(vec![], |claim| claim.lacks(&self.runs));
    }

    pub fn verdict(&self) -> Option<Conclusion> {
        self.claim.filter(|_| self.lacking.is_empty()).map(|claim| claim.verdict)
    }

    pub fn lacks(&self, at: usize) -> bool {
        self.lacking.contains(&at)
    }

    /// Goes on as if a run had ended so, on the machine that ran last.
    pub fn imagine(&mut self, at: usize, failed: bool, toolchains: &Toolchains, sure: f64) {
        let worker = self.runs.last().map_or(0, |run| run.worker);
        let run = CaseRunResult { at, worker, failed };
        count(&mut self.seen, &run);
        self.runs.push(run);
        self.posterior = self.open.posterior(&self.seen);
        self.judge(toolchains, sure);
    }

    /// What a run would be worth to these cases, in bits.
    pub fn gain(&self, at: usize) -> f64 {
        let told = self.posterior.outlook(at);
        let lacking = if self.lacks(at) { LACKING } else { 0.0 };
        self.open.cases as f64 * told.max(lacking)
    }

    /// The few changes most worth a run to these cases alone, by `price` of change and gain.
    pub fn nominate(
        &self,
        toolchains: &Toolchains,
        few: usize,
        price: impl Fn(usize, f64) -> f64,
    ) -> impl Iterator<Item = usize> {
        let mut priced: Vec<(f64, usize)> =
            self.candidates(toolchains).into_iter().map(|at| (price(at, self.gain(at)), at)).collect();
        priced.sort_by(|one, other| other.0.total_cmp(&one.0));
        priced.into_iter().take(few).map(|(_, at)| at)
    }

    /// Where the gain may be greatest: the ends of where the truth probably lies, and what divides it best.
    fn candidates(&self, toolchains: &Toolchains) -> Vec<usize> {
        let mut heaviest: Vec<usize> = (0..self.posterior.segments.len()).collect();
        let weight = |index: usize| self.posterior.segments[index].weight;
        heaviest.sort_by(|&one, &other| weight(other).total_cmp(&weight(one)));
        heaviest.truncate(HEAVIEST);
        let mut candidates = self.lacking.clone();
        for index in heaviest {
            let hypotheses = &self.posterior.segments[index].hypotheses;
            candidates.push(hypotheses.start().saturating_sub(1));
            candidates.push(*hypotheses.end().min(&self.posterior.changes()));
            let Some(best) = self.posterior.best_inside(index) else { continue };
            // The best lies between two changes.
            for at in [best.saturating_sub(1), best] {
                candidates.extend(toolchains.near(at));
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|&at| !toolchains.is_broken(at));
        candidates
    }
}
