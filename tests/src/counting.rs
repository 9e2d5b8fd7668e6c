//! A farm for fault tests: its suites wait in the middle, so that they can be interrupted, and print multi-byte characters
//! and numbered lines, so that a lost or repeated line of their logs is noticed.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::farm::Farm;

/// How far a suite counts before it waits at the gate, and in total.
const HALF: usize = 300;
const ALL: usize = 600;

/// Counts to 300, waits until the test opens the gate, and counts on to 600. The wait is limited.
fn suite(farm: &Farm, name: &str) -> String {
    format!(
        "for i in $(seq {HALF}); do echo \"# é€𝄞 $i\"; done; touch {here}/{name}.begun
n=0; while [ ! -e {here}/gate ] && [ $n -lt 1500 ]; do n=$((n + 1)); sleep 0.1; done
for i in $(seq {next} {ALL}); do echo \"# é€𝄞 $i\"; done; echo 1..1; echo 'ok 1 - counts'; touch {here}/{name}.over\n",
        here = farm.path("").display(),
        next = HALF + 1,
    )
}

/// A farm with one change and a project of each name, whose suite waits at the gate. Nothing runs yet.
pub fn counting_farm(names: &[&str]) -> Farm {
    let farm = Farm::create();
    farm.configure("null_runs = 4", "null_runs = 0");
    for name in names {
        farm.project(name, &suite(&farm, name));
        farm.replace_in(
            &format!("projects/{name}.toml"),
            "time = \"20s\", silence = \"10s\"",
            "time = \"10m\", silence = \"5m\"",
        );
    }
    farm
}

/// A worker counts as silent after two seconds, and its lease lasts for one more.
pub fn shorten_leases(farm: &Farm) {
    farm.configure("[search]", "[leases]\nsilence = \"2s\"\npatience = \"1s\"\n\n[search]");
}

/// Waits until every suite has counted half-way.
pub fn until_at_the_gate(farm: &mut Farm, names: &[&str]) {
    for name in names {
        let begun = farm.path(&format!("{name}.begun"));
        farm.until(&format!("{name} waits at the gate"), |_| Ok(begun.exists()));
    }
}

/// A running farm with one project `counting` on worker `w1`, at the gate.
pub fn one_build_at_the_gate() -> Farm {
    let mut farm = counting_farm(&["counting"]);
    farm.serve();
    farm.join_unsandboxed("w1", 1);
    farm.run_worker("w1");
    until_at_the_gate(&mut farm, &["counting"]);
    farm
}

pub fn open_the_gate(farm: &Farm) {
    farm.write("gate", "");
}

/// Lets time pass, to test that nothing happens meanwhile, or that something has happened after it.
pub fn wait(farm: &mut Farm, span: Duration) {
    let over = std::time::Instant::now() + span;
    farm.until("the time is over", |_| Ok(std::time::Instant::now() > over));
}

/// The build of a project on the only change.
pub fn build(farm: &Farm, name: &str) -> Result<Value> {
    let page = farm.json("/waterfall")?;
    let columns = page["columns"].as_array().context("columns")?;
    let at = columns.iter().position(|column| column["name"] == name).context("no such column")?;
    let id = page["rows"][0]["cells"][at]["build"].as_i64().context("it has no build yet")?;
    farm.json(&format!("/builds/{id}"))
}

/// The states of a build's attempts: `lost, ended`.
pub fn attempts(build: &Value) -> String {
    let all = build["attempts"].as_array().into_iter().flatten();
    let mut all: Vec<(i64, &str)> = all
        .map(|attempt| (attempt["number"].as_i64().unwrap_or(0), attempt["state"].as_str().unwrap_or("?")))
        .collect();
    all.sort_unstable();
    all.into_iter().map(|(_, state)| state).collect::<Vec<_>>().join(", ")
}

/// Waits until a project's build has passed, checks that its log is complete, and returns the build.
pub fn until_passed(farm: &mut Farm, name: &str) -> Value {
    farm.until(&format!("{name} has passed"), |farm| Ok(build(farm, name)?["outcome"] == "passed"));
    let build = build(farm, name).expect("it was there");
    let log = farm.get(&format!("/builds/{}/log/0/raw", build["id"])).expect("it has a log");
    let counted = log.lines().filter(|line| line.starts_with("# "));
    let expected: Vec<String> = (1..=ALL).map(|i| format!("# é€𝄞 {i}")).collect();
    assert!(counted.eq(expected.iter().map(String::as_str)), "a line is lost or repeated:\n{log}");
    build
}
