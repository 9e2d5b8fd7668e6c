//! The demonstration: a farm on a real language, with real projects that break for real reasons.
//!
//! `farm-demo FOLDER ADDRESS:PORT` runs until Ctrl-C or SIGTERM. With a third argument `once` it runs until the farm is idle,
//! and then exits with 0 only if the farm has found everything that there is to find.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the numbers of tests are small"
)]

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use trunkfarm_tests::farm::is_first_result;
use trunkfarm_tests::lua::{self, Change, Demo, Expected, Finding, Subject};
use trunkfarm_tests::process::{Process, pause_before_polling, program};

/// The master's background tasks run at least every 5 s: if nothing happens for longer, the farm is idle.
const IDLE_TIME: Duration = Duration::from_secs(7);
/// A farm in which nothing has changed for so long is stuck. How long the whole takes depends on the machine, and says nothing.
const STUCK_TIME: Duration = Duration::from_secs(10 * 60);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(listen)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        eprintln!("usage: farm-demo FOLDER ADDRESS:PORT [once]");
        return ExitCode::from(2);
    };
    let once = arguments.next().is_some_and(|word| word == "once");
    let farm = watch_signals().map(|ended| Farm { listen, ended });
    match farm.and_then(|farm| demonstrate(&folder, farm, once)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A flag that Ctrl-C and SIGTERM set, so that the farm's processes end with this one.
fn watch_signals() -> Result<Arc<AtomicBool>> {
    let ended = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let end = ended.clone();
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        end.store(true, Ordering::Relaxed);
    });
    Ok(ended)
}

fn demonstrate(folder: &Path, farm: Farm, once: bool) -> Result<bool> {
    // If another server listened there, we would mistake it for the farm.
    TcpListener::bind(&farm.listen).with_context(|| {
        format!(
            "cannot listen on {}; choose another address with `make demo LISTEN=127.0.0.1:PORT`",
            farm.listen
        )
    })?;
    if folder.exists() {
        ensure!(
            folder.join("farm.toml").is_file(),
            "{} exists and does not contain a farm",
            folder.display()
        );
        fs::remove_dir_all(folder)
            .with_context(|| format!("removing the last run in {}", folder.display()))?;
    }
    println!("Creating 26 changes of Lua and 9 projects in {}", folder.display());
    let demo = lua::create(folder, &farm.listen)?;
    let folder = folder.canonicalize()?;

    let started = Instant::now();
    let mut command = Command::new(program("test-master"));
    command.current_dir(&folder).args(["serve", "farm.toml"]);
    let mut master = Process::start(&mut command, &folder.join("master.log"))?;
    farm.wait_for_master(&mut master)?;
    // Without a sandbox, a toolchain works only on the worker that made it, so one worker does everything.
    let bubblewrap = Command::new("bwrap").args(["--ro-bind", "/", "/", "true"]).output();
    let sandboxed = bubblewrap.is_ok_and(|output| output.status.success());
    let names: &[&str] = if sandboxed { &["ada", "bob"] } else { &["ada"] };
    if !sandboxed {
        println!("bubblewrap does not work on this machine: the worker runs with sandbox = \"none\".");
    }
    let mut workers = Vec::new();
    for name in names {
        workers.push(farm.start_worker(&folder, name, sandboxed)?);
    }
    println!("The farm is at http://{}/waterfall", farm.listen);

    let watch = Watch { farm: &farm, demo: &demo, started, folder: &folder };
    if once {
        watch.until_idle(&mut master)?;
        return watch.summary();
    }
    println!("Press Ctrl-C to stop it.");
    watch.until_idle(&mut master)?;
    watch.summary()?;
    println!("The farm is idle, and its pages stay available. Press Ctrl-C to stop it.");
    while master.is_running() && !farm.is_ended() {
        pause_before_polling();
    }
    Ok(true)
}

/// The running farm, by its address.
struct Farm {
    listen: String,
    ended: Arc<AtomicBool>,
}

impl Farm {
    fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn get(&self, path: &str) -> Result<String> {
        Ok(ureq::get(format!("http://{}{path}", self.listen)).call()?.body_mut().read_to_string()?)
    }

