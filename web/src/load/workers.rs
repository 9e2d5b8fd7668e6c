//! Loads the workers' page.

use std::collections::HashMap;

use store::pages::WorkerRow;
use store::{Result, Store};

use crate::format::shade::Shade;
use crate::format::units::{At, Bytes, count};
use crate::pages::Mark;
use crate::pages::workers::{Worker, Workers};

pub async fn workers(store: &Store) -> Result<Workers> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let rows = read.worker_rows().await?;
    let mut running: HashMap<i64, Vec<Mark>> = HashMap::new();
    for row in read.running_rows().await? {
        let hint = row.project.unwrap_or_else(|| "toolchain".into());
        running.entry(row.worker).or_default().push(Mark { build: row.build, shade: Shade::Running, hint });
    }
    let sentence = sentence(&rows);
    let line = |row: WorkerRow| {
        let running = running.remove(&row.id).unwrap_or_default();
        worker(row, running)
    };
    Ok(Workers { sentence, workers: rows.into_iter().map(line).collect() })
}

fn sentence(rows: &[WorkerRow]) -> String {
    let pending = rows.iter().filter(|row| row.state == "pending").count();
    let all = rows.len() - pending;
    let here = rows.iter().filter(|row| row.connected).count();
    let waiting = match pending {
        0 => String::new(),
        1 => "; one waits for the operator".into(),
        n => format!("; {n} wait for the operator"),
    };
    match all {
        0 if pending == 0 => "No worker has joined yet.".into(),
        0 => format!("No worker is approved yet{waiting}."),
        all if all == here => format!("{} here{waiting}.", count(here, "worker is", "workers are")),
        all => format!("{here} of {} are here{waiting}.", count(all, "worker", "workers")),
    }
}

fn worker(row: WorkerRow, running: Vec<Mark>) -> Worker {
    let (shade, said) = match (row.state.as_str(), row.connected, running.len()) {
        ("pending", ..) => (Shade::Queued, format!("waits for the operator, code {}", row.code)),
        (_, false, 0) => (Shade::Infra, "absent".into()),
        (_, false, _) => (Shade::Infra, "silent, with builds in hand".into()),
        (_, true, 0) => (Shade::Passed, "idle".into()),
        (_, true, busy) => {
            (Shade::Running, format!("{busy} of {} busy", count(row.slots as usize, "slot", "slots")))
        }
    };
    let facts = &row.facts;
    let memory = Bytes(facts.memory_bytes).to_string();
    let cpus = count(facts.cpus as usize, "cpu", "cpus");
    let mut words = vec![
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
    words.extend(facts.offers.iter().cloned());
    words.retain(|word| !word.trim().is_empty());
    Worker {
        name: row.name,
        owner: row.owner,
        trust: row.trust.map(|trust| trust.to_string()),
        shade,
        said,
        facts: words.join(", "),
        version: row.version,
        seen_at: row.seen_at.map(|at| At(at.0)),
        running,
    }
}
