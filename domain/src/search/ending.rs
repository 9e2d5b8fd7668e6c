//! When a search ends, and how: with an answer that is proven on one machine, or with "one of these".

use std::collections::{BTreeMap, BTreeSet};

use super::inputs::{AvailableWorker, CandidateToolchain, SearchInputs, passed};
use super::machines::Machines;
use super::proof::{self, WorkerProof};
use super::step::{ProbeRequest, SearchResult, SearchStep};
use super::toolchain_groups::ToolchainGroups;
use crate::culprit::{self, Conclusion, Purpose, SearchedCase, Standard};
use crate::numbers::index;
use crate::words::ids::{CaseId, WorkerId};

/// A case that has the others' answer with less probability than this does not belong to the breakage.
const APART: f64 = 0.05;
/// How often the machine that alone has shown a failure is probed again, before the failure is blamed on it.
const MAX_REPEATS: usize = 3;

/// The end of the search, or what to do before it; none while the search goes on.
pub(super) fn ending(
    facts: &SearchInputs,
    groups: &ToolchainGroups,
    machines: &Machines,
    cases: &[CaseId],
    searched: &[SearchedCase],
    conclusions: &[Option<Conclusion>],
) -> Option<SearchStep> {
    let mut decided: BTreeMap<Hypothesis, BTreeSet<CaseId>> = BTreeMap::new();
    for (case, conclusion) in cases.iter().zip(conclusions) {
        if let Some(conclusion) = conclusion {
            decided.entry(hypothesis_of(*conclusion)).or_default().insert(*case);
        }
    }
    let Some((&hypothesis, agreeing)) = decided.iter().max_by_key(|(_, cases)| cases.len()) else {
        return machines.are_all_out(facts).then_some(SearchStep::Found(SearchResult::Environment));
    };
    // Of the other cases, those that almost certainly have another answer are split off.
    let apart: BTreeSet<CaseId> = cases
        .iter()
        .zip(searched)
        .filter(|(case, searched)| !agreeing.contains(case) && probability(searched, hypothesis) < APART)
        .map(|(case, _)| *case)
        .collect();
    if !apart.is_empty() {
        return Some(SearchStep::Split(apart));
    }
    if agreeing.len() < cases.len() {
        return None;
    }
    match hypothesis {
        Hypothesis::Change { parent, last } => Some(SearchStep::Found(named(groups, parent, last))),
        Hypothesis::GoodEnd => Some(SearchStep::Found(SearchResult::Environment)),
        Hypothesis::NoChange => flaky(facts, groups, machines, cases),
    }
}

/// What may be true of a case, in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hypothesis {
    /// Broken at the good end already.
    GoodEnd,
    /// Broken by one of the changes after `parent`, up to `last`.
    Change { parent: usize, last: usize },
    /// Flaky.
    NoChange,
}

fn hypothesis_of(conclusion: Conclusion) -> Hypothesis {
    match conclusion {
        Conclusion::NotTheTrunk => Hypothesis::GoodEnd,
        Conclusion::Culprit { parent, last } => Hypothesis::Change { parent, last },
        Conclusion::Flaky => Hypothesis::NoChange,
    }
}

/// The posterior probability of a hypothesis for one case.
fn probability(case: &SearchedCase, hypothesis: Hypothesis) -> f64 {
    let posterior = culprit::believe(case);
    match hypothesis {
        Hypothesis::GoodEnd => posterior.of(0),
        Hypothesis::Change { parent, last } => (parent + 1..=last).map(|at| posterior.of(at)).sum(),
        Hypothesis::NoChange => posterior.of(posterior.changes() + 1),
    }
}

/// If changes share a toolchain, the last one that has the parent's is the parent.
fn named(groups: &ToolchainGroups, parent: usize, last: usize) -> SearchResult {
    let (parent, last) = (groups.last_of(parent), groups.first_of(last));
    match last - parent {
        1 => SearchResult::Named { parent, culprit: last },
        _ => SearchResult::OneOf { parent, last },
    }
}

/// What no worker has seen yet of what must stand behind an answer, in all its cases together. Each case by itself has had
/// its proof, but perhaps not in the same runs.
pub(super) struct Unproven {
    parent: usize,
    last: usize,
    standard: Standard,
    counted: Vec<WorkerProof>,
}

/// Whether an answer lacks proof; the groups of changes that it names have their ends counted as page and mail do.
pub(super) fn unproven(
    groups: &ToolchainGroups,
    step: &SearchStep,
    searched: &[SearchedCase],
    standard: Standard,
) -> Option<Unproven> {
    let SearchStep::Found(
        SearchResult::Named { parent, culprit: last } | SearchResult::OneOf { parent, last },
    ) = step
    else {
        return None;
    };
    let (parent, last) = (groups.group_of(*parent), groups.group_of(*last));
    let counted = proof::count(searched, parent, last);
    let is_proven = counted.iter().any(|worker| worker.is_enough(standard));
    (!is_proven).then_some(Unproven { parent, last, standard, counted })
}

