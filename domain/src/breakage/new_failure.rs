//! Cases that were never run before, and fail from their first run on. Nothing shows that they ever worked, so they accuse no
//! change and open no breakage: they are news to the contacts of their project.
//!
//! Names that differ in each run look the same at first. So a case counts only where the rest of the suite's list stays as it
//! is, and only once further runs have shown it again.

use std::collections::BTreeSet;

use protocol::Verdict;

use super::history::{BuilderHistory, CaseHistory};
use super::regression_kind::is_run;
use super::shared::CaseRank;
use crate::numbers::index;
use crate::words::ids::{CaseId, ChangeId};

/// In so many runs a case must have failed before it is news: a name that is made up anew in each run is in one of them only.
const RUNS: u32 = 2;
/// The same in a suite of which it is known that names come and go on identical inputs: a name may come back by chance.
const RUNS_AMONG_UNSTABLE: u32 = 4;
/// So many new failures of a builder are kept; further ones are left out.
const MAX_NEW_FAILURES: usize = 100;

/// A case that was never run before, and has failed in each run since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NewFailure {
    /// The case.
    pub case: CaseId,
    /// The change at which it was first run.
    pub since: ChangeId,
    /// Whether other inputs begin there: the case came with them, and not with the change.
    pub with_inputs: bool,
    /// In how many history builds it was run.
    pub runs: u32,
}

/// A new failure as it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredNewFailure {
    /// The case.
    pub case: CaseId,
    /// The change at which it was first run.
    pub since: ChangeId,
    /// In how many null runs of that change it failed, too.
    pub reruns: u32,
    /// Whether enough runs have shown it.
    pub is_confirmed: bool,
}

/// How the records must change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewFailureAction {
    /// Record it, in place of what is recorded of the case.
    Record(NewFailure),
    /// Enough runs have shown it.
    Confirm(CaseId),
    /// It is no longer new and failing. It explains why its step failed until now.
    End(CaseId),
    /// It never was, as far as its history shows.
    Forget(CaseId),
    /// Run this change once more, to see whether the case is there again.
    Repeat(ChangeId),
}

/// The first runs of a case that was not run before.
struct Debut {
    /// Indices in its history: the first run, and the first build after it in which the case does not fail.
    first: usize,
    end: usize,
    /// What the case does in that build; none if it fails until today.
    then: Option<Verdict>,
}

impl Debut {
    fn of(case_history: &CaseHistory) -> Option<Debut> {
        let verdicts = &case_history.verdicts;
        let first = verdicts.iter().position(|(_, verdict)| is_run(*verdict) != Some(false))?;
        // What is there from the first build on may be older than that.
        if first == 0 || !verdicts[first].1.is_bad() {
            return None;
        }
        let goes_on = |verdict: Verdict| verdict.is_bad() || verdict == Verdict::Unreached;
        let after = verdicts[first..].iter().position(|(_, verdict)| !goes_on(*verdict));
        let end = after.map_or(verdicts.len(), |after| first + after);
        Some(Debut { first, end, then: verdicts.get(end).map(|(_, verdict)| *verdict) })
    }

    /// The changes at which the case fails.
    fn failing<'a>(&self, case_history: &'a CaseHistory) -> impl Iterator<Item = ChangeId> + use<'a> {
        let verdicts = &case_history.verdicts[self.first..self.end];
        verdicts.iter().filter(|(_, verdict)| verdict.is_bad()).map(|(change, _)| *change)
    }
}

impl BuilderHistory {
    /// The cases that are new and fail from their first run until today, but for those that are `held` by a breakage.
    pub fn new_failures(&self, held: &BTreeSet<CaseId>) -> Vec<NewFailure> {
        let debuts = self.case_histories.iter().filter_map(|case_history| {
            let debut = self.debut(case_history).filter(|debut| debut.then.is_none())?;
            let is_left_out = self.flaky.contains(&case_history.case) || held.contains(&case_history.case);
            (!is_left_out).then(|| NewFailure {
                case: case_history.case,
                since: case_history.verdicts[debut.first].0,
                with_inputs: case_history.baselines.contains(&debut.first),
                runs: self.runs(case_history, &debut),
            })
        });
        debuts.take(MAX_NEW_FAILURES).collect()
    }

    /// The changes at which a new case fails: its step fails along with it, and accuses no change either. That holds later,
    /// too, when the case passes. One that vanishes after its first run was perhaps never more than a name.
    pub(super) fn failing_as_new(&self, case_history: &CaseHistory) -> Vec<ChangeId> {
        let Some(debut) = self.debut(case_history) else { return Vec::new() };
        let has_vanished = debut.then.is_some_and(|then| is_run(then) == Some(false));
        match has_vanished && !self.is_confirmed(self.runs(case_history, &debut)) {
            true => Vec::new(),
            false => debut.failing(case_history).collect(),
        }
    }

    /// Whether so many runs show that a new failure is no accident.
    pub fn is_confirmed(&self, runs: u32) -> bool {
        runs >= if self.has_unstable_names { RUNS_AMONG_UNSTABLE } else { RUNS }
    }

    /// The first runs of a test that came into a list which is stable otherwise.
    fn debut(&self, case_history: &CaseHistory) -> Option<Debut> {
        let case = case_history.case;
        if self.rank(case) != CaseRank::Named || self.unstable.contains(&case) {
            return None;
        }
        let debut = Debut::of(case_history)?;
        // A case history goes on to the last history build, and may begin late.
        let at = (self.history_builds.len() + debut.first).checked_sub(case_history.verdicts.len())?;
        let (list_change, build) = (self.list_changes.get(&at)?, self.history_builds.get(at)?);
        list_change.is_stable(index(build.ran), self.has_unstable_names).then_some(debut)
    }

    fn runs(&self, case_history: &CaseHistory, debut: &Debut) -> u32 {
        let own = |change: &ChangeId| self.history_builds.iter().any(|it| it.change == *change && it.own);
        let runs = debut.failing(case_history).filter(own).count();
        u32::try_from(runs).unwrap_or(u32::MAX)
    }

    /// How the recorded new failures must change to agree with those that were found.
    pub fn settle_new_failures(
        &self,
        found: &[NewFailure],
        stored: &[StoredNewFailure],
    ) -> Vec<NewFailureAction> {
        let mut actions = Vec::new();
        for known in stored {
            if !found.iter().any(|new| new.case == known.case) {
                let mut of_case = self.case_histories.iter().filter(|it| it.case == known.case);
                let explains = of_case.any(|case_history| !self.failing_as_new(case_history).is_empty());
                actions.push(match explains {
                    true => NewFailureAction::End(known.case),
                    false => NewFailureAction::Forget(known.case),
                });
            }
        }
        let mut unsure = None;
        for new in found {
            let known = stored.iter().find(|known| known.case == new.case);
            if known.is_none_or(|known| known.since != new.since) {
                actions.push(NewFailureAction::Record(*new));
            }
            if known.is_some_and(|known| known.is_confirmed) {
                continue;
            }
            let reruns = known.filter(|known| known.since == new.since).map_or(0, |known| known.reruns);
            match self.is_confirmed(new.runs.saturating_add(reruns)) {
                true => actions.push(NewFailureAction::Confirm(new.case)),
                false => unsure = unsure.or(Some(new.since)),
            }
        }
        actions.extend(unsure.map(NewFailureAction::Repeat));
        actions
    }
}

#[cfg(test)]
mod tests;
