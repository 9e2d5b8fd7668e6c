//! What the farm adds to the steps of an attempt: fetching, unpacking, mounting, packing, uploading and removing. The trunk
//! and its toolchain have as many files as a large interpreter, and so has a project.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use trunkfarm_tests::farm::{Farm, at};

use crate::scene;
use crate::table::{Table, milliseconds, quantile, times};

const FILES: usize = 5_000;
/// On average; together about 100 MB.
const FILE_BYTES: usize = 20_000;
const CHANGES: usize = 8;
/// An attempt is to take at most this much of the time of its steps.
const AIM: f64 = 1.03;

pub fn measure(table: &mut Table) -> Result<()> {
    let mut farm = Farm::create();
    for folder in ["trunk/Lib", "large/tests"] {
        lay(&farm, folder);
    }
    farm.configure(r#"run = "install"#, r#"run = "cp -r Lib $FARM_PREFIX && install"#);
    farm.configure(r#"poll      = "1s""#, r#"poll      = "12h""#);
    farm.configure("null_runs = 4", "null_runs = 0");
    let small = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    let base = farm.commit("a large trunk");
    farm.configure(&small, &base);
    farm.project("large", "cat tests/*/* | sha256sum >&2\necho 1..1\necho ok 1 - is there\n");
    farm.serve().worker(scene::WORKER, 1);
    farm.finished_build(&base, "large");
    let (mut toolchains, mut suites) = (Vec::new(), Vec::new());
    for number in 0..CHANGES {
        scene::until_idle(&mut farm)?;
        farm.edit("Lib/000/changed", &format!("{number}\n"));
        let change = farm.commit("change");
        scene::poke(&farm)?;
        farm.finished_build(&change, "large");
        toolchains.push(Attempt::of(&farm, &change, "toolchain")?);
        suites.push(Attempt::of(&farm, &change, "large")?);
    }
    for (what, attempts) in [("toolchain", toolchains), ("suite", suites)] {
        let own: Vec<Duration> = attempts.iter().map(|it| it.took.saturating_sub(it.steps)).collect();
        let steps: Vec<Duration> = attempts.iter().map(|it| it.steps).collect();
        let (own, steps) = (quantile(&own, 0.5), quantile(&steps, 0.5));
        table.row(
            format!("the farm's own time in a {what}'s attempt, {FILES} files, median of {CHANGES}"),
            milliseconds(own),
            format!(
                "{} the steps' {}; {AIM} x from steps of {:.1} s on",
                times((own + steps).as_secs_f64(), steps.as_secs_f64()),
                milliseconds(steps),
                own.as_secs_f64() / (AIM - 1.0)
            ),
        );
    }
    let log = farm.worker_log(scene::WORKER);
    let means =
        log.lines().find_map(|line| line.split_once("builds ").filter(|_| line.contains("unpacked sources")));
    table.row("  how builds get their sources", means.context("the worker logged no means")?.1, "");
    Ok(())
}

/// Fills a folder with files of text that compresses as programs do.
fn lay(farm: &Farm, folder: &str) {
    let mut dice = 1u64;
    for number in 0..FILES {
        let mut text = String::new();
        while text.len() < FILE_BYTES {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let word = dice >> 40;
            writeln!(text, "    self.value_{} = compute({word:x}, other=None)", word % 100)
                .expect("a String takes every text");
        }
        farm.write(&format!("{folder}/{:03}/{number}.py", number / 50), &text);
    }
}

struct Attempt {
    took: Duration,
    steps: Duration,
}

impl Attempt {
    /// The only attempt of a builder's only build of a change.
    fn of(farm: &Farm, change: &str, builder: &str) -> Result<Attempt> {
        let page = farm.json(&format!("/changes/{change}"))?;
        let builders = at(&page, "builders")?.as_array().context("builders are a list")?;
        let met = builders.iter().find(|met| met["builder"]["name"] == builder).context("no such builder")?;
        let build = farm.json(&format!("/builds/{}", at(met, "builds.0.build")?))?;
        let attempt = at(&build, "attempts.0")?;
        let time =
            |value: &Value| Ok(Duration::from_millis(value["duration_ms"].as_u64().context("a duration")?));
        let steps = at(attempt, "steps")?.as_array().context("steps are a list")?;
        let steps = steps.iter().map(time).sum::<Result<Duration>>()?;
        Ok(Attempt { took: time(attempt)?, steps })
    }
}
