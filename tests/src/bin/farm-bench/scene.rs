//! A farm that is polled only when it is told to, and what its processes' logs and the kernel say of it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use trunkfarm_tests::farm::{Farm, TIMEOUT};

/// The name of the one worker, where there is one.
pub const WORKER: &str = "w1";

/// The name of one of several, counted from 1.
pub fn worker(number: usize) -> String {
    format!("w{number}")
}

/// A farm whose trunk prints the time as its first deed, with so many projects of one case each.
pub fn lay(projects: usize) -> Farm {
    let farm = Farm::new();
    let text = fs::read_to_string(farm.path("farm.toml")).expect("the farm was just laid");
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

/// How many attempts these workers have brought to their end.
fn done(farm: &Farm, workers: &[impl AsRef<str>]) -> usize {
    let of = |name: &str| {
        let log = fs::read_to_string(farm.path(&format!("{name}.log"))).unwrap_or_default();
        log.lines().filter(|line| line.ends_with(" is finished")).count()
    };
    workers.iter().map(|name| of(name.as_ref())).sum()
}

/// Waits until so many are; looks often, since nobody but us is disturbed.
pub fn until_done(farm: &Farm, workers: &[impl AsRef<str>], wanted: usize) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while done(farm, workers) < wanted {
        if Instant::now() > deadline {
            bail!("{} of {wanted} builds were done in {} s", done(farm, workers), TIMEOUT.as_secs());
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    Ok(())
}

/// Waits until the master has used no processor for a while, and says how much it used since it was started.
pub fn at_rest(farm: &mut Farm) -> Result<Duration> {
    let id = farm.master().id();
    let deadline = Instant::now() + TIMEOUT;
    let (mut used, mut since) = (processor_time(id)?, Instant::now());
    while since.elapsed() < Duration::from_millis(300) {
        ensure!(Instant::now() < deadline, "the master finds no rest");
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
    // The program's name may hold anything; it ends with the last parenthesis, and the state is the field behind it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: Vec<u32> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(TICK * ticks.iter().sum::<u32>())
}
