//! Loads what runs and what waits.

use domain::words::BuildState;
use store::pages::QueueRow;
use store::{Result, Store};

use super::rows::{builder, change};
use crate::pages::queue::{Queue, Waiting};
use crate::shade::Shade;
use crate::units::{At, count};

const SHOWN: i64 = 300;

pub async fn queue(store: &Store) -> Result<Queue> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let rows = read.queue_rows(SHOWN).await?;
    let all = read.unfinished_builds().await?;
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
    Ok(Queue { sentence, builds: rows.into_iter().map(line).collect(), more: more.max(0) })
}

fn line(row: QueueRow) -> Waiting {
    let said = match (row.state, row.worker, row.only_worker) {
        (BuildState::Leased, Some(worker), _) => format!("on {worker}"),
        (BuildState::Leased | BuildState::Finished, ..) => "running".into(),
        (BuildState::Queued, _, Some(only)) => format!("waits for {only}"),
        (BuildState::Queued, _, None) if row.attempts > 0 => {
            format!(
                "waits until {}, after {}",
                At(row.not_before.0).clock(),
                count(row.attempts as usize, "try", "tries")
            )
        }
        (BuildState::Queued, _, None) => "waits for a worker".into(),
    };
    let shade = match row.state {
        BuildState::Leased => Shade::Running,
        BuildState::Queued | BuildState::Finished => Shade::Queued,
    };
    Waiting {
        build: row.id,
        shade,
        said,
        reason: row.reason.to_string(),
        queued_at: At(row.queued_at.0),
        builder: builder(row.builder),
        change: change(row.change),
    }
}