    /// The JSON of a page.
    fn json(&self, page: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.get(&format!("/api/v1{page}"))?)?)
    }

    fn wait_for_master(&self, master: &mut Process) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.get("/").is_err() {
            let may_start = master.is_running() && Instant::now() < deadline;
            ensure!(may_start, "the master did not start:\n{}", master.log());
            pause_before_polling();
        }
        Ok(())
    }

    /// Joins a worker, approves it and starts it.
    fn start_worker(&self, folder: &Path, name: &str, sandboxed: bool) -> Result<Process> {
        let worker_folder = folder.join("workers").join(name);
        let worker = || {
            let mut command = Command::new(program("test-worker"));
            command.arg("--folder").arg(&worker_folder);
            command
        };
        let url = format!("http://{}", self.listen);
        let join = || worker().args(["join", &url, "--name", name]).output();
        let mut joined = join()?;
        if !sandboxed {
            // The first try fails, and leaves the file in which the owner may turn the sandbox off.
            let file = worker_folder.join("worker.toml");
            let text = fs::read_to_string(&file)?;
            let rest: Vec<&str> = text.lines().filter(|line| !line.starts_with("sandbox")).collect();
            fs::write(&file, format!("sandbox = \"none\"\n{}\n", rest.join("\n")))?;
            joined = join()?;
        }
        let output = String::from_utf8_lossy(&joined.stdout).into_owned();
        let code = output.split_whitespace().skip_while(|word| *word != "code:").nth(1);
        let code = code.with_context(|| format!("{output}{}", String::from_utf8_lossy(&joined.stderr)))?;
        let approved = Command::new(program("test-master"))
            .current_dir(folder)
            .args(["worker", "approve", code, "--owner", "demo", "--trust", "maker"])
            .output()?;
        ensure!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
        Process::start(worker().args(["run", "--as-root"]), &folder.join(format!("{name}.log")))
    }
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

struct Watch<'a> {
    farm: &'a Farm,
    demo: &'a Demo,
    started: Instant,
    folder: &'a Path,
}

