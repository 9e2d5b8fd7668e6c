//! Records a null run, which ran identical inputs again: whether a repair holds, which cases are flaky by themselves, and
//! which names come and go.

use std::collections::BTreeSet;

use domain::breakage::flaky::{self, flaky_since};
use domain::readers::is_fault;
use domain::words::BreakageState;
use domain::words::ids::{CaseId, Timestamp, WorkerId};
use protocol::Sha256;
use store::{Build, Builder, HistoryNews, NewBreakage, Write};

use crate::settle::{breakages, self_checks};

/// Records what a null run shows about noise, and about the repair that it may have been made for.
pub async fn record(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    // A repair may be waiting for this run.
    let open = tx.cases_of_open_breakages(builder.id).await?;
    self_checks::record(tx, build, at).await?;
    compare(tx, builder, build, worker, at).await?;
    if open.is_empty() {
        return Ok(());
    }
    breakages::reconsider(tx, builder, HistoryNews::Cases(open), worker, at).await
}

/// The run of the same inputs with which a null run is compared: the history build, unless that had caches and the null run
/// went without. Then it is the last one that went without, too: what differs would be the caches' doing.
async fn run_to_compare(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    inputs: Sha256,
) -> store::Result<Option<Build>> {
    let Some(equal) = tx.equal_build(builder.id, inputs).await? else { return Ok(None) };
    if tx.had_caches(equal.id).await? == tx.had_caches(build.id).await? {
        return Ok(Some(equal));
    }
    let runs = tx.comparable_runs(builder.id, build.id, inputs).await?;
    match runs.into_iter().find(|run| !run.with_caches && run.build != build.id) {
        Some(run) => tx.build(run.build).await.map(Some),
        None => Ok(None),
    }
}

/// Finds what is flaky by itself before any change is accused of it. Cases of an open breakage are left to its search. A
/// case that was found flaky so long ago that it may be accused again can be found flaky again.
async fn compare(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    let Some(inputs) = build.inputs else { return Ok(()) };
    let Some(repeated) = run_to_compare(tx, builder, build, inputs).await? else { return Ok(()) };
    // On another machine, or on one that was altered meanwhile, a difference is the machine's.
    if tx.machine_of(repeated.id).await? != tx.machine_of(build.id).await? {
        return Ok(());
    }
    let (mut first, mut second) = (tx.build_verdicts(repeated.id).await?, tx.build_verdicts(build.id).await?);
    tx.add_unreported(repeated.id, &mut first.case_verdicts, second.case_verdicts.keys().copied()).await?;
    tx.add_unreported(build.id, &mut second.case_verdicts, first.case_verdicts.keys().copied()).await?;
    let mut unstable = BTreeSet::new();
    if first.complete && second.complete {
        unstable = flaky::unstable(&first.case_verdicts, &second.case_verdicts);
        let differing = flaky::differing(&first.case_verdicts, &second.case_verdicts);
        let names = tx.names_of_cases(&differing).await?;
        let is_fault = |case: &CaseId| names.get(case).is_some_and(|name| is_fault(name));
        unstable.extend(flaky::differing_faults(&first.case_verdicts, &second.case_verdicts, is_fault));
        tx.put_unstable_cases(builder.id, &unstable, at).await?;
    }
    let already_flaky = tx.flaky_cases(builder.id, flaky_since(at)).await?;
    let broken = tx.cases_believed_broken(builder.id).await?;
    let mut cases: BTreeSet<CaseId> = flaky::differing(&first.case_verdicts, &second.case_verdicts);
    cases.retain(|case| !already_flaky.contains(case) && !broken.contains(case) && !unstable.contains(case));
    if cases.is_empty() {
        return Ok(());
    }
    let opened = NewBreakage {
        builder: builder.id,
        good: build.change,
        bad: build.change,
        cases,
        not_run: BTreeSet::new(),
        hidden: BTreeSet::new(),
        repaired: BTreeSet::new(),
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
