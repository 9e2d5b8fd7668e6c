//! The hunt for one breakage's culprit: from what is known of it to what is to be done next.
//!
//! The arithmetic is `culprit`'s. Here is what life adds: machines differ, changes share toolchains, cases come apart,
//! an answer needs proof on one machine, and a search ends when it has cost enough.

mod axis;
mod ending;
mod machines;
pub mod suspicion;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::{Sha256, Verdict};

use crate::culprit::{self, ANNOUNCED, Cost, Prior, Purpose, Tally};
use crate::outcome::words;
use crate::words::ids::{CaseId, ChangeId, WorkerId};
use axis::Axis;
use machines::Machines;

/// A change of the range; the first is the last good one, the last the first bad one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub change: ChangeId,
    pub toolchain: CandidateToolchain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateToolchain {
    /// Nobody built it yet.
    Unknown,
    /// There is none to test with.
    Broken,
    Built(Sha256),
    /// The toolchain is what is being tested: each probe builds it.
    Itself,
}

/// What one run on one change said of the breakage's cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRun {
    /// Index of its change in the range.
    pub at: usize,
    pub worker: WorkerId,
    pub environment: Option<Sha256>,
    /// It raised the alarm, at one end or the other. The prior knows of that already, so it is no evidence twice; but
    /// it shows what its machine does.
    pub is_alarm: bool,
    pub verdicts: BTreeMap<CaseId, Verdict>,
}

/// How searches of a trunk have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PastSearches {
    pub ended: u32,
    pub flaky: u32,
    pub environment: u32,
}

/// A worker that may probe, and for how many builds it has room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvailableWorker {
    pub worker: WorkerId,
    pub free: u32,
}

