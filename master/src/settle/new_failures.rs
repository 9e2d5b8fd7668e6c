//! Keeps the records of cases that are new and fail from their first run on: what `domain::breakage` finds in a history is
//! compared with what is recorded.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::breakage::NewFailureAction;
use domain::words::BuilderKind;
use domain::words::ids::{CaseId, ChangeId, Timestamp, WorkerId};
use store::{Breakage, BreakageInputs, Build, Builder, Write};

use crate::queue::{bound_to, enqueue_rerun};

/// How many runs within [`RERUN_PERIOD`] may be made to see whether new cases are there again.
const MAX_RERUNS: u32 = 6;
const RERUN_PERIOD: Duration = Duration::from_secs(3600);

/// Brings the records of a builder in line with its history. `worker` made the build that is the news.
pub async fn settle(
    tx: &mut Write<'_>,
    builder: &Builder,
    inputs: &BreakageInputs,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    let open = inputs.breakages.iter().filter(|breakage| !breakage.state.is_over());
    let held: BTreeSet<CaseId> = open.flat_map(|breakage: &Breakage| &breakage.cases).copied().collect();
    let found = inputs.history.new_failures(&held);
    for action in inputs.history.settle_new_failures(&found, &inputs.new_failures) {
        match action {
            NewFailureAction::Record(new) => tx.put_new_failure(builder.id, &new, at).await?,
            NewFailureAction::Confirm(case) => {
                tx.confirm_new_failure(builder.id, case, at).await?;
                tracing::info!(builder = builder.name, %case, "new, and fails from its first run on");
            }
            NewFailureAction::End(case) => tx.end_new_failure(builder.id, case, at).await?,
            NewFailureAction::Forget(case) => tx.forget_new_failure(builder.id, case).await?,
            NewFailureAction::Repeat(change) => repeat(tx, builder, change, worker, at).await?,
        }
    }
    Ok(())
}

/// Enqueues one more run of the change at which a case was first run, on the worker that ran it: on another one, a name that
/// is not there again might be the machine's.
async fn repeat(
    tx: &mut Write<'_>,
    builder: &Builder,
    change: ChangeId,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    let since = at - RERUN_PERIOD;
    let Some(first) = tx.history_build_to_repeat(builder.id, change, since, MAX_RERUNS).await? else {
        return Ok(());
    };
    let ran_by = tx.worker_of_history_build(builder.id, change).await?.or(worker);
    let only_worker = bound_to(tx, &first).await?.or(ran_by);
    if enqueue_rerun(tx, &first, only_worker, at).await? {
        tracing::info!(builder = builder.name, %change, "a new case fails: one more run shows whether it is there again");
    }
    Ok(())
}

/// Counts the new failures that a null run shows once more, and returns the cases that it may have decided: all new failures
/// of the builder.
pub async fn record_rerun(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
) -> store::Result<BTreeSet<CaseId>> {
    let recorded = match builder.kind {
        BuilderKind::Suite => tx.new_failures(builder.id).await?,
        BuilderKind::Toolchain => Vec::new(),
    };
    if recorded.is_empty() {
        return Ok(BTreeSet::new());
    }
    let verdicts = tx.case_verdicts(build.id).await?;
    let fails = |case: &CaseId| verdicts.get(case).is_some_and(|verdict| verdict.is_bad());
    let cases: BTreeSet<CaseId> = recorded.iter().map(|new| new.case).collect();
    let failing: BTreeSet<CaseId> = cases.iter().copied().filter(fails).collect();
    tx.count_rerun_of_new_failures(builder.id, build.change, &failing).await?;
    Ok(cases)
}
