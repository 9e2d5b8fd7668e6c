//! What readers and other workers notice when the logs of some workers take two seconds to sync.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use protocol::{Event, FromWorker};
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::slow_disk::SlowDisk;
use trunkfarm_tests::wire::{Stranger, Wire};

use crate::scene;
use crate::table::{Table, milliseconds, quantile};

/// Workers whose logs are slow to sync.
const SLOW: u16 = 4;
const SYNC: Duration = Duration::from_secs(2);
/// How long each of the two measurements takes.
const SPAN: Duration = Duration::from_secs(10);
const LINE: &[u8] = b"a line of a log\n";

pub fn measure(table: &mut Table) -> Result<()> {
    // More than enough: the worker that makes the toolchain may take a few before it is gone.
    let mut farm = scene::farm_with_projects(20);
    let disk = SlowDisk::serve(&mut farm);
    let (mut slow, mut other) = (Vec::new(), None);
    // The first build is the toolchain's, which a real worker makes; each suite then runs on a worker of ours.
    farm.worker(scene::WORKER, 1);
    farm.until("the toolchain is made", |farm| Ok(farm.json("/builds/1")?["outcome"] == "passed"));
    farm.kill_worker(scene::WORKER);
    for number in 1..=SLOW + 1 {
        let running = Running::begin(&farm, number);
        match number {
            1 => other = Some(running),
            _ => slow.push(running),
        }
    }
    let mut other = other.context("the first worker has a build")?;
    let plain = sample(&farm, &mut slow, &mut other)?;
    for running in &slow {
        disk.slow_down(running.attempt, SYNC);
    }
    let slowed = sample(&farm, &mut slow, &mut other)?;
    ensure!(slow.iter().all(|running| disk.has_begun(running.attempt)), "no sync was slow");

    let what = format!("while {SLOW} workers' logs sync in {} s", SYNC.as_secs());
    for (name, [plain, slowed]) in [
        ("/healthz", [&plain.health, &slowed.health]),
        ("acks of another worker", [&plain.acks, &slowed.acks]),
    ] {
        let p99 = |times: &[Duration]| milliseconds(quantile(times, 0.99));
        table.row(
            format!("{name} {what}, p99"),
            p99(slowed),
            format!("{} on a fast disk, {} samples", p99(plain), slowed.len()),
        );
    }
    Ok(())
}

struct Running {
    wire: Wire,
    attempt: i64,
    sequence: u64,
}

impl Running {
    /// A worker that has begun the first step of a build.
    fn begin(farm: &Farm, number: u16) -> Running {
        let worker = Stranger::with_number(number);
        worker.join_and_be_approved(farm, &format!("s{number}"));
        let mut wire = worker.connect(farm, 1);
        let attempt = wire.offered();
        wire.send(&FromWorker::Accept { attempt });
        wire.send_started(attempt);
        wire.send_event(attempt, 2, Event::StepStarted { step: 0, name: "test".into() });
        wire.acknowledged(attempt, 2);
        Running { wire, attempt, sequence: 2 }
    }

    /// Sends a line of the log, and waits until it is acknowledged.
    fn print(&mut self) -> Duration {
        let began = Instant::now();
        self.sequence += 1;
        self.wire.send_log(self.attempt, self.sequence, LINE.to_vec());
        self.wire.acknowledged(self.attempt, self.sequence);
        began.elapsed()
    }
}

struct Sample {
    health: Vec<Duration>,
    acks: Vec<Duration>,
}

/// The slow workers print all the time; meanwhile a reader and the other worker measure how long they wait.
fn sample(farm: &Farm, slow: &mut [Running], other: &mut Running) -> Result<Sample> {
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for running in slow {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    running.print();
                }
            });
        }
        let reader = scope.spawn(|| {
            let mut health = Vec::new();
            while began.elapsed() < SPAN {
                let asked = Instant::now();
                farm.get("/healthz")?;
                health.push(asked.elapsed());
                // One reader, and not a load of its own.
                std::thread::park_timeout(Duration::from_millis(10));
            }
            anyhow::Ok(health)
        });
        let mut acks = Vec::new();
        while began.elapsed() < SPAN {
            acks.push(other.print());
        }
        is_over.store(true, Ordering::Relaxed);
        let health = reader.join().expect("the reader does not panic")?;
        Ok(Sample { health, acks })
    })
}
