//! Invalid test reports, from a real suite on a real worker: what can be read counts, the build's page shows a warning, a
//! report that is not whole fails its step, and no run without tests is green.

use serde_json::Value;
use trunkfarm_tests::farm::{Farm, at};

/// However much a suite reports, a worker and a master each use less memory than this.
const FLAT: u64 = 200 << 20;

/// A farm that has run one suite, which printed a report.
struct Reported {
    farm: Farm,
    build: Value,
}

fn reported(format: &str, script: &str, exit: i32) -> Reported {
    let mut farm = Farm::create();
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.project("odd", &format!("{script}\nexit {exit}\n"));
    farm.replace_in("projects/odd.toml", "\"tap\"", &format!("\"{format}\""));
    farm.replace_in(
        "projects/odd.toml",
        "time = \"20s\", silence = \"10s\"",
        "time = \"100s\", silence = \"100s\"",
    );
    farm.serve().worker("w1", 1);
    let build = farm.finished_build(&base, "odd");
    Reported { farm, build }
}

impl Reported {
    /// The outcome (`passed` or `failed exit`), and how many cases passed.
    fn outcome_and_passes(&self) -> (String, i64) {
        let words = [&self.build["outcome"], &self.build["cause"]];
        let words: Vec<&str> = words.into_iter().filter_map(Value::as_str).collect();
        (words.join(" "), self.build["counts"]["passed"].as_i64().unwrap_or(-1))
    }

    /// Asserts that the build's page and its JSON show this warning for the step.
    fn warns(&self, warning: &str) -> &Reported {
        let warnings = at(&self.build, "attempts.0.steps.0.warnings").unwrap();
        let said: Vec<&str> = warnings.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(said.iter().any(|said| said.contains(warning)), "`{warning}` is not among {said:?}");
        let page = self.farm.get(&format!("/builds/{}", self.build["id"])).unwrap();
        assert!(page.contains(warning), "the page does not say `{warning}`");
        self
    }
}

/// Asserts that the step is judged by its exit code: the case `a` passes, and so does the step if it exits with 0.
fn assert_judged_by_its_exit_code(format: &str, script: &str, warning: &str) {
    assert_judged(format, script, warning, ("passed", 2));
}

/// Asserts that the step has failed whatever its exit code, and that the case `a` passes.
fn assert_not_whole(format: &str, script: &str, warning: &str) {
    assert_judged(format, script, warning, ("failed report", 1));
}

fn assert_judged(format: &str, script: &str, warning: &str, with_exit_0: (&str, i64)) {
    for (exit, came_to) in [(0, with_exit_0), (1, ("failed exit", 1))] {
        let reported = reported(format, script, exit);
        reported.warns(warning);
        assert_eq!(reported.outcome_and_passes(), (came_to.0.to_string(), came_to.1), "exit {exit}");
    }
}

#[test]
fn a_truncated_tap_report_counts_as_far_as_it_goes() {
    assert_not_whole("tap", "echo 1..3; echo 'ok 1 - a'", "The plan is for 3 tests, but 1 came.");
}

#[test]
fn a_truncated_junit_report_counts_as_far_as_it_goes() {
    let script = r#"printf '<testsuite><testcase name="a"/><testcase name="b"><fail' > $FARM_OUT/r.xml"#;
    assert_not_whole("junit", script, "r.xml: ");
}

#[test]
fn a_report_of_100_mb_counts_up_to_the_limit_and_does_not_fill_memory() {
    let script =
        "{ echo 1..1; echo 'ok 1 - a'; head -c 100000000 /dev/zero | tr '\\0' '#'; } > $FARM_OUT/r.tap";
    let mut reported = reported("tap", script, 0);
    reported.warns("The report is larger than 64 MiB; the rest was not read.");
    assert_eq!(reported.outcome_and_passes(), ("passed".to_string(), 2));
    assert!(reported.farm.worker_process("w1").peak_memory_bytes() < FLAT);
    assert!(reported.farm.master().peak_memory_bytes() < FLAT);
}

