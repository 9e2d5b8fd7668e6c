//! A report that is not whole is no good news, and what one runner prints within another is none of the outer one's. The
//! reports here are made by hand after what runners print.

use proptest::prelude::*;
use protocol::ReportFormat::{self, Go, Junit, Libtest, Lines, Luaunit, Pytest, Tap, Trial, Unittest};
use protocol::Verdict;
use trunkfarm_domain::readers::{Reading, read};

/// Whether a step that exits with 0 passes with this report.
fn passes(reading: &Reading) -> bool {
    reading.ran > 0 && reading.broken.is_empty() && reading.cases.iter().all(|case| !case.verdict.is_bad())
}

/// `a pass; b fail`, with `...` if not all cases are named, and `!` if a promise is broken.
fn picture(format: ReportFormat, report: &str) -> String {
    let reading = read(format, report.as_bytes());
    let mut words: Vec<String> =
        reading.cases.iter().map(|case| format!("{} {}", case.name, case.verdict)).collect();
    words.extend((!reading.complete).then(|| "...".to_string()));
    words.extend((!reading.broken.is_empty()).then(|| "!".to_string()));
    words.join("; ")
}

const PYTEST: &str = "\
============================= test session starts ==============================
collected 2 items

a.py::test_a PASSED                                                      [ 50%]
a.py::test_b PASSED                                                      [100%]

============================== 2 passed in 0.01s ===============================
";
const UNITTEST: &str = "\
test_a (m.C.test_a) ... ok
test_b (m.C.test_b)
It adds. ... ok

----------------------------------------------------------------------
Ran 2 tests in 0.001s

OK
";
const TRIAL: &str = "\
m
  C
    test_a ...                                                            [OK]
    test_b ...                                                            [OK]

-------------------------------------------------------------------------------
Ran 2 tests in 0.010s

PASSED (successes=2)
";
const LIBTEST: &str = "
running 2 tests
test a ... ok
test b ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
const LUAUNIT: &str = "\
Started on 01/02/26 03:04:05
    C.test_a ... Ok
    C.test_b ... Ok
=========================================================
Ran 2 tests in 0.001 seconds, 2 successes, 0 failures
OK
";
const GO: &str = r#"{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Test":"TestB","Elapsed":0}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p","Elapsed":0.1}
"#;
const TAP: &str = "TAP version 13\n1..2\nok 1 - a\nok 2 - b\n";
const JUNIT: &str = "<?xml version='1.0'?><testsuites><testsuite name='s' tests='2' time='1'>\
                     <testcase classname='k' name='a'/><testcase classname='k' name='b'/></testsuite></testsuites>";

/// A whole report of each format, and the words after which nothing of it can be missing.
const WHOLE: [(ReportFormat, &str, &str); 8] = [
    (Pytest, PYTEST, "2 passed in 0.01s ="),
    (Unittest, UNITTEST, "\nOK"),
    (Trial, TRIAL, "PASSED"),
    (Libtest, LIBTEST, "test result: ok."),
    (Luaunit, LUAUNIT, " seconds, "),
    (Go, GO, "\"Package\":\"p\",\"Elapsed\":0.1}"),
    (Tap, TAP, "ok 2"),
    (Junit, JUNIT, "</testsuites>"),
];

#[test]
fn a_whole_report_passes() {
    for (format, report, _) in WHOLE {
        let reading = read(format, report.as_bytes());
        assert!(passes(&reading) && reading.complete, "{format:?}: {reading:?}");
        assert_eq!(reading.cases.len(), 2, "{format:?}: {reading:?}");
    }
}

#[test]
fn a_report_that_is_cut_off_anywhere_is_no_pass() {
    for (format, report, end) in WHOLE {
        let end = report.rfind(end).unwrap() + end.len();
        for at in 0..end {
            let reading = read(format, &report.as_bytes()[..at]);
            assert!(!passes(&reading), "{format:?} cut at {at}: {reading:?}");
        }
    }
}

