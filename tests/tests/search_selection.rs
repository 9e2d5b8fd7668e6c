//! Probes that run only the cases in question: of a suite of many cases a search runs a few, and a suite that does something
//! else with a few cases than with all never changes an answer.

use anyhow::Result;
use serde_json::Value;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{commit_lang, culprit, farm_with_greetings, only};

/// How many cases the suite has that always pass.
const FILLERS: usize = 200;

/// A suite of many cases, the last of which tests the greeting. `asked NAME` says whether a case is to be run.
fn suite(asked: &str, greets: &str) -> String {
    format!(
        r#"n=0 bad=0
asked() {{ {asked}; }}
report() {{ n=$((n + 1)); [ "$1" = ok ] || bad=1; echo "$1 $n - $2"; }}
i=0
while [ $i -lt {FILLERS} ]; do
    i=$((i + 1))
    if asked "filler $i"; then report ok "filler $i"; fi
done
if asked greets; then if {greets}; then report ok greets; else report 'not ok' greets; fi; fi
echo "1..$n"
exit $bad
"#
    )
}

const ASKED: &str = r#"[ -z "$FARM_CASES" ] || grep -qxF "$1" "$FARM_CASES""#;
const GREETS: &str = r#"[ "$(greet)" = hello ]"#;

/// A farm whose project says that it can be asked for single cases, and a change among six that breaks the greeting.
fn searched(suite: &str) -> (Farm, String) {
    let mut farm = farm_with_greetings();
    farm.project("polite", suite);
    farm.replace_in("projects/polite.toml", "[recipe]\n", "[recipe]\nselects = true\n");
    farm.serve().worker("w1", 1);
    farm.until("the first change is decided", Farm::is_idle);
    farm.stop_master();
    commit_lang(&farm, "hello", "bye", "Explain the greeting");
    commit_lang(&farm, "hello", "bye", "Explain the farewell");
    commit_lang(&farm, "hello", "bye", "Explain the explanation");
    let wanted = commit_lang(&farm, "hullo", "bye", "Greet as in the north");
    commit_lang(&farm, "hullo", "bye", "Explain the north");
    commit_lang(&farm, "hullo", "bye", "Explain the south");
    farm.serve();
    farm.until("a change is named", |farm| {
        Ok(farm.is_idle()? && farm.breakages("polite")?.iter().any(|one| one["state"] == "named"))
    });
    (farm, wanted)
}

/// How many cases each probe of a breakage ran.
fn cases_of_probes(farm: &Farm, breakage: &Value) -> Result<Vec<i64>> {
    let mut counts = Vec::new();
    for row in breakage["evidence"].as_array().into_iter().flatten().filter(|row| row["reason"] == "probe") {
        let build = farm.json(&format!("/builds/{}", row["build"]))?;
        let count = |key: &str| build["counts"][key].as_i64().unwrap_or(0);
        counts.push(count("passed") + count("failed"));
    }
    Ok(counts)
}

fn sentences(breakage: &Value) -> String {
    let sentences = breakage["search"]["sentences"].as_array().into_iter().flatten();
    sentences.filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_search_in_a_suite_of_many_cases_runs_a_few() {
    let (farm, wanted) = searched(&suite(ASKED, GREETS));
    let breakage = only(&farm, "polite");
    assert_eq!(culprit(&breakage), Some(wanted), "{breakage:#}");
    let counts = cases_of_probes(&farm, &breakage).unwrap();
    let whole = counts.iter().filter(|count| **count > 1).count();
    assert!(counts.len() > 4 && whole <= 2, "{counts:?}");
    assert!(counts.iter().filter(|count| **count == 1).count() >= 4, "{counts:?}");
    assert!(
        sentences(&breakage).contains("asked for the cases in question only"),
        "{}",
        sentences(&breakage)
    );
    assert!(farm.json("/projects/polite").unwrap()["selection"].is_null());
}

/// The answer is right, the page says why the whole suite is run, and no case is thought to be missing.
fn assert_withdrawn(suite: &str, why: &str) {
    let (farm, wanted) = searched(suite);
    let breakage = only(&farm, "polite");
    assert_eq!(culprit(&breakage), Some(wanted), "{breakage:#}");
    assert!(sentences(&breakage).contains(why), "{}", sentences(&breakage));
    let project = farm.json("/projects/polite").unwrap();
    let sentence = project["selection"]["sentence"].as_str().unwrap_or_default();
    assert!(sentence.contains(why), "{project:#}");
}

#[test]
fn a_suite_that_ignores_what_it_is_asked_for_is_asked_no_more() {
    assert_withdrawn(&suite("true", GREETS), "ran the suite as a whole");
}

#[test]
fn a_case_that_passes_alone_ends_selection_and_the_answer_is_right() {
    let greets = format!("[ $n -eq 0 ] || {GREETS}");
    assert_withdrawn(&suite(ASKED, &greets), "passes alone");
}

#[test]
fn a_suite_that_does_not_know_the_names_it_is_asked_for_ends_selection() {
    assert_withdrawn(&suite(r#"[ -z "$FARM_CASES" ]"#, GREETS), "did not report it");
}
