//! Loads the workers' page.

use std::collections::HashMap;

use domain::words::ids::Timestamp;
use domain::words::states::{Standing, WorkerState};

use store::pages::WorkerRow;
use store::{Result, Store};

use crate::format::status_style::StatusStyle;
use crate::format::units::{ByteCount, Moment, count};
use crate::pages::BuildMark;
use crate::pages::workers::{WorkerLine, WorkersView};

pub async fn workers(store: &Store) -> Result<WorkersView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let rows = read.worker_rows().await?;
    let mut running: HashMap<i64, Vec<BuildMark>> = HashMap::new();
    for row in read.running_rows().await? {
        let hint = row.project.unwrap_or_else(|| "toolchain".into());
        running.entry(row.worker).or_default().push(BuildMark {
            build: row.build,
            status_style: StatusStyle::Running,
            hint,
        });
    }
    let sentence = sentence(&rows);
    let line = |row: WorkerRow| {
        let running = running.remove(&row.id).unwrap_or_default();
        worker_line(row, running)
    };
    Ok(WorkersView { sentence, workers: rows.into_iter().map(line).collect() })
}

fn sentence(rows: &[WorkerRow]) -> String {
    let pending = rows.iter().filter(|row| row.state == WorkerState::Pending).count();
    let all = rows.len() - pending;
    let connected = rows.iter().filter(|row| row.connected).count();
    let waiting = match pending {
        0 => String::new(),
        1 => "; one waits for the operator's approval".into(),
        n => format!("; {n} wait for the operator's approval"),
    };
    match all {
        0 if pending == 0 => "No workers have joined yet.".into(),
        0 => format!("No workers are approved yet{waiting}."),
        all if all == connected => {
            format!("{} connected{waiting}.", count(connected, "worker is", "workers are"))
        }
        all => format!("{connected} of {} are connected{waiting}.", count(all, "worker", "workers")),
    }
}

/// What is shown of a worker that runs these builds.
pub fn worker_line(row: WorkerRow, running: Vec<BuildMark>) -> WorkerLine {
    let (status_style, status) = status(&row, running.len());
    WorkerLine {
        machine: machine(&row),
        name: row.name,
        owner: row.owner,
        trust: row.trust.map(|trust| trust.to_string()),
        status_style,
        status,
        version: row.version,
        seen_at: row.seen_at.map(|at| Moment(at.0)),
        running,
    }
}

/// The state of a worker that runs so many builds.
fn status(row: &WorkerRow, running: usize) -> (StatusStyle, String) {
    let is_disabled = row.standing != Standing::Active;
    match (row.state, row.connected, running) {
        (WorkerState::Pending, ..) => (StatusStyle::Queued, "waits for approval".into()),
        _ if is_disabled => (StatusStyle::Cancelled, "disabled by the operator".into()),
        (WorkerState::Approved | WorkerState::Refused, connected, _) if row.pause.is_some() => {
            let pause = row.pause.as_ref().map(pause_words).unwrap_or_default();
            let offline = if connected { "" } else { "; offline" };
            (StatusStyle::Superseded, format!("paused by its owner{pause}{offline}"))
        }
        (WorkerState::Approved | WorkerState::Refused, false, 0) => (StatusStyle::Infra, "offline".into()),
        (WorkerState::Approved | WorkerState::Refused, false, _) => {
            (StatusStyle::Infra, "offline, with builds assigned".into())
        }
        (WorkerState::Approved | WorkerState::Refused, true, 0) => (StatusStyle::Passed, "idle".into()),
        (WorkerState::Approved | WorkerState::Refused, true, busy) => {
            (StatusStyle::Running, format!("{busy} of {} busy", count(row.slots, "slot", "slots")))
        }
    }
}

/// ` until 28 Nov 2026, 18:00:00: hours`
pub fn pause_words((reason, until): &(String, Option<Timestamp>)) -> String {
    match until {
        Some(until) => format!(" until {}: {reason}", Moment(until.0)),
        None => format!(": {reason}"),
    }
}

/// What a machine is, in a line.
fn machine(row: &WorkerRow) -> String {
    let facts = &row.facts;
    let memory = ByteCount(facts.memory_bytes).to_string();
    let cpus = count(facts.cpus, "CPU", "CPUs");
    let mut parts = vec![
        format!("{} {}", facts.os, facts.arch),
        facts.distribution.clone(),
        facts.libc.clone(),
        cpus,
        memory,
        match facts.sandbox.as_str() {
            "none" => "no sandbox".into(),
            sandbox => sandbox.to_string(),
        },
    ];
    parts.extend(facts.offers.iter().cloned());
    parts.retain(|part| !part.trim().is_empty());
    parts.join(", ")
}