#[test]
fn a_report_that_contradicts_itself_breaks_a_promise() {
    for (format, report, expected) in [
        (Tap, "1..4\nok 1 - a\nok 2 - b\n", "a pass; b pass; ...; !"),
        (Tap, "1..3\nok 1 - a\nworking...not ok 2 - b\nok 3 - c\n", "a pass; b fail; c pass"),
        (Tap, "1..3\nok 1 - a\nworking... ok 2 - b\nok 3 - c\n", "a pass; b pass; c pass"),
        (Tap, "1..2\nok 1 - a\nBail out! no disk\n", "a pass; ...; !"),
        (Tap, "TAP version 13\nok 1 - a\n", "a pass; ...; !"),
        (Tap, "ok 1 - a\n", "a pass"),
        (
            Junit,
            "<testsuites><testsuite name='net' tests='2' errors='1'><error message='no server'>trace</error>\
             <testcase name='opens'/><testcase name='closes'/></testsuite></testsuites>",
            "fault:net error; opens pass; closes pass; ...; !",
        ),
        (
            Junit,
            "<testsuite name='net' tests='1' errors='1'><error message='no class'>trace</error></testsuite>",
            "fault:net error; ...; !",
        ),
        (Junit, "<testsuites><testsuite name='s'><testcase name='a'/>", "a pass; ...; !"),
        (
            Junit,
            "<testsuites><testsuite name='s' tests='3' failures='0' errors='1'><testcase name='a'/></testsuite></testsuites>",
            "a pass; ...; !",
        ),
        (Junit, "<testsuite tests='3' failures='1'><testcase name='a'/></testsuite>", "a pass; ...; !"),
        (Junit, "<testsuite tests='3'><testcase name='a'/></testsuite>", "a pass; ...; !"),
        (Junit, "<testsuite tests='3' skipped='2'><testcase name='a'/></testsuite>", "a pass"),
        // These writers count assertions, or subtests.
        (Junit, "<testsuite tests='3' hostname='tbd'><testcase name='a'/></testsuite>", "a pass"),
        (Junit, "<testsuite tests='3'><testcase name='a' status='run'/></testsuite>", "a pass"),
        (Junit, "<testsuite name='pytest' tests='3'><testcase name='a'/></testsuite>", "a pass"),
        (Junit, "<testsuite><testcase name='a' status='failed'/></testsuite>", "a fail"),
        (Junit, "<testsuite><testcase name='a' result='skipped'/></testsuite>", "a skip"),
        (Junit, "<testsuite><testcase name='a' status='odd'/></testsuite>", "a unreached; ...; !"),
        (
            Junit,
            "<testsuite><testcase name='a'><testcase name='b'><failure/></testcase></testcase></testsuite>",
            "a fail; ...; !",
        ),
        (
            Junit,
            "<testsuite><testcase name='a'><testcase name='b'/></testcase></testsuite>",
            "a unreached; ...; !",
        ),
        (Junit, "<testsuite><testcase name='a'><odd/></testcase></testsuite>", "a unreached; ...; !"),
        (Junit, "<testsuite><testcase name='a'><x:odd/></testcase></testsuite>", "a pass"),
        (Junit, "<testsuite><testcase name='a'/><odd/></testsuite>", "a pass; ...; !"),
        (
            Pytest,
            &PYTEST.replace("2 passed", "1 failed, 1 passed"),
            "a.py::test_a pass; a.py::test_b pass; ...; !",
        ),
        (
            Pytest,
            &PYTEST.replace("2 passed", "1 odd, 1 passed"),
            "a.py::test_a pass; a.py::test_b pass; ...; !",
        ),
        (
            Unittest,
            &UNITTEST.replace("OK", "FAILED (failures=1)"),
            "m.C.test_a pass; m.C.test_b pass; ...; !",
        ),
        (Trial, &TRIAL.replace("PASSED", "FAILED (failures=1)"), "m.C.test_a pass; m.C.test_b pass; ...; !"),
        (Libtest, &LIBTEST.replace("2 passed; 0 f", "1 passed; 1 f"), "a pass; b pass; ...; !"),
        (Libtest, &LIBTEST.replace("2 tests", "3 tests"), "a pass; b pass; ...; !"),
        (Luaunit, &LUAUNIT.replace("0 failures", "1 failure"), "C.test_a pass; C.test_b pass; ...; !"),
    ] {
        assert_eq!(picture(format, report), expected, "{report}");
    }
}

