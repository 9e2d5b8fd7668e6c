//! A farm whose processes and links are killed, stopped and cut at random while commits arrive, and what must still be true.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::outcome::Outcome;
use store::{Audit, Store};

use crate::dice::Dice;
use crate::farm::Farm;
use crate::process::pause_before_polling;
use crate::proxy::Proxy;

const WORKERS: [&str; 2] = ["one", "two"];
const PROJECTS: [&str; 2] = ["calm", "noisy"];
/// How many lines a suite prints before its cases.
const LINES: usize = 400;

pub struct Soak {
    farm: Farm,
    dice: Dice,
    links: BTreeMap<&'static str, Proxy>,
    /// Each change's id, oldest first, and whether the suites pass on it.
    changes: Vec<(String, bool)>,
    is_passing: bool,
    faults: BTreeMap<&'static str, u32>,
}

/// What a suite prints on a change on which it passes, or not.
fn expected_log(passes: bool) -> String {
    let lines: String = (1..=LINES).map(|i| format!("# é€𝄞 {i}\n")).collect();
    format!("{lines}1..1\n{} 1 - greets\n", if passes { "ok" } else { "not ok" })
}

const SUITE: &str = "for i in $(seq 400); do echo \"# é€𝄞 $i\"; done; echo 1..1
if [ $(greet) = hello ]; then echo 'ok 1 - greets'; else echo 'not ok 1 - greets'; exit 1; fi\n";

impl Soak {
    pub fn create() -> Soak {
        let dice = Dice::new("soak");
        let farm = Farm::create();
        farm.configure("null_runs = 4", "null_runs = 1");
        farm.configure("[search]", "[leases]\nsilence = \"2s\"\npatience = \"2s\"\n\n[search]");
        let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
        for name in PROJECTS {
            farm.project(name, SUITE);
        }
        let mut soak = Soak {
            farm,
            dice,
            links: BTreeMap::new(),
            changes: vec![(base, false)],
            is_passing: true,
            faults: BTreeMap::new(),
        };
        soak.commit();
        soak.farm.serve();
        for name in WORKERS {
            let code = soak.farm.join(name);
            soak.farm.approve(&code, "maker");
            soak.farm.configure_worker(name, "slots", "2");
            let proxy = Proxy::to(soak.farm.port);
            soak.farm.run_worker_through(&proxy, name);
            soak.links.insert(name, proxy);
        }
        soak.farm.until("the first changes are decided", Farm::is_idle);
        soak
    }

