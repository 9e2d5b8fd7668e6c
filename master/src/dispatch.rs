//! Hands waiting builds to available workers, and takes back what lost workers held.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use domain::caches::{self, CacheOwner};
use domain::dispatch::lease::{LeaseFate, RunningAttempt, fate, time_limit};
use domain::dispatch::makers::may_make;
use domain::dispatch::{AWAY, Assignment, DispatchBuild, IdleWorker, RunningLoad, assign};
use domain::project_inputs;
use domain::settle::MAX_OFFERS;
use domain::volunteer::terms::{WantedBuild, objection};
use domain::words::Reason;
use domain::words::ids::{AttemptId, BuildId, PinId, PlatformId, ProjectId, Timestamp, WorkerId};
use domain::words::platform::platforms_of;
use protocol::{DeclaredCache, Plan, WorkerTerms};
use store::{Attempt, CacheQuestion, Read, WaitingBuild, Write};

use crate::config::{Config, ProjectConfig};
use crate::farm::connections::ConnectedWorker;
use crate::farm::disk;
use crate::farm::failpoint::failpoint;
use crate::farm::makers::load_makers;
use crate::farm::{Farm, now};
use crate::settle::{give_up, settle_loss};

/// Assigns waiting builds to available workers. Returns after which time the next build may be offered.
pub async fn dispatch(farm: &Farm) -> Result<Option<Duration>> {
    let (config, at) = (farm.config(), now());
    let mut snapshot = farm.store.snapshot().await?;
    let mut silent = SilentWorkers::load(farm, &mut snapshot.read(), at).await?;
    if !silent.lost.is_empty() {
        drop(snapshot);
        let lost = std::mem::take(&mut silent.lost);
        take_back(farm, lost, at).await.context("taking back what lost workers hold")?;
        snapshot = farm.store.snapshot().await?;
    }
    let mut read = snapshot.read();
    let wait = read.next_waiting(at).await?.map(|next| next.since(at));
    // Running builds go on: their logs are bounded. The results of new builds could not be stored.
    if disk::free_space(&config, farm.store.data()).await.is_some_and(|disk| !disk.has_room()) {
        return Ok(wait);
    }
    let waiting = load_waiting(&mut read, &silent.spare, at).await?;
    if waiting.is_empty() {
        // The workers need not be looked at one by one.
        if has_free_slot(farm, &mut read).await? {
            farm.activations.schedule.notify_one();
        }
        return Ok(wait);
    }
    let (idle, running) = load_workers(farm, &mut read).await?;
    let free: usize =
        idle.iter().map(|worker| usize::try_from(worker.free_slots).unwrap_or(usize::MAX)).sum();
    if free == 0 {
        return Ok(wait);
    }
    let mut builds = load_builds(&config, &mut read, waiting, at).await?;
    exclude_unwilling(farm, &mut read, &mut builds).await?;
    let gone = load_workers_away(farm, &mut read, &builds, at).await?;
    drop(snapshot);
    for worker in gone {
        farm.store.write(move |tx| Box::pin(async move { tx.unbind_builds(worker).await })).await?;
    }

    let assignments = assign(&builds, &idle, running, config.search.probe_share);
    if assignments.len() < free {
        // Workers stay idle: the scheduler may have something for them.
        farm.activations.schedule.notify_one();
    }
    if !assignments.is_empty() {
        offer(farm, assignments, silent.spare, config.leases.silence, at).await?;
    }
    Ok(wait)
}

/// The builds that may be offered now: those in the queue, and those of silent workers, with the worker that has them.
async fn load_waiting(
    read: &mut Read<'_>,
    spare: &[(BuildId, WorkerId)],
    at: Timestamp,
) -> Result<Vec<(WaitingBuild, Option<WorkerId>)>> {
    let queued = read.waiting_builds(at).await?.into_iter().map(|build| (build, None));
    let mut waiting: Vec<(WaitingBuild, Option<WorkerId>)> = queued.collect();
    for (build, holder) in spare {
        let spare = read.spare_build(*build, at).await?.filter(|build| build.attempts < MAX_OFFERS);
        waiting.extend(spare.map(|build| (build, Some(*holder))));
    }
    Ok(waiting)
}