#[test]
fn a_broken_promise_is_named() {
    for (format, report, sentence) in [
        (Tap, "1..4\nok 1 - a\nok 2 - b\n", "The plan is for 4 tests, but 2 came."),
        (
            Junit,
            "<testsuite name='s' tests='3' errors='1'><testcase name='a'/></testsuite>",
            "Suite `s` counts more errors (1) than it holds (0): it is incomplete.",
        ),
        (
            Unittest,
            "test_a (m.C.test_a) ... odd\n",
            "The runner's last line is missing; it may have ended too early.",
        ),
    ] {
        assert_eq!(read(format, report.as_bytes()).broken, [sentence]);
    }
}

#[test]
fn a_suite_that_fails_by_itself_has_its_message() {
    let report = "<testsuite name='net'><error message='no server'>trace</error></testsuite>";
    let reading = read(Junit, report.as_bytes());
    assert_eq!(reading.cases[0].text.as_deref(), Some("no server\ntrace"));
}

/// A bound of the farm is not the report's fault.
#[test]
fn a_report_over_our_bounds_breaks_no_promise() {
    let many = format!("1..300000\n{}", "ok\n".repeat(300_000));
    let reading = read(Tap, many.as_bytes());
    assert!(!reading.complete && reading.broken.is_empty(), "{:?}", reading.broken);
}

#[test]
fn a_runner_that_stops_on_purpose_breaks_no_promise() {
    let pytest = "=== test session starts ===\na.py::test_a FAILED [ 25%]\n=== FAILURES ===\n____ test_a ____\nE   no\n\
                  === short test summary info ===\nFAILED a.py::test_a - no\n\
                  !!!! stopping after 1 failures !!!!\n=== 1 failed in 0.01s ===\n";
    let luaunit = "Started on 01/02/26\n    C.test_a ... FAIL\nno\nLuaUnit ABORTED (as requested by --failure option)\n\
                   Failed tests:\n-------------\n1) C.test_a\nno\n\n\
                   Ran 1 tests in 0.001 seconds, 0 successes, 1 failure\n";
    let cargo = "running 1 test\ntest a ... FAILED\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n\
                 \nerror: test failed, to rerun pass `--lib`\n";
    for (format, report, expected) in [
        (Pytest, pytest, "a.py::test_a fail; ..."),
        (Luaunit, luaunit, "C.test_a fail; ..."),
        (Libtest, cargo, "a fail; ..."),
        (Libtest, &format!("{cargo}error: 1 target failed:\n    `--lib`\n"), "a fail"),
    ] {
        assert_eq!(picture(format, report), expected, "{report}");
    }
}

const INNER_PYTEST: &str = "\
============================= test session starts ==============================
collected 2 items

test_inner.py .F                                                         [100%]

=================================== FAILURES ===================================
___________________________________ test_bad ___________________________________
E   assert 0
=========================== short test summary info ============================
FAILED test_inner.py::test_bad - assert 0
========================= 1 failed, 1 passed in 0.10s ==========================
";
const INNER_UNITTEST: &str = "\
test_x (inner.C.test_x) ... ok
test_y (inner.C.test_y) ... FAIL

======================================================================
FAIL: test_y (inner.C.test_y)
----------------------------------------------------------------------
AssertionError: no

----------------------------------------------------------------------
Ran 2 tests in 0.000s

FAILED (failures=1)
";
const INNER_LIBTEST: &str = "
running 2 tests
test inner::x ... ok
test inner::y ... FAILED

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