impl Watch<'_> {
    fn since_start(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Prints what happens until the farm is idle.
    fn until_idle(&self, master: &mut Process) -> Result<()> {
        let mut printed = String::new();
        let mut first = false;
        let mut idle_since: Option<Instant> = None;
        let mut last_change = (Instant::now(), None);
        loop {
            ensure!(!self.farm.is_ended(), "stopped before everything was found");
            ensure!(master.is_running(), "the master has ended; its log:\n{}", master.log());
            ensure!(last_change.0.elapsed() < STUCK_TIME, "nothing has changed for {STUCK_TIME:?}");
            let (status, queue) = (self.farm.json("/status")?, self.farm.json("/queue")?);
            let done = self.cells("/waterfall")?;
            let facts = [&status["sentence"], &status["searches"], &queue["builds"]].map(Value::clone);
            let state = Some((facts, done));
            if last_change.1 != state {
                last_change = (Instant::now(), state);
            }
            if !first && done > 0 {
                first = true;
                println!("{:>4} s  the first result is on the page", self.since_start());
            }
            let sentence = status["sentence"].as_str().unwrap_or_default().to_string();
            if sentence != printed {
                println!("{:>4} s  {sentence}", self.since_start());
                printed = sentence;
            }
            let busy =
                !list(&queue, "builds").is_empty() || !list(&status, "searches").is_empty() || done == 0;
            match (busy, idle_since) {
                (true, _) => idle_since = None,
                (false, None) => idle_since = Some(Instant::now()),
                (false, Some(since)) if since.elapsed() > IDLE_TIME => return Ok(()),
                (false, Some(_)) => {}
            }
            for _ in 0..10 {
                pause_before_polling();
            }
        }
    }

    /// How many cells of the waterfall are decided.
    fn cells(&self, page: &str) -> Result<usize> {
        let page = self.farm.json(page)?;
        let decided =
            |cell: &&Value| !matches!(cell["status_style"].as_str(), None | Some("queued" | "running"));
        Ok(list(&page, "rows").iter().flat_map(|row| list(row, "cells")).filter(decided).count())
    }

    /// Prints what there is to find and whether it was found.
    fn summary(&self) -> Result<bool> {
        let mails = self.mails()?;
        println!("\n{:<10} {:<58} {:<9} mails", "project", "what there is to find", "found");
        let mut all = true;
        for expected in &self.demo.expected {
            let (words, found, sent) = self.verify(expected, &mails)?;
            let words: String = words.chars().take(58).collect();
            all &= found;
            let word = if found { "yes" } else { "NO" };
            println!("{:<10} {words:<58} {word:<9} {sent}", name(&expected.subject));
        }
        let wanted: BTreeSet<&str> = self.demo.expected.iter().filter_map(|e| culprit(&e.finding)).collect();
        let mailed: BTreeSet<&str> = mails.iter().filter_map(|mail| subject_of(mail)).collect();
        let stray: Vec<&&str> = mailed.iter().filter(|sha| !wanted.contains(*sha)).collect();
        all &= stray.is_empty();
        println!("\n{} mails, {} about a change that broke nothing", mails.len(), stray.len());
        self.probes()?;
        println!(
            "Finished after {} s; the mails are in {}",
            self.since_start(),
            self.folder.join("data/mail").display()
        );
        Ok(all)
    }

    /// Prints the number of probes of each search, and how many a binary search would need.
    fn probes(&self) -> Result<()> {
        println!("\n{:<10} {:<14} changes  probes  halvings", "project", "found");
        let page = self.farm.json("/breakages")?;
        for line in list(&page, "groups").iter().flat_map(|group| list(group, "breakages")) {
            let id = line["id"].as_i64().unwrap_or_default();
            let breakage = self.farm.json(&format!("/breakages/{id}"))?;
            let Some(probes) = breakage["search"]["probes"].as_i64() else { continue };
            let changes = breakage["search"]["changes"].as_i64().unwrap_or_default();
            let (project, found) = (breakage["builder"]["name"].as_str(), breakage["found"].as_str());
            println!(
                "{:<10} {:<14} {changes:>7}  {probes:>6}  {:>8}",
                project.unwrap_or_default(),
                found.unwrap_or_default(),
                (changes.max(1) as f64).log2().ceil()
            );
        }
        Ok(())
    }

    fn verify(&self, expected: &Expected, mails: &[String]) -> Result<(String, bool, usize)> {
        let project = name(&expected.subject);
        let ours = |effect: &&Value| effect["builder"]["name"].as_str() == Some(project.as_str());
        Ok(match &expected.finding {
            Finding::Broken { culprit, fixed_by, .. } => {
                let page = self.farm.json(&format!("/changes/{}", culprit.sha))?;
                let broke = list(&page, "broke").iter().any(|effect| ours(&effect));
                let thread: Vec<&String> =
                    mails.iter().filter(|mail| subject_of(mail) == Some(&culprit.sha)).collect();
                let replies = thread.iter().filter(|mail| is_reply(mail)).count();
                let named = thread.len() - replies;
                let (repaired, mailed) = match fixed_by {
                    None => (true, (named, replies) == (1, 0)),
                    Some(fixer) => {
                        let page = self.farm.json(&format!("/changes/{}", fixer.sha))?;
                        let repaired = list(&page, "fixed").iter().any(|effect| ours(&effect));
                        // What was repaired before it was found is shown, and not mailed.
                        (repaired, named == replies && named <= 1)
                    }
                };
                (describe(culprit, fixed_by.as_ref()), broke && repaired && mailed, thread.len())
            }
            Finding::Flaky { case } => {
                let page = self.farm.json("/breakages")?;
                let groups = list(&page, "groups");
                let breakages: Vec<&Value> = groups
                    .iter()
                    .flat_map(|group| list(group, "breakages"))
                    .filter(|breakage| ours(breakage))
                    .collect();
                let flaky = breakages.iter().any(|breakage| breakage["state"].as_str() == Some("flaky"));
                let blamed = groups.iter().any(|group| {
                    !group["culprit"].is_null()
                        && list(group, "breakages").iter().any(|breakage| ours(&breakage))
                });
                let about = mails.iter().filter(|mail| mail.contains(&format!("\n{project} on "))).count();
                (format!("flaky: {case}"), flaky && !blamed && about == 0, about)
            }
            Finding::Nothing => {
                let page = self.farm.json("/breakages")?;
                let mut all = list(&page, "groups").iter().flat_map(|group| list(group, "breakages"));
                let about = mails.iter().filter(|mail| mail.contains(&format!("\n{project} on "))).count();
                ("nothing".to_string(), !all.any(|breakage| ours(&breakage)) && about == 0, about)
            }
        })
    }

    fn mails(&self) -> Result<Vec<String>> {
        let folder = self.folder.join("data/mail/new");
        let mut mails = Vec::new();
        for entry in
            fs::read_dir(&folder).with_context(|| format!("no mail was sent: {}", folder.display()))?
        {
            mails.push(fs::read_to_string(entry?.path())?);
        }
        // That each project's first build was read is not what is demonstrated.
        mails.retain(|mail| !is_first_result(mail));
        Ok(mails)
    }
}

fn name(subject: &Subject) -> String {
    match subject {
        Subject::Trunk => "toolchain".to_string(),
        Subject::Project(name) => name.clone(),
    }
}

fn culprit(finding: &Finding) -> Option<&str> {
    match finding {
        Finding::Broken { culprit, .. } => Some(&culprit.sha),
        Finding::Flaky { .. } | Finding::Nothing => None,
    }
}

fn describe(culprit: &Change, fixed_by: Option<&Change>) -> String {
    let fixed = fixed_by.map_or(String::new(), |fixer| format!(", fixed by {}", &fixer.sha[..10]));
    format!("{} {}{fixed}", &culprit.sha[..10], culprit.title)
}

/// The culprit of a mail's thread: the first part of its Message-ID.
fn subject_of(mail: &str) -> Option<&str> {
    let id = mail.lines().find_map(|line| line.strip_prefix("Message-ID: <"))?;
    id.split('.').next()
}

fn is_reply(mail: &str) -> bool {
    mail.lines().take_while(|line| !line.is_empty()).any(|line| line.starts_with("In-Reply-To:"))
}
