//! When a case is decided, and how.
//!
//! A high posterior is not enough: before a change is named, the pass below it and the failure at it must have been seen
//! on one machine, so that a difference between machines is never blamed on a change.

use super::evidence::CaseRunResult;
use super::posterior::{Posterior, Segment};
use super::proof::{RunCounts, Standard};
use super::toolchains::Toolchains;

/// The posterior probability that any answer needs; for one that blames no change it is enough.
pub const SHOWN: f64 = 0.99;

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
    /// Whether the posterior is as high as the conclusion needs. If it is not yet, the runs of the proof raise it.
    pub is_sure: bool,
    /// Its posterior probability.
    weight: f64,
    /// A change at which the case must have passed, and one at which it must have failed.
    pass_at: Option<usize>,
    fail_at: Option<usize>,
    /// How often it must have passed and failed there on one machine.
    runs: usize,
}

impl Claim {
    /// None while nothing is certain. The posterior of `standard` is required for naming a change; the other conclusions
    /// blame nobody, and [`SHOWN`] is enough for them.
    pub fn from_posterior(
        posterior: &Posterior,
        toolchains: &Toolchains,
        standard: Standard,
    ) -> Option<Claim> {
        let head = posterior.changes();
        if let Some(segment) = posterior.segments.iter().find(|segment| segment.weight >= SHOWN) {
            return claim_of_segment(segment, head, toolchains, standard);
        }
        let (always, since) = posterior.intermittent();
        (always >= ALWAYS_OVER_SINCE * since && always + since >= SHOWN).then_some(Claim::flaky(head))
    }

    fn flaky(head: usize) -> Claim {
        Claim {
            conclusion: Conclusion::Flaky,
            is_sure: true,
            weight: 1.0,
            pass_at: Some(head),
            fail_at: None,
            runs: 1,
        }
    }

    /// The claim, given the weight of luck on the posterior's scale.
    pub fn doubted(self, luck: f64, standard: Standard) -> Claim {
        match self.conclusion {
            Conclusion::Culprit { .. } => Claim { is_sure: standard.allows(self.weight, luck), ..self },
            Conclusion::NotTheTrunk | Conclusion::Flaky => self,
        }
    }

    /// The changes at which runs are still missing.
    pub fn missing(&self, runs: &[CaseRunResult]) -> Vec<usize> {
        let seen = RunCounts::new(runs);
        let of = |worker: i64| {
            let passes = self.pass_at.filter(|at| seen.of(worker, *at, false) < self.runs);
            let fails = self.fail_at.filter(|at| seen.of(worker, *at, true) < self.runs);
            passes.into_iter().chain(fails).collect::<Vec<usize>>()
        };
        if seen.workers().into_iter().any(|worker| of(worker).is_empty()) {
            return if self.is_sure { vec![] } else { self.end_with_fewer(runs) };
        }
        // The worker that ran last runs next.
        match runs.last() {
            Some(last) => of(last.worker),
            None => self.pass_at.into_iter().chain(self.fail_at).collect(),
        }
    }

    /// The end at which fewer runs were made.
    fn end_with_fewer(&self, runs: &[CaseRunResult]) -> Vec<usize> {
        let count = |end: &usize| runs.iter().filter(|run| run.at == *end).count();
        self.pass_at.into_iter().chain(self.fail_at).min_by_key(count).into_iter().collect()
    }
}

fn claim_of_segment(
    segment: &Segment,
    head: usize,
    toolchains: &Toolchains,
    standard: Standard,
) -> Option<Claim> {
    let (first, last) = (*segment.hypotheses.start(), *segment.hypotheses.end());
    if first > head {
        return Some(Claim::flaky(head));
    }
    if last == 0 {
        return Some(Claim {
            conclusion: Conclusion::NotTheTrunk,
            is_sure: true,
            weight: segment.weight,
            pass_at: None,
            fail_at: Some(0),
            runs: 1,
        });
    }
    let parent = first.checked_sub(1)?;
    let is_closed = last <= head && toolchains.is_closed(parent, last);
    is_closed.then_some(Claim {
        conclusion: Conclusion::Culprit { parent, last },
        is_sure: segment.weight >= standard.posterior,
        weight: segment.weight,
        pass_at: Some(parent),
        fail_at: Some(last),
        runs: standard.runs,
    })
}