async fn load_builds(
    config: &Config,
    read: &mut Read<'_>,
    waiting: Vec<(WaitingBuild, Option<WorkerId>)>,
    at: Timestamp,
) -> Result<Vec<DispatchBuild>> {
    let makers = match waiting.iter().any(|(build, _)| build.environment.is_some()) {
        true => load_makers(read, at).await?,
        false => Vec::new(),
    };
    let labels: BTreeMap<PlatformId, String> = read.platforms().await?.into_iter().collect();
    let mut builds = Vec::with_capacity(waiting.len());
    let mut choosing: BTreeMap<PinId, bool> = BTreeMap::new();
    for (build, holder) in waiting {
        let wants = build.project_name.as_deref().and_then(|name| {
            config.projects.iter().find(|project| project.name == name).map(|p| p.wants.clone())
        });
        let chooses = match build.untried {
            Some(pin) => chooses(read, &mut choosing, pin).await?.then_some(pin),
            None => None,
        };
        builds.push(DispatchBuild {
            build: build.id,
            kind: build.kind,
            platform: build.platform,
            project: build.project,
            chooses,
            reason: build.reason,
            newest: build.newest,
            only_worker: build.only_worker,
            makers: match (&build.environment, labels.get(&build.platform)) {
                (Some(environment), Some(label)) => may_make(&makers, label, environment),
                (Some(_), None) | (None, _) => BTreeSet::new(),
            },
            holder,
            excluded: BTreeSet::new(),
            avoid: if build.attempts == 0 { Vec::new() } else { read.workers_to_avoid(build.id).await? },
            artifact: build.artifact,
            wants: wants.unwrap_or_default(),
            queued_at: build.queued_at,
        });
    }
    Ok(builds)
}

/// Notes which workers' owners do not allow which builds. Without such terms nothing is read.
async fn exclude_unwilling(farm: &Farm, read: &mut Read<'_>, builds: &mut [DispatchBuild]) -> Result<()> {
    let everything = WorkerTerms::default();
    let mut picky = farm.connections.present();
    picky.retain(|worker| *worker.terms != everything);
    if picky.is_empty() {
        return Ok(());
    }
    let names: BTreeMap<ProjectId, String> =
        read.projects().await?.into_iter().map(|project| (project.id, project.name)).collect();
    for build in builds {
        let (trunk, recipe) = read.trunk_and_recipe(build.build).await?;
        let project = build.project.and_then(|project| names.get(&project)).map(String::as_str);
        let wanted = WantedBuild { trunk: &trunk, project, recipe: &recipe };
        let unwilling = picky.iter().filter(|worker| objection(&worker.terms, wanted).is_some());
        build.excluded = unwilling.map(|worker| worker.worker).collect();
    }
    Ok(())
}

/// Whether the first run with these inputs chooses the dependencies of all others.
async fn chooses(read: &mut Read<'_>, loaded: &mut BTreeMap<PinId, bool>, pin: PinId) -> store::Result<bool> {
    match loaded.entry(pin) {
        Entry::Occupied(chooses) => Ok(*chooses.get()),
        Entry::Vacant(entry) => {
            let recipe = read.pin(pin).await?.project_inputs.recipe;
            Ok(*entry.insert(project_inputs::chooses(&read.recipe(recipe).await?)))
        }
    }
}

/// Workers that builds are bound to, and that have been away too long to wait for.
async fn load_workers_away(
    farm: &Farm,
    read: &mut Read<'_>,
    waiting: &[DispatchBuild],
    at: Timestamp,
) -> Result<Vec<WorkerId>> {
    let bound: BTreeSet<WorkerId> = waiting.iter().filter_map(|build| build.only_worker).collect();
    let mut away = Vec::new();
    for worker in bound.into_iter().filter(|worker| !farm.connections.is_present(*worker)) {
        if read.worker(worker).await?.seen_at.is_none_or(|seen| seen + AWAY < at) {
            away.push(worker);
        }
    }
    Ok(away)
}

/// Whether any connected worker could take one more build.
async fn has_free_slot(farm: &Farm, read: &mut Read<'_>) -> Result<bool> {
    let mut held: BTreeMap<WorkerId, u32> = BTreeMap::new();
    for build in read.running_builds().await? {
        *held.entry(build.worker).or_default() += 1;
    }
    let taken = |worker| held.get(&worker).copied().unwrap_or(0);
    Ok(farm.connections.present().iter().any(|present| present.slots > taken(present.worker)))
}