    /// Injects faults for this time, then waits until the farm is idle and verifies the result.
    pub fn run(mut self, span: Duration) -> Result<()> {
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.inject_fault();
            let pause = Instant::now() + Duration::from_millis(100 + self.dice.below(1400));
            while Instant::now() < pause {
                pause_before_polling();
            }
        }
        let last =
            self.changes.last().map(|(sha, _)| sha.clone()).context("the farm was laid with a change")?;
        self.farm.until("all changes are seen and decided, and all mails are sent", |farm| {
            let rows = farm.rows("lang", "master")?;
            let is_seen = rows.first().is_some_and(|row| row["change"]["sha"] == *last);
            Ok(is_seen && farm.is_idle()? && outbox_is_empty(farm)?)
        });
        self.verify()
    }

    fn inject_fault(&mut self) {
        let worker = WORKERS[self.dice.below(2) as usize];
        let (fault, sides) = match self.dice.below(20) {
            0..=6 => ("commit", 0),
            7 => ("break or repair the suites", 0),
            8 | 9 => ("kill the master", 0),
            10 => ("stop the master", 0),
            11 => ("kill a worker", 0),
            12 => ("kill master and worker", 0),
            13 | 14 => ("suspend a worker", 3000),
            15 | 16 => ("cut a link", 0),
            17 | 18 => ("cut a link in the middle", 20_000),
            _ => ("half-open a link", 0),
        };
        *self.faults.entry(fault).or_default() += 1;
        let random = if sides == 0 { 0 } else { self.dice.below(sides) };
        match fault {
            "commit" => self.commit(),
            "break or repair the suites" => {
                self.is_passing = !self.is_passing;
                self.commit();
            }
            "kill the master" => {
                self.farm.kill_master();
                self.farm.serve();
            }
            "stop the master" => {
                self.farm.stop_master();
                self.farm.serve();
            }
            "kill a worker" => self.restart_worker(worker),
            "kill master and worker" => {
                self.farm.kill_master();
                self.restart_worker(worker);
                self.farm.serve();
            }
            "suspend a worker" => {
                self.farm.worker_process(worker).signal("STOP").expect("it runs");
                let until = Instant::now() + Duration::from_millis(random);
                while Instant::now() < until {
                    pause_before_polling();
                }
                self.farm.worker_process(worker).signal("CONT").expect("it was only stopped");
            }
            "cut a link" => self.links[worker].cut(),
            "cut a link in the middle" => self.links[worker].cut_after([1 + random]),
            "half-open a link" => self.links[worker].go_silent(),
            other => unreachable!("there is no fault `{other}`"),
        }
    }

    fn restart_worker(&mut self, worker: &str) {
        self.farm.kill_worker(worker);
        self.farm.run_worker(worker);
    }

    /// Commits a change that makes a different toolchain, so that it is built and tested.
    fn commit(&mut self) {
        let (number, word) = (self.changes.len(), if self.is_passing { "hello" } else { "hullo" });
        self.farm.edit("lang", &format!("#!/bin/sh\n# {number}\ngreet() {{ echo {word}; }}\n. \"$1\"\n"));
        let sha = self.farm.commit(&format!("Change {number}"));
        self.changes.push((sha, self.is_passing));
    }

    fn verify(&self) -> Result<()> {
        let rows = self.farm.rows("lang", "master")?;
        let seen: Vec<&str> = rows.iter().rev().filter_map(|row| row["change"]["sha"].as_str()).collect();
        let made: Vec<&str> = self.changes.iter().map(|(sha, _)| sha.as_str()).collect();
        ensure!(seen == made, "a change was lost: {} were made, {} are shown", made.len(), seen.len());

        let facts = self.audit()?;
        ensure!(facts.ended_twice.is_empty(), "builds with two results: {:?}", facts.ended_twice);
        ensure!(facts.live == 0, "{} attempts have not ended", facts.live);
        ensure!(facts.unsent == 0, "{} notices were not sent", facts.unsent);

        let well: BTreeMap<&str, bool> =
            self.changes.iter().map(|(sha, well)| (sha.as_str(), *well)).collect();
        let mut infra = 0;
        for (build, sha, outcome) in &facts.suites {
            let well = *well.get(sha.as_str()).context("a build of an unknown change")?;
            match (*outcome, well) {
                (Outcome::Infra, _) => infra += 1,
                (Outcome::Passed, true) | (Outcome::Failed, false) => {
                    let log = self.farm.get(&format!("/builds/{build}/log/0/raw"))?;
                    // The very first change has no `greet` at all.
                    let first = sha == made[0];
                    ensure!(
                        first || log == expected_log(well),
                        "the log of build {build} is not complete:\n{log}"
                    );
                }
                other => anyhow::bail!("build {build} of {sha} has the outcome {other:?}"),
            }
        }
        let mails = self.farm.all_mails();
        let id = |mail: &String| {
            mail.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap_or_default().to_string()
        };
        let ids: BTreeSet<String> = mails.iter().map(id).collect();
        ensure!(ids.len() == mails.len() && mails.len() as i64 == facts.notices, "mails: {ids:?}");
        println!(
            "{} changes, {} suite builds ({infra} infra), {} attempts, {} late, {} mails, {:?}",
            made.len(),
            facts.suites.len(),
            facts.attempts,
            facts.late,
            mails.len(),
            self.faults
        );
        Ok(())
    }

    fn audit(&self) -> Result<Audit> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let store = Store::open(&self.farm.path("data")).await?;
            let audit = store.snapshot().await?.read().audit().await?;
            store.close().await;
            Ok(audit)
        })
    }
}

fn outbox_is_empty(farm: &Farm) -> Result<bool> {
    let status = farm.json("/status")?;
    // The page lists a search until its mail is sent.
    Ok(status["searches"].as_array().is_some_and(Vec::is_empty))
}
