//! Stories about reports that seem to say that all is well: what they leave out, contradict or hide is reported.

use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{
    commit_lang, culprit, farm_with_greetings, names, only, until_idle, until_mails,
};

const FAULT: &str = "fault:step:test ended before all its cases";

/// An idle farm with one project, whose suite writes this format.
fn idle_farm(name: &str, format: &str, suite: &str) -> Farm {
    let mut farm = farm_with_greetings();
    farm.project(name, suite);
    farm.replace_in(&format!("projects/{name}.toml"), "\"tap\"", &format!("\"{format}\""));
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    farm
}

#[test]
fn a_suite_that_ends_before_its_plan_and_exits_with_0_is_a_breakage() {
    let suite = "echo 1..3; echo 'ok 1 - a'\n[ \"$(part)\" = bye ] && { echo 'ok 2 - b'; echo 'ok 3 - c'; }\nexit 0\n";
    let mut farm = idle_farm("short", "tap", suite);
    let breaking = commit_lang(&farm, "hello", "cheerio", "Part informally");
    let build = farm.finished_build(&breaking, "short");
    assert_eq!(
        (build["outcome"].as_str(), build["cause"].as_str()),
        (Some("failed"), Some("report")),
        "{build}"
    );
    let mails = until_mails(&mut farm, 1);
    let breakage = only(&farm, "short");
    assert_eq!(names(&breakage, "cases"), [FAULT, "step:test"]);
    assert_eq!((names(&breakage, "not_run"), culprit(&breakage)), (vec![], Some(breaking)));
    assert!(mails[0].contains("The plan is for 3 tests, but 1 came."), "{}", mails[0]);
    let page = farm.get(&format!("/builds/{}", build["id"])).unwrap();
    assert!(page.contains("its report is not whole"), "{page}");
}

#[test]
fn a_failure_is_not_hidden_by_a_case_of_the_same_name_in_another_suite() {
    let case = |suite: &str, inside: &str| {
        format!(
            "<testsuite name='{suite}'><testcase classname='adds' name='adds'>{inside}</testcase></testsuite>"
        )
    };
    let (bad, good) = (case("b.js", "<failure message='new'/>"), case("b.js", ""));
    let old = case("a.js", "<failure message='old'/>");
    let suite = format!(
        "if [ \"$(part)\" = bye ]; then b=\"{good}\"; else b=\"{bad}\"; fi\n\
         echo \"<testsuites>{old}$b</testsuites>\" > $FARM_OUT/r.xml\nexit 1\n"
    );
    let mut farm = idle_farm("twin", "junit", &suite);
    let breaking = commit_lang(&farm, "hello", "cheerio", "Part informally");
    until_mails(&mut farm, 1);
    let breakage = only(&farm, "twin");
    assert_eq!((names(&breakage, "cases"), culprit(&breakage)), (vec!["adds [b.js]".into()], Some(breaking)));
}

/// GoogleTest's text names each case, so the one that breaks in a red suite is news.
#[test]
fn a_case_of_googletest_that_breaks_in_a_red_suite_is_reported_by_its_name() {
    let suite = "run() { echo \"[ RUN      ] $1\"; shift; if [ $1 = ok ]; then echo \"[       OK ] $2 (0 ms)\"; \
                 else echo \"[  FAILED  ] $2 (0 ms)\"; fi; }\n\
                 echo '[==========] Running 2 tests from 1 test suite.'\n\
                 run Words.Old bad Words.Old\n\
                 [ \"$(part)\" = bye ] && how=ok || how=bad\nrun Words.Parts $how Words.Parts\n\
                 echo '[==========] 2 tests from 1 test suite ran. (0 ms total)'\nexit 1\n";
    let mut farm = idle_farm("words", "gtest", suite);
    let breaking = commit_lang(&farm, "hello", "cheerio", "Part informally");
    until_mails(&mut farm, 1);
    let breakage = only(&farm, "words");
    assert_eq!((names(&breakage, "cases"), culprit(&breakage)), (vec!["Words.Parts".into()], Some(breaking)));
}

#[test]
fn a_project_reads_its_cases_by_patterns_of_its_own() {
    let mut farm = farm_with_greetings();
    let suite = "echo 'old ... bad'; [ \"$(part)\" = bye ] && echo 'parts ... good' || echo 'parts ... bad'\n\
                 echo '2 done'; exit 1\n";
    farm.project("own", suite);
    farm.replace_in(
        "projects/own.toml",
        "\"tap\"",
        "{ pass = '^(?P<case>\\S+) ... good$', fail = '^(?P<case>\\S+) ... bad$', end = '^(?P<total>\\d+) done$' }",
    );
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let breaking = commit_lang(&farm, "hello", "cheerio", "Part informally");
    until_mails(&mut farm, 1);
    let breakage = only(&farm, "own");
    assert_eq!((names(&breakage, "cases"), culprit(&breakage)), (vec!["parts".into()], Some(breaking)));
}

/// The tests never end on this machine, so they show nothing. What compiled before compiles no more.
#[test]
fn a_step_that_breaks_is_reported_though_its_neighbour_never_ended() {
    let mut farm = farm_with_greetings();
    farm.project("slow", "[ \"$(part)\" = bye ] && sleep 600\necho 1..1; echo 'ok 1 - a'\n");
    farm.replace_in(
        "projects/slow.toml",
        "steps = [",
        "steps = [{ name = \"build\", kind = \"compile\", run = \"lang ./build\" }, ",
    );
    farm.replace_in(
        "projects/slow.toml",
        "time = \"20s\", silence = \"10s\"",
        "time = \"20s\", silence = \"2s\"",
    );
    farm.write("slow/build", "[ \"$(part)\" = bye ]\n");
    farm.revise("slow", "[ \"$(part)\" = bye ] && sleep 600\necho 1..1; echo 'ok 1 - a'\n");
    farm.serve().worker("w1", 2);
    until_idle(&mut farm, 2);
    let breaking = commit_lang(&farm, "hello", "cheerio", "Part informally");
    until_mails(&mut farm, 1);
    let breakage = only(&farm, "slow");
    assert_eq!((names(&breakage, "cases"), culprit(&breakage)), (vec!["step:build".into()], Some(breaking)));
}
