//! Hands waiting builds to idle workers, and takes back what a lost worker held.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use domain::dispatch::{Idle, Running, Waiting, assign};
use domain::ids::{AttemptId, BuildId, Timestamp, WorkerId};
use domain::outcome::{Cause, Judged, MAX_ATTEMPTS, Outcome};
use domain::words::{BuilderKind, Reason};
use protocol::{Plan, Source, Toolchain};
use store::{Finish, Read, Write};

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
    let at = now();
    take_back(farm, at).await.context("taking back what lost workers hold")?;

    let mut snapshot = farm.store.snapshot().await?;
    let mut read = snapshot.read();
    let waiting = read.waiting_builds(at).await?;
    let next = read.next_waiting(at).await?;
    let wait = next.map(|next| Duration::from_millis((next.0 - at.0).max(0) as u64));
    if waiting.is_empty() {
        return Ok(wait);
    }
    let (idle, running) = workforce(farm, &mut read).await?;
    if idle.iter().all(|worker| worker.free_slots == 0) {
        return Ok(wait);
    }
    let mut facts = Vec::with_capacity(waiting.len());
    for build in waiting {
        let wants = build.project_name.as_deref().and_then(|name| {
            farm.config.projects.iter().find(|project| project.name == name).map(|p| p.wants.clone())
        });
        facts.push(Waiting {
            build: build.id,
            kind: build.kind,
            platform: build.platform,
            project: build.project,
            reason: build.reason,
            newest: build.newest,
            only_worker: build.only_worker,
            avoid: read.workers_to_avoid(build.id).await?,
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

    let assignments = assign(&facts, &idle, running, farm.config.search.probe_share);
    if assignments.is_empty() {
        return Ok(wait);
    }
    let offers = farm
        .store
        .write(move |tx| {
            Box::pin(async move {
                let mut offers = Vec::with_capacity(assignments.len());
                for assignment in assignments {
                    let plan = plan(tx, assignment.build).await?;
                    let attempt = tx.lease_build(assignment.build, assignment.worker, at + LEASE, at).await?;
                    offers.push((assignment, attempt, plan));
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
    for attempt in read.live_attempts().await? {
        *held.entry(attempt.worker).or_default() += 1;
        let build = read.build(attempt.build).await?;
        let builder = read.builder(build.builder).await?;
        *running.builds.entry(builder.platform).or_default() += 1;
        if build.reason == Reason::Probe {
            *running.probes.entry(builder.platform).or_default() += 1;
        }
        if let Some(project) = builder.project {
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

async fn plan(tx: &mut Write<'_>, id: BuildId) -> store::Result<Plan> {
    let build = tx.build(id).await?;
    let builder = tx.builder(build.builder).await?;
    let change = tx.change(build.change).await?;
    let recipe = tx.recipe(build.recipe).await?;
    let (source, toolchain) = match builder.kind {
        BuilderKind::Toolchain => {
            let trunks = tx.trunks().await?;
            let trunk = trunks.into_iter().find(|trunk| trunk.id == change.trunk);
            let git = trunk.ok_or(store::Error::NotFound("trunk"))?.git;
            (Source { git, revision: change.sha.clone() }, None)
        }
        BuilderKind::Suite => {
            let project = tx.project(builder.project.ok_or(store::Error::NotFound("project"))?).await?;
            let pin = tx.pin(build.pin.ok_or(store::Error::NotFound("pin"))?).await?;
            let sha256 = build.artifact.ok_or(store::Error::NotFound("toolchain"))?;
            let artifact = tx.artifact(sha256).await?.ok_or(store::Error::NotFound("toolchain"))?;
            let toolchain = Toolchain { sha256, bytes: artifact.bytes };
            (Source { git: project.git, revision: pin.revision }, Some(toolchain))
        }
    };
    let builder = builder.name;
    Ok(Plan { builder, change: change.sha, source, toolchain, recipe, cases: Vec::new() })
}

async fn take_back(farm: &Farm, at: Timestamp) -> Result<()> {
    let mut snapshot = farm.store.snapshot().await?;
    let live = snapshot.read().live_attempts().await?;
    drop(snapshot);
    for attempt in live {
        let patience = match attempt.state.as_str() {
            // The lease of an offer counts from the offer; what is answered is kept alive by heartbeats.
            "offered" if farm.hub.is_present(attempt.worker) => OFFER,
            "offered" => Duration::ZERO,
            _ => PATIENCE,
        };
        if attempt.lease_until + patience < at {
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
