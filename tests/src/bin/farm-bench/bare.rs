//! How long the same work takes without a farm.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

/// A command that prints the time of this clock, in nanoseconds since 1970.
pub const WHAT_TIME: &str = "date +%s%N";

/// The same clock, read by this process.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970")
}

/// The time from here to the first process of a step, without a farm.
pub fn start() -> Result<Duration> {
    started(Command::new("sh").args(["-c", WHAT_TIME]))
}

/// The same, in a sandbox like the worker's.
pub fn start_in_sandbox() -> Result<Duration> {
    started(sandbox().args(["sh", "-c", WHAT_TIME]))
}

fn sandbox() -> Command {
    let mut command = Command::new("bwrap");
    command.args(["--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]);
    command.args([
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
    command.args([
        "--symlink",
        "usr/bin",
        "/bin",
        "--symlink",
        "usr/lib",
        "/lib",
        "--symlink",
        "usr/lib64",
        "/lib64",
    ]);
    command
}

fn started(command: &mut Command) -> Result<Duration> {
    let before = now();
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(instant(&String::from_utf8_lossy(&output.stdout))?.saturating_sub(before))
}

/// What [`WHAT_TIME`] printed.
pub fn instant(printed: &str) -> Result<Duration> {
    let number = printed.trim().parse().with_context(|| format!("`{}` is no time", printed.trim()))?;
    Ok(Duration::from_nanos(number))
}

/// Whether a loop waits until its logs are on disk.
#[derive(Clone, Copy)]
pub enum Logs {
    Kept,
    Synced,
}

/// Runs concurrent loops, each with its share of `rounds`: a folder, a command, its log.
pub fn shell_loops(folder: &Path, run: &str, rounds: u32, loops: u32, logs: Logs) -> Result<Duration> {
    let sync = match logs {
        Logs::Kept => "",
        Logs::Synced => "sync $i/log;",
    };
    let each = rounds / loops;
    let script = format!(
        "i=0; while [ $i -lt {each} ]; do mkdir $i; sh -c '{run}' > $i/log 2>&1; {sync} i=$((i+1)); done"
    );
    let began = Instant::now();
    let mut children = Vec::new();
    for number in 0..loops {
        let folder = folder.join(number.to_string());
        fs::create_dir_all(&folder)?;
        children.push(Command::new("sh").args(["-c", &script]).current_dir(folder).spawn()?);
    }
    for mut child in children {
        ensure!(child.wait()?.success(), "a bare loop failed");
    }
    Ok(began.elapsed())
}

/// Starts sandboxes that do nothing, in concurrent rows.
pub fn sandboxes(rounds: u32, rows: u32) -> Result<Duration> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let row = || -> Result<()> {
            for _ in 0..rounds / rows {
                ensure!(sandbox().args(["sh", "-c", "true"]).status()?.success(), "a bare sandbox failed");
            }
            Ok(())
        };
        let rows: Vec<_> = (0..rows).map(|_| scope.spawn(row)).collect();
        rows.into_iter().try_for_each(|row| row.join().expect("a row does not panic"))
    })?;
    Ok(began.elapsed())
}

/// Runs a command whose output goes into a file, which is synced at the end.
pub fn printed(folder: &Path, run: &str) -> Result<Duration> {
    fs::create_dir_all(folder)?;
    let began = Instant::now();
    let script = format!("sh -c '{run}' > log 2>&1; sync log");
    let status = Command::new("sh").args(["-c", &script]).current_dir(folder).status()?;
    ensure!(status.success(), "a bare command failed");
    Ok(began.elapsed())
}