/// Probes for the runs that are missing, on the worker that has seen the most.
pub(super) fn prove(
    facts: &SearchInputs,
    groups: &ToolchainGroups,
    proven: &[AvailableWorker],
    unproven: Unproven,
) -> SearchStep {
    let Unproven { parent, last, standard, counted } = unproven;
    let missing = |worker: WorkerId| {
        let seen = counted.iter().find(|seen| seen.worker == worker);
        seen.map_or((standard.runs, standard.runs), |seen| {
            (seen.missing_before(standard), seen.missing_with(standard))
        })
    };
    let free = proven.iter().filter(|available| available.free > 0);
    let Some(next) = free.min_by_key(|available| {
        let (before, with) = missing(available.worker);
        before + with
    }) else {
        return SearchStep::Wait;
    };
    if !facts.pending.is_empty() {
        return SearchStep::Wait;
    }
    let (before, with) = missing(next.worker);
    let ends = std::iter::repeat_n(parent, before).chain(std::iter::repeat_n(last, with));
    let requests = ends.take(index(next.free)).map(|group| ProbeRequest {
        at: groups.first_of(group),
        worker: next.worker,
        purpose: Purpose::Confirm,
        bits: 0.0,
        selected: false,
    });
    SearchStep::Ask(requests.collect())
}

/// A case is flaky if it has both passed and failed with one toolchain on one machine. A failure that one machine alone has
/// shown is blamed on that machine; it is probed again before, if it is available.
fn flaky(
    facts: &SearchInputs,
    groups: &ToolchainGroups,
    machines: &Machines,
    cases: &[CaseId],
) -> Option<SearchStep> {
    if cases.iter().any(|case| is_flaky(facts, groups, *case)) {
        return Some(SearchStep::Found(SearchResult::Flaky));
    }
    let repeats = |worker: WorkerId| {
        let its_runs = facts.runs.iter().filter(|run| run.worker == worker && !run.is_alarm);
        its_runs.filter(|run| groups.group_of(run.at) == groups.head() && machines.is_present(run)).count()
    };
    let alarm_worker =
        facts.available_workers.iter().find(|available_worker| Some(available_worker.worker) == facts.alarm);
    match alarm_worker {
        Some(available_worker) if repeats(available_worker.worker) < MAX_REPEATS => {
            Some(match available_worker.free {
                0 => SearchStep::Wait,
                _ if !facts.pending.is_empty() => SearchStep::Wait,
                _ => SearchStep::Ask(vec![ProbeRequest {
                    at: facts.range.len() - 1,
                    worker: available_worker.worker,
                    purpose: Purpose::Head,
                    bits: 0.0,
                    selected: false,
                }]),
            })
        }
        None if facts.await_alarm => Some(SearchStep::Wait),
        Some(_) | None => Some(SearchStep::Found(SearchResult::Environment)),
    }
}

/// Whether a case has both passed and failed with one toolchain on one machine.
fn is_flaky(facts: &SearchInputs, groups: &ToolchainGroups, case: CaseId) -> bool {
    let mut seen = BTreeSet::new();
    for run in &facts.runs {
        if let Some(passed) = run.verdicts.get(&case).copied().and_then(passed) {
            seen.insert((run.worker, run.environment, groups.group_of(run.at), passed));
        }
    }
    seen.iter().any(|&(worker, environment, group, passed)| {
        passed && seen.contains(&(worker, environment, group, false))
    })
}

/// The result when the budget is spent: the shortest stretch of changes that is proven as an answer would be, if it is
/// shorter than the range.
pub(super) fn when_budget_is_spent(
    facts: &SearchInputs,
    groups: &ToolchainGroups,
    searched: &[SearchedCase],
) -> SearchStep {
    let proven: Option<BTreeSet<(usize, usize)>> =
        searched.iter().map(|case| culprit::narrowest_proven(case, standard(facts))).collect();
    let stretch = proven.and_then(|proven| {
        let parent = proven.iter().map(|(parent, _)| *parent).min()?;
        let last = proven.iter().map(|(_, last)| *last).max()?;
        Some((parent, last))
    });
    let is_shorter =
        |&(parent, last): &(usize, usize)| (parent, last) != (0, groups.head()) || facts.range.len() == 2;
    let answer =
        stretch.filter(is_shorter).map(|(parent, last)| SearchStep::Found(named(groups, parent, last)));
    let is_proven = |answer: &SearchStep| unproven(groups, answer, searched, standard(facts)).is_none();
    answer.filter(is_proven).unwrap_or(SearchStep::Found(SearchResult::Inconclusive))
}

/// What naming a change takes. A toolchain is dear to build, and compilers are deterministic: there the posterior alone
/// decides how often both ends are built, once each at least.
pub(super) fn standard(facts: &SearchInputs) -> Standard {
    let announced = Standard::of_announcement();
    match facts.range.first().map(|candidate| candidate.toolchain) {
        Some(CandidateToolchain::Itself) => Standard { runs: 1, rules_out_luck: false, ..announced },
        Some(CandidateToolchain::Unknown | CandidateToolchain::Broken | CandidateToolchain::Built(_))
        | None => announced,
    }
}
