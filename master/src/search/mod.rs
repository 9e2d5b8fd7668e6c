//! Takes each open search one step further: loads what is known, lets `domain::search` decide, queues or concludes.
//! What was found is taken back when later evidence disagrees.

mod inputs;

use anyhow::{Context, Result};
use domain::search::{self, CandidateToolchain, PauseReason, ProbeRequest, SearchResult, SearchStep};
use domain::words::ids::{BreakageId, ChangeId, Timestamp, WorkerId};
use domain::words::{BreakageState, Reason};
use store::{AnsweredSearch, Breakage, HistoryNews, NewBreakage, Write};

use crate::config::Config;
use crate::farm::connections::ConnectedWorker;
use crate::farm::{Farm, now};
use crate::notify::announce;
use crate::schedule::{enqueue_toolchain, suite_build, toolchain_build};
use crate::settle;
use inputs::{LoadedSearch, load};

/// An answer is taken back so often at most: what contradicts itself for ever must not search for ever.
const MAX_REOPENED: u32 = 3;

pub async fn search(farm: &Farm) -> Result<()> {
    // Most rounds end here, and a look is cheaper than a commit.
    let mut glance = farm.store.glance().await?;
    let mut read = glance.read();
    let nothing_open = read.undecided_breakages().await?.is_empty();
    if nothing_open
        && read.answered_since().await?.is_empty()
        && read.culprits_to_announce().await?.is_empty()
        && read.wrong_notices().await?.is_empty()
    {
        return Ok(());
    }
    drop(glance);
    let at = now();
    let config = farm.config();
    let present = farm.connections.present();
    let asked = farm
        .store
        .write(move |tx| {
            Box::pin(async move {
                for answered in tx.answered_since().await? {
                    apart(tx, answered.breakage, async |tx| doubt(tx, &answered, &present, at).await).await?;
                }
                let mut asked = 0;
                for breakage in tx.undecided_breakages().await? {
                    let more =
                        apart(tx, breakage.id, async |tx| step(tx, &config, &breakage, &present, at).await);
                    asked += more.await?;
                }
                Ok(asked)
            })
        })
        .await
        .context("searching for culprits")?;
    if asked > 0 {
        farm.activations.dispatch.notify_one();
    }
    let config = farm.config();
    farm.store
        .write(move |tx| Box::pin(async move { announce(tx, &config, at).await }))
        .await
        .context("deciding notices")?;
    farm.activations.post.notify_one();
    Ok(())
}

