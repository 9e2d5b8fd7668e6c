//! A whole farm for a test, with the verbs of its users: commit, join, wait for a condition, read a page or a mail.
//!
//! Its language is a shell script called `lang`, and its projects' suites are shell scripts that print TAP. So a build
//! takes milliseconds, and everything else is real: master, workers, git, mail.

mod volunteer;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, free_port, pause_before_polling, program};

/// How long a test waits for a condition before it fails. Test machines are shared, and sometimes slow.
pub const TIMEOUT: Duration = Duration::from_secs(120);

pub struct Farm {
    folder: Folder,
    pub port: u16,
    master: Option<Process>,
    workers: BTreeMap<String, Process>,
    other_servers: BTreeMap<String, Process>,
    /// Environment variables of the master and the workers.
    variables: BTreeMap<String, String>,
    /// How many files the master may have open.
    descriptors: Option<u32>,
}

/// Where a farm's files are.
enum Folder {
    /// Removed with the farm.
    Temporary(TempDir),
    /// It stays, so that a later run continues where this one stopped.
    Kept(PathBuf),
}

impl Farm {
    /// A farm in a folder that stays: what is in it, such as its results, is used again. It has no trunk and no configuration yet.
    pub fn at(folder: &Path, port: u16) -> Farm {
        fs::create_dir_all(folder).expect("making the farm's folder");
        Farm::new(Folder::Kept(folder.to_path_buf()), port)
    }

    fn new(folder: Folder, port: u16) -> Farm {
        Farm {
            folder,
            port,
            master: None,
            workers: BTreeMap::new(),
            other_servers: BTreeMap::new(),
            variables: BTreeMap::new(),
            descriptors: None,
        }
    }

    /// A farm with a trunk `lang` that has one commit, and no project. Nothing runs yet.
    pub fn create() -> Farm {
        let folder = TempDir::with_prefix("trunkfarm-").expect("a folder for a test");
        let farm = Farm::new(Folder::Temporary(folder), free_port());
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

    /// Replaces a part of farm.toml. The master reads the file when it starts.
    pub fn configure(&self, from: &str, to: &str) {
        let path = self.path("farm.toml");
        let text = fs::read_to_string(&path).expect("farm.toml was written");
        assert!(text.contains(from), "farm.toml has no `{from}`");
        fs::write(&path, text.replacen(from, to, 1)).expect("writing farm.toml");
    }

    fn root(&self) -> &Path {
        match &self.folder {
            Folder::Temporary(folder) => folder.path(),
            Folder::Kept(folder) => folder,
        }
    }

    /// A path below the farm's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("making a folder");
        fs::write(&path, text).expect("writing a file");
    }

