//! Many trivial builds: what each costs the master, and how many a worker runs per minute.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bare::{self, Logs};
use crate::scene;
use crate::table::{Table, count, times};

const PROJECTS: usize = 40;
const CHANGES: usize = 5;
const SLOTS: u32 = 2;
/// Builds per change: the toolchain, and a suite of each project.
const BUILDS: usize = CHANGES * (1 + PROJECTS);
/// How many workers share the work.
const WORKERS: [usize; 2] = [1, 4];

pub fn measure(table: &mut Table) -> Result<()> {
    for workers in WORKERS {
        with(workers, table)?;
    }
    Ok(())
}

fn with(workers: usize, table: &mut Table) -> Result<()> {
    let mut farm = scene::farm_with_projects(PROJECTS);
    let names: Vec<String> = (1..=workers).map(scene::worker).collect();
    farm.serve();
    for name in &names {
        farm.worker(name, SLOTS);
    }
    let mut done = 1 + PROJECTS;
    scene::until_done(&farm, &names, done)?;
    let before = scene::until_idle(&mut farm)?;
    let mut took = Duration::ZERO;
    for number in 0..CHANGES {
        farm.edit("lang", &format!("#!/bin/sh\n# {number}\n. \"$1\"\n"));
        farm.commit("change");
        let began = Instant::now();
        scene::poke(&farm)?;
        done += 1 + PROJECTS;
        scene::until_done(&farm, &names, done)?;
        took += began.elapsed();
    }
    let used = scene::until_idle(&mut farm)?.saturating_sub(before);
    let builds = BUILDS as f64;
    let each = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3 / builds);
    let per_minute = |time: Duration| builds * 60.0 / time.as_secs_f64();
    let who = count(workers, "worker");
    table.row(
        format!("master's processor time a build, {BUILDS} builds, {who}"),
        each(used),
        format!("{:.0} % of one processor meanwhile", 100.0 * used.as_secs_f64() / took.as_secs_f64()),
    );
    table.row(
        format!("trivial builds a minute, {who} of {SLOTS} slots"),
        format!("{:.0}", per_minute(took)),
        each(took) + " each",
    );
    let slots = SLOTS * workers as u32;
    let run = "printf \"1..1\\nok 1 - is there\\n\"";
    for (name, logs) in [("kept", Logs::Kept), ("synced", Logs::Synced)] {
        let folder = farm.path(&format!("bare-{name}"));
        let bare = bare::shell_loops(&folder, run, BUILDS as u32, slots, logs)?;
        table.row(
            format!("  {slots} bare shell loops, logs {name}"),
            format!("{:.0}", per_minute(bare)),
            format!("{} the farm's time", times(bare.as_secs_f64(), took.as_secs_f64())),
        );
    }
    let bare = bare::sandboxes(BUILDS as u32, slots)?;
    table.row(
        format!("  bare sandboxes, {slots} side by side"),
        format!("{:.0}", per_minute(bare)),
        format!("{} the farm's time", times(bare.as_secs_f64(), took.as_secs_f64())),
    );
    Ok(())
}
