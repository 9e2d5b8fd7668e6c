//! A farm that polls only when it is poked, and what the logs of its processes and the kernel report about it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use trunkfarm_tests::farm::{Farm, TIMEOUT};

/// The name of the worker, if there is only one.
pub const WORKER: &str = "w1";

/// The name of one of several workers, counted from 1.
pub fn worker(number: usize) -> String {
    format!("w{number}")
}

/// A farm whose toolchain's first step prints the time, with this number of projects of one case each.
pub fn farm_with_projects(projects: usize) -> Farm {
    let farm = Farm::create();
    let text = fs::read_to_string(farm.path("farm.toml")).expect("the farm has just been created");
    let step = format!(r#"run = "{} && install"#, super::bare::WHAT_TIME);
    let text =
        text.replace(r#"poll      = "1s""#, r#"poll      = "12h""#).replace(r#"run = "install"#, &step);
    farm.write("farm.toml", &text);
    for number in 0..projects {
        farm.project(&format!("p{number:02}"), "echo 1..1\necho ok 1 - is there\n");
    }
    farm
}

pub fn poke(farm: &Farm) -> Result<()> {
    let output = farm.run_master_command(&["poke", "lang"]);
    ensure!(output.status.success(), "poke: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// How many attempts these workers have finished.
fn done(farm: &Farm, workers: &[impl AsRef<str>]) -> usize {
    let of = |name: &str| {
        let log = fs::read_to_string(farm.path(&format!("{name}.log"))).unwrap_or_default();
        log.lines().filter(|line| line.ends_with(" is finished")).count()
    };
    workers.iter().map(|name| of(name.as_ref())).sum()
}

/// Waits until this many are finished. Polls often, since that disturbs only this process.
pub fn until_done(farm: &Farm, workers: &[impl AsRef<str>], wanted: usize) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while done(farm, workers) < wanted {
        if Instant::now() > deadline {
            bail!("{} of {wanted} builds were finished in {} s", done(farm, workers), TIMEOUT.as_secs());
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    Ok(())
}

/// Waits until the master uses no processor time for a while. Returns how much it has used since its start.
pub fn until_idle(farm: &mut Farm) -> Result<Duration> {
    let id = farm.master().id();
    let deadline = Instant::now() + TIMEOUT;
    let (mut used, mut since) = (processor_time(id)?, Instant::now());
    while since.elapsed() < Duration::from_millis(300) {
        ensure!(Instant::now() < deadline, "the master does not become idle");
        std::thread::park_timeout(Duration::from_millis(20));
        let now = processor_time(id)?;
        if now != used {
            (used, since) = (now, Instant::now());
        }
    }
    Ok(used)
}

/// User and system time of a process, in the kernel's ticks of 10 ms.
pub fn processor_time(process: u32) -> Result<Duration> {
    const TICK: Duration = Duration::from_millis(10);
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    // The program's name may contain anything; it ends with the last parenthesis, and the state is the field after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: Vec<u32> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(TICK * ticks.iter().sum::<u32>())
}
