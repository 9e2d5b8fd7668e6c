//! Takes each open search one step further: loads what is known, lets `domain::search` decide, queues or concludes.

use anyhow::{Context, Result};
use domain::breakage::Harm;
use domain::ids::{ChangeId, PinId, Timestamp, WorkerId};
use domain::outcome::Outcome;
use domain::search::{self, Candidate, Found, Next, Run, Toolchain};
use domain::words::{BreakageState, BuilderKind, Reason, Trust};
use store::{Breakage, Builder, CoverCell, Opened, Write};

use crate::announce::announce;
use crate::config::Config;
use crate::dispatch::AWAY;
use crate::farm::{Farm, now};
use crate::schedule::{by_change, platforms_of, queue_toolchain, suite_build, toolchain_build};
use crate::settle;

pub async fn search(farm: &Farm) -> Result<()> {
    // Most rounds end here, and a look is cheaper than a commit.
    let mut glance = farm.store.glance().await?;
    let mut read = glance.read();
    if read.undecided_breakages().await?.is_empty()
        && read.culprits_to_tell().await?.is_empty()
        && read.told_wrongly().await?.is_empty()
    {
        return Ok(());
    }
    drop(glance);
    let at = now();
    let config = farm.config();
    let present: Vec<WorkerId> = farm.hub.present().iter().map(|worker| worker.worker).collect();
    let asked = farm
        .store
        .write(move |tx| {
            Box::pin(async move {
                let mut asked = 0;
                for breakage in tx.undecided_breakages().await? {
                    if tx.running_probes(breakage.id).await? > 0 {
                        continue;
                    }
                    tx.begin_part().await?;
                    match step(tx, &config, &breakage, &present, at).await {
                        Ok(more) => {
                            tx.keep_part().await?;
                            asked += more;
                        }
                        // One search must not keep all others from going on.
                        Err(error) => {
                            tracing::error!(breakage = %breakage.id, %error, "a search cannot go on");
                            tx.take_back_part().await?;
                        }
                    }
                }
                Ok(asked)
            })
        })
        .await
        .context("searching for culprits")?;
    if asked > 0 {
        farm.nudges.dispatch.notify_one();
    }
    let config = farm.config();
    farm.store
        .write(move |tx| Box::pin(async move { announce(tx, &config, at).await }))
        .await
        .context("deciding notices")?;
    farm.nudges.post.notify_one();
    Ok(())
}

/// Says how many builds it asked for.
async fn step(
    tx: &mut Write<'_>,
    config: &Config,
    breakage: &Breakage,
    present: &[WorkerId],
    at: Timestamp,
) -> store::Result<usize> {
    let builder = tx.builder(breakage.builder).await?;
    let (in_vain, last) = tx.probes_in_vain(breakage.id).await?;
    match search::pause(in_vain) {
        Some(pause) if last.is_some_and(|last| at < last + pause) => return Ok(0),
        Some(_) => {}
        None => {
            tracing::warn!(breakage = %breakage.id, in_vain, "given up: its probes come to nothing");
            tx.breakage_found(breakage.id, BreakageState::Inconclusive, None, None, at).await?;
            return Ok(0);
        }
    }
    let Some(worker) = choose_worker(tx, breakage, &builder, present, at).await? else { return Ok(0) };
    let order = tx.order(builder.branch).await?;
    let ends = [breakage.good, breakage.bad].map(|end| order.iter().position(|change| *change == end));
    let [Some(good), Some(bad)] = ends else { return Ok(0) };
    let changes = &order[good..=bad];

    let cells = match builder.kind {
        BuilderKind::Toolchain => Default::default(),
        BuilderKind::Suite => match toolchain_builder(tx, &builder).await? {
            Some(toolchains) => by_change(tx.cover_cells(toolchains.id).await?),
            None => return Ok(0),
        },
    };
    let mut range = Vec::with_capacity(changes.len());
    for &change in changes {
        let toolchain = toolchain(tx, &builder, cells.get(&change)).await?;
        range.push(Candidate { change, toolchain });
    }
    // A search keeps its project side to the end, whatever comes into use meanwhile.
    let pin = tx.side_of(builder.id, breakage.bad).await?;
    let runs = runs(tx, breakage, changes, pin).await?;

    match search::next(&range, Some(worker), &runs) {
        Next::Probe(index) => {
            tx.breakage_is_searched(breakage.id, Some(worker), at).await?;
            let change = changes[index];
            let new = match builder.kind {
                BuilderKind::Toolchain => {
                    toolchain_build(tx, config, &builder, change, Reason::Probe).await?
                }
                BuilderKind::Suite => match pin {
                    Some(pin) => {
                        let pin = tx.pin(pin).await?;
                        Some(suite_build(tx, &builder, change, &cells[&change], &pin, Reason::Probe).await?)
                    }
                    None => None,
                },
            };
            let Some(mut new) = new else { return Ok(0) };
            new.breakage = Some(breakage.id);
            new.only_worker = Some(worker);
            tx.queue_build(&new, at).await?;
            Ok(1)
        }
        Next::Build(index) => {
            let Some(toolchains) = toolchain_builder(tx, &builder).await? else { return Ok(0) };
            let reason = match cells.get(&changes[index]) {
                None => Reason::Backfill,
                Some(cell) if is_pruned(cell) && !is_being_made(tx, &toolchains, changes[index]).await? => {
                    Reason::Force
                }
                Some(_) => return Ok(0),
            };
            queue_toolchain(tx, config, &toolchains, changes[index], reason, at).await?;
            Ok(1)
        }
        Next::Split(apart) => {
            let rest = breakage.cases.difference(&apart).copied().collect();
            let (good, bad) = (breakage.good, breakage.bad);
            tx.update_breakage(breakage.id, good, bad, &rest, breakage.fixed, at).await?;
            let split = Opened {
                builder: builder.id,
                good,
                bad,
                lost: breakage.lost.intersection(&apart).copied().collect(),
                cases: apart,
                fixed: breakage.fixed,
                search_worker: Some(worker),
                split_from: Some(breakage.id),
                again_of: None,
            };
            tx.open_breakage(&split, at).await?;
            // Both go on at the next round; there is one at once.
            Ok(1)
        }
        Next::Found(found) => {
            let (state, culprit, parent) = match found {
                Found::Named { parent, culprit } => {
                    (BreakageState::Named, Some(changes[culprit]), Some(changes[parent]))
                }
                Found::OneOf { parent, last } => {
                    (BreakageState::OneOfK, Some(changes[last]), Some(changes[parent]))
                }
                Found::Flaky => (BreakageState::Flaky, None, None),
                Found::Environment => (BreakageState::Environment, None, None),
                Found::Inconclusive => (BreakageState::Inconclusive, None, None),
            };
            tx.breakage_found(breakage.id, state, culprit, parent, at).await?;
            tracing::info!(breakage = %breakage.id, builder = builder.name, found = %state, "the search ended");
            settle::reconsider(tx, &builder, Some(worker), at).await?;
            Ok(0)
        }
    }
}