/// All that a search goes by.
#[derive(Debug, Clone)]
pub struct SearchInputs {
    pub range: Vec<Candidate>,
    /// How suspicious each change behind the good end is.
    pub suspicion: Vec<f64>,
    /// What each case did before the range, and where it was known to be bad.
    pub cases: BTreeMap<CaseId, (Tally, Tally)>,
    /// In the order in which they were made.
    pub runs: Vec<SearchRun>,
    pub past: PastSearches,
    /// How many of the trunk's changes have no toolchain.
    pub unbuildable: f64,
    /// Seconds of a worker's time.
    pub cost: Cost,
    pub spent_seconds: f64,
    pub probes: u32,
    /// Changes for which a probe, or the toolchain for one, is under way.
    pub pending: Vec<usize>,
    /// Those that are here; first the one where the alarm was raised.
    pub available_workers: Vec<AvailableWorker>,
    /// Where the alarm was raised, and whether to wait for it while it is away.
    pub alarm: Option<WorkerId>,
    pub await_alarm: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ProbeRequest {
    /// Index in the range. Where nobody built the toolchain yet, that comes first.
    pub at: usize,
    pub worker: WorkerId,
    pub purpose: Purpose,
    pub bits: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SearchStep {
    /// Nothing to do before something is told, or somebody comes.
    Wait,
    Ask(Vec<ProbeRequest>),
    /// These cases did otherwise than the rest: they are a breakage of their own.
    Split(BTreeSet<CaseId>),
    Found(SearchResult),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchResult {
    /// Passed at `parent` and failed at `culprit`, its next change.
    Named {
        parent: usize,
        culprit: usize,
    },
    /// What lies between has no toolchain, or the budget is spent: one of `parent + 1 ..= last`.
    OneOf {
        parent: usize,
        last: usize,
    },
    Flaky,
    Environment,
    /// The budget is spent.
    Inconclusive,
}

/// What is thought by now, for people to see. Probabilities are means over the cases.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Belief {
    pub environment: f64,
    pub flaky: f64,
    /// Of each change of the range; the good end has none.
    pub changes: Vec<f64>,
    /// How likely the case fails only now and then since the culprit.
    pub intermittent: f64,
    /// How many more probes are to be expected.
    pub probes_left: u32,
    /// Whose runs do not count, and why.
    pub left_out: Vec<(WorkerId, ExcludedWorker)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExcludedWorker {
    /// It has not passed the good end itself.
    Unproven,
    /// It fails at the good end, where another passes.
    FailsThere,
    /// It passes at the bad end, where another fails.
    PassesThere,
}

/// Why a search does not go on, or came no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// Its project or platform is no longer in the configuration.
    Retired,
    /// An end of its range is not on the branch any more.
    Rewound,
    /// No worker that may probe is here.
    Nobody,
    /// Its probes came to nothing again and again.
    InVain,
    /// It cost as much as a search may.
    Spent,
}

words!(ExcludedWorker { Unproven = "unproven", FailsThere = "fails-there", PassesThere = "passes-there" });
words!(PauseReason {
    Retired = "retired", Rewound = "rewound", Nobody = "nobody", InVain = "in-vain", Spent = "spent",
});

/// Toolchains and suites that a search may cost, and the suites that it may run in any case.
const MAX_COSTS: f64 = 20.0;
const MIN_RUNS: u32 = 40;
/// A change at which so many runs said nothing of any case is stepped around.
const MUTE: usize = 2;
/// However cheap they are.
const MAX_RUNS: u32 = 200;
/// The wait after a probe that our own trouble brought to nothing; four times as long after each further one in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// With these waits three and a half hours have passed then.
const MAX_IN_VAIN: u32 = 7;
/// An answer that is as doubtful as this is taken back.
const DOUBT: f64 = 0.5;

/// How long to wait after so many probes in a row that came to nothing; none when it is no use to go on.
pub fn pause(in_vain: u32) -> Option<Duration> {
    match in_vain {
        0 => Some(Duration::ZERO),
        MAX_IN_VAIN.. => None,
        again => Some(FIRST_PAUSE * 4_u32.pow(again - 1)),
    }
}

impl PastSearches {
    /// The means of Beta(1, 9) and Beta(3, 7), which is what one thinks before any search has ended.
    fn environment_and_flaky(self) -> (f64, f64) {
        let share = |before: f64, seen: u32| (before + f64::from(seen)) / (10.0 + f64::from(self.ended));
        (share(1.0, self.environment), share(3.0, self.flaky))
    }
}

/// Says what to do next, and what is thought by now.
pub fn next(facts: &SearchInputs) -> (SearchStep, Belief) {
    let axis = Axis::of(&facts.range);
    let machines = Machines::of(facts, &axis);
    let (cases, known) = cases(facts, &axis, &machines);
    let mut toolchains = axis.toolchains();
    for (place, toolchain) in toolchains.iter_mut().enumerate() {
        if is_mute(facts, &axis, place) {
            *toolchain = culprit::ToolchainSupply::Broken;
        }
    }
    let ends_are_mute = [0, axis.head()].into_iter().any(|place| is_mute(facts, &axis, place));
    let belief = think(facts, &axis, &machines, &known);
    let proven: Vec<AvailableWorker> = facts
        .available_workers
        .iter()
        .copied()
        .filter(|available_worker| machines.is_proven(available_worker.worker))
        .collect();
    let question = culprit::Question {
        toolchains,
        cost: facts.cost,
        unbuildable: facts.unbuildable,
        cases: known,
        pending: facts.pending.iter().map(|&at| axis.place_of(at)).collect(),
        idle: proven.iter().map(|available_worker| available_worker.free as usize).sum(),
        sure: ANNOUNCED,
    };
    let answer = culprit::answer(&question);
    let ending = ending::of(facts, &axis, &machines, &cases, &question.cases, &answer.verdicts);
    let next = match ending {
        Some(next) => next,
        None if ends_are_mute => SearchStep::Found(SearchResult::Inconclusive),
        None if is_spent(facts) => ending::spent(facts, &axis, &question.cases),
        None if proven.is_empty() => machines.prove(facts),
        None => ask(&axis, &answer.probes, proven, &machines),
    };
    (next, belief)
}

/// Whether what was found no longer agrees with what has become known since.
pub fn is_doubtful(facts: &SearchInputs, found: SearchResult) -> bool {
    let axis = Axis::of(&facts.range);
    let (_, known) = cases(facts, &axis, &Machines::of(facts, &axis));
    let belief = |case: &culprit::SearchedCase| {
        let posterior = culprit::believe(case);
        match found {
            SearchResult::Named { parent, culprit: last } | SearchResult::OneOf { parent, last } => {
                (axis.place_of(parent) + 1..=axis.place_of(last)).map(|place| posterior.of(place)).sum()
            }
            // What fails in every run since a change is no longer flaky either, where that is as sure as an answer is.
            SearchResult::Flaky => match 1.0 - posterior.of(0) - posterior.of(posterior.changes() + 1) {
                trunk if trunk >= ANNOUNCED => 1.0 - trunk,
                _ => 1.0 - posterior.since(),
            },
            SearchResult::Environment => posterior.of(0),
            SearchResult::Inconclusive => 1.0,
        }
    };
    let beliefs: Vec<f64> = known.iter().map(belief).collect();
    // Among many that are flaky one may be broken for good.
    let is_out = |belief: &f64| found == SearchResult::Flaky && *belief <= 1.0 - ANNOUNCED;
    let all: f64 = beliefs.iter().sum();
    beliefs.iter().any(is_out) || !beliefs.is_empty() && all / (beliefs.len() as f64) < DOUBT
}

/// Whether runs at a place have said nothing so often that it is no use to ask again.
fn is_mute(facts: &SearchInputs, axis: &Axis, place: usize) -> bool {
    let here = facts.runs.iter().filter(|run| axis.place_of(run.at) == place);
    let tells = |run: &SearchRun| {
        facts.cases.keys().any(|case| run.verdicts.get(case).copied().and_then(passed).is_some())
    };
    let (telling, mute): (Vec<&SearchRun>, Vec<&SearchRun>) = here.partition(|run| tells(run));
    telling.is_empty() && mute.len() >= MUTE
}

/// Whether it has cost as much as a search may.
pub fn is_spent(facts: &SearchInputs) -> bool {
    let allowed = MAX_COSTS * (facts.cost.build + facts.cost.suite);
    facts.probes >= MAX_RUNS || (facts.probes >= MIN_RUNS && facts.spent_seconds >= allowed)
}

/// The cases as the arithmetic wants them.
fn cases(
    facts: &SearchInputs,
    axis: &Axis,
    machines: &Machines,
) -> (Vec<CaseId>, Vec<culprit::SearchedCase>) {
    let (environment, flaky) = facts.past.environment_and_flaky();
    let prior = Arc::new(Prior::new(environment, flaky, &axis.sums(&facts.suspicion)));
    let known = |(&case, &(good, bad)): (&CaseId, &(Tally, Tally))| {
        let runs = facts.runs.iter().filter(|run| !run.is_alarm && machines.counts(run, case));
        let runs = runs.filter_map(|run| {
            let failed = !passed(*run.verdicts.get(&case)?)?;
            Some(culprit::CaseRunResult { at: axis.place_of(run.at), worker: run.worker.0, failed })
        });
        (case, culprit::SearchedCase { prior: prior.clone(), good, bad, runs: runs.collect() })
    };
    facts.cases.iter().map(known).unzip()
}

fn think(facts: &SearchInputs, axis: &Axis, machines: &Machines, known: &[culprit::SearchedCase]) -> Belief {
    let mut belief =
        Belief { changes: vec![0.0; facts.range.len()], left_out: machines.left_out(), ..Belief::default() };
    let share = 1.0 / known.len().max(1) as f64;
    let mut left = 0.0_f64;
    for case in known {
        let posterior = culprit::believe(case);
        belief.environment += share * posterior.of(0);
        belief.flaky += share * posterior.of(axis.head() + 1);
        belief.intermittent += share * posterior.since();
        for place in 1..=axis.head() {
            belief.changes[axis.first_of(place)] += share * posterior.of(place);
        }
        left = left.max(posterior.probes_left());
    }
    belief.probes_left = left.ceil() as u32;
    belief
}

/// Gives the probes to those who have room, the one that ran last before all others: proof is wanted on one machine.
fn ask(
    axis: &Axis,
    probes: &[culprit::Probe],
    mut available_workers: Vec<AvailableWorker>,
    machines: &Machines,
) -> SearchStep {
    available_workers.sort_by_key(|available_worker| Some(available_worker.worker) != machines.last());
    let mut room: Vec<WorkerId> = Vec::new();
    for available_worker in &available_workers {
        room.extend(std::iter::repeat_n(available_worker.worker, available_worker.free as usize));
    }
    let asks: Vec<ProbeRequest> = probes
        .iter()
        .zip(room)
        .map(|(probe, worker)| ProbeRequest {
            at: axis.first_of(probe.at),
            worker,
            purpose: probe.purpose,
            bits: probe.bits,
        })
        .collect();
    if asks.is_empty() { SearchStep::Wait } else { SearchStep::Ask(asks) }
}

/// Whether a case passed; none when the run says nothing of it.
fn passed(verdict: Verdict) -> Option<bool> {
    match verdict {
        Verdict::Pass | Verdict::Xfail | Verdict::Xpass => Some(true),
        Verdict::Fail | Verdict::Error => Some(false),
        Verdict::Skip | Verdict::Missing | Verdict::Unreached => None,
    }
}