/// The connected workers, and what runs now.
async fn load_workers(farm: &Farm, read: &mut Read<'_>) -> Result<(Vec<IdleWorker>, RunningLoad)> {
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
        running.pins.extend(build.pin);
    }
    let mut present: BTreeMap<WorkerId, ConnectedWorker> =
        farm.connections.present().into_iter().map(|present| (present.worker, present)).collect();
    let mut idle = Vec::new();
    for worker in read.active_workers_of(&present.keys().copied().collect::<Vec<_>>()).await? {
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

/// Leases the assigned builds in one commit, and only then offers them. `spare` are those that a silent worker has.
async fn offer(
    farm: &Farm,
    assignments: Vec<Assignment>,
    spare: Vec<(BuildId, WorkerId)>,
    lease: Duration,
    at: Timestamp,
) -> Result<()> {
    let spare: BTreeSet<BuildId> = spare.into_iter().map(|(build, _)| build).collect();
    let config = farm.config();
    let leased = farm.store.write(move |tx| {
        Box::pin(async move {
            let mut leased = Vec::with_capacity(assignments.len());
            for assignment in assignments {
                tx.begin_savepoint().await?;
                let is_spare = spare.contains(&assignment.build);
                match lease_build(tx, &config, assignment, is_spare, (at, at + lease)).await {
                    Ok((attempt, plan)) => {
                        tx.release_savepoint().await?;
                        leased.push((assignment, attempt, plan));
                    }
                    // One build must not keep all others waiting.
                    Err(error) if error.is_for_good() => {
                        tx.roll_back_savepoint().await?;
                        give_up(tx, assignment.build, &error, at).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(leased)
        })
    });
    let leased = leased.await.context("leasing builds")?;
    failpoint("after-lease");
    // A worker that has gone meanwhile lets its lease run out, so nothing is lost here.
    let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
    for (assignment, attempt, plan) in leased {
        farm.connections.offer(assignment.worker, assignment.build.0, attempt, lease_ms, plan);
    }
    Ok(())
}

async fn lease_build(
    tx: &mut Write<'_>,
    config: &Config,
    Assignment { build, worker }: Assignment,
    is_spare: bool,
    (at, until): (Timestamp, Timestamp),
) -> store::Result<(AttemptId, Plan)> {
    let mut plan = tx.plan(build).await?;
    let attempt = match is_spare {
        true => tx.offer_to_another_worker(build, worker, until, at).await?,
        false => tx.lease_build(build, worker, until, at).await?,
    };
    if config.declares_caches()
        && let Some((caches, epoch)) = caches_for(config, &tx.cache_question(build).await?)
    {
        plan.caches = caches;
        tx.record_caches(attempt, epoch).await?;
    }
    Ok((attempt, plan))
}

/// The caches with which a build runs, and the epoch that its attempt notes; none if it has none or goes without them.
fn caches_for(config: &Config, question: &CacheQuestion) -> Option<(Vec<DeclaredCache>, i64)> {
    if caches::runs_without(question.reason, question.earlier_probes) {
        return None;
    }
    let trunk = config.trunks.iter().find(|trunk| trunk.name == question.trunk)?;
    let project = question.project.as_deref();
    let declared = match project {
        None => &trunk.caches,
        Some(name) => {
            let of_name = |it: &&ProjectConfig| it.name == name && it.trunk == trunk.name;
            &config.projects.iter().find(of_name)?.caches
        }
    };
    let given = declared.iter().map(|cache| {
        let (owner, epoch) = match project {
            Some(_) if trunk.shared_caches.contains(&cache.name) => {
                (CacheOwner::AllProjects, question.trunk_epoch)
            }
            Some(project) => (CacheOwner::Project(project), question.own_epoch),
            None => (CacheOwner::Trunk, question.own_epoch),
        };
        DeclaredCache {
            key: caches::cache_key(&trunk.name, &question.variant, owner, &cache.name, epoch),
            name: cache.name.clone(),
            path: cache.path.clone(),
            write: cache.write,
            max_bytes: cache.max_bytes,
        }
    });
    let given: Vec<DeclaredCache> = given.collect();
    (!given.is_empty()).then_some((given, question.trunk_epoch))
}

/// What silent workers hold.
#[derive(Default)]
struct SilentWorkers {
    /// Attempts that are taken back at once.
    lost: Vec<Attempt>,
    /// Builds that are offered to other workers, with the worker that has them.
    spare: Vec<(BuildId, WorkerId)>,
}

impl SilentWorkers {
    async fn load(farm: &Farm, read: &mut Read<'_>, at: Timestamp) -> Result<SilentWorkers> {
        let mut silent = SilentWorkers::default();
        for attempt in read.live_attempts().await? {
            if attempt.lease_until >= at {
                continue;
            }
            // The lease of an offer counts from the offer; that of an accepted attempt is renewed by each sign of life.
            let Some(started_at) = attempt.started_at else {
                silent.lost.push(attempt);
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
                LeaseFate::Over => silent.lost.push(attempt),
            }
        }
        Ok(silent)
    }
}

async fn take_back(farm: &Farm, lost: Vec<Attempt>, at: Timestamp) -> Result<()> {
    for attempt in lost {
        let (id, build) = (attempt.id, attempt.build);
        tracing::warn!(%build, attempt = attempt.number, "its worker was lost");
        farm.store
            .write(move |tx| {
                Box::pin(async move { settle_loss(tx, id, "its worker was silent for too long", at).await })
            })
            .await?;
        farm.activations.dispatch.notify_one();
    }
    Ok(())
}