/// The worker that the search is bound to while it is about; else one that is here and may count.
async fn choose_worker(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    builder: &Builder,
    present: &[WorkerId],
    at: Timestamp,
) -> store::Result<Option<WorkerId>> {
    if let Some(bound) = breakage.search_worker {
        let row = tx.worker(bound).await?;
        let about = present.contains(&bound) || row.seen_at.is_some_and(|seen| seen + AWAY > at);
        if about && row.trust.is_some_and(|trust| trust >= needed(builder.kind)) {
            return Ok(Some(bound));
        }
    }
    let platforms = tx.platforms().await?;
    for &worker in present {
        let row = tx.worker(worker).await?;
        let fits = platforms_of(&row.facts, &platforms).contains(&builder.platform);
        if fits && row.trust.is_some_and(|trust| trust >= needed(builder.kind)) {
            return Ok(Some(worker));
        }
    }
    Ok(None)
}

fn needed(kind: BuilderKind) -> Trust {
    match kind {
        BuilderKind::Toolchain => Trust::Maker,
        BuilderKind::Suite => Trust::Counted,
    }
}

async fn toolchain_builder(tx: &mut Write<'_>, suite: &Builder) -> store::Result<Option<Builder>> {
    Ok(tx.builders().await?.into_iter().find(|builder| {
        builder.kind == BuilderKind::Toolchain
            && builder.branch == suite.branch
            && builder.platform == suite.platform
    }))
}

async fn toolchain(
    tx: &mut Write<'_>,
    suite: &Builder,
    cell: Option<&CoverCell>,
) -> store::Result<Toolchain> {
    let cell = match (suite.kind, cell) {
        (BuilderKind::Toolchain, _) => return Ok(Toolchain::Itself),
        (BuilderKind::Suite, None) => return Ok(Toolchain::Unknown),
        (BuilderKind::Suite, Some(cell)) => cell,
    };
    Ok(match (cell.outcome, cell.artifact) {
        (None, _) => Toolchain::Unknown,
        (Some(Outcome::Passed), Some(artifact)) => Toolchain::Built(artifact),
        (Some(Outcome::Passed), None) => match made_anew(tx, suite, cell.change).await? {
            Some(Outcome::Failed | Outcome::Infra | Outcome::Cancelled | Outcome::Blocked) => {
                Toolchain::Broken
            }
            Some(Outcome::Passed) | None => Toolchain::Unknown,
        },
        (Some(Outcome::Failed | Outcome::Infra | Outcome::Cancelled | Outcome::Blocked), _) => {
            Toolchain::Broken
        }
    })
}

/// It was built once, and its archive was pruned: it can be made anew.
fn is_pruned(cell: &CoverCell) -> bool {
    cell.outcome == Some(Outcome::Passed) && cell.artifact.is_none()
}

/// What came of the last time that a pruned toolchain was to be made anew.
async fn made_anew(tx: &mut Write<'_>, suite: &Builder, change: ChangeId) -> store::Result<Option<Outcome>> {
    let Some(toolchains) = toolchain_builder(tx, suite).await? else { return Ok(None) };
    Ok(tx.forced_build(toolchains.id, change).await?.and_then(|build| build.outcome))
}

async fn is_being_made(tx: &mut Write<'_>, toolchains: &Builder, change: ChangeId) -> store::Result<bool> {
    Ok(tx.forced_build(toolchains.id, change).await?.is_some_and(|build| build.outcome.is_none()))
}

async fn runs(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    changes: &[ChangeId],
    pin: Option<PinId>,
) -> store::Result<Vec<Run>> {
    let evidence = tx.evidence(breakage.builder, &breakage.cases).await?;
    let harm = |case| if breakage.lost.contains(&case) { Harm::Lost } else { Harm::Bad };
    Ok(evidence
        .into_iter()
        .filter(|row| row.pin == pin)
        .filter_map(|row| {
            Some(Run {
                at: changes.iter().position(|change| *change == row.change)?,
                worker: row.worker,
                probe: row.reason == Reason::Probe,
                verdicts: row
                    .verdicts
                    .into_iter()
                    .map(|(case, said)| (case, harm(case).plain(said)))
                    .collect(),
            })
        })
        .collect())
}
