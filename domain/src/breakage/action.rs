//! Breakages as they are stored, and how they are to change.

use std::collections::BTreeSet;

use super::regression_kind::RegressionKind;
use crate::words::BreakageState;
use crate::words::ids::{BreakageId, CaseId, ChangeId};

/// A breakage as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBreakage {
    /// Its number.
    pub id: BreakageId,
    /// The good end of its range.
    pub good: ChangeId,
    /// The bad end of its range.
    pub bad: ChangeId,
    /// How far its search is.
    pub state: BreakageState,
    /// The change that its search named.
    pub culprit: Option<ChangeId>,
    /// Its cases.
    pub cases: BTreeSet<CaseId>,
    /// Those of its cases that are not run any longer; the others fail.
    pub lost: BTreeSet<CaseId>,
    /// Those of its lost cases that failed already.
    pub hidden: BTreeSet<CaseId>,
    /// Those of its cases that are repaired, with proof, while others are not.
    pub repaired: BTreeSet<CaseId>,
    /// Its repair, if that is proven.
    pub fixed: Option<Fix>,
}

impl StoredBreakage {
    pub(super) fn regression_kind(&self, case: CaseId) -> RegressionKind {
        RegressionKind::of(case, &self.lost, &self.hidden)
    }
}

/// A repair: still bad at one change, good again at the other. If both are one change, the project repaired it itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fix {
    /// The last bad change.
    pub after: ChangeId,
    /// The first good change.
    pub by: ChangeId,
}

/// How the stored breakages are to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakageAction {
    /// Open a new one.
    Open {
        /// The good end of its range.
        good: ChangeId,
        /// The bad end of its range.
        bad: ChangeId,
        /// Its cases.
        cases: BTreeSet<CaseId>,
        /// Those of its cases that are not run any longer.
        lost: BTreeSet<CaseId>,
        /// Those of its lost cases that failed already.
        hidden: BTreeSet<CaseId>,
        /// Those of its cases that are repaired already, with proof, while others are not.
        repaired: BTreeSet<CaseId>,
        /// Its repair, if that is proven already.
        fixed: Option<Fix>,
        /// The breakage to which its cases belonged until now.
        split_from: Option<BreakageId>,
        /// The newest earlier breakage of its cases.
        again_of: Option<BreakageId>,
    },
    /// Its ends moved, cases left for a breakage of their own, or a repair was proven or refuted.
    Update {
        /// The breakage.
        id: BreakageId,
        /// The good end of its range.
        good: ChangeId,
        /// The bad end of its range.
        bad: ChangeId,
        /// Its cases.
        cases: BTreeSet<CaseId>,
        /// Those of its cases that are not run any longer.
        lost: BTreeSet<CaseId>,
        /// Those of its cases that are repaired, with proof, while others are not.
        repaired: BTreeSet<CaseId>,
        /// Its repair, if that is proven.
        fixed: Option<Fix>,
    },
    /// Its cases are good again at this change, and one more run there is needed to prove it.
    Prove {
        /// The breakage.
        id: BreakageId,
        /// The change to run once more.
        at: ChangeId,
    },
    /// Its bad end is no longer part of the history.
    Gone(BreakageId),
}

impl BreakageAction {
    /// The cases whose breakages the action changes. After it, [`super::settle`] may find more to do for them.
    pub fn cases_to_settle_again(&self, stored: &[StoredBreakage]) -> BTreeSet<CaseId> {
        match self {
            BreakageAction::Open { cases, .. } => cases.clone(),
            BreakageAction::Update { id, .. } | BreakageAction::Gone(id) => stored
                .iter()
                .filter(|breakage| breakage.id == *id)
                .flat_map(|breakage| &breakage.cases)
                .copied()
                .collect(),
            BreakageAction::Prove { .. } => BTreeSet::new(),
        }
    }
}
