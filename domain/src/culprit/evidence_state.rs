//! The evidence on one case: the real runs, or the real ones and some that are simulated.

use super::conclusion::{Claim, Conclusion};
use super::evidence::{CaseRunResult, SearchedCase, Tally};
use super::noise::Rate;
use super::posterior::Posterior;
use super::proof::Standard;
use super::toolchains::Toolchains;
use crate::numbers::real;

/// How many segments are searched for candidates.
const HEAVIEST: usize = 5;
/// The value, in bits, of a run that must be seen before a conclusion may be drawn.
const MISSING: f64 = 0.5;

/// A case, and how many others have the same evidence.
pub(super) struct OpenCase<'a> {
    case: &'a SearchedCase,
    cases: usize,
    /// f
    failing: Rate,
    /// g
    passing: Rate,
    /// f of a flaky case, if nothing is taken for granted.
    luck: Rate,
}

impl<'a> OpenCase<'a> {
    /// At most `more` runs are simulated beside those of the case.
    pub fn new(case: &'a SearchedCase, cases: usize, more: usize) -> OpenCase<'a> {
        let runs = case.runs.len() + more;
        let (failing, passing) =
            (Rate::of_false_failures(case.good, runs), Rate::of_false_passes(case.bad, runs));
        OpenCase { case, cases, failing, passing, luck: Rate::of_luck(case.good, runs) }
    }

    pub fn posterior(&self, seen: &[(usize, Tally)]) -> Posterior<'a> {
        Posterior::new(&self.case.prior, &self.failing, &self.passing, seen)
    }

    /// The weight of the hypothesis that the case is flaky, on the posterior's scale, if any rate of failures that was not
    /// measured is as likely as any other.
    pub fn of_luck(&self, posterior: &Posterior, seen: &[(usize, Tally)]) -> f64 {
        let all = seen.iter().fold(Tally::default(), |sum, (_, tally)| sum + *tally);
        let [taken, any] = [&self.failing, &self.luck].map(|rate| rate.weigh(all.fails, all.passes).ln);
        posterior.of(posterior.changes() + 1) * (any - taken).exp()
    }
}

/// The runs of each change that has run, in the range's order.
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

/// A case's runs and what follows from them.
#[derive(Clone)]
pub(super) struct EvidenceState<'a> {
    open: &'a OpenCase<'a>,
    runs: Vec<CaseRunResult>,
    seen: Vec<(usize, Tally)>,
    pub posterior: Posterior<'a>,
    claim: Option<Claim>,
    /// The changes at which a run is still missing before the claim becomes a conclusion.
    missing: Vec<usize>,
}

impl<'a> EvidenceState<'a> {
    /// The real runs.
    pub fn new(open: &'a OpenCase<'a>, toolchains: &Toolchains, standard: Standard) -> EvidenceState<'a> {
        let runs = open.case.runs.clone();
        let seen = tallies(&runs);
        let posterior = open.posterior(&seen);
        let mut state = EvidenceState { open, runs, seen, posterior, claim: None, missing: vec![] };
        state.judge(toolchains, standard);
        state
    }

    fn judge(&mut self, toolchains: &Toolchains, standard: Standard) {
        self.claim = Claim::from_posterior(&self.posterior, toolchains, standard);
        let luck = self.open.of_luck(&self.posterior, &self.seen);
        self.claim = self.claim.map(|claim| claim.doubted(luck, standard));
        self.missing = self.claim.map_or(vec![], |claim| claim.missing(&self.runs));
    }

    pub fn conclusion(&self) -> Option<Conclusion> {
        self.claim.filter(|claim| claim.is_sure && self.missing.is_empty()).map(|claim| claim.conclusion)
    }

    /// Whether a run at this change is missing before a conclusion.
    pub fn is_missing(&self, at: usize) -> bool {
        self.missing.contains(&at)
    }

    /// Adds a simulated run, on the machine that ran last.
    pub fn simulate(&mut self, at: usize, failed: bool, toolchains: &Toolchains, standard: Standard) {
        let worker = self.runs.last().map_or(0, |run| run.worker);
        let run = CaseRunResult { at, worker, failed };
        count(&mut self.seen, &run);
        self.runs.push(run);
        self.posterior = self.open.posterior(&self.seen);
        self.judge(toolchains, standard);
    }

    /// The value of a run for all cases with this evidence together, in bits.
    pub fn gain(&self, at: usize) -> f64 {
        let information = self.posterior.expected_information(at);
        let missing = if self.is_missing(at) { MISSING } else { 0.0 };
        real(self.open.cases) * information.max(missing)
    }

    /// The few changes that are the most valuable for these cases, by `price` of a change and its gain.
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

    /// Where the gain can be greatest: the ends of the heaviest segments, and the change that divides each best. Inside
    /// a segment the gain is concave in the prior's cumulative sum, so no other change of it can be better.
    fn candidates(&self, toolchains: &Toolchains) -> Vec<usize> {
        let mut heaviest: Vec<usize> = (0..self.posterior.segments.len()).collect();
        let weight = |index: usize| self.posterior.segments[index].weight;
        heaviest.sort_by(|&one, &other| weight(other).total_cmp(&weight(one)));
        heaviest.truncate(HEAVIEST);
        let mut candidates = self.missing.clone();
        for index in heaviest {
            let hypotheses = &self.posterior.segments[index].hypotheses;
            candidates.push(hypotheses.start().saturating_sub(1));
            candidates.push(*hypotheses.end().min(&self.posterior.changes()));
            let Some(best) = self.posterior.best_inside(index) else { continue };
            // The optimum is between two changes.
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
