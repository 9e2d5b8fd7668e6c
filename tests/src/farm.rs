//! A whole farm for a test, with the verbs of its users: commit, join, wait for a fact, read a page or a mail.
//!
//! Its language is a shell script called `lang`; its projects' suites are shell scripts that print TAP. So a build
//! takes milliseconds, and everything else is real: master, workers, git, mail.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, breathe, free_port, program};

/// How long a fact is waited for before the test fails; these machines are shared and slow at times.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Farm {
    folder: TempDir,
    pub port: u16,
    master: Option<Process>,
    workers: BTreeMap<String, Process>,
}

impl Farm {
    /// A farm with a trunk `lang` that has one commit, and no project. Nothing runs yet.
    pub fn lay() -> Farm {
        let farm = Farm {
            folder: TempDir::with_prefix("trunkfarm-").expect("a folder for a test"),
            port: free_port(),
            master: None,
            workers: BTreeMap::new(),
        };
        farm.git(&farm.path("trunk"), &["init", "-q", "-b", "master"]);
        farm.edit("lang", "#!/bin/sh\n. \"$1\"\n");
        let base = farm.commit("begin");
        farm.write(
            "farm.toml",
            &format!(
                r#"[farm]
name   = "Test farm"
url    = "http://127.0.0.1:{port}"
listen = "127.0.0.1:{port}"
data   = "data"

[search]
null_runs = 4

[[trunk]]
name      = "lang"
git       = "{trunk}"
branches  = ["master"]
base      = "{base}"
poll      = "1s"
platforms = ["linux-{arch}"]
[trunk.recipe]
steps = [{{ name = "install", kind = "install", run = "install -D -m 755 lang $FARM_PREFIX/bin/lang" }}]
"#,
                port = farm.port,
                trunk = farm.path("trunk").display(),
                arch = std::env::consts::ARCH,
            ),
        );
        farm
    }

