//! Waits until the farm is idle, and prints how far it is and how long the rest may take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trunkfarm_tests::farm::Farm;

use crate::projects::Project;
use crate::trunk::STEPS;

/// Between two looks at the farm.
const LOOK: Duration = Duration::from_secs(5);
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(60);
/// A farm that was idle at so many looks in a row has nothing left to do.
const IDLE_LOOKS: u32 = 4;
/// A farm in which nothing has changed for so long is stuck. The longest build takes less.
const STUCK: Duration = Duration::from_secs(2 * 3600);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Idle,
    /// The time is up, or somebody stopped it.
    Stopped,
}

/// Returns when nothing is left to do, or after so many minutes.
pub fn until_idle(
    farm: &Farm,
    projects: &[Project],
    minutes: Option<u64>,
    stopped: &AtomicBool,
) -> Result<Ending> {
    let total = STEPS.len() * (projects.len() + 1);
    let started = Instant::now();
    let mut before = None;
    let mut last_line: Option<Instant> = None;
    let mut last_change = (Instant::now(), Value::Null);
    let mut idle = 0;
    loop {
        let state = look(farm)?;
        let decided = state["decided"].as_u64().unwrap_or_default();
        let before = *before.get_or_insert(decided);
        idle = if is_idle(&state, total) { idle + 1 } else { 0 };
        if idle >= IDLE_LOOKS {
            println!("The farm is idle after {} s", started.elapsed().as_secs());
            return Ok(Ending::Idle);
        }
        let is_over = minutes.is_some_and(|minutes| started.elapsed() > Duration::from_secs(60 * minutes));
        if is_over || stopped.load(Ordering::Relaxed) {
            println!("Stopped. The next run continues here.");
            return Ok(Ending::Stopped);
        }
        if last_line.is_none_or(|at| at.elapsed() > PROGRESS) {
            last_line = Some(Instant::now());
            println!("{}", progress(&state, total, decided.saturating_sub(before), started.elapsed()));
        }
        if last_change.1 != state {
            last_change = (Instant::now(), state);
        }
        ensure!(last_change.0.elapsed() < STUCK, "nothing has changed for {STUCK:?}");
        std::thread::park_timeout(LOOK);
    }
}

fn look(farm: &Farm) -> Result<Value> {
    let rows = farm.rows("cpython", "main")?;
    let decided = |cell: &&Value| {
        cell["kind"] != "nothing"
            && !matches!(cell["status_style"].as_str(), Some("queued" | "running"))
            && cell["kind"] != "superseded"
    };
    let cells = rows.iter().flat_map(|row| row["cells"].as_array().into_iter().flatten());
    let (status, queue) = (farm.json("/status")?, farm.json("/queue")?);
    let searches = status["searches"].as_array().context("searches")?.len();
    let builds = queue["builds"].as_array().context("builds")?.len();
    Ok(serde_json::json!({
        "decided": cells.filter(decided).count(),
        "searches": searches,
        "builds": builds,
        "sentence": status["sentence"],
    }))
}

fn is_idle(state: &Value, total: usize) -> bool {
    state["decided"].as_u64() >= Some(total as u64) && state["searches"] == 0 && state["builds"] == 0
}

fn progress(state: &Value, total: usize, done: u64, elapsed: Duration) -> String {
    let decided = state["decided"].as_u64().unwrap_or_default();
    let left = (total as u64).saturating_sub(decided);
    let estimate = match done {
        0 => "no estimate yet".to_string(),
        done => format!("some {} min left", elapsed.as_secs() * left / done / 60 + 1),
    };
    format!(
        "{:>4} min  {decided} of {total} cells, {} searches, {estimate}; {}",
        elapsed.as_secs() / 60,
        state["searches"],
        state["sentence"].as_str().unwrap_or_default()
    )
}
