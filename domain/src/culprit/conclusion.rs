//! When a case is decided, and how.
//!
//! A high posterior is not enough: before a change is named, the pass below it and the failure at it must have been seen
//! on one machine, so that a difference between machines is never blamed on a change.

use super::evidence::CaseRunResult;
use super::posterior::{Posterior, Segment};
use super::toolchains::Toolchains;

/// The posterior probability that any answer needs; for one that blames no change it is enough.
pub const SHOWN: f64 = 0.99;
/// The posterior probability at which a change is named, and its author gets a mail. It takes about two more probes.
pub const ANNOUNCED: f64 = 0.999;

/// How the search for a case's culprit ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// The case is broken at the good end, too.
    NotTheTrunk,
    /// One of the changes after `parent` up to and including `last`. All of them but the last have no toolchain.
    Culprit {
        /// The last change at which the case is good.
        parent: usize,
        /// The first change after it that has a toolchain: the case is broken there.
        last: usize,
    },
    /// The case fails now and then, whatever the change is.
    Flaky,
}

/// How much more likely it must be that a case was always intermittent than that it became so at a change. Either way it
/// sometimes passes at the bad end.
const ALWAYS_OVER_SINCE: f64 = 3.0;

/// A conclusion that the posterior supports, and the runs that must have been seen before it is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Claim {
    pub conclusion: Conclusion,
    /// A change at which the case must have passed, and one at which it must have failed: both on one machine.
    pass_at: Option<usize>,
    fail_at: Option<usize>,
}

impl Claim {
    /// None while nothing is certain. `sure` is required for naming a change; the other conclusions blame nobody, and
    /// [`SHOWN`] is enough for them.
    pub fn from_posterior(posterior: &Posterior, toolchains: &Toolchains, sure: f64) -> Option<Claim> {
        let head = posterior.changes();
        if let Some(segment) = posterior.segments.iter().find(|segment| segment.weight >= SHOWN) {
            return claim_of_segment(segment, head, toolchains, sure);
        }
        let (always, since) = posterior.intermittent();
        (always >= ALWAYS_OVER_SINCE * since && always + since >= SHOWN).then_some(Claim::flaky(head))
    }

    fn flaky(head: usize) -> Claim {
        Claim { conclusion: Conclusion::Flaky, pass_at: Some(head), fail_at: None }
    }

    /// The changes at which a run is still missing.
    pub fn missing(&self, runs: &[CaseRunResult]) -> Vec<usize> {
        let workers_with = |at: Option<usize>, failed: bool| -> Vec<i64> {
            let runs = runs.iter().filter(|run| Some(run.at) == at && run.failed == failed);
            runs.map(|run| run.worker).collect()
        };
        let (passed, failed) = (workers_with(self.pass_at, false), workers_with(self.fail_at, true));
        match (self.pass_at, self.fail_at) {
            (Some(good), Some(bad)) => {
                if passed.iter().any(|worker| failed.contains(worker)) {
                    return vec![];
                }
                // The worker that ran last runs next.
                let last = runs.last().map(|run| run.worker);
                let by_last = |workers: &[i64]| workers.iter().any(|worker| Some(*worker) == last);
                match (by_last(&passed), by_last(&failed)) {
                    (true, _) => vec![bad],
                    (false, true) => vec![good],
                    (false, false) => vec![good, bad],
                }
            }
            (Some(good), None) if passed.is_empty() => vec![good],
            (None, Some(bad)) if failed.is_empty() => vec![bad],
            (Some(_) | None, None) | (None, Some(_)) => vec![],
        }
    }
}

fn claim_of_segment(segment: &Segment, head: usize, toolchains: &Toolchains, sure: f64) -> Option<Claim> {
    let (first, last) = (*segment.hypotheses.start(), *segment.hypotheses.end());
    if first > head {
        return Some(Claim::flaky(head));
    }
    if last == 0 {
        return Some(Claim { conclusion: Conclusion::NotTheTrunk, pass_at: None, fail_at: Some(0) });
    }
    let parent = first.checked_sub(1)?;
    let is_closed = last <= head && toolchains.is_closed(parent, last);
    (is_closed && segment.weight >= sure).then_some(Claim {
        conclusion: Conclusion::Culprit { parent, last },
        pass_at: Some(parent),
        fail_at: Some(last),
    })
}
