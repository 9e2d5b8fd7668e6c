//! The search for the change that broke a case, as Bayesian inference: what the runs so far say about each change, and
//! which run to make next.
//!
//! *Model.* The range has a good end, change 0, and the changes 1..=n after it. A hypothesis is a number h in 0..=n+1: the
//! case is broken at change j if and only if j >= h. So h = 0 means that it is broken at the good end already, and the
//! trunk is not to blame; h in 1..=n names the culprit; h = n+1 means that it is broken nowhere, and flaky. A run at a
//! change j < h fails with probability f, and one at j >= h passes with probability g, each independently. Both rates are
//! unknown, and are integrated out (`noise`).
//!
//! *Inference.* The likelihood of h depends only on which runs are before h, so it is constant between two changes that
//! have run. Such a stretch is one segment (`posterior`), within which the posterior is the prior's (`prior`). Hence all
//! is exact, in log space, and takes time by the number of runs, whatever the number of changes is.
//!
//! *Choice.* The next run is the one with the greatest expected information for its cost (`probes`). For searches with
//! known noise this greedy rule is near the optimum: M. Ben-Or, A. Hassidim, *The Bayesian Learner is Optimal for Noisy
//! Binary Search* (FOCS 2008). For culprits among flaky tests compare T. A. D. Henderson and others, *Flake Aware Culprit
//! Finding* (ICST 2023).

mod conclusion;
mod evidence;
mod evidence_state;
mod narrowest;
mod noise;
mod posterior;
mod prior;
mod probes;
mod proof;
mod question;
mod repair;
#[cfg(test)]
mod tests;
mod toolchains;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use conclusion::{Conclusion, SHOWN};
pub use evidence::{CaseRunResult, SearchedCase, Tally};
pub use narrowest::narrowest_proven;
pub use posterior::Posterior;
pub use prior::Prior;
pub use probes::{Probe, Purpose};
pub use proof::{ANNOUNCED, Standard};
pub use question::Question;
pub use repair::{RepairEvidence, STILL_BROKEN, is_refuted, still_broken};
pub use toolchains::{Cost, ToolchainSupply};

use evidence_state::{EvidenceState, OpenCase};
use toolchains::Toolchains;

/// What the evidence says, and what to run next.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// One for each case of the question: its conclusion, once it is certain and confirmed.
    pub verdicts: Vec<Option<Conclusion>>,
    /// What to run for the other cases, best first; at most [`Question::idle`].
    pub probes: Vec<Probe>,
}

/// Concludes what is certain, and chooses the next probes.
pub fn answer(question: &Question) -> Answer {
    let toolchains = Toolchains::new(&question.toolchains, question.cost, question.unbuildable);
    let more = question.pending.len() + question.idle;
    let (groups, group_of) = group_equal_cases(&question.cases);
    let cases: Vec<OpenCase> = groups.iter().map(|&(case, cases)| OpenCase::new(case, cases, more)).collect();
    let states: Vec<EvidenceState> =
        cases.iter().map(|open| EvidenceState::new(open, &toolchains, question.standard)).collect();
    let verdicts = group_of.into_iter().map(|group| states[group].conclusion()).collect();
    let undecided: Vec<EvidenceState> =
        states.into_iter().filter(|state| state.conclusion().is_none()).collect();
    let probes = probes::choose(&undecided, &toolchains, question);
    Answer { verdicts, probes }
}

/// The posterior of one case after its runs.
pub fn believe(case: &SearchedCase) -> Posterior<'_> {
    OpenCase::new(case, 1, 0).posterior(&evidence_state::tallies(&case.runs))
}

/// Groups cases with the same prior, histories and runs, so that each posterior is computed once. Returns one case of
/// each group with the group's size, and the group of each case.
fn group_equal_cases(cases: &[SearchedCase]) -> (Vec<(&SearchedCase, usize)>, Vec<usize>) {
    let mut groups: Vec<(&SearchedCase, usize)> = Vec::new();
    let mut group_by_evidence = BTreeMap::new();
    let group_of = cases
        .iter()
        .map(|case| {
            let group = *group_by_evidence
                .entry((Arc::as_ptr(&case.prior), case.good, case.bad, &case.runs))
                .or_insert_with(|| {
                    groups.push((case, 0));
                    groups.len() - 1
                });
            groups[group].1 += 1;
            group
        })
        .collect();
    (groups, group_of)
}
