//! A builder's history, as far as its breakages follow from it.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Verdict;

use crate::words::ids::{CaseId, ChangeId};

/// Of the cases that were run before, at most one in so many may be gone.
const KEPT: usize = 4;

/// A builder's history, as far as its breakages follow from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuilderHistory {
    /// The branch's changes, first to last.
    pub order: Vec<ChangeId>,
    /// The builder's history builds, in that order.
    pub history_builds: Vec<HistoryBuild>,
    /// The histories of the cases that ever failed or were not run, or that belong to a breakage; or only of those of
    /// them about which there is news.
    pub case_histories: Vec<CaseHistory>,
    /// How many cases that have no history here were good and then not run any longer, by the change that shows it. It
    /// may be left out if no case with a history was lost, and need not exceed what makes any loss an alarm.
    pub other_losses: BTreeMap<ChangeId, usize>,
    /// Cases that are proven to be flaky: they open no more breakages.
    pub flaky: BTreeSet<CaseId>,
    /// Cases whose names come and go on identical inputs: if they vanish, it is no loss.
    pub unstable: BTreeSet<CaseId>,
    /// Cases of steps as a whole.
    pub steps: BTreeSet<CaseId>,
    /// Cases that are reported only when they are bad.
    pub faults: BTreeSet<CaseId>,
    /// Whether the suite names its faults differently on identical inputs.
    pub has_unstable_faults: bool,
    /// Whether names of other cases come and go on identical inputs.
    pub has_unstable_names: bool,
    /// How the list of a suite's names changed, by index in `history_builds`: where a case that was never run before fails.
    /// A toolchain has none: what is new there, its own change has brought.
    pub list_changes: BTreeMap<usize, ListChange>,
    /// What proves a repair.
    pub proof: RepairProof,
}

/// What proves a repair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RepairProof {
    /// So many good runs that a case which is still broken would hardly have passed them all: a suite may pass by luck.
    #[default]
    Model,
    /// One good run: a compiler is not flaky.
    OneRun,
}

/// How the names in a suite's list changed at a history build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListChange {
    /// How many cases are reported that were not reported before.
    pub came: usize,
    /// How many are no longer reported.
    pub went: usize,
}

impl ListChange {
    /// Whether the rest of the list stays as it is: it does not more than double, and next to nothing is gone. `ran` is how
    /// many cases ran in the build, the new ones, too. Where names are known to come and go, none may be gone: a new one may
    /// stand in its place.
    pub fn is_stable(self, ran: usize, has_unstable_names: bool) -> bool {
        let known = ran.saturating_sub(self.came);
        self.came <= known && self.went * KEPT <= known && (self.went == 0 || !has_unstable_names)
    }
}

/// A build that makes history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryBuild {
    /// The change that it is a build of.
    pub change: ChangeId,
    /// Whether it was run; if not, it has the verdicts of a build with equal inputs.
    pub own: bool,
    /// How many cases ran.
    pub ran: u32,
    /// Whether it passed.
    pub green: bool,
}

/// The verdicts of one case in the history builds of its builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseHistory {
    /// The case.
    pub case: CaseId,
    /// In first-parent order. A build that did not reach the case has `Unreached`: it is no evidence of what the case does.
    pub verdicts: Vec<(ChangeId, Verdict)>,
    /// The indices in `verdicts` at which other project inputs begin: what differs there was caused by the project.
    pub baselines: BTreeSet<usize>,
    /// The indices in `verdicts` at which another change took the case over: it goes on failing, for another reason. See
    /// [`super::takeover::taken_over`].
    pub takeovers: BTreeSet<usize>,
    /// The verdicts of runs that make no history: null runs and probes.
    pub evidence_verdicts: Vec<(ChangeId, Verdict)>,
}

impl BuilderHistory {
    /// Whether another change took a case over at a change.
    pub(super) fn is_taken_over(&self, case: CaseId, change: ChangeId) -> bool {
        let of_case = self.case_histories.iter().filter(|case_history| case_history.case == case);
        of_case.flat_map(|it| it.takeovers.iter().map(|at| it.verdicts[*at].0)).any(|at| at == change)
    }
}