    /// A path below the farm's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("making a folder");
        fs::write(&path, text).expect("writing a file");
    }

    /// Puts another text in the place of one that stands in a file.
    pub fn alter(&self, name: &str, instead_of: &str, there_is: &str) {
        let text = fs::read_to_string(self.path(name)).expect("reading a file");
        assert!(text.contains(instead_of), "{name} has no `{instead_of}`");
        self.write(name, &text.replace(instead_of, there_is));
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    // The core developer.

    /// Changes a file of the trunk's work tree.
    pub fn edit(&self, file: &str, text: &str) {
        self.write(&format!("trunk/{file}"), text);
    }

    /// Commits all edits to the trunk; the answer is the commit's id.
    pub fn commit(&self, message: &str) -> String {
        let trunk = self.path("trunk");
        self.git(&trunk, &["add", "-A"]);
        self.git(&trunk, &["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&trunk, &["rev-parse", "HEAD"])
    }

    /// Runs git in a folder; the answer is what it printed.
    pub fn git(&self, folder: &Path, arguments: &[&str]) -> String {
        fs::create_dir_all(folder).expect("making a folder");
        let output = Command::new("git")
            .current_dir(folder)
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("running git");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }

    // The maintainer.

    /// Registers a project whose suite is this shell script, run by `lang` and telling TAP.
    pub fn project(&self, name: &str, suite: &str) -> String {
        self.write(
            &format!("projects/{name}.toml"),
            &format!(
                r#"[project]
name    = "{name}"
trunk   = "lang"
git     = "{git}"
follow  = "master"
contact = ["{name}@example.org"]
[recipe]
steps = [{{ name = "test", kind = "test", run = "lang ./suite", report = "tap" }}]
limits = {{ time = "20s", silence = "10s" }}
"#,
                git = self.path(name).display(),
            ),
        );
        self.revise(name, suite)
    }

    /// Commits a new suite to a project.
    pub fn revise(&self, name: &str, suite: &str) -> String {
        let folder = self.path(name);
        if !folder.join(".git").exists() {
            self.git(&folder, &["init", "-q", "-b", "master"]);
        }
        self.write(&format!("{name}/suite"), suite);
        self.git(&folder, &["add", "-A"]);
        self.git(&folder, &["commit", "-q", "--allow-empty", "-m", "suite"]);
        self.git(&folder, &["rev-parse", "HEAD"])
    }

    // The operator.

    /// Runs `farm-master` to its end.
    pub fn master_says(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("test-master"));
        command.current_dir(self.folder.path()).args(arguments).output().expect("running farm-master")
    }

    /// Starts the master and waits until it answers.
    pub fn serve(&mut self) -> &mut Farm {
        let mut command = Command::new(program("test-master"));
        command.current_dir(self.folder.path()).args(["serve", "farm.toml"]);
        let process = Process::start(&mut command, &self.path("master.log")).expect("starting the master");
        self.master = Some(process);
        self.until("the master answers", |farm| Ok(farm.get("/").is_ok()));
        self
    }

    pub fn master(&mut self) -> &mut Process {
        self.master.as_mut().expect("the master was started")
    }

    /// Ends the master by SIGTERM.
    pub fn stop_master(&mut self) {
        let mut master = self.master.take().expect("the master was started");
        let status = master.terminate(Duration::from_secs(15)).expect("the master ends when asked");
        assert!(status.success(), "the master ended with {status}; it said:\n{}", master.said());
    }

    // The volunteer.

    /// Joins, lets the operator approve, and runs a worker with so many slots.
    pub fn worker(&mut self, name: &str, slots: u32) -> &mut Farm {
        let code = self.join(name);
        let approved = self.master_says(&["worker", "approve", &code, "--owner", "Bob", "--trust", "maker"]);
        assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
        self.configure_worker(name, "slots", &slots.to_string());
        self.run_worker(name)
    }

    /// `farm-worker join`; the answer is its code.
    pub fn join(&self, name: &str) -> String {
        let output = Command::new(program("test-worker"))
            .arg("--folder")
            .arg(self.path(name))
            .args(["join", &self.url(""), "--name", name])
            .output()
            .expect("running farm-worker");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let code = said.split_whitespace().skip_while(|word| *word != "code:").nth(1);
        code.expect("join prints its code").to_string()
    }

    /// Sets one line of a worker's `worker.toml`.
    pub fn configure_worker(&self, name: &str, key: &str, value: &str) {
        let path = self.path(name).join("worker.toml");
        let text = fs::read_to_string(&path).expect("join wrote worker.toml");
        let others = text.lines().filter(|line| !line.trim_start().starts_with(key));
        let lines: Vec<&str> = others.collect();
        fs::write(&path, format!("{key} = {value}\n{}\n", lines.join("\n"))).expect("writing worker.toml");
    }

    pub fn run_worker(&mut self, name: &str) -> &mut Farm {
        let mut command = Command::new(program("test-worker"));
        command.arg("--folder").arg(self.path(name)).arg("run");
        let log = self.path(&format!("{name}.log"));
        let process = Process::start(&mut command, &log).expect("starting a worker");
        self.workers.insert(name.to_string(), process);
        self
    }

    pub fn worker_process(&mut self, name: &str) -> &mut Process {
        self.workers.get_mut(name).expect("the worker was started")
    }

    // Readers.

    /// A page's text, or an error with the status.
    pub fn get(&self, path: &str) -> Result<String> {
        Ok(ureq::get(self.url(path)).call()?.body_mut().read_to_string()?)
    }

    /// The facts of a page: `json("/breakages")` reads `/api/v1/breakages`.
    pub fn json(&self, page: &str) -> Result<Value> {
        let text = self.get(&format!("/api/v1{page}"))?;
        serde_json::from_str(&text).with_context(|| format!("the JSON of {page}"))
    }

    /// The facts of the first build that a builder made of a change, once it has its outcome.
    pub fn finished_build(&mut self, change: &str, builder: &str) -> Value {
        let find = |farm: &Farm| -> Result<Option<Value>> {
            let page = farm.json(&format!("/changes/{change}"))?;
            let builders = at(&page, "builders")?.as_array().context("builders are a list")?;
            let met = builders.iter().find(|met| met["builder"]["name"] == builder);
            let Some(id) = met.and_then(|met| met["builds"][0]["build"].as_i64()) else { return Ok(None) };
            let build = farm.json(&format!("/builds/{id}"))?;
            Ok(Some(build).filter(|build| !build["outcome"].is_null()))
        };
        self.until(&format!("{builder} has built {change}"), |farm| Ok(find(farm)?.is_some()));
        find(self).expect("it was there").expect("a finished build stays finished")
    }

    /// The mails in the farm's Maildir, in the order in which they were decided.
    pub fn mails(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("data/mail/new")) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).expect("a mail is text")).collect()
    }

    /// Waits for a fact. What went wrong on the way is said when it never comes.
    pub fn until(&mut self, what: &str, fact: impl Fn(&Farm) -> Result<bool>) -> &mut Farm {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::from("it was not so");
        loop {
            match fact(self) {
                Ok(true) => return self,
                Ok(false) => {}
                Err(error) => last = format!("{error:#}"),
            }
            let running = self.master.as_mut().is_none_or(Process::is_running);
            if Instant::now() > deadline || !running {
                self.give_up(what, &last, running);
            }
            breathe();
        }
    }

    fn give_up(&self, what: &str, last: &str, running: bool) -> ! {
        let log = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        let tail = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        let workers: String = self
            .workers
            .keys()
            .map(|name| format!("--- {name}\n{}\n", tail(log(&format!("{name}.log")))))
            .collect();
        let master = tail(log("master.log"));
        let ended = if running { "" } else { " (the master has ended)" };
        panic!("never came true: {what}{ended}: {last}\n--- master\n{master}\n{workers}");
    }
}

/// Facts as JSON, by a path of keys: `at(&value, "builds.0.outcome")`.
pub fn at<'v>(value: &'v Value, path: &str) -> Result<&'v Value> {
    let mut now = value;
    for key in path.split('.') {
        let next = match key.parse::<usize>() {
            Ok(index) => now.get(index),
            Err(_) => now.get(key),
        };
        ensure!(next.is_some(), "no `{key}` of `{path}` in {now}");
        now = next.expect("it was just looked at");
    }
    Ok(now)
}
