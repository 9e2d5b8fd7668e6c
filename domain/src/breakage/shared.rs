//! Cases that many causes share: a step fails with any of its tests, and a fault is often only the other half of a test's
//! failure. Such a case belongs to whatever explains it, and opens a breakage only where nothing does.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Verdict;

use super::episode::{Episode, Repair};
use super::flaky::is_of_step;
use super::history::{BuilderHistory, CaseHistory};
use super::regression_kind::{Axis, RegressionKind};
use crate::readers::is_fault;
use crate::words::ids::{CaseId, ChangeId};

/// A name of a fault that was bad in so many history builds in a row is stable, even where others are not.
const STABLE_RUNS: usize = 3;

/// What explains what: each kind explains those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CaseRank {
    Named,
    Fault,
    Step,
}

impl CaseRank {
    pub const ALL: [CaseRank; 3] = [CaseRank::Named, CaseRank::Fault, CaseRank::Step];

    fn of_name(name: &str) -> CaseRank {
        match (is_of_step(name), is_fault(name)) {
            (true, _) => CaseRank::Step,
            (false, true) => CaseRank::Fault,
            (false, false) => CaseRank::Named,
        }
    }
}

/// The cases, with their names, that a search is about: those of the first rank that there is. What the others do follows
/// from them, and may have other causes, too.
pub fn leading_cases(names: &BTreeMap<CaseId, String>) -> BTreeSet<CaseId> {
    let first = names.values().map(|name| CaseRank::of_name(name)).min();
    names.iter().filter(|(_, name)| Some(CaseRank::of_name(name)) == first).map(|(case, _)| *case).collect()
}

impl BuilderHistory {
    pub(super) fn rank(&self, case: CaseId) -> CaseRank {
        match (self.steps.contains(&case), self.faults.contains(&case)) {
            (true, _) => CaseRank::Step,
            (false, true) => CaseRank::Fault,
            (false, false) => CaseRank::Named,
        }
    }

    /// Whether an episode of a case is left to its step: the suite is known to name its faults differently in each run, and
    /// this name is one of those that differed between two runs of identical inputs, or has not proven itself stable. A few
    /// names that take turns would else accuse each change that has another one of them.
    pub(super) fn is_left_to_step(&self, case_history: &CaseHistory, episode: &Episode) -> bool {
        let is_stable = || {
            let mut row = 0;
            let before = case_history.verdicts.iter().take_while(|(change, _)| *change != episode.bad);
            let before = before.filter(|(_, verdict)| *verdict != Verdict::Unreached);
            before.fold(false, |is_stable, (_, verdict)| {
                row = if verdict.is_bad() { row + 1 } else { 0 };
                is_stable || row >= STABLE_RUNS
            })
        };
        self.rank(case_history.case) == CaseRank::Fault
            && self.has_unstable_faults
            && (self.unstable.contains(&case_history.case) || !is_stable())
    }

    /// The cases that a breakage is about: those of the first rank that it has.
    pub(super) fn leading(&self, cases: &BTreeSet<CaseId>) -> BTreeSet<CaseId> {
        let first = cases.iter().map(|case| self.rank(*case)).min();
        cases.iter().copied().filter(|case| Some(self.rank(*case)) == first).collect()
    }
}

/// Where cases of one rank were bad that had been good: what that explains.
#[derive(Default)]
pub struct Explanations {
    bad: BTreeSet<ChangeId>,
    begins: BTreeSet<ChangeId>,
}

impl Explanations {
    /// Adds the episodes of a case.
    pub fn add(
        &mut self,
        case_history: &CaseHistory,
        episodes: &[Episode],
        position: &BTreeMap<ChangeId, usize>,
    ) {
        for episode in episodes.iter().filter(|episode| episode.regression_kind.axis() == Axis::Passing) {
            self.begins.insert(episode.bad);
            let from = position.get(&episode.bad);
            let until = match episode.repair {
                Repair::None => None,
                Repair::Seen(fix) | Repair::Proven(fix) => position.get(&fix.after),
            };
            for (change, verdict) in &case_history.verdicts {
                let at = position.get(change);
                let is_within = from <= at && until.is_none_or(|until| at <= Some(until));
                if is_within && episode.regression_kind.shows_good(*verdict) == Some(false) {
                    self.bad.insert(*change);
                }
            }
        }
    }

    /// Adds a case that is new and fails from the first of these changes on. What fails along with it was good before.
    pub fn add_changes(&mut self, failing: Vec<ChangeId>) {
        self.begins.extend(failing.first());
        self.bad.extend(failing);
    }

    pub fn extend(&mut self, other: Explanations) {
        self.bad.extend(other.bad);
        self.begins.extend(other.begins);
    }

    /// The history of a shared case without what is explained. A step fails wherever one of its tests does; a fault is
    /// explained by a case that went bad together with it, for as long as that is bad.
    pub fn explain(&self, case_history: &CaseHistory, rank: CaseRank) -> CaseHistory {
        let mut rest = case_history.clone();
        let (mut was_bad, mut is_explained) = (false, false);
        for (change, verdict) in &mut rest.verdicts {
            let is_bad = match RegressionKind::Failing.shows_good(*verdict) {
                Some(good) => !good,
                None => continue,
            };
            is_explained = match rank {
                CaseRank::Named => false,
                CaseRank::Fault if was_bad => is_explained && self.bad.contains(change),
                CaseRank::Fault => self.begins.contains(change),
                CaseRank::Step => self.bad.contains(change),
            };
            was_bad = is_bad;
            if is_bad && is_explained {
                *verdict = Verdict::Unreached;
            }
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_about_tests_then_about_faults_and_else_about_steps() {
        let led = |names: &[&str]| {
            let named = (0..).map(CaseId).zip(names.iter().map(ToString::to_string)).collect();
            leading_cases(&named)
                .into_iter()
                .map(|case| names[case.0 as usize])
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(led(&["greets", "step:test", "fault:x", "parts"]), "greets, parts");
        assert_eq!(led(&["step:test", "fault:x"]), "fault:x");
        assert_eq!(led(&["step:test", "step:install"]), "step:test, step:install");
        assert_eq!(led(&[]), "");
    }
}
