//! Advances each open search by one step: loads its inputs, lets `domain::search` decide, and enqueues probes or records
//! the result. A result is taken back when later evidence disagrees.

mod inputs;
mod names;

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use domain::breakage::RegressionKind;
use domain::project_inputs;
use domain::search::selection::{Selection, selection};
use domain::search::{
    self, CandidateToolchain, MAX_REOPENED, PauseReason, ProbeRequest, SearchResult, SearchStep,
};
use domain::words::ids::{BreakageId, BuildId, CaseId, ChangeId, Timestamp, ToolchainInputsId};
use domain::words::states::ToolchainInputsState;
use domain::words::{BreakageState, Reason};
use store::{AnsweredSearch, Breakage, BreakageUpdate, Builder, HistoryNews, NewBreakage, Write};

use crate::farm::connections::ConnectedWorker;
use crate::farm::{Farm, now};
use crate::notify::fetch::{due, notify_fetch_failures};
use crate::notify::first_result::notify_first_results;
use crate::notify::notify;
use crate::schedule::enqueue::{SuiteBuild, enqueue_toolchain, suite_build, toolchain_build};
use crate::settle::breakages::reconsider;
use crate::settle::null_runs;
use inputs::{LoadedSearch, load};
use names::await_names;

/// Advances all searches, and decides the mails that follow.
pub async fn search(farm: &Farm) -> Result<()> {
    // Most ticks end here, and a read is cheaper than a commit.
    let mut glance = farm.store.latest().await?;
    let mut read = glance.read();
    let nothing_open = read.undecided_breakages().await?.is_empty();
    if nothing_open
        && read.answers_with_news().await?.is_empty()
        && read.culprits_to_notify().await?.is_empty()
        && read.wrong_notices().await?.is_empty()
        && read.unnotified_starts(1).await?.is_empty()
        && due(&mut read).await?.is_empty()
        && read.unmailed_new_failures().await?.is_empty()
        && read.unmailed_unstable_suites().await?.is_empty()
        && !read.has_backlog_news().await?
    {
        return Ok(());
    }
    drop(glance);
    let at = now();
    let present = farm.connections.present();
    let advanced = farm.store.write(move |tx| {
        Box::pin(async move {
            for answered in tx.answers_with_news().await? {
                apart(tx, answered.breakage, async |tx| doubt(tx, &answered, &present, at).await).await?;
            }
            let mut enqueued = 0;
            for breakage in tx.undecided_breakages().await? {
                let step = apart(tx, breakage.id, async |tx| step(tx, &breakage, &present, at).await);
                enqueued += step.await?;
            }
            Ok(enqueued)
        })
    });
    let enqueued = advanced.await.context("searching for culprits")?;
    if enqueued > 0 {
        farm.activations.dispatch.notify_one();
    }
    let config = farm.config();
    let decided = farm.store.write(move |tx| Box::pin(async move { notify(tx, &config, at).await }));
    decided.await.context("deciding notices")?;
    notify_first_results(farm, at).await?;
    notify_fetch_failures(farm).await?;
    farm.activations.post.notify_one();
    Ok(())
}

