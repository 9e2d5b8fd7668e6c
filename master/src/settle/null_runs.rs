//! Records a null run, which ran identical inputs again: whether a repair holds, which cases are flaky by themselves, and
//! which names come and go.

use std::collections::{BTreeMap, BTreeSet};

use domain::breakage::flaky::{self, flaky_since};
use domain::readers::is_fault;
use domain::search::MAX_REOPENED;
use domain::words::BreakageState;
use domain::words::ids::{BuildId, CaseId, ChangeId, Timestamp, WorkerId};
use protocol::{Sha256, Verdict};
use store::{Breakage, Build, Builder, HistoryNews, NewBreakage, UnstableSuite, Write};

use crate::settle::{breakages, new_failures, self_checks};

/// How many null runs of a builder are looked at when a search ends without a change to blame. A case that fails in a fifth
/// of its runs passes in all of them once in 1,200 times.
const MAX_LOOKED_AT: u32 = 32;

/// Records what a null run shows about noise, and about the repair that it may have been made for.
pub async fn record(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    // A repair may be waiting for this run, and so may a case that is new and fails.
    let mut open = tx.cases_of_open_breakages(builder.id).await?;
    let in_doubt = self_checks::record(tx, build, at).await?;
    compare(tx, builder, build, &in_doubt, worker, at).await?;
    open.extend(in_doubt);
    doubt_answers(tx, builder, at).await?;
    open.extend(new_failures::record_rerun(tx, builder, build).await?);
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

/// Finds what is flaky by itself before any change is accused of it. Cases of an open breakage are left to its search, and
/// those of a repair that this run contradicts to the self-check. A case that was found flaky so long ago that it may be
/// accused again can be found flaky again.
async fn compare(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    in_doubt: &BTreeSet<CaseId>,
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
        let faults = flaky::differing_faults(&first.case_verdicts, &second.case_verdicts, is_fault);
        if let (Some(project), Some(&example)) = (builder.project, faults.first()) {
            tx.put_unstable_suite(UnstableSuite { project, builder: builder.id, example }, at).await?;
        }
        unstable.extend(faults);
        tx.put_unstable_cases(builder.id, &unstable, at).await?;
    }
    let already_flaky = tx.flaky_cases(builder.id, flaky_since(at)).await?;
    let broken = tx.cases_believed_broken(builder.id).await?;
    let mut cases: BTreeSet<CaseId> = flaky::differing(&first.case_verdicts, &second.case_verdicts);
    let left_out = [&already_flaky, &broken, &unstable, in_doubt];
    cases.retain(|case| left_out.iter().all(|cases| !cases.contains(case)));
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

/// Opens the searches again whose answers the null runs contradict.
async fn doubt_answers(tx: &mut Write<'_>, builder: &Builder, at: Timestamp) -> store::Result<()> {
    for answer in tx.answers_without_culprit(builder.id).await? {
        let Some(found) = answer.found else { continue };
        if tx.reopened(answer.id).await? < MAX_REOPENED
            && !intermittent(tx, builder, &answer, found).await?.is_empty()
        {
            tracing::info!(breakage = %answer.id, %found, "taken back: a case passes and fails in turn in null runs");
            tx.reopen_search(answer.id, at).await?;
        }
    }
    Ok(())
}

/// The cases of a breakage that null runs show to be intermittent, if that outranks the answer that its search has found.
pub async fn intermittent(
    tx: &mut Write<'_>,
    builder: &Builder,
    breakage: &Breakage,
    found: BreakageState,
) -> store::Result<BTreeSet<CaseId>> {
    let order = tx.order(builder.branch).await?;
    let position = |of: ChangeId| order.iter().position(|change| *change == of);
    let good = position(breakage.good);
    let mut runs: BTreeMap<_, Vec<BTreeMap<CaseId, Verdict>>> = BTreeMap::new();
    for build in tx.null_runs(builder.id, MAX_LOOKED_AT).await? {
        let is_before = position(build.change).zip(good).is_some_and(|(build, good)| build <= good);
        if let Some(inputs) = build.inputs.filter(|_| flaky::outranks(found, is_before)) {
            let machine = tx.machine_of(build.id).await?;
            runs.entry((inputs, machine)).or_default().push(verdicts(tx, build.id, &breakage.cases).await?);
        }
    }
    for ((inputs, machine), runs) in &mut runs {
        // The build that the null runs repeat is the oldest.
        if let Some(repeated) = tx.equal_build(builder.id, *inputs).await?
            && tx.machine_of(repeated.id).await? == *machine
        {
            runs.push(verdicts(tx, repeated.id, &breakage.cases).await?);
        }
    }
    let is_intermittent = |case: &&CaseId| {
        let of_it = |runs: &Vec<BTreeMap<CaseId, Verdict>>| {
            flaky::is_intermittent(runs.iter().rev().filter_map(|verdicts| verdicts.get(case).copied()))
        };
        runs.values().any(of_it)
    };
    Ok(breakage.cases.iter().filter(is_intermittent).copied().collect())
}

/// The verdicts of a build for these cases; a fault that it does not report has passed.
async fn verdicts(
    tx: &mut Write<'_>,
    build: BuildId,
    cases: &BTreeSet<CaseId>,
) -> store::Result<BTreeMap<CaseId, Verdict>> {
    let mut verdicts = tx.build_verdicts(build).await?.case_verdicts;
    verdicts.retain(|case, _| cases.contains(case));
    tx.add_unreported(build, &mut verdicts, cases.iter().copied()).await?;
    Ok(verdicts)
}
