//! Loads the builds that run and those that wait.

use std::collections::BTreeSet;

use domain::dispatch::AWAY;
use domain::dispatch::makers::{Maker, may_make};
use domain::dispatch::waiting::{BuildNeeds, KnownWorker, WaitReason, why};
use domain::words::ids::{Timestamp, WorkerId};
use domain::words::{BuildState, BuilderKind};
use store::pages::{QueueRow, RunningRow, WorkerRow};
use store::{Result, Store};

use super::rows::{builder, change};
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, count, hidden};
use crate::pages::queue::{QueueView, WaitingLine};

const MAX_BUILDS: i64 = 300;

pub async fn queue(store: &Store) -> Result<QueueView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let rows = read.queue_rows(MAX_BUILDS).await?;
    let all = read.unfinished_builds().await?;
    let now = jiff::Timestamp::now().as_millisecond();
    let worker_rows = read.worker_rows().await?;
    let makers = match rows.iter().any(|row| row.environment.is_some()) {
        true => with_names(read.makers(Timestamp(now) - AWAY).await?, &worker_rows),
        false => Vec::new(),
    };
    let workers = approved(worker_rows, &read.running_rows().await?);
    let running = rows.iter().filter(|row| row.state == BuildState::Leased).count();
    let waiting = hidden(all, running);
    let sentence = match (running, waiting) {
        (0, 0) => "No builds are running or queued.".into(),
        (0, waiting) => format!("No builds are running; {} queued.", count(waiting, "is", "are")),
        (running, 0) => format!("{} running; none are queued.", count(running, "build is", "builds are")),
        (running, waiting) => format!(
            "{} running, {} queued.",
            count(running, "build is", "builds are"),
            count(waiting, "is", "are")
        ),
    };
    let more = hidden(all, rows.len());
    Ok(QueueView {
        sentence,
        builds: rows.into_iter().map(|row| line(row, &workers, &makers, now)).collect(),
        more,
    })
}

/// The makers, each with its name.
fn with_names(makers: Vec<Maker>, workers: &[WorkerRow]) -> Vec<(Maker, String)> {
    let named = |maker: Maker| {
        let worker = workers.iter().find(|row| WorkerId(row.id) == maker.worker)?;
        Some((maker, worker.name.clone()))
    };
    makers.into_iter().filter_map(named).collect()
}

/// The names of those makers that may make a toolchain in the environment in which a build is to be made.
fn makers_for(row: &QueueRow, makers: &[(Maker, String)]) -> Vec<String> {
    let Some(environment) = &row.environment else { return Vec::new() };
    let all: Vec<Maker> = makers.iter().map(|(maker, _)| maker.clone()).collect();
    let may: BTreeSet<WorkerId> = may_make(&all, &row.builder.platform, environment);
    let named = makers.iter().filter(|(maker, _)| may.contains(&maker.worker));
    named.map(|(_, name)| name.clone()).collect()
}

/// The approved workers, with their free slots.
fn approved(workers: Vec<WorkerRow>, running: &[RunningRow]) -> Vec<KnownWorker> {
    let approved = workers.into_iter().filter_map(|row| {
        let busy_slots = running.iter().filter(|build| build.worker == row.id).count();
        Some(KnownWorker {
            trust: row.trust?,
            is_here: row.connected,
            free_slots: u32::try_from(hidden(row.slots, busy_slots)).unwrap_or(u32::MAX),
            name: row.name,
            facts: row.facts,
        })
    });
    approved.collect()
}

fn line(row: QueueRow, workers: &[KnownWorker], makers: &[(Maker, String)], now_ms: i64) -> WaitingLine {
    let status = match (row.state, &row.worker) {
        (BuildState::Leased, Some(worker)) => format!("on {worker}"),
        (BuildState::Leased | BuildState::Finished, _) => "running".into(),
        (BuildState::Queued, _) => {
            let kind = match row.builder.project {
                Some(_) => BuilderKind::Suite,
                None => BuilderKind::Toolchain,
            };
            let needs = BuildNeeds {
                kind,
                reason: row.reason,
                platform: &row.builder.platform,
                wants: &row.wants,
                only_worker: row.only_worker.as_deref(),
                makers: &makers_for(&row, makers),
            };
            match why(&needs, workers) {
                WaitReason::Turn if row.not_before.0 > now_ms => format!(
                    "waits until {} after {}",
                    Moment(row.not_before.0).clock(),
                    count(row.attempts, "failed attempt", "failed attempts")
                ),
                why => why.words(&row.builder.platform),
            }
        }
    };
    let status_style = match row.state {
        BuildState::Leased => StatusStyle::Running,
        BuildState::Queued | BuildState::Finished => StatusStyle::Queued,
    };
    WaitingLine {
        build: row.id,
        status_style,
        status,
        reason: row.reason.to_string(),
        queued_at: Moment(row.queued_at.0),
        builder: builder(row.builder),
        change: change(row.change),
    }
}