    /// Replaces a text that occurs exactly once in a file. Choose a long one: `10s` alone sometimes occurs in a random path.
    pub fn replace_in(&self, name: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.path(name)).expect("reading a file");
        assert_eq!(text.matches(old).count(), 1, "`{old}` in {name}");
        self.write(name, &text.replace(old, new));
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Sets a variable for the master and the workers that are started after it.
    pub fn variable(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_string(), value.to_string());
    }

    /// Shifts the clock of all processes that are started from now on: `-1d`, `+25h`.
    pub fn shift_clock(&mut self, by: &str) {
        let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
        assert!(Path::new(&library).exists(), "libfaketime is not installed; run ./setup test");
        self.variable("LD_PRELOAD", &library);
        self.variable("FAKETIME", by);
        self.variable("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }

    /// Lets [`Farm::jump_clock`] set the clock of the processes that are started from now on, while they run.
    pub fn make_clock_settable(&mut self) {
        self.jump_clock("+0");
        self.shift_clock("+0");
        self.unset_variable("FAKETIME");
        let file = self.path("clock").display().to_string();
        self.variable("FAKETIME_TIMESTAMP_FILE", &file);
        self.variable("FAKETIME_NO_CACHE", "1");
    }

    /// Sets the clock of all processes with a settable clock, relative to the real time: `-1d`, `+25h`.
    pub fn jump_clock(&self, by: &str) {
        // Renamed, so that no process reads half of it.
        self.write("clock.new", by);
        fs::rename(self.path("clock.new"), self.path("clock")).expect("renaming a file");
    }

    /// Stops the master, and starts it again with a later clock. The clocks of the other processes do not change.
    pub fn restart_master_later(&mut self, by: &str) {
        self.stop_master();
        self.shift_clock(by);
        self.serve();
    }

    /// Limits the number of files that the master may have open, from its next start on.
    pub fn limit_master_to_descriptors(&mut self, most: u32) {
        self.descriptors = Some(most);
    }

    pub fn unset_variable(&mut self, name: &str) {
        self.variables.remove(name);
    }

    // The core developer.

    /// Changes a file of the trunk's work tree.
    pub fn edit(&self, file: &str, text: &str) {
        self.write(&format!("trunk/{file}"), text);
    }

    /// Commits all edits to the trunk. Returns the commit's id.
    pub fn commit(&self, message: &str) -> String {
        let trunk = self.path("trunk");
        self.git(&trunk, &["add", "-A"]);
        self.git(&trunk, &["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&trunk, &["rev-parse", "HEAD"])
    }

    /// Runs git in a folder. Returns its output.
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

    /// Registers a project whose suite is this shell script, which `lang` runs and which prints TAP.
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
    pub fn run_master_command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("test-master"));
        command.current_dir(self.root()).args(arguments).output().expect("running farm-master")
    }

    /// What `farm-master` prints. It must succeed.
    pub fn master_says(&self, arguments: &[&str]) -> String {
        let output = self.run_master_command(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Starts the master and waits until it answers.
    pub fn serve(&mut self) -> &mut Farm {
        let mut command = match self.descriptors {
            None => Command::new(program("test-master")),
            Some(most) => {
                let mut shell = Command::new("/bin/sh");
                shell
                    .args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")])
                    .arg(program("test-master"));
                shell
            }
        };
        command.current_dir(self.root()).args(["serve", "farm.toml"]).envs(&self.variables);
        let process = Process::start(&mut command, &self.path("master.log")).expect("starting the master");
        self.master = Some(process);
        self.until("the master answers", |farm| Ok(farm.get("/").is_ok()));
        self
    }

    pub fn master(&mut self) -> &mut Process {
        self.master.as_mut().expect("the master was started")
    }

    /// Stops the master with SIGTERM.
    pub fn stop_master(&mut self) {
        let mut master = self.master.take().expect("the master was started");
        let status = master.terminate(Duration::from_secs(15)).expect("the master ends when asked");
        assert!(status.success(), "the master ended with {status}; its log:\n{}", master.log());
    }

    /// Waits until the master has ended by itself, with any exit code.
    pub fn wait_for_master_exit(&mut self) {
        let mut master = self.master.take().expect("the master was started");
        master.wait(TIMEOUT).expect("the master ends by itself");
    }

    /// Kills the master with SIGKILL.
    pub fn kill_master(&mut self) {
        drop(self.master.take().expect("the master was started"));
    }

    /// Approves a worker, with a trust of `counted` or `maker`.
    pub fn approve(&self, code: &str, trust: &str) {
        let approved =
            self.run_master_command(&["worker", "approve", code, "--owner", "Bob", "--trust", trust]);
        assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    }

    /// Starts another server that the farm uses, until the test ends. Its output goes to NAME.log.
    pub fn start_server(&mut self, name: &str, command: &mut Command) {
        let log = self.path(&format!("{name}.log"));
        let process = Process::start(command, &log).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        self.other_servers.insert(name.to_string(), process);
    }

    /// Serves the farm's folder with git's own daemon.
    pub fn serve_git(&mut self, port: u16) {
        let daemon = PathBuf::from(self.git(&self.path("trunk"), &["--exec-path"])).join("git-daemon");
        let mut command = Command::new(daemon);
        command
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1", &format!("--port={port}")])
            .arg(format!("--base-path={}", self.path("").display()));
        self.start_server("git-daemon", &mut command);
    }

    pub fn stop_server(&mut self, name: &str) {
        drop(self.other_servers.remove(name).expect("it was started"));
    }

    // Readers.

    /// A page's text, or an error with the status.
    pub fn get(&self, path: &str) -> Result<String> {
        let answer = ureq::get(self.url(path)).call();
        Ok(answer.with_context(|| path.to_string())?.body_mut().read_to_string()?)
    }

    /// The JSON of a page: `json("/breakages")` reads `/api/v1/breakages`.
    pub fn json(&self, page: &str) -> Result<Value> {
        let text = self.get(&format!("/api/v1{page}"))?;
        serde_json::from_str(&text).with_context(|| format!("the JSON of {page}"))
    }

    /// The JSON of a builder's first build of a change, once it has an outcome.
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

    /// The number of that build.
    pub fn build_number(&mut self, change: &str, builder: &str) -> i64 {
        self.finished_build(change, builder)["id"].as_i64().expect("a build has a number")
    }

    /// The status of an answer, its body, and its Content-Range or else its ETag.
    pub fn answer(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = headers
            .iter()
            .fold(agent.get(self.url(path)), |request, (name, value)| request.header(*name, *value));
        let mut answer = request.call().expect("the master answers");
        let header = |name| answer.headers().get(name).map(|value| value.to_str().expect("a header is text"));
        let range = header("content-range").or(header("etag")).unwrap_or_default().to_string();
        let status = answer.status().as_u16();
        let body = answer.body_mut().read_to_string().expect("an answer is text");
        (status, body, range)
    }

    /// The mails in the farm's Maildir about what changes and inputs did, in the order in which they were decided.
    pub fn mails(&self) -> Vec<String> {
        self.all_mails().into_iter().filter(|mail| !is_first_result(mail)).collect()
    }

    /// The mails about the first build of a project, in the order in which they were decided.
    pub fn first_results(&self) -> Vec<String> {
        self.all_mails().into_iter().filter(|mail| is_first_result(mail)).collect()
    }

    /// All mails in the farm's Maildir, in the order in which they were decided.
    pub fn all_mails(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("data/mail/new")) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).expect("a mail is text")).collect()
    }

    /// The JSON of a builder's breakages, oldest first. The builder is a project, or `toolchain`.
    pub fn breakages(&self, builder: &str) -> Result<Vec<Value>> {
        let page = self.json("/breakages")?;
        let groups = page["groups"].as_array().context("groups")?;
        let lines = groups.iter().flat_map(|group| group["breakages"].as_array().into_iter().flatten());
        let mut ids: Vec<i64> = lines
            .filter(|line| line["builder"]["name"] == builder)
            .filter_map(|line| line["id"].as_i64())
            .collect();
        ids.sort_unstable();
        ids.into_iter().map(|id| self.json(&format!("/breakages/{id}"))).collect()
    }

    /// The waterfall's row of each change of a branch, newest first.
    pub fn rows(&self, trunk: &str, branch: &str) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        let mut upto = String::new();
        loop {
            let page = self.json(&format!("/waterfall?trunk={trunk}&branch={branch}{upto}"))?;
            rows.extend(page["rows"].as_array().context("rows")?.iter().cloned());
            match page["older"].as_i64() {
                Some(older) => upto = format!("&upto={older}"),
                None => return Ok(rows),
            }
        }
    }

    /// A builder's cells in the waterfall for each change of `lang master`, oldest first: a build's status style, or what is
    /// there instead (`same`, `superseded`, `nothing`).
    pub fn column(&self, builder: &str) -> Result<Vec<String>> {
        let page = self.json("/waterfall")?;
        let columns = page["columns"].as_array().context("columns")?;
        let at = columns.iter().position(|column| column["name"] == builder).context("no such column")?;
        let rows = page["rows"].as_array().context("rows")?.iter().rev();
        let word = |row: &Value| {
            let cell = &row["cells"][at];
            let key = if cell["kind"] == "build" { "status_style" } else { "kind" };
            cell[key].as_str().unwrap_or("?").to_string()
        };
        Ok(rows.map(word).collect())
    }

    /// Whether every change is decided for every builder, every search is over, and no build runs or waits.
    pub fn is_idle(&self) -> Result<bool> {
        let page = self.json("/waterfall")?;
        let rows = page["rows"].as_array().context("rows")?;
        let open = |cell: &Value| {
            ["nothing", "superseded"].iter().any(|word| cell["kind"] == *word)
                || ["queued", "running"].iter().any(|word| cell["status_style"] == *word)
        };
        let decided = rows.iter().all(|row| row["cells"].as_array().is_some_and(|c| !c.iter().any(open)));
        let searching = !self.json("/status")?["searches"].as_array().context("searches")?.is_empty();
        let idle = self.json("/queue")?["builds"].as_array().context("builds")?.is_empty();
        Ok(decided && !searching && idle && !rows.is_empty())
    }

    /// Waits until a condition holds. If that does not happen in time, the test fails with the last error.
    pub fn until(&mut self, what: &str, condition: impl Fn(&Farm) -> Result<bool>) -> &mut Farm {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let last = match condition(self) {
                Ok(true) => return self,
                Ok(false) => String::from("the condition does not hold"),
                Err(error) => format!("{error:#}"),
            };
            let running = self.master.as_mut().is_none_or(Process::is_running);
            if Instant::now() > deadline || !running {
                self.fail(what, &last, running);
            }
            pause_before_polling();
        }
    }

    fn fail(&self, what: &str, last: &str, running: bool) -> ! {
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
        panic!("gave up waiting until {what}{ended}: {last}\n--- master\n{master}\n{workers}");
    }
}

/// A part of a JSON value, by a path of keys: `at(&value, "builds.0.outcome")`.
pub fn at<'v>(value: &'v Value, path: &str) -> Result<&'v Value> {
    let mut current = value;
    for key in path.split('.') {
        let next = match key.parse::<usize>() {
            Ok(index) => current.get(index),
            Err(_) => current.get(key),
        };
        ensure!(next.is_some(), "no `{key}` of `{path}` in {current}");
        current = next.expect("it was checked in the line above");
    }
    Ok(current)
}

/// Whether a mail is the one that a project's contacts get when its first build has ended.
pub fn is_first_result(mail: &str) -> bool {
    mail.lines().any(|line| line.starts_with("Message-ID: <first-result."))
}
