//! Hands waiting builds to idle workers, and takes back what a lost worker held.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use domain::dispatch::lease::{LeaseFate, RunningAttempt, fate, time_limit};
use domain::dispatch::{Assignment, DispatchBuild, IdleWorker, RunningLoad, assign};
use domain::outcome::{BuildResult, Cause, MAX_ATTEMPTS, Outcome};
use domain::project_inputs;
use domain::words::ids::{AttemptId, BuildId, PinId, Timestamp, WorkerId};
use domain::words::states::AttemptState;
use domain::words::{BuildState, Reason};
use protocol::Plan;
use store::{Attempt, Finish, Read, WaitingBuild, Write};

use crate::farm::connections::ConnectedWorker;
use crate::farm::failpoint::failpoint;
use crate::farm::{Farm, now};
use crate::schedule::latest;
use crate::schedule::platforms_of;
use crate::upkeep::disk;

/// A worker that has been away for so long is waited for no longer, by searches neither.
pub const AWAY: Duration = Duration::from_secs(3600);
/// A build that was offered so often, and declined, finds nobody.
const MAX_OFFERS: u32 = 50;
/// How long a build that decided nothing waits before its next attempt.
const BREATHER: Duration = Duration::from_secs(2);

pub async fn dispatch(farm: &Farm) -> Result<Option<Duration>> {
    let (config, at) = (farm.config(), now());
    let mut snapshot = farm.store.snapshot().await?;
    let mut read = snapshot.read();
    let mut silent = Silent::look(farm, &mut read, at).await?;
    if !silent.over.is_empty() {
        drop(snapshot);
        take_back(farm, std::mem::take(&mut silent.over), at)
            .await
            .context("taking back what lost workers hold")?;
        snapshot = farm.store.snapshot().await?;
        read = snapshot.read();
    }
    let next = read.next_waiting(at).await?;
    let wait = next.map(|next| Duration::from_millis((next.0 - at.0).max(0) as u64));
    // What runs goes on: its logs are bounded. What new builds would bring could not be kept.
    if disk::free(&config, farm.store.data()).is_some_and(|disk| !disk.has_room()) {
        return Ok(wait);
    }
    let queued = read.waiting_builds(at).await?.into_iter().map(|build| (build, None));
    let mut waiting: Vec<(WaitingBuild, Option<WorkerId>)> = queued.collect();
    for (build, holder) in &silent.spare {
        let spare = read.spare_build(*build, at).await?.filter(|build| build.attempts < MAX_OFFERS);
        waiting.extend(spare.map(|build| (build, Some(*holder))));
    }
    if waiting.is_empty() {
        // Who is here need not be looked at one by one.
        if has_room(farm, &mut read).await? {
            farm.activations.schedule.notify_one();
        }
        return Ok(wait);
    }
    let (idle, running) = workforce(farm, &mut read).await?;
    let free: u32 = idle.iter().map(|worker| worker.free_slots).sum();
    if free == 0 {
        return Ok(wait);
    }
    let mut facts = Vec::with_capacity(waiting.len());
    let mut choosing: BTreeMap<PinId, bool> = BTreeMap::new();
    for (build, holder) in waiting {
        let wants = build.project_name.as_deref().and_then(|name| {
            config.projects.iter().find(|project| project.name == name).map(|p| p.wants.clone())
        });
        let chooses = match build.untried {
            Some(pin) => {
                let chooses = match choosing.entry(pin) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(unknown) => {
                        let recipe = read.pin(pin).await?.side.recipe;
                        *unknown.insert(project_inputs::chooses(&read.recipe(recipe).await?))
                    }
                };
                chooses.then_some(pin)
            }
            None => None,
        };
        facts.push(DispatchBuild {
            build: build.id,
            kind: build.kind,
            platform: build.platform,
            project: build.project,
            chooses,
            reason: build.reason,
            newest: build.newest,
            only_worker: build.only_worker,
            holder,
            avoid: if build.attempts == 0 { Vec::new() } else { read.workers_to_avoid(build.id).await? },
            artifact: build.artifact,
            wants: wants.unwrap_or_default(),
            queued_at: build.queued_at,
        });
    }
    let gone = long_gone(farm, &mut read, &facts, at).await?;
    drop(snapshot);
    for worker in gone {
        farm.store.write(move |tx| Box::pin(async move { tx.unbind_builds(worker).await })).await?;
    }

    let assignments = assign(&facts, &idle, running, config.search.probe_share);
    if (assignments.len() as u64) < u64::from(free) {
        // There is time for what nobody has asked for yet.
        farm.activations.schedule.notify_one();
    }
    if assignments.is_empty() {
        return Ok(wait);
    }
    let silence = config.leases.silence;
    let held: BTreeSet<BuildId> = silent.spare.into_iter().map(|(build, _)| build).collect();
    let offers = farm
        .store
        .write(move |tx| {
            Box::pin(async move {
                let mut offers = Vec::with_capacity(assignments.len());
                for assignment in assignments {
                    tx.begin_part().await?;
                    match lend(tx, assignment, held.contains(&assignment.build), at + silence, at).await {
                        Ok((attempt, plan)) => {
                            tx.keep_part().await?;
                            offers.push((assignment, attempt, plan));
                        }
                        // One build must not keep all others waiting.
                        Err(error) if error.is_for_good() => {
                            tx.take_back_part().await?;
                            give_up(tx, assignment.build, &error, at).await?;
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(offers)
            })
        })
        .await
        .context("leasing builds")?;
    failpoint("after-lease");
    // A worker that has gone meanwhile lets its lease run out, so nothing is lost here.
    for (assignment, attempt, plan) in offers {
        farm.connections.offer(
            assignment.worker,
            assignment.build.0,
            attempt,
            silence.as_millis() as u64,
            plan,
        );
    }
    Ok(wait)
}

/// Workers that builds wait for in vain.
async fn long_gone(
    farm: &Farm,
    read: &mut Read<'_>,
    waiting: &[DispatchBuild],
    at: Timestamp,
) -> Result<Vec<WorkerId>> {
    let bound: BTreeSet<WorkerId> = waiting.iter().filter_map(|build| build.only_worker).collect();
    let mut gone = Vec::new();
    for worker in bound.into_iter().filter(|worker| !farm.connections.is_present(*worker)) {
        if read.worker(worker).await?.seen_at.is_none_or(|seen| seen + AWAY < at) {
            gone.push(worker);
        }
    }
    Ok(gone)
}

/// Whether anybody who is here could take one more build.
async fn has_room(farm: &Farm, read: &mut Read<'_>) -> Result<bool> {
    let mut held: BTreeMap<WorkerId, u32> = BTreeMap::new();
    for build in read.running_builds().await? {
        *held.entry(build.worker).or_default() += 1;
    }
    let taken = |worker| held.get(&worker).copied().unwrap_or(0);
    Ok(farm.connections.present().iter().any(|present| present.slots > taken(present.worker)))
}

/// Who could work, and what runs now.
async fn workforce(farm: &Farm, read: &mut Read<'_>) -> Result<(Vec<IdleWorker>, RunningLoad)> {
    let platforms = read.platforms().await?;
    let mut held: BTreeMap<WorkerId, u32> = BTreeMap::new();
    let mut running = RunningLoad::default();
    for build in read.running_builds().await? {
        *held.entry(build.worker).or_default() += 1;
        *running.builds.entry(build.platform).or_default() += 1;
        if build.reason == Reason::Probe {
            *running.probes.entry(build.platform).or_default() += 1;
        }
        if let Some(project) = build.project {
            *running.by_project.entry(project).or_default() += 1;
        }
        running.sides.extend(build.pin);
    }
    let mut present: BTreeMap<WorkerId, ConnectedWorker> =
        farm.connections.present().into_iter().map(|present| (present.worker, present)).collect();
    let mut idle = Vec::new();
    for worker in read.workers_of(&present.keys().copied().collect::<Vec<_>>()).await? {
        let (Some(trust), Some(present)) = (worker.trust, present.remove(&worker.id)) else { continue };
        let taken = held.get(&worker.id).copied().unwrap_or(0);
        idle.push(IdleWorker {
            worker: worker.id,
            free_slots: present.slots.saturating_sub(taken),
            platforms: platforms_of(&worker.facts, &platforms),
            trust,
            offers: worker.facts.offers,
            artifacts: present.artifacts,
        });
    }
    Ok((idle, running))
}

async fn lend(
    tx: &mut Write<'_>,
    Assignment { build, worker }: Assignment,
    is_held: bool,
    until: Timestamp,
    at: Timestamp,
) -> store::Result<(AttemptId, Plan)> {
    let plan = tx.plan(build).await?;
    let attempt = match is_held {
        true => tx.offer_spare(build, worker, until, at).await?,
        false => tx.lease_build(build, worker, until, at).await?,
    };
    Ok((attempt, plan))
}

/// Ends a build for which no plan can be made. One that was covered meanwhile waits no more, and needs none.
async fn give_up(tx: &mut Write<'_>, build: BuildId, why: &store::Error, at: Timestamp) -> store::Result<()> {
    match tx.build(build).await {
        Ok(row) if row.state == BuildState::Queued => {}
        Ok(_) | Err(store::Error::NotFound(_)) => return Ok(()),
        Err(error) => return Err(error),
    }
    tracing::error!(%build, "no worker can be told what to do: {why}");
    let judged = BuildResult { outcome: Outcome::Infra, cause: Some(Cause::Toolchain), step: None };
    let finish = Finish { judged, attempt: None, artifact: None, same_as: None };
    tx.finish_build(build, &finish, at).await
}

/// What silent workers hold.
#[derive(Default)]
struct Silent {
    /// Taken back at once.
    over: Vec<Attempt>,
    /// For others who are idle.
    spare: Vec<(BuildId, WorkerId)>,
}

impl Silent {
    async fn look(farm: &Farm, read: &mut Read<'_>, at: Timestamp) -> Result<Silent> {
        let mut silent = Silent::default();
        for attempt in read.live_attempts().await? {
            if attempt.lease_until >= at {
                continue;
            }
            // The lease of an offer counts from the offer; what is answered is kept alive by signs of life.
            let Some(started_at) = attempt.started_at else {
                silent.over.push(attempt);
                continue;
            };
            let held = RunningAttempt {
                started_at,
                lease_until: attempt.lease_until,
                limit: time_limit(&read.recipe_of(attempt.id).await?),
                connected: farm.connections.is_present(attempt.worker),
            };
            match fate(held, farm.config().leases, at) {
                LeaseFate::Kept => {}
                LeaseFate::Spare => silent.spare.push((attempt.build, attempt.worker)),
                LeaseFate::Over => silent.over.push(attempt),
            }
        }
        Ok(silent)
    }
}

async fn take_back(farm: &Farm, over: Vec<Attempt>, at: Timestamp) -> Result<()> {
    for attempt in over {
        let (id, build) = (attempt.id, attempt.build);
        tracing::warn!(%build, attempt = attempt.number, "its worker was lost");
        farm.store
            .write(move |tx| {
                Box::pin(async move {
                    tx.end_attempt(id, AttemptState::Lost, Some("its worker was not heard any more"), at)
                        .await?;
                    again(tx, build, id, Cause::WorkerLost, at).await
                })
            })
            .await?;
        farm.activations.dispatch.notify_one();
    }
    Ok(())
}

/// Queues a build for its next attempt, or gives it up as our own trouble. While another attempt of it is with a
/// worker, it only waits a moment before it is offered again.
pub async fn again(
    tx: &mut Write<'_>,
    build: BuildId,
    attempt: AttemptId,
    cause: Cause,
    at: Timestamp,
) -> store::Result<()> {
    if tx.has_rival(attempt).await? {
        return tx.hold_back(build, at + BREATHER).await;
    }
    let spent = tx.spent_attempts(build).await?;
    let row = tx.build(build).await?;
    if spent < MAX_ATTEMPTS && row.attempts < MAX_OFFERS {
        return tx.requeue_build(build, at + BREATHER, at).await;
    }
    let judged = BuildResult { outcome: Outcome::Infra, cause: Some(cause), step: None };
    let finish = Finish { judged: judged.clone(), attempt: Some(attempt), artifact: None, same_as: None };
    tx.finish_build(build, &finish, at).await?;
    latest::settle(tx, &row, &judged, at).await
}
