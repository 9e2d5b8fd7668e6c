//! Identical inputs run again: to measure noise, to prove a repair, to tell the network's trouble from a change's.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::breakage::flaky;
use domain::outcome::MAX_ATTEMPTS;
use domain::words::ids::{BreakageId, CaseId, ChangeId, Timestamp, WorkerId};
use domain::words::{BreakageState, Reason, Trust};
use store::{Build, Builder, HistoryNews, NewBreakage, NewBuild, Write};

use crate::schedule::probation;
use crate::settle;

/// How long a build whose fetch failed waits for another change's fetch; four times as long each time.
const ANSWER: Duration = Duration::from_secs(5);
/// How many runs in this time may be made to prove one repair.
const PROOFS: u32 = 3;
const PROOFS_WITHIN: Duration = Duration::from_secs(3600);

/// Asks for a null run: the very inputs of a build again. Says whether they are known.
pub async fn repeat(
    tx: &mut Write<'_>,
    build: &Build,
    only_worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<bool> {
    let Some(inputs) = build.inputs else { return Ok(false) };
    let new = NewBuild {
        builder: build.builder,
        change: build.change,
        pin: build.pin,
        recipe: build.recipe,
        reason: Reason::Null,
        breakage: None,
        only_worker,
        inputs,
        artifact: build.artifact,
    };
    tx.enqueue_build(&new, at).await?;
    Ok(true)
}

/// What a null run says: whether a repair holds, which cases are flaky by themselves, which names come and go, and
/// whether a machine on probation agrees.
pub async fn hear(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    if let Some(worker) = worker
        && tx.worker(worker).await?.trust == Some(Trust::Probation)
    {
        return probation::hear(tx, builder, build, worker, at).await;
    }
    // It may be what a repair waits for.
    let open = tx.cases_of_open_breakages(builder.id).await?;
    compare(tx, builder, build, worker, at).await?;
    if open.is_empty() {
        return Ok(());
    }
    settle::reconsider(tx, builder, HistoryNews::Cases(open), worker, at).await
}

/// Finds what is flaky by itself before any change is accused of it. Cases of an open breakage are left to its search;
/// what was found flaky so long ago that it may be accused again is found anew.
async fn compare(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    let Some(inputs) = build.inputs else { return Ok(()) };
    let Some(repeated) = tx.equal_build(builder.id, inputs).await? else { return Ok(()) };
    // Elsewhere, or on a machine that was altered meanwhile, a difference is the machine's.
    if tx.machine_of(repeated.id).await? != tx.machine_of(build.id).await? {
        return Ok(());
    }
    let (mut first, mut second) = (tx.build_verdicts(repeated.id).await?, tx.build_verdicts(build.id).await?);
    tx.add_unreported(repeated.id, &mut first.case_verdicts, second.case_verdicts.keys().copied()).await?;
    tx.add_unreported(build.id, &mut second.case_verdicts, first.case_verdicts.keys().copied()).await?;
    if first.complete && second.complete {
        tx.put_unstable_cases(builder.id, &flaky::unstable(&first.case_verdicts, &second.case_verdicts), at)
            .await?;
    }
    let known = tx.flaky_cases(builder.id, settle::flaky_since(at)).await?;
    let broken = tx.cases_thought_broken(builder.id).await?;
    let differing = flaky::differing(&first.case_verdicts, &second.case_verdicts);
    let news: BTreeSet<CaseId> =
        differing.into_iter().filter(|case| !known.contains(case) && !broken.contains(case)).collect();
    if news.is_empty() {
        return Ok(());
    }
    let opened = NewBreakage {
        builder: builder.id,
        good: build.change,
        bad: build.change,
        cases: news,
        not_run: BTreeSet::new(),
        fixed: None,
        search_worker: worker,
        split_from: None,
        again_of: None,
    };
    let id = tx.open_breakage(&opened, at).await?;
    tx.record_search_result(id, BreakageState::Flaky, None, None, at).await?;
    tracing::info!(breakage = %id, builder = builder.name, cases = opened.cases.len(), "found flaky by a null run");
    Ok(())
}

/// Asks for one more run where a breakage seems to be repaired, with the very inputs that passed.
pub async fn prove(
    tx: &mut Write<'_>,
    builder: &Builder,
    breakage: BreakageId,
    change: ChangeId,
    at: Timestamp,
) -> store::Result<()> {
    let since = Timestamp(at.0 - PROOFS_WITHIN.as_millis() as i64);
    let Some(repaired) = tx.history_build_to_repeat(builder.id, change, since, PROOFS).await? else {
        return Ok(());
    };
    let only_worker = match repaired.artifact {
        Some(artifact) => tx.artifact(artifact).await?.and_then(|artifact| artifact.only_worker),
        None => None,
    };
    if repeat(tx, &repaired, only_worker, at).await? {
        tracing::info!(%breakage, builder = builder.name, "seems to be repaired: one more run will prove it");
    }
    Ok(())
}

/// When a fetch failed again and again, a change that was fetched before is run once more: if that works, it was not the
/// network. Says whether the build waits for the answer.
pub async fn ask_other_change(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    tries: u32,
    at: Timestamp,
) -> store::Result<bool> {
    if tries >= 2 * MAX_ATTEMPTS || build.reason == Reason::Null {
        return Ok(false);
    }
    let asked = match tx.to_repeat(builder.id, build.queued_at).await? {
        Some((good, worker)) => repeat(tx, &good, Some(worker), at).await?,
        None => tx.is_repeating(builder.id).await?,
    };
    if asked {
        tx.requeue_build(build.id, at + ANSWER * 4_u32.pow(tries.saturating_sub(MAX_ATTEMPTS)), at).await?;
    }
    Ok(asked)
}