";
const INNER_TAP: &str = "TAP version 13\n1..2\nok 1 - x\nnot ok 2 - y\n";
const INNER_LUAUNIT: &str = "\
Started on 01/02/26 03:04:05
    Inner.test_x ... Ok
    Inner.test_y ... FAIL
no
Failed tests:
-------------
1) Inner.test_y
no

Ran 2 tests in 0.001 seconds, 1 success, 1 failure
";

/// A runner's report in which a case prints the report of another run, so many times.
fn nested(format: ReportFormat, times: usize) -> String {
    match format {
        Pytest => format!(
            "{}\n==================================== PASSES ====================================\n\
             ____________________________________ test_a ____________________________________\n\
             ----------------------------- Captured stdout call -----------------------------\n{}\
             =========================== short test summary info ============================\n\
             PASSED a.py::test_a\nPASSED a.py::test_b\n\
             ============================== 2 passed in 0.01s ===============================\n",
            PYTEST.rsplit_once("\n\n").unwrap().0,
            INNER_PYTEST.repeat(times),
        ),
        Unittest => UNITTEST.replacen(" ... ok", &format!(" ... {}ok", INNER_UNITTEST.repeat(times)), 1),
        Libtest => LIBTEST.replacen(" ... ok", &format!(" ... {}ok", INNER_LIBTEST.repeat(times)), 1),
        Luaunit => LUAUNIT.replacen(" ... Ok", &format!(" ... {}Ok", INNER_LUAUNIT.repeat(times)), 1),
        Tap => TAP.replacen("ok 1", &format!("{}ok 1", INNER_TAP.repeat(times)), 1),
        other => unreachable!("{other:?} prints no other run"),
    }
}

#[test]
fn a_run_within_a_case_yields_no_case() {
    for (format, report) in
        [(Pytest, PYTEST), (Unittest, UNITTEST), (Libtest, LIBTEST), (Luaunit, LUAUNIT), (Tap, TAP)]
    {
        for times in 1..4 {
            let report_with = nested(format, times);
            assert_eq!(picture(format, &report_with), picture(format, report), "{report_with}");
        }
    }
    // With `-s`, pytest prints it among the cases.
    let live = PYTEST.replacen(" PASSED", &format!(" {INNER_PYTEST}PASSED"), 1);
    assert_eq!(picture(Pytest, &live), picture(Pytest, PYTEST));
    // The banner of another program begins no session.
    let banner = format!("========== unit tests ==========\na.py::test_a is next\n{PYTEST}");
    assert_eq!(picture(Pytest, &banner), picture(Pytest, PYTEST));
    // A quiet session has no headings, and a quiet run no names.
    let quiet = "1 failed, 1 passed in 0.10s\nFAILED test_inner.py::test_bad - assert 0\n";
    let report = nested(Pytest, 1).replace(INNER_PYTEST, quiet);
    assert_eq!(picture(Pytest, &report), picture(Pytest, PYTEST));
    let dots = UNITTEST.replacen(
        " ... ok",
        &format!(" ... ..\n{}\nRan 7 tests in 0.000s\n\nOK\nok", "-".repeat(70)),
        1,
    );
    assert_eq!(picture(Unittest, &dots), picture(Unittest, UNITTEST));
    // The inner plan may come at the end.
    let behind = "1..3\nok 1 - a\nok 1 - x\nnot ok 2 - y\n1..2\nok 2 - b\nok 3 - c\n";
    assert_eq!(picture(Tap, behind), "a pass; b pass; c pass");
    let in_the_second = "1..2\nok 1 - a\n1..1\nok 1 - x\nok 2 - b\n";
    assert_eq!(picture(Tap, in_the_second), "a pass; b pass");
}

#[test]
fn a_program_that_dies_before_the_next_one_is_not_kept_by_it() {
    let report = "1..4\nok 1 - a\n1..2\nok 1 - c\nok 2 - d\n";
    assert!(!passes(&read(Tap, report.as_bytes())));
    let report = format!("{}\n{PYTEST}", PYTEST.rsplit_once("\n\n").unwrap().0);
    assert!(!passes(&read(Pytest, report.as_bytes())));
}

