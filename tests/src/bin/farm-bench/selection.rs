//! What a probe costs that runs one case of a suite of ten thousand, next to a run of the whole suite in the same search.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{commit_lang, farm_with_greetings};

use crate::table::{Table, milliseconds, quantile};

const CASES: usize = 10_000;
/// How much of a whole run a probe may cost.
const ALLOWED: f64 = 0.05;

/// Each case counts for a while, as a test of a millisecond would.
fn suite() -> String {
    format!(
        r#"n=0 bad=0
one() {{
    n=$((n + 1)) i=0
    while [ $i -lt 500 ]; do i=$((i + 1)); done
    if [ "$1" = "case 7" ] && [ "$(greet)" != hello ]; then bad=1; echo "not ok $n - $1"; else echo "ok $n - $1"; fi
}}
if [ -n "$FARM_CASES" ]; then
    while read -r name; do one "$name"; done < "$FARM_CASES"
else
    while [ $n -lt {CASES} ]; do one "case $n"; done
fi
echo "1..$n"
exit $bad
"#
    )
}

pub fn measure(table: &mut Table) -> Result<()> {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    farm.project("many", &suite());
    farm.replace_in("projects/many.toml", "[recipe]\n", "[recipe]\nselects = true\n");
    farm.replace_in("projects/many.toml", "time = \"20s\"", "time = \"120s\"");
    farm.serve().worker("w1", 1);
    farm.until("the first change is decided", Farm::is_idle);
    commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    farm.until("the change is named", |farm| {
        Ok(farm.is_idle()? && farm.breakages("many")?.iter().any(|one| one["state"] == "named"))
    });
    let (mut selected, mut whole) = (Vec::new(), Vec::new());
    let breakage = farm.breakages("many")?.into_iter().next().context("there is one breakage")?;
    for row in breakage["evidence"].as_array().into_iter().flatten() {
        let build = farm.json(&format!("/builds/{}", row["build"]))?;
        let took = build["attempts"][0]["duration_ms"].as_u64().context("a build that ran took its time")?;
        let ran = count(&build, "passed") + count(&build, "failed");
        let times = if ran > CASES as u64 / 2 { &mut whole } else { &mut selected };
        times.push(Duration::from_millis(took));
    }
    ensure!(selected.len() >= 4 && !whole.is_empty(), "{} selected, {} whole", selected.len(), whole.len());
    let [of_selected, of_whole] = [&selected, &whole].map(|all| quantile(all, 0.5));
    let share = of_selected.as_secs_f64() / of_whole.as_secs_f64();
    table.row(
        format!("a probe of 1 of {CASES} cases, median of {}", selected.len()),
        milliseconds(of_selected),
        format!(
            "{:.1} % of a whole run of {}; aim: {:.0} %",
            100.0 * share,
            milliseconds(of_whole),
            100.0 * ALLOWED
        ),
    );
    Ok(())
}

fn count(build: &Value, key: &str) -> u64 {
    build["counts"][key].as_u64().unwrap_or(0)
}
