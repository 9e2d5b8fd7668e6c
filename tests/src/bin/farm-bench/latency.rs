//! From a change's row in the database to its first step's process.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use trunkfarm_tests::farm::{Farm, at};

use crate::table::{Table, milliseconds, quantile, times};
use crate::{bare, scene};

const CHANGES: usize = 30;

pub fn measure(table: &mut Table) -> Result<()> {
    let mut farm = scene::farm_with_projects(0);
    farm.serve().worker(scene::WORKER, 1);
    scene::until_done(&farm, &[scene::WORKER], 1)?;
    let (mut ours, mut plain, mut sandboxed) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..CHANGES {
        scene::until_idle(&mut farm)?;
        farm.edit("lang", &format!("#!/bin/sh\n# {number}\n. \"$1\"\n"));
        let change = farm.commit("change");
        mirror(&farm)?;
        scene::poke(&farm)?;
        scene::until_done(&farm, &[scene::WORKER], 2 + number)?;
        scene::until_idle(&mut farm)?;
        ours.push(first_process(&farm, &change)?.saturating_sub(committed(&farm)?));
        plain.push(bare::start()?);
        sandboxed.push(bare::start_in_sandbox()?);
    }
    let [of_ours, of_plain, of_sandboxed] = [&ours, &plain, &sandboxed].map(|all| quantile(all, 0.5));
    let against = |bare: Duration| times(of_ours.as_secs_f64(), bare.as_secs_f64());
    table.row(
        format!("change committed to first process, median of {CHANGES}"),
        milliseconds(of_ours),
        format!("{} a bare sh, {} one in bubblewrap", against(of_plain), against(of_sandboxed)),
    );
    table.row("  p95", milliseconds(quantile(&ours, 0.95)), "");
    table.row(
        "  bare sh: median",
        milliseconds(of_plain),
        format!("p95 {}", milliseconds(quantile(&plain, 0.95))),
    );
    let p95 = milliseconds(quantile(&sandboxed, 0.95));
    table.row("  bare sh in bubblewrap: median", milliseconds(of_sandboxed), format!("p95 {p95}"));
    Ok(())
}

/// Fetches the change into the worker's mirror, so that git's own time does not count.
fn mirror(farm: &Farm) -> Result<()> {
    let mirrors = farm.path(scene::WORKER).join("git");
    let entries = fs::read_dir(&mirrors).with_context(|| format!("reading {}", mirrors.display()))?;
    let paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let trunk = farm.path("trunk").display().to_string();
    farm.git(
        paths.first().context("the worker has no mirror")?,
        &["fetch", "-q", &trunk, "+refs/heads/*:refs/heads/*"],
    );
    Ok(())
}

/// When the last change was in the database: the master logs it at that moment.
fn committed(farm: &Farm) -> Result<Duration> {
    let log = fs::read_to_string(farm.path("master.log"))?;
    let line =
        log.lines().rfind(|line| line.contains("new changes")).context("the master has logged no change")?;
    let stamp: jiff::Timestamp = line.split_whitespace().next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(u64::try_from(stamp.as_nanosecond())?))
}

/// When the first step of the change's toolchain ran: it printed the time.
fn first_process(farm: &Farm, change: &str) -> Result<Duration> {
    let page = farm.json(&format!("/changes/{change}"))?;
    let build = at(&page, "builders.0.builds.0.build")?;
    let log = farm.get(&format!("/builds/{build}/log/0/raw"))?;
    bare::instant(log.lines().next().unwrap_or_default())
}
