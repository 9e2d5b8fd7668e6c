//! Makes history of a build, and brings the breakages of its builder in line: what `domain::breakage::settle` decides is
//! performed here.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::breakage::flaky::flaky_since;
use domain::breakage::sick::is_sick;
use domain::breakage::{self, BreakageAction, StoredBreakage};
use domain::outcome::Outcome;
use domain::words::ids::{BranchId, BreakageId, BuildId, ChangeId, Timestamp, WorkerId};
use domain::words::{BuilderKind, Reason};
use store::{BreakageShare, BreakageUpdate, Builder, HistoryNews, NewBreakage, Write};

use crate::queue::{bound_to, enqueue_rerun};
use crate::settle::new_failures;

/// How many runs within [`PROOF_PERIOD`] may be made to prove one repair. A case that passes in half of its bad runs needs
/// about ten good ones, some of which come from later changes.
const MAX_PROOFS: u32 = 6;
const PROOF_PERIOD: Duration = Duration::from_secs(3600);

/// Makes history of a build: writes its transitions, rewrites those of its successor, and settles what they mean for
/// breakages. `worker` is the one that ran it; none where an equal build was run in its place.
pub async fn make_history(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: BuildId,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    let changed = tx.make_history(builder.id, build).await?;
    let row = tx.build(build).await?;
    if builder.kind == BuilderKind::Suite && row.outcome == Some(Outcome::Failed) {
        record_breakage_share(tx, builder.branch, row.change, at).await?;
    }
    if row.reason == Reason::Baseline && !changed.cases.is_empty() {
        let cases = changed.cases.len();
        tracing::info!(builder = builder.name, cases, "cases may differ where new inputs begin");
    }
    reconsider(tx, builder, HistoryNews::Build(changed), worker, at).await?;
    if row.outcome == Some(Outcome::Failed) {
        // The build may be the bad end of a breakage whose cases another change took over at a build that was there before.
        let taken = tx.put_takeovers_behind(builder.id, build).await?;
        if !taken.is_empty() {
            reconsider(tx, builder, HistoryNews::Cases(taken), worker, at).await?;
        }
    }
    Ok(())
}

/// A change that breaks many suites at once is sick. The next change that was thought to be sick may not be: what is
/// broken there was broken before.
async fn record_breakage_share(
    tx: &mut Write<'_>,
    branch: BranchId,
    change: ChangeId,
    at: Timestamp,
) -> store::Result<()> {
    let sick = tx.sick_changes(branch).await?;
    let order = if sick.is_empty() { Vec::new() } else { tx.order(branch).await? };
    let later = order.iter().skip_while(|other| **other != change).skip(1);
    let next = later.copied().find(|change| sick.contains(change));
    for change in [Some(change), next].into_iter().flatten() {
        let BreakageShare { were_good, failed } = tx.breakage_share(branch, change).await?;
        tx.set_change_sick(branch, change, is_sick(were_good, failed), at).await?;
    }
    Ok(())
}

/// Brings a builder's breakages in line with its history, as far as `news` may change them. `worker` made the build that
/// is the news.
pub async fn reconsider(
    tx: &mut Write<'_>,
    builder: &Builder,
    news: HistoryNews,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    let inputs = tx.breakage_inputs(builder, &news, flaky_since(at), at).await?;
    let stored: Vec<StoredBreakage> = inputs.breakages.iter().map(StoredBreakage::from).collect();
    let mut unsettled = BTreeSet::new();
    for action in breakage::settle(&inputs.history, &stored) {
        unsettled.extend(action.cases_to_settle_again(&stored));
        perform(tx, builder, action, worker, at).await?;
    }
    new_failures::settle(tx, builder, &inputs, worker, at).await?;
    tx.mark_builder_settled(builder.id, inputs.basis, &unsettled).await
}

async fn perform(
    tx: &mut Write<'_>,
    builder: &Builder,
    action: BreakageAction,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    match action {
        BreakageAction::Open { good, bad, cases, lost, hidden, repaired, fixed, split_from, again_of } => {
            let opened = NewBreakage {
                builder: builder.id,
                good,
                bad,
                cases,
                not_run: lost,
                hidden,
                repaired,
                fixed,
                // The search begins on the worker that raised the alarm: there, differing verdicts prove a flaky test.
                search_worker: tx.worker_of_history_build(builder.id, bad).await?.or(worker),
                split_from,
                again_of,
            };
            let id = tx.open_breakage(&opened, at).await?;
            tracing::info!(breakage = %id, builder = builder.name, cases = opened.cases.len(), "opened");
            Ok(())
        }
        BreakageAction::Update { id, good, bad, cases, lost, repaired, fixed } => {
            let update = BreakageUpdate { good, bad, cases, not_run: lost, repaired, fixed };
            tx.update_breakage(id, &update, at).await
        }
        BreakageAction::Prove { id, at: change } => rerun_repaired(tx, builder, id, change, at).await,
        BreakageAction::Gone(id) => tx.mark_breakage_gone(id, at).await,
    }
}

/// Enqueues one more run where a breakage seems to be repaired, with the very inputs that passed.
async fn rerun_repaired(
    tx: &mut Write<'_>,
    builder: &Builder,
    breakage: BreakageId,
    change: ChangeId,
    at: Timestamp,
) -> store::Result<()> {
    let since = at - PROOF_PERIOD;
    let Some(repaired) = tx.history_build_to_repeat(builder.id, change, since, MAX_PROOFS).await? else {
        return Ok(());
    };
    let only_worker = bound_to(tx, &repaired).await?;
    if enqueue_rerun(tx, &repaired, only_worker, at).await? {
        tracing::info!(%breakage, builder = builder.name, "seems to be repaired: one more run will prove it");
    }
    Ok(())
}
