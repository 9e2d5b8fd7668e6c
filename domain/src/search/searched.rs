//! The cases of a search as the inference takes them.

use std::sync::Arc;

use super::inputs::{SearchInputs, passed};
use super::machines::Machines;
use super::toolchain_groups::ToolchainGroups;
use crate::culprit::{self, Prior, Tally};
use crate::words::ids::CaseId;

/// The cases with the runs that count, for the inference.
pub(super) fn searched_cases(
    facts: &SearchInputs,
    groups: &ToolchainGroups,
    machines: &Machines,
) -> (Vec<CaseId>, Vec<culprit::SearchedCase>) {
    let (environment, flaky) = facts.past.environment_and_flaky();
    let prior = Arc::new(Prior::new(environment, flaky, &groups.sums(&facts.suspicion)));
    let searched = |(&case, &(good, bad)): (&CaseId, &(Tally, Tally))| {
        let runs = facts.runs.iter().filter(|run| !run.is_alarm && machines.counts(run, case));
        let runs = runs.filter_map(|run| {
            let failed = !passed(*run.verdicts.get(&case)?)?;
            Some(culprit::CaseRunResult { at: groups.group_of(run.at), worker: run.worker.0, failed })
        });
        (case, culprit::SearchedCase { prior: prior.clone(), good, bad, runs: runs.collect() })
    };
    facts.cases.iter().map(searched).unzip()
}