#[test]
fn a_subtest_in_braces_belongs_to_the_line_before_its_diagnostics() {
    let report = "TAP version 13\n1..2\nnot ok 1 - opens # time=3.1ms\n  ---\n  duration_ms: 3.1\n  ...\n{\n    1..2\n    \
                  ok 1 - reads\n    not ok 2 - writes\n}\nok 2 - closes\n";
    assert_eq!(picture(Tap, report), "opens > reads pass; opens > writes fail; closes pass");
}

#[test]
fn doctests_functions_and_descriptions_are_cases_of_unittest() {
    let rule = "-".repeat(70);
    let double = "=".repeat(70);
    let end = |count: usize, words: &str| format!("\n{rule}\nRan {count} tests in 0.1s\n\n{words}\n");
    for (lines, end, expected) in [
        ("docs/words.txt\nDoctest: words.txt ... ok\n", end(1, "OK"), "words.txt pass"),
        (
            "a.b.test_c ... ok\na.b.test_d(1, 2) ... ok\n",
            end(2, "OK"),
            "a.b.test_c pass; a.b.test_d(1, 2) pass",
        ),
        ("It adds ... ok\nIt splits ... ok\n", end(2, "OK"), "It adds pass; It splits pass"),
        // More than the runner counts: these are no cases.
        ("a.b.test_c ... ok\nLoading words ... ok\n", end(1, "OK"), "a.b.test_c pass"),
        (
            "test_c (m.T.test_c) ... skipped no net\ntest_d (m.T.test_d) ... ok\n",
            end(2, "OK (skipped=1)"),
            "m.T.test_c skip; m.T.test_d pass",
        ),
        (
            "test_c (m.T.test_c) ... odd\ntest_d (m.T.test_d) ... ok\n",
            end(2, "OK"),
            "m.T.test_c unreached; m.T.test_d pass; ...; !",
        ),
        (
            "test_d (m.T.test_d) ... ok\ntest_c (m.T.test_c) ... odd\n",
            end(2, "OK"),
            "m.T.test_d pass; m.T.test_c unreached; ...; !",
        ),
        (
            &format!(
                "docs/words.txt\nDoctest: words.txt ... FAIL\n\n{double}\nFAIL: docs/words.txt\nDoctest: words.txt\n{rule}\nno\n"
            ),
            end(1, "FAILED (failures=1)"),
            "words.txt fail",
        ),
        (
            &format!(
                "test (m.T)\nOne. ... FAIL\ntest (m.T)\nTwo. ... ok\n\n{double}\nFAIL: test (m.T)\nOne.\n{rule}\nno\n"
            ),
            end(2, "FAILED (failures=1)"),
            "m.T.test fail; m.T.test pass",
        ),
    ] {
        assert_eq!(picture(Unittest, &format!("{lines}{end}")), expected, "{lines}");
    }
    let reading = read(Unittest, UNITTEST.as_bytes());
    assert_eq!(reading.cases[1].places, ["It adds."]);
}

#[test]
fn a_module_that_trial_cannot_load_is_a_fault() {
    let end = "-".repeat(79) + "\nRan 1 tests in 0.010s\n\nFAILED (errors=1)\n";
    let tree = format!("pkg.tests.test_gone ...                                   [ERROR]\n\n{end}");
    assert_eq!(picture(Trial, &tree), "fault:pkg.tests.test_gone error; ...; !");
    let double = "=".repeat(79);
    let text = format!("E\n{double}\n[ERROR]\nTraceback\nImportError: no\n\npkg.tests.test_gone\n{end}");
    assert_eq!(picture(Trial, &text), "fault:pkg.tests.test_gone error; ...; !");
}

