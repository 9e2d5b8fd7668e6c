//! Whose runs count. A case that fails on one machine whatever the change must not blame a change.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Sha256;

use super::axis::Axis;
use super::{ExcludedWorker, ProbeRequest, SearchInputs, SearchRun, SearchStep, passed};
use crate::culprit::{Purpose, Tally};
use crate::words::ids::{CaseId, WorkerId};

/// A machine that passes so often where another fails shows another thing.
const SURE_OF_MACHINE: u32 = 2;

pub(super) struct Machines {
    /// The environment that each has now.
    present: BTreeMap<WorkerId, Option<Sha256>>,
    last: Option<WorkerId>,
    standing: BTreeMap<(WorkerId, CaseId), Option<ExcludedWorker>>,
    /// What each did at the good end.
    base: BTreeMap<WorkerId, Tally>,
}

impl Machines {
    pub fn of(facts: &SearchInputs, axis: &Axis) -> Machines {
        let present: BTreeMap<WorkerId, Option<Sha256>> =
            facts.runs.iter().map(|run| (run.worker, run.environment)).collect();
        let mut machines = Machines {
            present,
            last: facts.runs.iter().rev().find(|run| !run.is_alarm).map(|run| run.worker),
            standing: BTreeMap::new(),
            base: BTreeMap::new(),
        };
        for &case in facts.cases.keys() {
            let base = machines.tallies(facts, axis, 0, case);
            let head = machines.tallies(facts, axis, axis.head(), case);
            let somebody_passes = base.values().any(|tally| tally.passes > 0);
            // Only one that passes the good end has shown anything at the bad one.
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
                    () if base.passes == 0 && somebody_passes => Some(ExcludedWorker::FailsThere),
                    () if shown && head.fails == 0 && head.passes >= SURE_OF_MACHINE => {
                        Some(ExcludedWorker::PassesThere)
                    }
                    () => None,
                };
                machines.standing.insert((worker, case), left_out);
                let tally = machines.base.entry(worker).or_default();
                *tally = *tally + base;
            }
        }
        machines
    }

    /// What each machine, as it is now, did with a case at one place.
    fn tallies(
        &self,
        facts: &SearchInputs,
        axis: &Axis,
        place: usize,
        case: CaseId,
    ) -> BTreeMap<WorkerId, Tally> {
        let mut tallies: BTreeMap<WorkerId, Tally> = BTreeMap::new();
        let here = facts.runs.iter().filter(|run| axis.place_of(run.at) == place && self.is_present(run));
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

    pub fn counts(&self, run: &SearchRun, case: CaseId) -> bool {
        self.is_present(run) && self.standing.get(&(run.worker, case)) == Some(&None)
    }

    /// Whether its runs of some case count.
    pub fn is_proven(&self, worker: WorkerId) -> bool {
        self.standing.iter().any(|((of, _), left_out)| *of == worker && left_out.is_none())
    }

    /// Who ran last.
    pub fn last(&self) -> Option<WorkerId> {
        self.last
    }

    /// Machines none of whose runs count, and why.
    pub fn left_out(&self) -> Vec<(WorkerId, ExcludedWorker)> {
        let mut left_out: BTreeSet<(WorkerId, ExcludedWorker)> = BTreeSet::new();
        for (&(worker, _), why) in &self.standing {
            left_out.extend(why.filter(|_| !self.is_proven(worker)).map(|why| (worker, why)));
        }
        left_out.into_iter().collect()
    }

    /// Whether every machine that could still be asked fails at the good end though another passed there.
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

    /// Asks one of those that are here to show that it passes the good end.
    pub fn prove(&self, facts: &SearchInputs) -> SearchStep {
        if !facts.pending.is_empty() {
            return SearchStep::Wait;
        }
        let fails = |worker: WorkerId| self.base.get(&worker).map_or(0, |base| base.fails);
        let free = facts.available_workers.iter().filter(|available_worker| available_worker.free > 0);
        // The first comes first unless it was seen to fail there.
        match free.min_by_key(|available_worker| fails(available_worker.worker)) {
            Some(available_worker) => SearchStep::Ask(vec![ProbeRequest {
                at: 0,
                worker: available_worker.worker,
                purpose: Purpose::Base,
                bits: 0.0,
            }]),
            None => SearchStep::Wait,
        }
    }
}
