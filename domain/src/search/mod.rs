//! The search for the change that caused one breakage: from what is known of it to what to do next.
//!
//! The inference is `culprit`'s. This module adds what it leaves out: machines differ, neighbouring changes share
//! toolchains, the cases of a breakage may have different culprits, an answer needs proof on one machine, and a search has
//! a budget.

mod belief;
mod ending;
mod inputs;
mod machines;
mod pause;
mod proof;
mod searched;
pub mod selection;
mod step;
pub mod suspicion;
#[cfg(test)]
mod tests;
mod toolchain_groups;

use crate::culprit::{self, ANNOUNCED};
use crate::numbers::{index, real, whole};
use crate::words::ids::{Timestamp, WorkerId};
pub use belief::{Belief, ExcludedWorker};
use inputs::passed;
pub use inputs::{
    AvailableWorker, Candidate, CandidateToolchain, PastSearches, RunScope, SearchInputs, SearchRun,
};
use machines::Machines;
pub use pause::{PauseReason, pause};
pub use proof::{WorkerProof, proof};
use searched::searched_cases;
use selection::Selection;
pub use step::{ProbeRequest, SearchResult, SearchStep};
use toolchain_groups::ToolchainGroups;

/// The budget of a search: the cost of so many toolchains and suites.
const MAX_COSTS: f64 = 20.0;
/// How many probes a search may make, even if they cost more than the budget.
const MIN_PROBES: u32 = 40;
/// How many probes a search may make, however cheap they are.
const MAX_PROBES: u32 = 200;
/// How often a split renews the budget of a search.
pub const MAX_RENEWED: u32 = 3;
/// An answer whose probability falls below this is taken back.
const DOUBT: f64 = 0.5;

/// Decides what to do next, and returns what the search believes so far.
pub fn next(facts: &SearchInputs) -> (SearchStep, Belief) {
    let groups = ToolchainGroups::new(&facts.range);
    let selection = selection::judge(facts, &groups);
    let whole_only = || next_of(&selection::without_selected(facts), Selection::Off);
    if !selection.counts() {
        return whole_only();
    }
    let (step, belief) = next_of(facts, selection);
    let next = match &step {
        // A case may do alone what it does not do among the others: whole runs have to agree.
        SearchStep::Found(SearchResult::Named { .. } | SearchResult::OneOf { .. }) => {
            match selection::unconfirmed(facts, &groups, &step).as_slice() {
                [] => step,
                missing if is_spent(facts) || selection::is_mute(facts, &groups, missing) => {
                    return whole_only();
                }
                missing => selection::probes_of(facts, &groups, missing, false),
            }
        }
        // That no change is to blame, only whole runs show.
        SearchStep::Found(_) => return whole_only(),
        SearchStep::Ask(_) if selection == Selection::Trial => {
            match selection::trials(facts, &groups).as_slice() {
                [] => step,
                untried => selection::probes_of(facts, &groups, untried, true),
            }
        }
        SearchStep::Ask(_) | SearchStep::Wait | SearchStep::Split(_) => step,
    };
    (next, belief)
}

/// What to do next by these runs, whatever they ran.
fn next_of(facts: &SearchInputs, selection: Selection) -> (SearchStep, Belief) {
    let groups = ToolchainGroups::new(&facts.range);
    let machines = Machines::new(facts, &groups);
    let (cases, searched) = searched_cases(facts, &groups, &machines);
    let mut toolchains = groups.toolchains();
    for (group, toolchain) in toolchains.iter_mut().enumerate() {
        if is_mute(facts, &groups, group) {
            *toolchain = culprit::ToolchainSupply::Broken;
        }
    }
    let ends_are_mute = [0, groups.head()].into_iter().any(|group| is_mute(facts, &groups, group));
    let belief = belief(facts, &groups, &machines, &searched);
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
        cases: searched,
        pending: facts.pending.iter().map(|&at| groups.group_of(at)).collect(),
        idle: proven.iter().map(|available_worker| index(available_worker.free)).sum(),
        standard: ending::standard(facts),
    };
    let answer = culprit::answer(&question);
    let ending = ending::ending(facts, &groups, &machines, &cases, &question.cases, &answer.verdicts);
    let next = match ending {
        Some(next) => match ending::unproven(&groups, &next, &question.cases, question.standard) {
            None => next,
            Some(_) if is_spent(facts) => ending::when_budget_is_spent(facts, &groups, &question.cases),
            Some(missing) => ending::prove(facts, &groups, &proven, missing),
        },
        None if ends_are_mute => SearchStep::Found(SearchResult::Inconclusive),
        None if is_spent(facts) => ending::when_budget_is_spent(facts, &groups, &question.cases),
        None if proven.is_empty() => machines.prove(facts),
        None => ask(&groups, &answer.probes, proven, &machines),
    };
    let next = match next {
        SearchStep::Ask(mut requests) => {
            for request in &mut requests {
                request.selected = selection.is_selected_at(groups.group_of(request.at), groups.head());
            }
            SearchStep::Ask(requests)
        }
        SearchStep::Wait | SearchStep::Split(_) | SearchStep::Found(_) => next,
    };
    (next, belief)
}

