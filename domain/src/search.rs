//! The hunt for one breakage's culprit: confirm that it is real, then halve its range.
//!
//! All runs that count are of one worker, so that no difference between machines is taken for a change's. The rule:
//! head FAIL, base PASS, head FAIL, base PASS; then the middle, until the last change that passes and the first that
//! fails are neighbours; then both again. Differing verdicts on one toolchain are a flaky test, a base that fails
//! today is the environment, and neither accuses a change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::{Sha256, Verdict};

use crate::ids::{CaseId, ChangeId, WorkerId};

/// A change of the range; the first is the last good one, the last the first bad one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub change: ChangeId,
    pub toolchain: Toolchain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
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
pub struct Run {
    /// Index of its change in the range.
    pub at: usize,
    pub worker: WorkerId,
    /// Made for a search; the others happened to be made.
    pub probe: bool,
    pub verdicts: BTreeMap<CaseId, Verdict>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Run the suite on this change.
    Probe(usize),
    /// Build this change's toolchain first.
    Build(usize),
    /// These cases did otherwise than the rest: they are a breakage of their own.
    Split(BTreeSet<CaseId>),
    Found(Found),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Passed at `parent` and failed at `culprit`, its next change with a toolchain of its own.
    Named {
        parent: usize,
        culprit: usize,
    },
    /// What lies between has no toolchain or says nothing: one of `parent + 1 ..= last`.
    OneOf {
        parent: usize,
        last: usize,
    },
    Flaky,
    Environment,
    /// The budget is spent.
    Inconclusive,
}

/// Each end must be seen so often by the search before it is believed, and once more where it is to be named.
const CONFIRM: u32 = 2;
const NAME: u32 = 3;
/// A probe that says nothing of the cases so often is stepped around.
const MUTE: u32 = 2;
/// Runs that one search may use.
pub const MAX_RUNS: usize = 60;
/// The wait after a probe that our own trouble brought to nothing; four times as long after each further one in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// With these waits three and a half hours have passed then.
const MAX_IN_VAIN: u32 = 7;

/// How long to wait after so many probes in a row that came to nothing; none when it is no use to go on.
pub fn pause(in_vain: u32) -> Option<Duration> {
    match in_vain {
        0 => Some(Duration::ZERO),
        MAX_IN_VAIN.. => None,
        again => Some(FIRST_PAUSE * 4_u32.pow(again - 1)),
    }
}

/// Decides the next step of a search by what is known. `worker` is the one that the search is bound to, none before
/// its first probe has run. `runs` are in the order in which they were made.
pub fn next(range: &[Candidate], worker: Option<WorkerId>, runs: &[Run]) -> Next {
    let head = range.len() - 1;
    let counted: Vec<&Run> = runs.iter().filter(|run| Some(run.worker) == worker).collect();
    if counted.iter().filter(|run| run.probe).count() >= MAX_RUNS {
        return Next::Found(Found::Inconclusive);
    }
    if let Some(apart) = counted.iter().find_map(|run| disagreeing(run)) {
        return Next::Split(apart);
    }
    let seen: Vec<Seen> = (0..=head).map(|at| seen(range, &counted, at)).collect();
    if seen.iter().any(|s| s.passes > 0 && s.fails > 0) {
        return Next::Found(Found::Flaky);
    }
    if let Some(next) = confirm(&seen, head) {
        return next;
    }
    halve(range, &seen, head)
}

/// What the counted runs said of one change, or of another with the very same toolchain.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    passes: u32,
    fails: u32,
    /// Of those, how many were probes of this very change.
    probes: u32,
    mute: u32,
}

fn seen(range: &[Candidate], runs: &[&Run], at: usize) -> Seen {
    let mut seen = Seen::default();
    for run in runs {
        let equal = match (range[run.at].toolchain, range[at].toolchain) {
            (Toolchain::Built(one), Toolchain::Built(other)) => one == other,
            (
                Toolchain::Unknown | Toolchain::Broken | Toolchain::Built(_) | Toolchain::Itself,
                Toolchain::Unknown | Toolchain::Broken | Toolchain::Built(_) | Toolchain::Itself,
            ) => run.at == at,
        };
        if !equal {
            continue;
        }
        match said(run) {
            Some(true) => seen.passes += 1,
            Some(false) => seen.fails += 1,
            None => {
                seen.mute += 1;
                continue;
            }
        }
        if run.probe {
            seen.probes += 1;
        }
    }
    seen
}

