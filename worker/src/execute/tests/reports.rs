//! What a step reports about its cases, and when that counts.

use super::*;

fn reporting(format: ReportFormat, run: &str) -> RecipeStep {
    RecipeStep { report: Some(format), ..step(run) }
}

#[test]
fn a_report_outweighs_exit_code_zero() {
    use ReportFormat::{Junit, Tap};
    let junit = "<testsuite><testcase name=\"a\"/></testsuite>";
    for sandbox in sandboxes() {
        for (format, run, expected) in [
            (Tap, "echo 1..1; echo ok 1 - a; echo not ok 2 - noise >&2".to_string(), exit(0)),
            (Tap, "echo 1..1; echo not ok 1 - a".to_string(), StepEnd::BadReport { failed: 1 }),
            (Tap, "echo 1..1; echo not ok 1 - a; exit 1".to_string(), exit(1)),
            (Tap, "echo nothing of the kind".to_string(), StepEnd::NoTests),
            (Tap, "exit 4".to_string(), exit(4)),
            (Junit, format!("echo '{junit}' > $FARM_OUT/a.xml"), exit(0)),
            (Junit, "echo ok 1 - a".to_string(), StepEnd::NoTests),
        ] {
            let received = TestBuild::suite(&sandbox, vec![reporting(format, &run)]).run();
            assert_eq!(received.ends, [expected], "{run}: {}", received.log);
            assert!(received.result.results.is_some());
        }
    }
}

#[test]
fn output_that_is_a_report_is_also_in_the_log() {
    let received =
        TestBuild::suite(&Sandbox::None, vec![reporting(ReportFormat::Tap, "echo 1..1; echo ok 1 - a")])
            .run();
    assert_eq!(received.log, "1..1\nok 1 - a\n");
}

/// `name verdict` of every case, and whether these are all.
fn cases(received: &Received) -> (Vec<String>, bool) {
    let (list, results) = received.result.results.as_ref().expect("a suite has results");
    let cases = list.names().zip(results.verdicts.iter()).map(|(name, verdict)| format!("{name} {verdict}"));
    (cases.collect(), results.complete)
}

#[test]
fn every_step_is_a_case_besides_those_that_it_reports() {
    let steps = vec![
        RecipeStep { name: "deps".into(), kind: StepKind::Fetch, ..step("true") },
        reporting(ReportFormat::Tap, "echo 1..2; echo ok 1 - a; echo not ok 2 - b; exit 1"),
    ];
    let received = TestBuild::suite(&Sandbox::None, steps).run();
    assert_eq!(
        cases(&received),
        (["a pass", "b fail", "step:deps pass", "step:step fail"].map(String::from).to_vec(), true)
    );
}

#[test]
fn cases_after_a_failure_are_unreached_and_not_missing() {
    let mut hung = reporting(ReportFormat::Tap, "echo 1..2; echo ok 1 - a; sleep 600");
    hung.silence_ms = Some(300);
    assert_eq!(
        cases(&TestBuild::suite(&Sandbox::None, vec![hung]).run()),
        (
            ["a pass", "fault:step:step ended before all its cases fail", "step:step fail"]
                .map(String::from)
                .to_vec(),
            false
        )
    );
    let steps = vec![
        RecipeStep { kind: StepKind::Compile, ..step("false") },
        reporting(ReportFormat::Tap, "echo 1..1; echo ok 1 - a"),
    ];
    let (cases, complete) = cases(&TestBuild::suite(&Sandbox::None, steps).run());
    assert_eq!((cases, complete), (vec!["step:step fail".to_string()], false));
}

#[test]
fn a_report_that_is_a_link_is_not_followed() {
    for sandbox in sandboxes() {
        let run = "echo 1..1 > secret; echo ok 1 - a >> secret; ln -s $FARM_SOURCE/secret $FARM_OUT/a.tap";
        let received = TestBuild::suite(&sandbox, vec![reporting(ReportFormat::Tap, run)]).run();
        assert_eq!(received.ends, [StepEnd::NoTests]);
        assert_eq!(received.warnings, ["a.tap is a symbolic link, and was not followed."]);
    }
}

#[test]
fn no_step_is_judged_by_the_report_of_another_step() {
    let first = reporting(ReportFormat::Tap, "echo 1..1 > $FARM_OUT/a.tap; echo ok 1 - a >> $FARM_OUT/a.tap");
    let second = reporting(ReportFormat::Tap, "true");
    let received = TestBuild::suite(&Sandbox::None, vec![first, second]).run();
    assert_eq!(received.ends, [exit(0), StepEnd::NoTests]);
}

#[test]
fn the_patterns_of_a_project_read_what_its_step_prints() {
    let patterns = protocol::ReportPatterns {
        pass: Some("^good: (?P<case>.+)".into()),
        fail: "^bad: (?P<case>.+)".into(),
        skip: None,
        end: Some("^that was all".into()),
    };
    for (run, expected, end) in [
        (
            "echo good: a; echo good: b; echo that was all",
            vec!["a pass", "b pass", "step:step pass"],
            exit(0),
        ),
        (
            "echo good: a; echo bad: b; echo that was all",
            vec!["a pass", "b fail", "step:step fail"],
            StepEnd::BadReport { failed: 1 },
        ),
        (
            "echo good: a",
            vec!["a pass", "fault:step:step ended before all its cases fail", "step:step fail"],
            StepEnd::BadReport { failed: 0 },
        ),
        ("echo that was all", vec!["step:step fail"], StepEnd::NoTests),
    ] {
        let step = RecipeStep { patterns: Some(patterns.clone()), ..reporting(ReportFormat::Lines, run) };
        let received = TestBuild::suite(&Sandbox::None, vec![step]).run();
        assert_eq!(
            (cases(&received).0, received.ends),
            (expected.into_iter().map(String::from).collect(), vec![end]),
            "{run}"
        );
    }
}