/// One search must not keep all others from going on.
async fn apart<T: Default>(
    tx: &mut Write<'_>,
    breakage: BreakageId,
    part: impl AsyncFnOnce(&mut Write<'_>) -> store::Result<T>,
) -> store::Result<T> {
    tx.begin_part().await?;
    match part(tx).await {
        Ok(done) => {
            tx.keep_part().await?;
            Ok(done)
        }
        Err(error) => {
            tracing::error!(%breakage, %error, "a search cannot go on");
            tx.take_back_part().await?;
            Ok(T::default())
        }
    }
}

/// Takes an answer back that what was told since disagrees with.
async fn doubt(
    tx: &mut Write<'_>,
    answered: &AnsweredSearch,
    present: &[ConnectedWorker],
    at: Timestamp,
) -> store::Result<()> {
    let breakage = tx.breakage(answered.breakage).await?;
    let is_wide = answered.found == BreakageState::Flaky || answered.reopened > 0;
    let Ok(LoadedSearch { changes, facts, .. }) = load(tx, &breakage, present, is_wide, at).await? else {
        return Ok(());
    };
    let place = |change: Option<ChangeId>| changes.iter().position(|known| Some(*known) == change);
    let ends = place(breakage.parent).zip(place(breakage.culprit));
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
    let (_, belief) = search::next(&facts);
    tx.put_belief(breakage.id, &changes, &belief, at).await?;
    if answered.reopened < MAX_REOPENED && search::is_doubtful(&facts, found) {
        tracing::info!(breakage = %breakage.id, found = %answered.found, "taken back: later evidence disagrees");
        tx.reopen_search(breakage.id, at).await?;
    }
    Ok(())
}

/// Says how many builds it asked for.
async fn step(
    tx: &mut Write<'_>,
    config: &Config,
    breakage: &Breakage,
    present: &[ConnectedWorker],
    at: Timestamp,
) -> store::Result<usize> {
    let is_wide = tx.reopened(breakage.id).await? > 0;
    let loaded = match load(tx, breakage, present, is_wide, at).await? {
        Ok(loaded) => loaded,
        Err(rests) => {
            tx.pause_search(breakage.id, rests, at).await?;
            return Ok(0);
        }
    };
    let (in_vain, last) = tx.fruitless_probes(breakage.id).await?;
    match search::pause(in_vain) {
        Some(pause) if last.is_some_and(|last| at < last + pause) => return Ok(0),
        Some(_) => {}
        None => {
            tracing::warn!(breakage = %breakage.id, in_vain, "given up: its probes come to nothing");
            tx.pause_search(breakage.id, PauseReason::InVain, at).await?;
            tx.record_search_result(breakage.id, BreakageState::Inconclusive, None, None, at).await?;
            return Ok(0);
        }
    }
    let (next, belief) = search::next(&loaded.facts);
    tx.put_belief(breakage.id, &loaded.changes, &belief, at).await?;
    match next {
        SearchStep::Wait => {
            if loaded.facts.available_workers.is_empty() {
                tx.pause_search(breakage.id, PauseReason::Nobody, at).await?;
            }
            Ok(0)
        }
        SearchStep::Ask(asks) => {
            let mut asked = 0;
            for ask in &asks {
                asked += usize::from(probe(tx, config, breakage, &loaded, ask, at).await?);
            }
            Ok(asked)
        }
        SearchStep::Split(apart) => {
            split(tx, breakage, &loaded, apart, at).await?;
            // Both go on at the next round; there is one at once.
            Ok(1)
        }
        SearchStep::Found(found) => {
            conclude(tx, breakage, &loaded, found, at).await?;
            Ok(0)
        }
    }
}

/// Asks for a probe, or for the toolchain that it needs first. Says whether a build was asked for.
async fn probe(
    tx: &mut Write<'_>,
    config: &Config,
    breakage: &Breakage,
    loaded: &LoadedSearch,
    ask: &ProbeRequest,
    at: Timestamp,
) -> store::Result<bool> {
    let change = loaded.changes[ask.at];
    let bound = breakage.search_worker.unwrap_or(ask.worker);
    let new = match (&loaded.toolchains, loaded.facts.range[ask.at].toolchain) {
        (Some(toolchains), CandidateToolchain::Unknown) => {
            tx.mark_breakage_searching(breakage.id, Some(bound), at).await?;
            let reason = match loaded.cells.get(&change) {
                None => Reason::Backfill,
                Some(cell) if cell.is_pruned() && !inputs::is_being_made(tx, toolchains, change).await? => {
                    Reason::Force
                }
                Some(_) => return Ok(false),
            };
            return enqueue_toolchain(tx, config, toolchains, change, reason, at).await;
        }
        (Some(_), CandidateToolchain::Built(_) | CandidateToolchain::Broken | CandidateToolchain::Itself) => {
            match loaded.pin {
                // A search keeps its project side to the end, whatever comes into use meanwhile.
                Some(pin) => {
                    let (pin, cell) = (tx.pin(pin).await?, &loaded.cells[&change]);
                    Some(suite_build(tx, &loaded.builder, change, cell, &pin, Reason::Probe).await?)
                }
                None => None,
            }
        }
        (None, _) => toolchain_build(tx, config, &loaded.builder, change, Reason::Probe).await?,
    };
    let Some(mut new) = new else {
        tx.pause_search(breakage.id, PauseReason::Retired, at).await?;
        return Ok(false);
    };
    tx.mark_breakage_searching(breakage.id, Some(bound), at).await?;
    new.breakage = Some(breakage.id);
    new.only_worker = Some(ask.worker);
    let build = tx.enqueue_build(&new, at).await?;
    tx.put_probe(build, breakage.id, ask.purpose, ask.bits).await?;
    Ok(true)
}

async fn split(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    loaded: &LoadedSearch,
    apart: std::collections::BTreeSet<domain::words::ids::CaseId>,
    at: Timestamp,
) -> store::Result<()> {
    let rest = breakage.cases.difference(&apart).copied().collect();
    let (good, bad) = (breakage.good, breakage.bad);
    let update = store::BreakageUpdate { good, bad, cases: rest, fixed: breakage.fixed };
    tx.update_breakage(breakage.id, &update, at).await?;
    let split = NewBreakage {
        builder: loaded.builder.id,
        good,
        bad,
        not_run: breakage.not_run.intersection(&apart).copied().collect(),
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
    if search::is_spent(&loaded.facts) {
        tx.pause_search(breakage.id, PauseReason::Spent, at).await?;
    }
    tx.record_search_result(breakage.id, state, culprit, parent, at).await?;
    let name = &loaded.builder.name;
    tracing::info!(breakage = %breakage.id, builder = name, found = %state, "the search ended");
    let worker: Option<WorkerId> = breakage.search_worker;
    let news = HistoryNews::Cases(breakage.cases.clone());
    settle::reconsider(tx, &loaded.builder, news, worker, at).await
}