/// Whether a case passed; none when the run says nothing of it.
fn passed(verdict: Verdict) -> Option<bool> {
    match verdict {
        Verdict::Pass | Verdict::Xfail | Verdict::Xpass => Some(true),
        Verdict::Fail | Verdict::Error => Some(false),
        Verdict::Skip | Verdict::Missing | Verdict::Unreached => None,
    }
}

/// What a run said of the cases, which agree.
fn said(run: &Run) -> Option<bool> {
    run.verdicts.values().copied().find_map(passed)
}

/// The cases that passed in a run in which others failed.
fn disagreeing(run: &Run) -> Option<BTreeSet<CaseId>> {
    let of = |wanted| {
        let cases = run.verdicts.iter().filter(move |&(_, &verdict)| passed(verdict) == Some(wanted));
        cases.map(|(&case, _)| case).collect::<BTreeSet<_>>()
    };
    let (good, bad) = (of(true), of(false));
    (!good.is_empty() && !bad.is_empty()).then_some(good)
}

/// Head and base in turn until both are believed; none when they are.
fn confirm(seen: &[Seen], head: usize) -> Option<Next> {
    let (first, last) = (seen[0], seen[head]);
    if last.passes >= CONFIRM {
        // It failed at head elsewhere; here it never does.
        return Some(Next::Found(Found::Environment));
    }
    if first.fails >= CONFIRM {
        return Some(Next::Found(Found::Environment));
    }
    if first.mute > CONFIRM || last.mute > CONFIRM {
        return Some(Next::Found(Found::Inconclusive));
    }
    if last.probes < CONFIRM && last.probes <= first.probes {
        return Some(Next::Probe(head));
    }
    if first.probes < CONFIRM {
        return Some(Next::Probe(0));
    }
    None
}

fn halve(range: &[Candidate], seen: &[Seen], head: usize) -> Next {
    // Broken, repaired and broken again: the last break is the one that is open.
    let parent = (0..head).rev().find(|&at| seen[at].passes > 0).unwrap_or(0);
    let culprit = (parent + 1..=head).find(|&at| seen[at].fails > 0).unwrap_or(head);
    let open: Vec<usize> = (parent + 1..culprit)
        .filter(|&at| match range[at].toolchain {
            Toolchain::Broken => false,
            Toolchain::Unknown | Toolchain::Built(_) | Toolchain::Itself => seen[at].mute < MUTE,
        })
        .collect();
    if let Some(at) = middle(range, &open) {
        return match range[at].toolchain {
            Toolchain::Unknown => Next::Build(at),
            Toolchain::Broken | Toolchain::Built(_) | Toolchain::Itself => Next::Probe(at),
        };
    }
    if seen[culprit].probes < NAME && seen[culprit].probes <= seen[parent].probes {
        return Next::Probe(culprit);
    }
    if seen[parent].probes < NAME {
        return Next::Probe(parent);
    }
    Next::Found(match culprit - parent {
        1 => Found::Named { parent, culprit },
        _ => Found::OneOf { parent, last: culprit },
    })
}

/// The candidate in the middle; one whose toolchain is there already when it is nearly in the middle.
fn middle(range: &[Candidate], open: &[usize]) -> Option<usize> {
    let middle = open.len() / 2;
    let near = open.len() / 4;
    let built = |&at: &usize| match range[at].toolchain {
        Toolchain::Built(_) => true,
        Toolchain::Unknown | Toolchain::Broken | Toolchain::Itself => false,
    };
    (0..=near)
        .flat_map(|off| [middle.checked_sub(off), Some(middle + off)])
        .flatten()
        .filter_map(|at| open.get(at))
        .copied()
        .find(built)
        .or_else(|| open.get(middle).copied())
}

#[cfg(test)]
mod tests;
