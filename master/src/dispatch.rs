//! Hands waiting builds to idle workers, and takes back what a lost worker held.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use domain::dispatch::{Assignment, Idle, Running, Waiting, assign};
use domain::ids::{AttemptId, BuildId, Timestamp, WorkerId};
use domain::outcome::{Cause, Judged, MAX_ATTEMPTS, Outcome};
use domain::words::{BuildState, Reason};
use protocol::Plan;
use store::{Attempt, Finish, Read, Write};

use crate::farm::{Farm, now};
use crate::schedule::platforms_of;

/// A worker is silent when it was not heard for so long.
pub const LEASE: Duration = Duration::from_secs(60);
/// An offer that nobody answered in this time is taken back.
const OFFER: Duration = Duration::from_secs(30);
/// What a silent worker holds is given away after this time more.
const PATIENCE: Duration = Duration::from_secs(600);
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
    let live = read.live_attempts().await?;
    if live.iter().any(|attempt| is_lost(farm, attempt, at)) {
        drop(snapshot);
        take_back(farm, live, at).await.context("taking back what lost workers hold")?;
        snapshot = farm.store.snapshot().await?;
        read = snapshot.read();
    }
    let next = read.next_waiting(at).await?;
    let wait = next.map(|next| Duration::from_millis((next.0 - at.0).max(0) as u64));
    let (idle, running) = workforce(farm, &mut read).await?;
    let free: u32 = idle.iter().map(|worker| worker.free_slots).sum();
    if free == 0 {
        return Ok(wait);
    }
    let waiting = read.waiting_builds(at).await?;
    let mut facts = Vec::with_capacity(waiting.len());
    for build in waiting {
        let wants = build.project_name.as_deref().and_then(|name| {
            config.projects.iter().find(|project| project.name == name).map(|p| p.wants.clone())
        });
        facts.push(Waiting {
            build: build.id,
            kind: build.kind,
            platform: build.platform,
            project: build.project,
            reason: build.reason,
            newest: build.newest,
            only_worker: build.only_worker,
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
        farm.nudges.schedule.notify_one();
    }
    if assignments.is_empty() {
        return Ok(wait);
    }
    let offers = farm
        .store
        .write(move |tx| {
            Box::pin(async move {
                let mut offers = Vec::with_capacity(assignments.len());
                for assignment in assignments {
                    tx.begin_part().await?;
                    match lease(tx, assignment, at).await {
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
    // A worker that has gone meanwhile lets its lease run out, so nothing is lost here.
    for (assignment, attempt, plan) in offers {
        farm.hub.offer(assignment.worker, assignment.build.0, attempt, LEASE.as_millis() as u64, plan);
    }
    Ok(wait)
}

/// Workers that builds wait for in vain.
async fn long_gone(
    farm: &Farm,
    read: &mut Read<'_>,
    waiting: &[Waiting],
    at: Timestamp,
) -> Result<Vec<WorkerId>> {
    let bound: BTreeSet<WorkerId> = waiting.iter().filter_map(|build| build.only_worker).collect();
    let mut gone = Vec::new();
    for worker in bound.into_iter().filter(|worker| !farm.hub.is_present(*worker)) {
        if read.worker(worker).await?.seen_at.is_none_or(|seen| seen + AWAY < at) {
            gone.push(worker);
        }
    }
    Ok(gone)
}

/// Who could work, and what runs now.
async fn workforce(farm: &Farm, read: &mut Read<'_>) -> Result<(Vec<Idle>, Running)> {
    let platforms = read.platforms().await?;
    let mut held: BTreeMap<WorkerId, u32> = BTreeMap::new();
    let mut running = Running::default();
    for build in read.running_builds().await? {
        *held.entry(build.worker).or_default() += 1;
        *running.builds.entry(build.platform).or_default() += 1;
        if build.reason == Reason::Probe {
            *running.probes.entry(build.platform).or_default() += 1;
        }
        if let Some(project) = build.project {
            *running.by_project.entry(project).or_default() += 1;
        }
    }
    let mut idle = Vec::new();
    for present in farm.hub.present() {
        let worker = read.worker(present.worker).await?;
        let Some(trust) = worker.trust else { continue };
        let taken = held.get(&worker.id).copied().unwrap_or(0);
        idle.push(Idle {
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

async fn lease(
    tx: &mut Write<'_>,
    assignment: Assignment,
    at: Timestamp,
) -> store::Result<(AttemptId, Plan)> {
    let plan = tx.plan(assignment.build).await?;
    let attempt = tx.lease_build(assignment.build, assignment.worker, at + LEASE, at).await?;
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
    let judged = Judged { outcome: Outcome::Infra, cause: Some(Cause::Toolchain), step: None };
    let finish = Finish { judged, attempt: None, artifact: None, same_as: None };
    tx.finish_build(build, &finish, at).await
}

fn is_lost(farm: &Farm, attempt: &Attempt, at: Timestamp) -> bool {
    let patience = match attempt.state.as_str() {
        // The lease of an offer counts from the offer; what is answered is kept alive by heartbeats.
        "offered" if farm.hub.is_present(attempt.worker) => OFFER,
        "offered" => Duration::ZERO,
        _ => PATIENCE,
    };
    attempt.lease_until + patience < at
}

async fn take_back(farm: &Farm, live: Vec<Attempt>, at: Timestamp) -> Result<()> {
    for attempt in live.into_iter().filter(|attempt| is_lost(farm, attempt, at)) {
        let (id, build) = (attempt.id, attempt.build);
        tracing::warn!(%build, attempt = attempt.number, "its worker was lost");
        farm.store
            .write(move |tx| {
                Box::pin(async move {
                    tx.end_attempt(id, "lost", Some("its worker was not heard any more"), at).await?;
                    again(tx, build, id, Cause::WorkerLost, at).await
                })
            })
            .await?;
        farm.nudges.dispatch.notify_one();
    }
    Ok(())
}

/// Queues a build for its next attempt, or gives it up as our own trouble.
pub async fn again(
    tx: &mut Write<'_>,
    build: BuildId,
    attempt: AttemptId,
    cause: Cause,
    at: Timestamp,
) -> store::Result<()> {
    let spent = tx.spent_attempts(build).await?;
    if spent < MAX_ATTEMPTS && tx.build(build).await?.attempts < MAX_OFFERS {
        return tx.requeue_build(build, at + BREATHER, at).await;
    }
    let judged = Judged { outcome: Outcome::Infra, cause: Some(cause), step: None };
    let finish = Finish { judged, attempt: Some(attempt), artifact: None, same_as: None };
    tx.finish_build(build, &finish, at).await
}
