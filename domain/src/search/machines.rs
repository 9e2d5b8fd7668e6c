//! Decides whose runs count: a case that fails on one machine, whatever the change is, must not blame a change.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Sha256;

use super::belief::ExcludedWorker;
use super::inputs::{SearchInputs, SearchRun, passed};
use super::step::{ProbeRequest, SearchStep};
use super::toolchain_groups::ToolchainGroups;
use crate::culprit::{Purpose, Tally};
use crate::words::ids::{CaseId, WorkerId};

/// A machine that passes so often where another one fails behaves differently.
const SURE_OF_MACHINE: u32 = 2;

/// The machines that have run cases of the breakage.
pub(super) struct Machines {
    /// The environment that each one has now.
    present: BTreeMap<WorkerId, Option<Sha256>>,
    last: Option<WorkerId>,
    /// Why the runs of a machine for a case do not count; none if they count.
    excluded: BTreeMap<(WorkerId, CaseId), Option<ExcludedWorker>>,
    /// What each one did at the good end, over all cases.
    base: BTreeMap<WorkerId, Tally>,
}

impl Machines {
    pub fn new(facts: &SearchInputs, groups: &ToolchainGroups) -> Machines {
        let present: BTreeMap<WorkerId, Option<Sha256>> =
            facts.runs.iter().map(|run| (run.worker, run.environment)).collect();
        let mut machines = Machines {
            present,
            last: facts.runs.iter().rev().find(|run| !run.is_alarm).map(|run| run.worker),
            excluded: BTreeMap::new(),
            base: BTreeMap::new(),
        };
        for &case in facts.cases.keys() {
            let base = machines.tallies(facts, groups, 0, case);
            let head = machines.tallies(facts, groups, groups.head(), case);
            let any_passes = base.values().any(|tally| tally.passes > 0);
            // Only a machine that passes at the good end has shown anything at the bad one.
            let shown = head.iter().any(|(worker, head)| {
                let is_proven = base.get(worker).is_some_and(|base| base.passes > 0);
                is_proven && head.fails >= SURE_OF_MACHINE && head.passes == 0
            });
            for &worker in machines.present.keys() {
                let at =
                    |tallies: &BTreeMap<WorkerId, Tally>| tallies.get(&worker).copied().unwrap_or_default();
                let (base, head) = (at(&base), at(&head));
                let left_out = match () {
                    () if base.passes == 0 && base.fails == 0 => Some(ExcludedWorker::Unproven),
                    () if base.passes == 0 && any_passes => Some(ExcludedWorker::FailsThere),
                    () if shown && head.fails == 0 && head.passes >= SURE_OF_MACHINE => {
                        Some(ExcludedWorker::PassesThere)
                    }
                    () => None,
                };
                machines.excluded.insert((worker, case), left_out);
                let tally = machines.base.entry(worker).or_default();
                *tally = *tally + base;
            }
        }
        machines
    }

    /// The runs of a case at one group of changes, by machine; only those in the machine's present environment.
    fn tallies(
        &self,
        facts: &SearchInputs,
        groups: &ToolchainGroups,
        group: usize,
        case: CaseId,
    ) -> BTreeMap<WorkerId, Tally> {
        let mut tallies: BTreeMap<WorkerId, Tally> = BTreeMap::new();
        let here = facts.runs.iter().filter(|run| groups.group_of(run.at) == group && self.is_present(run));
        for run in here {
            if let Some(passed) = run.verdicts.get(&case).copied().and_then(passed) {
                tallies.entry(run.worker).or_default().count(!passed);
            }
        }
        tallies
    }

    /// Whether a run was made in the environment that its machine still has.
    pub fn is_present(&self, run: &SearchRun) -> bool {
        self.present.get(&run.worker) == Some(&run.environment)
    }

    /// Whether a run counts for a case.
    pub fn counts(&self, run: &SearchRun, case: CaseId) -> bool {
        self.is_present(run) && self.excluded.get(&(run.worker, case)) == Some(&None)
    }

    /// Whether a worker's runs count for at least one case.
    pub fn is_proven(&self, worker: WorkerId) -> bool {
        self.excluded.iter().any(|((of, _), left_out)| *of == worker && left_out.is_none())
    }

    /// The worker that ran last.
    pub fn last(&self) -> Option<WorkerId> {
        self.last
    }

    /// The machines none of whose runs count, and why.
    pub fn left_out(&self) -> Vec<(WorkerId, ExcludedWorker)> {
        let mut left_out: BTreeSet<(WorkerId, ExcludedWorker)> = BTreeSet::new();
        for (&(worker, _), why) in &self.excluded {
            left_out.extend(why.filter(|_| !self.is_proven(worker)).map(|why| (worker, why)));
        }
        left_out.into_iter().collect()
    }

    /// Whether every machine that is available has failed at the good end repeatedly, and none of its runs count.
    pub fn are_all_out(&self, facts: &SearchInputs) -> bool {
        !facts.available_workers.is_empty()
            && facts.available_workers.iter().all(|available_worker| {
                !self.is_proven(available_worker.worker)
                    && self
                        .base
                        .get(&available_worker.worker)
                        .is_some_and(|base| base.fails >= SURE_OF_MACHINE)
            })
    }

    /// Probes the good end on an available worker, to show that it passes there.
    pub fn prove(&self, facts: &SearchInputs) -> SearchStep {
        if !facts.pending.is_empty() {
            return SearchStep::Wait;
        }
        let fails = |worker: WorkerId| self.base.get(&worker).map_or(0, |base| base.fails);
        let free = facts.available_workers.iter().filter(|available_worker| available_worker.free > 0);
        // The first worker is preferred, unless it has failed there.
        match free.min_by_key(|available_worker| fails(available_worker.worker)) {
            Some(available_worker) => SearchStep::Ask(vec![ProbeRequest {
                at: 0,
                worker: available_worker.worker,
                purpose: Purpose::Base,
                bits: 0.0,
                selected: false,
            }]),
            None => SearchStep::Wait,
        }
    }
}
