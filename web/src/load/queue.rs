//! Loads the builds that run and those that wait.

use domain::dispatch::waiting::{BuildNeeds, KnownWorker, WaitReason, why};
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
    let workers = approved(read.worker_rows().await?, &read.running_rows().await?);
    let now = jiff::Timestamp::now().as_millisecond();
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
    Ok(QueueView { sentence, builds: rows.into_iter().map(|row| line(row, &workers, now)).collect(), more })
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

fn line(row: QueueRow, workers: &[KnownWorker], now_ms: i64) -> WaitingLine {
    let status = match (row.state, row.worker) {
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