#[test]
fn stamped_lines_are_lines_and_have_no_stamp() {
    let log = "2026-01-02 03:04:05,123 ERROR cannot bind\n2026-01-02 03:04:06,456 ERROR lost the peer\n\
               25 checks hold\n0 tests failed\n";
    assert_eq!(picture(Lines, log), "fault:line:ERROR cannot bind fail; fault:line:ERROR lost the peer fail");
}

/// Words that a later version of a runner may use.
fn words() -> impl Strategy<Value = String> {
    "[A-Za-z]{3,9}".prop_filter("none is known", |word| {
        const KNOWN: [&str; 60] = [
            "ok",
            "fail",
            "failed",
            "error",
            "skipped",
            "skip",
            "pass",
            "passed",
            "xfail",
            "xpass",
            "run",
            "ran",
            "executed",
            "success",
            "successful",
            "succeeded",
            "complete",
            "completed",
            "done",
            "finished",
            "expected",
            "flaky",
            "true",
            "notrun",
            "disabled",
            "ignored",
            "ignore",
            "pending",
            "suppressed",
            "todo",
            "failure",
            "failing",
            "unexpected",
            "broken",
            "false",
            "errored",
            "crash",
            "crashed",
            "timeout",
            "timedout",
            "aborted",
            "abort",
            "killed",
            "rerun",
            "file",
            "files",
            "link",
            "links",
            "tag",
            "tags",
            "label",
            "labels",
            "output",
            "stdout",
            "stderr",
            "note",
            "url",
            "metric",
            "metrics",
            "comment",
        ];
        let word = word.to_lowercase();
        let is_known = KNOWN.contains(&word.as_str());
        !is_known && !["ok", "fail", "error", "ed", "ing"].iter().any(|known| word.ends_with(known))
    })
}

proptest! {
    #[test]
    fn a_word_that_is_not_known_is_no_pass(word in words(), other in words(), at in 0_usize..2) {
        let upper = word.to_uppercase();
        let swap = |report: &str, known: &str, word: &str| {
            let mut parts: Vec<&str> = report.split(known).collect();
            let tail = parts.split_off(at + 1);
            format!("{}{word}{}", parts.join(known), tail.join(known))
        };
        for (format, report) in [
            (Unittest, swap(UNITTEST, " ... ok", &format!(" ... {word} {other}"))),
            (Trial, swap(TRIAL, "[OK]", &format!("[{upper}]"))),
            (Libtest, swap(LIBTEST, " ... ok", &format!(" ... {word}")).replace("2 passed", "1 passed")),
            (Luaunit, swap(LUAUNIT, " ... Ok", &format!(" ... {word}"))),
            (Pytest, swap(PYTEST, " PASSED", &format!(" {upper}"))),
            (Go, swap(GO, "\"pass\"", &format!("\"{word}\""))),
            (Junit, swap(JUNIT, "<testcase ", &format!("<testcase status='{word}' "))),
            (Junit, swap(JUNIT, "<testcase ", &format!("<testcase classname='k' name='c'><{word}/></testcase><testcase "))),
        ] {
            let reading = read(format, report.as_bytes());
            prop_assert!(!passes(&reading), "{:?}: {}\n{:?}", format, report, reading);
            let known = if format == Junit && report.contains("name='c'") { 2 } else { 1 };
            prop_assert!(reading.cases.iter().filter(|case| case.verdict == Verdict::Pass).count() <= known);
        }
    }

    #[test]
    fn a_run_within_a_case_yields_no_case_wherever_it_is_cut(
        which in 0_usize..5,
        times in 1_usize..4,
        end in any::<prop::sample::Index>(),
    ) {
        let format = [Pytest, Unittest, Libtest, Luaunit, Tap][which];
        let report = nested(format, times);
        let (_, _, last) = WHOLE.into_iter().find(|whole| whole.0 == format).unwrap();
        let whole = report.rfind(last).unwrap() + last.len();
        let reading = read(format, &report.as_bytes()[..end.index(whole)]);
        prop_assert!(!passes(&reading), "{:?}: {:?}", format, reading);
    }
}