#[test]
fn a_report_of_100_mb_on_the_standard_output_counts_up_to_the_limit_and_does_not_fill_memory() {
    let script = "echo 1..1; echo 'ok 1 - a'; head -c 100000000 /dev/zero | tr '\\0' '#'";
    let mut reported = reported("tap", script, 0);
    reported.warns("The report is larger than 64 MiB; the rest was not read.");
    assert_eq!(reported.outcome_and_passes(), ("passed".to_string(), 2));
    assert!(reported.farm.worker_process("w1").peak_memory_bytes() < FLAT);
    assert!(reported.farm.master().peak_memory_bytes() < FLAT);
}

#[test]
fn a_report_that_is_not_utf8_is_read_as_latin1() {
    assert_judged_by_its_exit_code("tap", "printf '1..1\\nok 1 - caf\\351\\n'", "not UTF-8");
}

#[test]
fn an_entity_bomb_is_not_expanded() {
    let mut bomb = String::from("<!DOCTYPE bomb [<!ENTITY e0 \"boom\">");
    for level in 1..10 {
        let before = format!("&e{};", level - 1);
        bomb += &format!("<!ENTITY e{level} \"{}\">", before.repeat(10));
    }
    bomb += "]><testsuite><testcase name=\"a\"/><testcase name=\"&e9;\"><skipped>&e9;</skipped></testcase></testsuite>";
    let script = format!("cat > $FARM_OUT/r.xml <<'END'\n{bomb}\nEND");
    let mut reported = reported("junit", &script, 0);
    reported.warns("The report declares entities; they are not expanded.");
    assert_eq!(reported.outcome_and_passes(), ("passed".to_string(), 2));
    assert!(reported.farm.worker_process("w1").peak_memory_bytes() < FLAT);
}

#[test]
fn cases_with_the_same_name_count_as_one_case_with_the_worst_verdict() {
    let script = "echo 1..4; echo 'ok 1 - a'; echo 'ok 2 - b'; echo 'not ok 3 - b'; echo 'ok 4 - b'";
    let reported = reported("tap", script, 1);
    reported.warns("`b` stands for more than one case; of those the worst verdict counts.");
    assert_eq!(reported.outcome_and_passes(), ("failed exit".to_string(), 1));
    assert_eq!(reported.build["counts"]["failed"], 2, "b and the step");
}

#[test]
fn a_report_without_a_plan_counts_as_far_as_it_goes() {
    assert_judged_by_its_exit_code(
        "tap",
        "echo 'ok 1 - a'",
        "The stream has no plan; it may have ended too early.",
    );
}

#[test]
fn a_report_with_a_wrong_plan_counts_as_far_as_it_goes() {
    assert_not_whole("tap", "echo 1..0; echo 'ok 1 - a'", "The plan is for 0 tests, but 1 came.");
}

#[test]
fn an_invalid_report_leaves_the_exit_code_and_is_not_green() {
    for (exit, came_to) in [(0, "failed no-tests"), (7, "failed exit")] {
        let reported = reported("tap", "echo hello", exit);
        reported.warns("The report is not TAP: it has neither a plan nor a test line.");
        assert_eq!(reported.outcome_and_passes(), (came_to.to_string(), 0));
    }
}

#[test]
fn a_suite_that_reports_zero_tests_is_not_green() {
    let reported = reported("tap", "echo 1..0", 0);
    reported.warns("The plan is to run no test at all.");
    assert_eq!(reported.outcome_and_passes(), ("failed no-tests".to_string(), 0));
}

#[test]
fn a_suite_that_skips_every_test_is_not_green() {
    let script = "echo 1..2; echo 'ok 1 - a # SKIP no net'; echo 'ok 2 - b # SKIP no net'";
    assert_eq!(reported("tap", script, 0).outcome_and_passes(), ("failed no-tests".to_string(), 0));
}

#[test]
fn a_suite_that_writes_no_report_is_not_green() {
    let reported = reported("junit", "echo all is well", 0);
    reported.warns("No case was reported: expected $FARM_OUT/*.xml.");
    assert_eq!(reported.outcome_and_passes(), ("failed no-tests".to_string(), 0));
}
