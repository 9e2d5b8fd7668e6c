//! The runs that stand behind an answer, counted once: a search ends by this count, and page and mail print it.

use std::collections::BTreeSet;

use super::inputs::SearchInputs;
use super::machines::Machines;
use super::searched::searched_cases;
use super::selection;
use super::toolchain_groups::ToolchainGroups;
use crate::culprit::{SearchedCase, Standard, Tally};
use crate::words::ids::WorkerId;

/// What one worker ran without a suspected change, and with it: with any build of these two toolchains, at whichever of
/// the neighbouring changes that share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerProof {
    /// The worker.
    pub worker: WorkerId,
    /// Runs without it.
    pub before: Tally,
    /// Runs with it.
    pub with: Tally,
}

/// The runs behind an answer by worker, if `parent` and `culprit` are its ends, as indices in the range. Of several cases
/// the one that shows the least counts, so the numbers hold for each.
pub fn proof(facts: &SearchInputs, parent: usize, culprit: usize) -> Vec<WorkerProof> {
    let groups = ToolchainGroups::new(&facts.range);
    let whole = (!selection::judge(facts, &groups).counts()).then(|| selection::without_selected(facts));
    let facts = whole.as_ref().unwrap_or(facts);
    let (_, searched) = searched_cases(facts, &groups, &Machines::new(facts, &groups));
    count(&searched, groups.group_of(parent), groups.group_of(culprit))
}

/// The same for two groups of changes.
pub(super) fn count(searched: &[SearchedCase], parent: usize, last: usize) -> Vec<WorkerProof> {
    let beside = |at: usize| at == parent || at == last;
    let runs = searched.iter().flat_map(|case| &case.runs).filter(|run| beside(run.at));
    let workers: BTreeSet<i64> = runs.map(|run| run.worker).collect();
    workers.into_iter().map(|worker| of_worker(searched, worker, parent, last)).collect()
}

fn of_worker(searched: &[SearchedCase], worker: i64, parent: usize, last: usize) -> WorkerProof {
    let tallies = searched.iter().filter_map(|case| {
        let (mut before, mut with) = (Tally::default(), Tally::default());
        for run in case.runs.iter().filter(|run| run.worker == worker) {
            match run.at {
                at if at == parent => before.count(run.failed),
                at if at == last => with.count(run.failed),
                _ => {}
            }
        }
        // A case of which this machine shows nothing has its proof on another one.
        ((before, with) != <(Tally, Tally)>::default()).then_some((before, with))
    });
    let least = tallies.reduce(|(before, with), (more_before, more_with)| {
        let before = Tally {
            passes: before.passes.min(more_before.passes),
            fails: before.fails.max(more_before.fails),
        };
        let with =
            Tally { passes: with.passes.max(more_with.passes), fails: with.fails.min(more_with.fails) };
        (before, with)
    });
    let (before, with) = least.unwrap_or_default();
    WorkerProof { worker: WorkerId(worker), before, with }
}

impl WorkerProof {
    /// Whether this worker alone has seen what an announcement needs.
    pub fn is_enough(&self, standard: Standard) -> bool {
        self.missing_before(standard) == 0 && self.missing_with(standard) == 0
    }

    /// How many passes without the change it has yet to see.
    pub(super) fn missing_before(&self, standard: Standard) -> usize {
        standard.runs.saturating_sub(crate::numbers::index(self.before.passes))
    }

    /// How many failures with the change it has yet to see.
    pub(super) fn missing_with(&self, standard: Standard) -> usize {
        standard.runs.saturating_sub(crate::numbers::index(self.with.fails))
    }
}