/// Runs one search's part of a transaction: a search that fails must not keep all others from going on.
async fn apart<T: Default>(
    tx: &mut Write<'_>,
    breakage: BreakageId,
    part: impl AsyncFnOnce(&mut Write<'_>) -> store::Result<T>,
) -> store::Result<T> {
    tx.begin_savepoint().await?;
    match part(tx).await {
        Ok(done) => {
            tx.release_savepoint().await?;
            Ok(done)
        }
        Err(error) => {
            tracing::error!(%breakage, %error, "a search failed");
            tx.roll_back_savepoint().await?;
            Ok(T::default())
        }
    }
}

/// Takes a result back where runs that ended since disagree with it.
async fn doubt(
    tx: &mut Write<'_>,
    answered: &AnsweredSearch,
    present: &[ConnectedWorker],
    at: Timestamp,
) -> store::Result<()> {
    let breakage = tx.breakage(answered.breakage).await?;
    let is_wide = answered.found == BreakageState::Flaky || answered.reopened > 0;
    let Ok(LoadedSearch { changes, inputs, .. }) = load(tx, &breakage, present, is_wide, at).await? else {
        return Ok(());
    };
    let index = |change: Option<ChangeId>| changes.iter().position(|other| Some(*other) == change);
    let ends = index(breakage.parent).zip(index(breakage.culprit));
    let found = match (answered.found, ends) {
        (BreakageState::Named, Some((parent, culprit))) => SearchResult::Named { parent, culprit },
        (BreakageState::OneOfK, Some((parent, last))) => SearchResult::OneOf { parent, last },
        (BreakageState::Flaky, _) => SearchResult::Flaky,
        (BreakageState::Environment, _) => SearchResult::Environment,
        (
            BreakageState::Named
            | BreakageState::OneOfK
            | BreakageState::Inconclusive
            | BreakageState::Suspected
            | BreakageState::Searching
            | BreakageState::Fixed
            | BreakageState::Gone,
            _,
        ) => SearchResult::Inconclusive,
    };
    let (_, belief) = search::next(&inputs);
    tx.put_belief(breakage.id, &changes, &belief, at).await?;
    if answered.reopened < MAX_REOPENED && search::is_doubtful(&inputs, found) {
        tracing::info!(breakage = %breakage.id, found = %answered.found, "taken back: later evidence disagrees");
        tx.reopen_search(breakage.id, at).await?;
    }
    Ok(())
}

/// Advances one search by one step. Returns how many builds it enqueued.
async fn step(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    present: &[ConnectedWorker],
    at: Timestamp,
) -> store::Result<usize> {
    let is_wide = tx.reopened(breakage.id).await? > 0;
    let loaded = match load(tx, breakage, present, is_wide, at).await? {
        Ok(loaded) => loaded,
        Err(paused) => {
            tx.pause_search(breakage.id, paused, at).await?;
            return Ok(0);
        }
    };
    if breakage.state == BreakageState::Suspected && await_names(tx, breakage, &loaded, present, at).await? {
        return Ok(1);
    }
    let (fruitless, last) = tx.fruitless_probes(breakage.id).await?;
    match search::pause(fruitless) {
        Some(pause) if last.is_some_and(|last| at < last + pause) => return Ok(0),
        Some(_) => {}
        None => {
            tracing::warn!(breakage = %breakage.id, fruitless, "given up: its probes come to no verdict");
            tx.pause_search(breakage.id, PauseReason::NoResult, at).await?;
            tx.record_search_result(breakage.id, BreakageState::Inconclusive, None, None, at).await?;
            return Ok(0);
        }
    }
    withdraw_selection(tx, breakage, &loaded, at).await?;
    let (next, belief) = search::next(&loaded.inputs);
    tx.put_belief(breakage.id, &loaded.changes, &belief, at).await?;
    match next {
        SearchStep::Wait => {
            if loaded.inputs.available_workers.is_empty() {
                tx.pause_search(breakage.id, PauseReason::NoWorker, at).await?;
            }
            Ok(0)
        }
        SearchStep::Ask(requests) => {
            let mut enqueued = 0;
            for request in &requests {
                enqueued += usize::from(enqueue_probe(tx, breakage, &loaded, request, at).await?);
            }
            Ok(enqueued)
        }
        SearchStep::Split(apart) => {
            split(tx, breakage, &loaded, apart, at).await?;
            // Both go on at the next tick, and this activates it at once.
            Ok(1)
        }
        SearchStep::Found(found) => {
            conclude(tx, breakage, &loaded, found, at).await?;
            Ok(0)
        }
    }
}

/// Stops asking the project's suite for single cases, where that shows something else than whole runs do.
async fn withdraw_selection(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    loaded: &LoadedSearch,
    at: Timestamp,
) -> store::Result<()> {
    let Selection::Withdrawn(why) = selection(&loaded.inputs) else { return Ok(()) };
    let (Some(pin), Some(project)) = (loaded.with.pin, loaded.builder.project) else { return Ok(()) };
    let recipe = tx.pin(pin).await?.project_inputs.recipe;
    tracing::warn!(breakage = %breakage.id, builder = loaded.builder.name, "probes run whole suites again: {}", why.clause());
    tx.withdraw_selection((project, recipe), breakage.id, why, at).await
}

/// Enqueues a probe, or the toolchain that it needs first. Returns whether a build was enqueued.
async fn enqueue_probe(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    loaded: &LoadedSearch,
    request: &ProbeRequest,
    at: Timestamp,
) -> store::Result<bool> {
    let change = loaded.changes[request.at];
    let bound = breakage.search_worker.unwrap_or(request.worker);
    let new = match (&loaded.toolchains, loaded.inputs.range[request.at].toolchain) {
        (Some(toolchains), CandidateToolchain::Unknown) => {
            tx.mark_breakage_searching(breakage.id, Some(bound), at).await?;
            let reason = match loaded.cells.get(&change) {
                None if is_of_history(tx, toolchains, change, loaded.with.toolchain).await? => {
                    Reason::Backfill
                }
                // The history has other toolchain inputs there.
                None => Reason::Force,
                Some(cell) if cell.is_pruned() && !inputs::is_being_made(tx, toolchains, cell).await? => {
                    Reason::Force
                }
                Some(_) => return Ok(false),
            };
            return enqueue_toolchain(tx, toolchains, change, loaded.with.toolchain, reason, at).await;
        }
        (Some(_), CandidateToolchain::Built(_) | CandidateToolchain::Broken | CandidateToolchain::Itself) => {
            match loaded.with.pin {
                // A search keeps its inputs to the end, whatever comes into use meanwhile.
                Some(pin) => {
                    let pin = tx.pin(pin).await?;
                    let Some(toolchain) = loaded.cells.get(&change) else { return Ok(false) };
                    let suite = SuiteBuild {
                        builder: &loaded.builder,
                        change,
                        toolchain,
                        pin: &pin,
                        reason: Reason::Probe,
                    };
                    Some(suite_build(tx, suite).await?)
                }
                None => None,
            }
        }
        (None, _) => {
            toolchain_build(tx, &loaded.builder, change, loaded.with.toolchain, Reason::Probe).await?
        }
    };
    let Some(mut new) = new else {
        tx.pause_search(breakage.id, PauseReason::Retired, at).await?;
        return Ok(false);
    };
    tx.mark_breakage_searching(breakage.id, Some(bound), at).await?;
    new.breakage = Some(breakage.id);
    new.only_worker = Some(request.worker);
    let build = tx.enqueue_build(&new, at).await?;
    record_probe(tx, build, breakage.id, loaded, request).await?;
    Ok(true)
}

async fn record_probe(
    tx: &mut Write<'_>,
    build: BuildId,
    breakage: BreakageId,
    loaded: &LoadedSearch,
    request: &ProbeRequest,
) -> store::Result<()> {
    tx.put_probe(build, breakage, request.purpose, request.bits).await?;
    match request.selected {
        true => tx.put_selected_run(build, &loaded.cases).await,
        false => Ok(()),
    }
}

/// Whether the history has these toolchain inputs at a change, and is not about to get others.
async fn is_of_history(
    tx: &mut Write<'_>,
    toolchains: &Builder,
    change: ChangeId,
    inputs: Option<ToolchainInputsId>,
) -> store::Result<bool> {
    let live = tx.live_toolchain_inputs(toolchains.id).await?;
    if live.iter().any(|inputs| inputs.state == ToolchainInputsState::Proposed) {
        return Ok(false);
    }
    let positions = tx.positions(toolchains.branch).await?;
    let history = tx.history(toolchains.id).await?;
    let position = positions.iter().find(|(_, other)| *other == change).map(|(position, _)| *position);
    let there = position.and_then(|position| project_inputs::at(&history, position));
    Ok(there.is_some_and(|there| there.toolchain == inputs))
}

async fn split(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    loaded: &LoadedSearch,
    apart: BTreeSet<CaseId>,
    at: Timestamp,
) -> store::Result<()> {
    let rest = breakage.cases.difference(&apart).copied().collect();
    let not_run = breakage.not_run.difference(&apart).copied().collect();
    let (good, bad) = (breakage.good, breakage.bad);
    let repaired = breakage.repaired.difference(&apart).copied().collect();
    let update = BreakageUpdate { good, bad, cases: rest, not_run, repaired, fixed: breakage.fixed };
    tx.update_breakage(breakage.id, &update, at).await?;
    let split = NewBreakage {
        builder: loaded.builder.id,
        good,
        bad,
        not_run: breakage.not_run.intersection(&apart).copied().collect(),
        hidden: breakage.hidden.intersection(&apart).copied().collect(),
        repaired: breakage.repaired.intersection(&apart).copied().collect(),
        cases: apart,
        fixed: breakage.fixed,
        search_worker: breakage.search_worker,
        split_from: Some(breakage.id),
        again_of: None,
    };
    tx.open_breakage(&split, at).await?;
    Ok(())
}

async fn conclude(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    loaded: &LoadedSearch,
    found: SearchResult,
    at: Timestamp,
) -> store::Result<()> {
    let changes = &loaded.changes;
    let blames_none = match found {
        SearchResult::Environment => Some(BreakageState::Environment),
        SearchResult::Inconclusive => Some(BreakageState::Inconclusive),
        SearchResult::Named { .. } | SearchResult::OneOf { .. } | SearchResult::Flaky => None,
    };
    let intermittent = match blames_none {
        Some(state) => null_runs::intermittent(tx, &loaded.builder, breakage, state).await?,
        None => BTreeSet::new(),
    };
    if !intermittent.is_empty() && intermittent != breakage.cases {
        // Each part is concluded at the next tick.
        return split(tx, breakage, loaded, intermittent, at).await;
    }
    let found = if intermittent.is_empty() { found } else { SearchResult::Flaky };
    let (state, culprit, parent) = match found {
        SearchResult::Named { parent, culprit } => {
            (BreakageState::Named, Some(changes[culprit]), Some(changes[parent]))
        }
        SearchResult::OneOf { parent, last } => {
            (BreakageState::OneOfK, Some(changes[last]), Some(changes[parent]))
        }
        SearchResult::Flaky => (BreakageState::Flaky, None, None),
        SearchResult::Environment => (BreakageState::Environment, None, None),
        SearchResult::Inconclusive => (BreakageState::Inconclusive, None, None),
    };
    if search::is_spent(&loaded.inputs) {
        tx.pause_search(breakage.id, PauseReason::BudgetSpent, at).await?;
    }
    if let Some(culprit) = culprit {
        record_what_failed(tx, breakage, culprit, at).await?;
    }
    tx.record_search_result(breakage.id, state, culprit, parent, at).await?;
    if let SearchResult::Named { parent, culprit } | SearchResult::OneOf { parent, last: culprit } = found {
        tx.put_proof(breakage.id, &search::proof(&loaded.inputs, parent, culprit)).await?;
    }
    if let SearchResult::Named { culprit, .. } = found {
        // The classes begin after the good end.
        let records = search::suspicion::record(&loaded.classes, culprit - 1);
        tx.put_suspicion_records(breakage.id, &records).await?;
    }
    let name = &loaded.builder.name;
    tracing::info!(breakage = %breakage.id, builder = name, found = %state, "the search ended");
    let news = HistoryNews::Cases(breakage.cases.clone());
    reconsider(tx, &loaded.builder, news, breakage.search_worker, at).await
}

/// The cases that are not run at the bad end may have failed before, at the culprit: then that is what the culprit did.
async fn record_what_failed(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    culprit: ChangeId,
    at: Timestamp,
) -> store::Result<()> {
    if breakage.not_run.is_subset(&breakage.hidden) {
        return Ok(());
    }
    let runs = tx.evidence(breakage, &[culprit]).await?;
    let verdicts_of = |case: &CaseId| {
        let case = *case;
        runs.iter().filter_map(move |run| run.verdicts.get(&case).copied())
    };
    let mut not_run = breakage.not_run.clone();
    not_run.retain(|case| {
        breakage.hidden.contains(case)
            || RegressionKind::at_culprit(verdicts_of(case)) == RegressionKind::NotRun
    });
    let Breakage { good, bad, cases, repaired, fixed, .. } = breakage.clone();
    let update = BreakageUpdate { good, bad, cases, not_run, repaired, fixed };
    tx.update_breakage(breakage.id, &update, at).await
}
