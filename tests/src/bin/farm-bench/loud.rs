//! A step that prints 100 MB: how long until all of it is stored, and what that costs master and worker.

use std::time::Duration;

use anyhow::{Context, Result};
use trunkfarm_tests::farm::Farm;

use crate::bare;
use crate::scene::{self, processor_time};
use crate::table::{Table, mebibytes, times};

const LINES: usize = 1_000_000;
const LINE_BYTES: usize = 100;

pub fn measure(table: &mut Table) -> Result<()> {
    let mut farm = scene::farm_with_projects(0);
    let print = format!("yes {} | head -n {LINES}", "x".repeat(LINE_BYTES - 1));
    farm.project("loud", &format!("{print}\necho 1..1\necho ok 1 - prints\n"));
    farm.replace_in("projects/loud.toml", "time = \"20s\", silence = \"10s\"", "log = \"200MiB\"");
    farm.serve().worker(scene::WORKER, 1);
    scene::until_done(&farm, &[scene::WORKER], 2)?;
    let quiet = [farm.master().id(), farm.worker_process(scene::WORKER).id()].map(processor_time);
    scene::until_idle(&mut farm)?;

    farm.edit("lang", "#!/bin/sh\n# again\n. \"$1\"\n");
    farm.commit("change");
    scene::poke(&farm)?;
    scene::until_done(&farm, &[scene::WORKER], 4)?;
    let took = between(&farm, "building", "is finished")?;
    scene::until_idle(&mut farm)?;
    let used = [farm.master().id(), farm.worker_process(scene::WORKER).id()].map(processor_time);
    let bare = bare::printed(&farm.path("bare"), &print)?;

    let megabytes = (LINES * LINE_BYTES) as f64 / 1e6;
    table.row(
        format!("a log of {megabytes:.0} MB in {LINES} lines, from offer to its end"),
        format!("{:.0} MB/s", megabytes / took.as_secs_f64()),
        format!(
            "{:.2} s, {} a bare command into a synced file",
            took.as_secs_f64(),
            times(took.as_secs_f64(), bare.as_secs_f64())
        ),
    );
    let sides = ["master", "worker"];
    let peaks = [farm.master().peak_memory_bytes(), farm.worker_process(scene::WORKER).peak_memory_bytes()];
    for (((side, before), after), peak) in sides.into_iter().zip(quiet).zip(used).zip(peaks) {
        let used: Duration = after?.saturating_sub(before?);
        table.row(
            format!("  {side}: its processor time, at most in memory"),
            format!("{:.2} s", used.as_secs_f64()),
            mebibytes(peak),
        );
    }
    Ok(())
}

/// The time between two lines of the worker's log, the last ones with these texts, by the worker's clock.
fn between(farm: &Farm, first: &str, last: &str) -> Result<Duration> {
    let log = std::fs::read_to_string(farm.path(&format!("{}.log", scene::WORKER)))?;
    let time_of = |what: &str| -> Result<jiff::Timestamp> {
        let line = log.lines().rfind(|line| line.contains(what));
        let line = line.with_context(|| format!("the worker's log has no line with `{what}`"))?;
        Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
    };
    Ok(Duration::try_from(time_of(last)?.duration_since(time_of(first)?))?)
}
