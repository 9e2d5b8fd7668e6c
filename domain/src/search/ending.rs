//! When a search ends, and how: with what is proven on one machine, or with an honest "one of these".

use std::collections::{BTreeMap, BTreeSet};

use super::axis::Axis;
use super::machines::Machines;
use super::{ProbeRequest, SearchInputs, SearchResult, SearchStep, passed};
use crate::culprit::{self, Conclusion, Purpose, SearchedCase};
use crate::words::ids::{CaseId, WorkerId};

/// Cases that are this unlikely to share an answer are not of one breakage.
const APART: f64 = 0.05;
/// How much of the belief the changes must hold that a spent search still names.
const LEFT: f64 = 0.95;
/// A failure that one machine alone has shown is asked for so often before it is taken for that machine's.
const ASKED_AGAIN: usize = 3;

/// None while the search goes on.
pub(super) fn of(
    facts: &SearchInputs,
    axis: &Axis,
    machines: &Machines,
    cases: &[CaseId],
    known: &[SearchedCase],
    verdicts: &[Option<Conclusion>],
) -> Option<SearchStep> {
    let mut decided: BTreeMap<Place, BTreeSet<CaseId>> = BTreeMap::new();
    for (case, verdict) in cases.iter().zip(verdicts) {
        if let Some(verdict) = verdict {
            decided.entry(place(*verdict)).or_default().insert(*case);
        }
    }
    let Some((&verdict, alike)) = decided.iter().max_by_key(|(_, alike)| alike.len()) else {
        return machines.are_all_out(facts).then_some(SearchStep::Found(SearchResult::Environment));
    };
    // Of the others, those that surely have another answer go a way of their own.
    let apart: BTreeSet<CaseId> = cases
        .iter()
        .zip(known)
        .filter(|(case, known)| !alike.contains(case) && belief(known, verdict) < APART)
        .map(|(case, _)| *case)
        .collect();
    if !apart.is_empty() {
        return Some(SearchStep::Split(apart));
    }
    if alike.len() < cases.len() {
        return None;
    }
    match verdict {
        Place::Of { parent, last } => Some(SearchStep::Found(named(axis, parent, last))),
        Place::Base => Some(SearchStep::Found(SearchResult::Environment)),
        Place::Nowhere => flaky(facts, axis, machines, cases),
    }
}

/// A verdict, in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Base,
    Of { parent: usize, last: usize },
    Nowhere,
}

fn place(verdict: Conclusion) -> Place {
    match verdict {
        Conclusion::NotTheTrunk => Place::Base,
        Conclusion::Culprit { parent, last } => Place::Of { parent, last },
        Conclusion::Flaky => Place::Nowhere,
    }
}

fn belief(case: &SearchedCase, place: Place) -> f64 {
    let posterior = culprit::believe(case);
    match place {
        Place::Base => posterior.of(0),
        Place::Of { parent, last } => (parent + 1..=last).map(|at| posterior.of(at)).sum(),
        Place::Nowhere => posterior.of(posterior.changes() + 1),
    }
}

/// Where toolchains are equal, the last change with the parent's is the parent.
fn named(axis: &Axis, parent: usize, last: usize) -> SearchResult {
    let (parent, last) = (axis.last_of(parent), axis.first_of(last));
    match last - parent {
        1 => SearchResult::Named { parent, culprit: last },
        _ => SearchResult::OneOf { parent, last },
    }
}

/// Flaky is what did both on one toolchain on one machine. What failed on one machine only, and never again on
/// others, is that machine's trouble; it is asked again first, if it can be.
fn flaky(facts: &SearchInputs, axis: &Axis, machines: &Machines, cases: &[CaseId]) -> Option<SearchStep> {
    if cases.iter().any(|case| varies(facts, axis, *case)) {
        return Some(SearchStep::Found(SearchResult::Flaky));
    }
    let again = |worker: WorkerId| {
        let of_it = facts.runs.iter().filter(|run| run.worker == worker && !run.is_alarm);
        of_it.filter(|run| axis.place_of(run.at) == axis.head() && machines.is_present(run)).count()
    };
    let here =
        facts.available_workers.iter().find(|available_worker| Some(available_worker.worker) == facts.alarm);
    match here {
        Some(available_worker) if again(available_worker.worker) < ASKED_AGAIN => {
            Some(match available_worker.free {
                0 => SearchStep::Wait,
                _ if !facts.pending.is_empty() => SearchStep::Wait,
                _ => SearchStep::Ask(vec![ProbeRequest {
                    at: facts.range.len() - 1,
                    worker: available_worker.worker,
                    purpose: Purpose::Head,
                    bits: 0.0,
                }]),
            })
        }
        None if facts.await_alarm => Some(SearchStep::Wait),
        Some(_) | None => Some(SearchStep::Found(SearchResult::Environment)),
    }
}

fn varies(facts: &SearchInputs, axis: &Axis, case: CaseId) -> bool {
    let mut seen = BTreeSet::new();
    for run in &facts.runs {
        if let Some(passed) = run.verdicts.get(&case).copied().and_then(passed) {
            seen.insert((run.worker, run.environment, axis.place_of(run.at), passed));
        }
    }
    seen.iter().any(|&(worker, environment, place, passed)| {
        passed && seen.contains(&(worker, environment, place, false))
    })
}

/// What can be said when the budget is spent: the narrowest stretch of changes that holds nearly all of the belief,
/// when it was seen good before it and bad at its end.
pub(super) fn spent(facts: &SearchInputs, axis: &Axis, known: &[SearchedCase]) -> SearchStep {
    let stretches: Option<BTreeSet<(usize, usize)>> =
        known.iter().map(|case| culprit::believe(case).narrowest(LEFT)).collect();
    let stretch = stretches.and_then(|stretches| {
        let first = stretches.iter().map(|(first, _)| *first).min()?;
        let last = stretches.iter().map(|(_, last)| *last).max()?;
        Some((first, last))
    });
    let is_news =
        |&(first, last): &(usize, usize)| (first, last) != (1, axis.head()) || facts.range.len() == 2;
    match stretch.filter(is_news) {
        Some((first, last)) => SearchStep::Found(SearchResult::OneOf {
            parent: axis.last_of(first - 1),
            last: axis.first_of(last),
        }),
        None => SearchStep::Found(SearchResult::Inconclusive),
    }
}
