//! The volunteer's verbs: join, configure and run a worker, and ask it what it does.

use std::fs;
use std::process::{Command, Output};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Farm;
use crate::process::{Process, program};
use crate::proxy::Proxy;

impl Farm {
    /// Joins, approves and runs a worker.
    pub fn worker(&mut self, name: &str, slots: u32) -> &mut Farm {
        let code = self.join(name);
        self.approve(&code, "maker");
        self.configure_worker(name, "slots", &slots.to_string());
        self.run_worker(name)
    }

    /// The same without a sandbox: its steps see the whole machine.
    pub fn unsandboxed_worker(&mut self, name: &str, slots: u32) -> &mut Farm {
        self.join_unsandboxed(name, slots);
        self.run_worker(name)
    }

    /// Joins and approves such a worker, but does not run it yet.
    pub fn join_unsandboxed(&self, name: &str, slots: u32) {
        let code = self.join(name);
        self.approve(&code, "maker");
        self.configure_worker(name, "slots", &slots.to_string());
        self.configure_worker(name, "sandbox", "\"none\"");
    }

    /// Runs `farm-worker join`. Returns the code.
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
        let code = code.expect("join prints its code").to_string();
        // Tests share their machine with others, and some have small disks.
        self.configure_worker(name, "nice", "0");
        self.configure_worker(name, "min_free", "\"0B\"");
        code
    }

    /// Runs a command of `farm-worker` in a worker's folder to its end.
    pub fn run_worker_command(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("test-worker"));
        command.arg("--folder").arg(self.path(name)).args(arguments);
        command.output().expect("running farm-worker")
    }

    /// What a command of `farm-worker` prints. It must succeed.
    pub fn worker_says(&self, name: &str, arguments: &[&str]) -> String {
        let output = self.run_worker_command(name, arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// The exit code of a command of `farm-worker`, and what it prints.
    pub fn worker_refuses(&self, name: &str, arguments: &[&str]) -> (i32, String) {
        let output = self.run_worker_command(name, arguments);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
    }

    /// The JSON of `farm-worker status`.
    pub fn worker_status(&self, name: &str) -> Result<Value> {
        let output = self.run_worker_command(name, &["status", "--json"]);
        serde_json::from_slice(&output.stdout).context("the status is JSON")
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
        command.arg("--folder").arg(self.path(name)).arg("run").envs(&self.variables);
        if nix::unistd::geteuid().is_root() {
            command.arg("--as-root");
        }
        let log = self.path(&format!("{name}.log"));
        let process = Process::start(&mut command, &log).expect("starting a worker");
        self.workers.insert(name.to_string(), process);
        self
    }

    /// Runs a worker that has joined, connected to the farm through a proxy.
    pub fn run_worker_through(&mut self, proxy: &Proxy, name: &str) -> &mut Farm {
        self.configure_worker(name, "url", &format!("\"{}\"", proxy.url()));
        self.run_worker(name)
    }

    /// The log of all runs of a worker.
    pub fn worker_log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    pub fn worker_process(&mut self, name: &str) -> &mut Process {
        self.workers.get_mut(name).expect("the worker was started")
    }

    /// Kills a worker with SIGKILL.
    pub fn kill_worker(&mut self, name: &str) {
        drop(self.workers.remove(name).expect("the worker was started"));
    }
}
