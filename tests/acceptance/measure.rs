//! The same suites without a farm, on the trunk's two releases: the same commands in the same sandbox, by a shell, and how long
//! they take.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use trunkfarm_tests::farm::Farm;

use crate::projects::Project;
use crate::trunk::STEPS;

/// Seconds by project and releases: `nose 1.3.7 3.11`.
pub type Measured = BTreeMap<String, f64>;

pub fn key(project: &Project, step: &str) -> String {
    format!("{} {} {step}", project.name, project.release)
}

fn file(cache: &Path) -> PathBuf {
    cache.join("bare.json")
}

/// What earlier runs have measured.
pub fn measured_before(cache: &Path) -> Measured {
    fs::read_to_string(file(cache)).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// Measures what was not measured before. Run it while the farm is idle.
pub fn measure(farm: &Farm, cache: &Path, commits: &[String], projects: &[Project]) -> Result<Measured> {
    let mut measured = measured_before(cache);
    for (step, sha) in STEPS.iter().zip(commits).filter(|(step, _)| step.is_release()) {
        let Some(toolchain) = toolchain(farm, sha)? else { continue };
        for project in projects {
            let key = key(project, step.name);
            if measured.contains_key(&key) {
                continue;
            }
            println!("Running {} on {} without a farm", project.name, step.title);
            measured.insert(key, run(cache, &toolchain, project)?);
            fs::write(file(cache), serde_json::to_string_pretty(&measured)?)?;
        }
    }
    Ok(measured)
}

/// The worker's unpacked toolchain of a change.
fn toolchain(farm: &Farm, sha: &str) -> Result<Option<PathBuf>> {
    let page = farm.json(&format!("/changes/{sha}"))?;
    let builders = page["builders"].as_array().context("builders")?;
    let toolchain = builders.iter().find(|line| line["builder"]["name"] == "toolchain");
    let Some(build) = toolchain.and_then(|line| line["builds"][0]["build"].as_i64()) else { return Ok(None) };
    let artifact = farm.json(&format!("/builds/{build}"))?["artifact"].as_str().map(str::to_string);
    let folder = artifact.map(|artifact| farm.path("worker/toolchains").join(artifact).join("root"));
    Ok(folder.filter(|folder| folder.exists()))
}

fn run(cache: &Path, toolchain: &Path, project: &Project) -> Result<f64> {
    let folder = cache.join("bare");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    for name in ["src", "home", "out", "tmp"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let started = Instant::now();
    let [get, prepare] = project.steps(&cache.join("packages"))?;
    for ((name, _, command), has_network) in [(get, true), (prepare, false)] {
        let output = shell(&folder, toolchain, &command, has_network)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} without a farm, {name}: {}", project.name, errors.trim());
    }
    // On a release that breaks the suite it fails, as it does in the farm.
    shell(&folder, toolchain, &project.test_command(), false)?;
    Ok(started.elapsed().as_secs_f64())
}

/// The worker's sandbox, as far as a suite notices it.
fn shell(folder: &Path, toolchain: &Path, command: &str, has_network: bool) -> Result<Output> {
    let mut bwrap = Command::new("bwrap");
    bwrap.args(["--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-pid", "--die-with-parent"]);
    if !has_network {
        bwrap.arg("--unshare-net");
    }
    bwrap.args([
        "--ro-bind",
        "/usr",
        "/usr",
        "--ro-bind",
        "/etc",
        "/etc",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]);
    for name in ["bin", "sbin", "lib", "lib64"] {
        bwrap.arg("--symlink").arg(format!("usr/{name}")).arg(format!("/{name}"));
    }
    bwrap.arg("--ro-bind").arg(toolchain).arg("/trunkfarm/toolchain");
    for (name, to) in
        [("src", "/trunkfarm/src"), ("home", "/trunkfarm/home"), ("out", "/trunkfarm/out"), ("tmp", "/tmp")]
    {
        bwrap.arg("--bind").arg(folder.join(name)).arg(to);
    }
    bwrap.arg("--clearenv");
    for (name, value) in [
        ("HOME", "/trunkfarm/home"),
        ("TMPDIR", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("SOURCE_DATE_EPOCH", "315532800"),
        ("PATH", "/trunkfarm/toolchain/bin:/usr/local/bin:/usr/bin:/bin"),
        ("FARM_SOURCE", "/trunkfarm/src"),
        ("FARM_OUT", "/trunkfarm/out"),
        ("FARM_CPUS", "1"),
    ] {
        bwrap.args(["--setenv", name, value]);
    }
    for (name, value) in crate::projects::environment() {
        bwrap.args(["--setenv", name, &value]);
    }
    bwrap.args(["--chdir", "/trunkfarm/src", "/bin/sh", "-c", command]);
    bwrap.output().context("running bwrap")
}

/// What the runner's closing line counts: `Ran 897 tests in 1.060s` or `2 failed, 313 passed in 2.76s`.
pub fn counted(text: &str) -> Option<String> {
    text.lines().rev().find_map(|line| {
        let line = line.trim_matches(['=', ' ']);
        if let Some(rest) = line.strip_prefix("Ran ") {
            return Some(format!("{} ran", rest.split(' ').next()?));
        }
        let (counts, _) = line.split_once(" in ")?;
        let is_count = |part: &str| {
            let mut words = part.split(' ');
            let number = words.next().is_some_and(|word| word.parse::<u64>().is_ok());
            let known = [
                "passed",
                "failed",
                "skipped",
                "deselected",
                "errors",
                "error",
                "xfailed",
                "xpassed",
                "warnings",
                "warning",
            ];
            number && words.next().is_some_and(|word| known.contains(&word)) && words.next().is_none()
        };
        let parts: Vec<&str> = counts.split(", ").filter(|part| !part.contains("warning")).collect();
        (!parts.is_empty() && counts.split(", ").all(is_count)).then(|| parts.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn the_closing_line_of_a_runner_is_read() {
        assert_eq!(counted("x\nRan 897 tests in 1.060s\n\nOK\n").as_deref(), Some("897 ran"));
        let pytest = "=== 2 failed, 313 passed, 9 warnings in 2.76s ===\n";
        assert_eq!(counted(pytest).as_deref(), Some("2 failed, 313 passed"));
        let pytest = "1 failed, 1 deselected, 17 warnings in 1.47s\n";
        assert_eq!(counted(pytest).as_deref(), Some("1 failed, 1 deselected"));
        assert_eq!(counted("35 errors in 0.17s\n").as_deref(), Some("35 errors"));
        assert_eq!(counted("lost in space\n"), None);
    }
}
