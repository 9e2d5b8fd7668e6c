//! Loads the workers' page.

use domain::words::states::WorkerState;
use std::collections::HashMap;

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
        worker(row, running)
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

fn worker(row: WorkerRow, running: Vec<BuildMark>) -> WorkerLine {
    let (status_style, status) = match (row.state, row.connected, running.len()) {
        (WorkerState::Pending, ..) => (StatusStyle::Queued, format!("waits for approval, code {}", row.code)),
        (WorkerState::Approved | WorkerState::Refused, false, 0) => (StatusStyle::Infra, "offline".into()),
        (WorkerState::Approved | WorkerState::Refused, false, _) => {
            (StatusStyle::Infra, "offline, with builds assigned".into())
        }
        (WorkerState::Approved | WorkerState::Refused, true, 0) => (StatusStyle::Passed, "idle".into()),
        (WorkerState::Approved | WorkerState::Refused, true, busy) => {
            (StatusStyle::Running, format!("{busy} of {} busy", count(row.slots, "slot", "slots")))
        }
    };
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
    WorkerLine {
        name: row.name,
        owner: row.owner,
        trust: row.trust.map(|trust| trust.to_string()),
        status_style,
        status,
        machine: parts.join(", "),
        version: row.version,
        seen_at: row.seen_at.map(|at| Moment(at.0)),
        running,
    }
}