/// How often a result is taken back at most: evidence that always contradicts itself must not be searched for ever.
pub const MAX_REOPENED: u32 = 3;

/// Whether the result of a search that has ended is no longer probable, after the runs that were made since.
pub fn is_doubtful(facts: &SearchInputs, found: SearchResult) -> bool {
    let groups = ToolchainGroups::new(&facts.range);
    let whole = (!selection::judge(facts, &groups).counts()).then(|| selection::without_selected(facts));
    let facts = whole.as_ref().unwrap_or(facts);
    let (_, searched) = searched_cases(facts, &groups, &Machines::new(facts, &groups));
    let belief = |case: &culprit::SearchedCase| {
        let posterior = culprit::believe(case);
        match found {
            SearchResult::Named { parent, culprit: last } | SearchResult::OneOf { parent, last } => {
                (groups.group_of(parent) + 1..=groups.group_of(last)).map(|group| posterior.of(group)).sum()
            }
            // A case that fails in every run since a change is not flaky either, if that is as certain as an answer.
            SearchResult::Flaky => match 1.0 - posterior.of(0) - posterior.of(posterior.changes() + 1) {
                trunk if trunk >= ANNOUNCED => 1.0 - trunk,
                _ => 1.0 - posterior.since(),
            },
            SearchResult::Environment => posterior.of(0),
            SearchResult::Inconclusive => 1.0,
        }
    };
    let beliefs: Vec<f64> = searched.iter().map(belief).collect();
    // One of many flaky cases may be broken for good.
    let is_out = |belief: &f64| found == SearchResult::Flaky && *belief <= 1.0 - ANNOUNCED;
    let all: f64 = beliefs.iter().sum();
    beliefs.iter().any(is_out) || !beliefs.is_empty() && all / real(beliefs.len()) < DOUBT
}

/// Whether runs at a group had no verdict so often that another probe is no use.
fn is_mute(facts: &SearchInputs, groups: &ToolchainGroups, group: usize) -> bool {
    let here = facts.runs.iter().filter(|run| groups.group_of(run.at) == group);
    let has_verdict = |run: &SearchRun| {
        facts.cases.keys().any(|case| run.verdicts.get(case).copied().and_then(passed).is_some())
    };
    let (with_verdict, mute): (Vec<&SearchRun>, Vec<&SearchRun>) = here.partition(|run| has_verdict(run));
    with_verdict.is_empty() && mute.len() >= selection::MUTE_RUNS
}

/// Whether the search has used up its budget.
pub fn is_spent(facts: &SearchInputs) -> bool {
    let allowed = MAX_COSTS * (facts.cost.build + facts.cost.suite);
    facts.probes >= MAX_PROBES || (facts.probes >= MIN_PROBES && facts.spent_seconds >= allowed)
}

/// Since when the builds of a search count against its budget, by the times at which other breakages were split off from
/// it, oldest first. What was spent before a split served all parts and revealed them, so each part may spend a budget on
/// what was revealed. Only the first splits renew the budget, so a search of many parts ends as well.
pub fn budget_since(splits: &[Timestamp]) -> Timestamp {
    splits.iter().take(index(MAX_RENEWED)).copied().max().unwrap_or(Timestamp(0))
}

fn belief(
    facts: &SearchInputs,
    groups: &ToolchainGroups,
    machines: &Machines,
    searched: &[culprit::SearchedCase],
) -> Belief {
    let mut belief =
        Belief { changes: vec![0.0; facts.range.len()], left_out: machines.left_out(), ..Belief::default() };
    let share = 1.0 / real(searched.len().max(1));
    let mut left = 0.0_f64;
    for case in searched {
        let posterior = culprit::believe(case);
        belief.environment += share * posterior.of(0);
        belief.flaky += share * posterior.of(groups.head() + 1);
        belief.intermittent += share * posterior.since();
        for group in 1..=groups.head() {
            belief.changes[groups.first_of(group)] += share * posterior.of(group);
        }
        left = left.max(posterior.probes_left());
    }
    belief.probes_left = u32::try_from(whole(left.ceil())).unwrap_or(u32::MAX);
    belief
}

/// Distributes the probes to the workers with free slots. The worker that ran last is first, since proof is needed on one
/// machine.
fn ask(
    groups: &ToolchainGroups,
    probes: &[culprit::Probe],
    mut available_workers: Vec<AvailableWorker>,
    machines: &Machines,
) -> SearchStep {
    available_workers.sort_by_key(|available_worker| Some(available_worker.worker) != machines.last());
    let mut slots: Vec<WorkerId> = Vec::new();
    for available_worker in &available_workers {
        slots.extend(std::iter::repeat_n(available_worker.worker, index(available_worker.free)));
    }
    let asks: Vec<ProbeRequest> = probes
        .iter()
        .zip(slots)
        .map(|(probe, worker)| ProbeRequest {
            at: groups.first_of(probe.at),
            worker,
            purpose: probe.purpose,
            bits: probe.bits,
            selected: false,
        })
        .collect();
    if asks.is_empty() { SearchStep::Wait } else { SearchStep::Ask(asks) }
}
