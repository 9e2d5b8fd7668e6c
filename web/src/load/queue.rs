//! Loads what runs and what waits.

use domain::dispatch::waiting::{BuildNeeds, KnownWorker, WaitReason, why};
use domain::words::{BuildState, BuilderKind};
use store::pages::{QueueRow, RunningRow, WorkerRow};
use store::{Result, Store};

use super::rows::{builder, change};
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, count};
use crate::pages::queue::{QueueView, WaitingLine};

const SHOWN: i64 = 300;

pub async fn queue(store: &Store) -> Result<QueueView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let rows = read.queue_rows(SHOWN).await?;
    let all = read.unfinished_builds().await?;
    let workers = known(read.worker_rows().await?, &read.running_rows().await?);
    let running = rows.iter().filter(|row| row.state == BuildState::Leased).count();
    let waiting = (all as usize).saturating_sub(running);
    let sentence = match (running, waiting) {
        (0, 0) => "Nothing runs and nothing waits.".into(),
        (0, waiting) => format!("Nothing runs; {}.", count(waiting, "build waits", "builds wait")),
        (running, 0) => format!("{}; nothing waits.", count(running, "build runs", "builds run")),
        (running, waiting) => format!(
            "{}, {waiting} {}.",
            count(running, "build runs", "builds run"),
            if waiting == 1 { "waits" } else { "wait" }
        ),
    };
    let more = all - rows.len() as i64;
    Ok(QueueView {
        sentence,
        builds: rows.into_iter().map(|row| line(row, &workers)).collect(),
        more: more.max(0),
    })
}

fn known(workers: Vec<WorkerRow>, running: &[RunningRow]) -> Vec<KnownWorker> {
    let let_in = workers.into_iter().filter_map(|row| {
        let held = running.iter().filter(|held| held.worker == row.id).count();
        Some(KnownWorker {
            trust: row.trust?,
            is_here: row.connected,
            free_slots: u32::try_from(row.slots).unwrap_or(0).saturating_sub(held as u32),
            name: row.name,
            facts: row.facts,
        })
    });
    let_in.collect()
}

fn line(row: QueueRow, workers: &[KnownWorker]) -> WaitingLine {
    let said = match (row.state, row.worker) {
        (BuildState::Leased, Some(worker)) => format!("on {worker}"),
        (BuildState::Leased | BuildState::Finished, _) => "running".into(),
        (BuildState::Queued, _) => {
            let kind = match row.builder.project {
                Some(_) => BuilderKind::Suite,
                None => BuilderKind::Toolchain,
            };
            let asks = BuildNeeds {
                kind,
                reason: row.reason,
                platform: &row.builder.platform,
                wants: &row.wants,
                only_worker: row.only_worker.as_deref(),
            };
            match why(&asks, workers) {
                WaitReason::Turn if row.attempts > 0 => format!(
                    "waits until {}, after {}",
                    Moment(row.not_before.0).clock(),
                    count(row.attempts as usize, "try", "tries")
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
        said,
        reason: row.reason.to_string(),
        queued_at: Moment(row.queued_at.0),
        builder: builder(row.builder),
        change: change(row.change),
    }
}
