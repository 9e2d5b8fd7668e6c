//! When a case is decided, and as what.

use super::posterior::{Posterior, Segment};
use super::toolchains::Toolchains;
use super::{CaseRunResult, SHOWN};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// It is bad at the good end too.
    NotTheTrunk,
    /// One of the changes after `parent` up to `last`: all of them but the last have no toolchain to ask.
    Culprit { parent: usize, last: usize },
    /// It fails now and then, whatever the change.
    Flaky,
}

/// How much likelier a case must be flaky from ever than since some change. At the bad end both pass now and then.
const FROM_EVER: f64 = 3.0;

/// What the numbers say, and the runs that must have been seen before it is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Claim {
    pub verdict: Conclusion,
    /// A change that must have passed, and one that must have failed: both on one machine.
    pass_at: Option<usize>,
    fail_at: Option<usize>,
}

impl Claim {
    /// None while nothing is sure. `sure` is asked of the blame of a change; nobody is hurt by the other answers.
    pub fn of(posterior: &Posterior, toolchains: &Toolchains, sure: f64) -> Option<Claim> {
        let head = posterior.changes();
        if let Some(segment) = posterior.segments.iter().find(|segment| segment.weight >= SHOWN) {
            return of_segment(segment, head, toolchains, sure);
        }
        let (ever, since) = posterior.now_and_then();
        (ever >= FROM_EVER * since && ever + since >= SHOWN).then_some(Claim::flaky(head))
    }

    fn flaky(head: usize) -> Claim {
        Claim { verdict: Conclusion::Flaky, pass_at: Some(head), fail_at: None }
    }

    /// The changes at which a run is still to be seen.
    pub fn lacks(&self, runs: &[CaseRunResult]) -> Vec<usize> {
        let who = |at: Option<usize>, failed: bool| -> Vec<i64> {
            let told = runs.iter().filter(|run| Some(run.at) == at && run.failed == failed);
            told.map(|run| run.worker).collect()
        };
        let (passed, failed) = (who(self.pass_at, false), who(self.fail_at, true));
        match (self.pass_at, self.fail_at) {
            (Some(good), Some(bad)) => {
                if passed.iter().any(|worker| failed.contains(worker)) {
                    return vec![];
                }
                // Who ran last will run next.
                let last = runs.last().map(|run| run.worker);
                let by_last = |who: &[i64]| who.iter().any(|worker| Some(*worker) == last);
                match (by_last(&passed), by_last(&failed)) {
                    (true, _) => vec![bad],
                    (false, true) => vec![good],
                    (false, false) => vec![good, bad],
                }
            }
            (Some(good), None) if passed.is_empty() => vec![good],
            (None, Some(bad)) if failed.is_empty() => vec![bad],
            (Some(_), None) | (None, Some(_)) | (None, None) => vec![],
        }
    }
}

fn of_segment(segment: &Segment, head: usize, toolchains: &Toolchains, sure: f64) -> Option<Claim> {
    let (first, last) = (*segment.hypotheses.start(), *segment.hypotheses.end());
    if first > head {
        return Some(Claim::flaky(head));
    }
    if last == 0 {
        return Some(Claim { verdict: Conclusion::NotTheTrunk, pass_at: None, fail_at: Some(0) });
    }
    let parent = first.checked_sub(1)?;
    let is_closed = last <= head && toolchains.is_closed(parent, last);
    (is_closed && segment.weight >= sure).then_some(Claim {
        verdict: Conclusion::Culprit { parent, last },
        pass_at: Some(parent),
        fail_at: Some(last),
    })
}
