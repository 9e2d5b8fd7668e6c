//! A report that is not whole is no good news. The reports here are made by hand after what runners print.

mod names;
mod nested;

use proptest::prelude::*;
use protocol::ReportFormat::{
    self, Bats, Busted, Ctest, Go, Gtest, Hspec, Julia, Junit, Kyua, Libtest, Lines, Luaunit, Meson,
    Minitest, Nose2, Phpunit, Prove, Pytest, Rspec, Tap, Tcltest, Trial, Unittest,
};
use protocol::Verdict;
use trunkfarm_domain::readers::{Reading, detect, read};

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

const BATS: &str = "words.bats\n \u{2713} a\n \u{2713} b\n\n2 tests, 0 failures\n";
const BUSTED: &str = "[==========] Running tests from scanned files.\n[ RUN      ] w.lua @ 2: a\n[       OK ] w.lua @ 2: a (0.05 ms)\n\
    [ RUN      ] w.lua @ 3: b\n[       OK ] w.lua @ 3: b (0.05 ms)\n[==========] 2 tests from 1 test file ran. (0.91 ms total)\n\
    [  PASSED  ] 2 tests.\n";
const GTEST: &str = "[==========] Running 2 tests from 1 test suite.\n[----------] 2 tests from W\n[ RUN      ] W.a\n\
    [       OK ] W.a (0 ms)\n[ RUN      ] W.b\n[       OK ] W.b (0 ms)\n[----------] 2 tests from W (0 ms total)\n\n\
    [==========] 2 tests from 1 test suite ran. (0 ms total)\n[  PASSED  ] 2 tests.\n";
const MINITEST: &str = "Run options: -v --seed 1\n\n# Running:\n\nC#test_a = 0.00 s = .\nC#test_b = 0.00 s = .\n\n\
    Finished in 0.0008s, 4982.9 runs/s, 2491.4 assertions/s.\n\n2 runs, 2 assertions, 0 failures, 0 errors, 0 skips\n";
const RSPEC: &str = "\nWords\n  a\n  b\n\nFinished in 0.01 seconds (files took 0.09 seconds to load)\n2 examples, 0 failures\n\n";
const HSPEC: &str =
    "\nWords\n  a [\u{2714}]\n  b [\u{2714}]\n\nFinished in 0.0004 seconds\n2 examples, 0 failures\n";
const KYUA: &str = "t:a  ->  passed  [0.001s]\nt:b  ->  passed  [0.001s]\n\nResults saved to /r.db\n\n2/2 passed (0 failed)\n";
const PHPUNIT: &str = "PHPUnit 9.6.7 by Sebastian Bergmann and contributors.\n\nWords\n \u{2714} A\n \u{2714} B\n\n\
    Time: 00:00.006, Memory: 6.00 MB\n\nOK (2 tests, 2 assertions)\n";
const CTEST: &str = "Test project /src/b\n    Start 1: a\n1/2 Test #1: a ........   Passed    0.00 sec\n    Start 2: b\n\
    2/2 Test #2: b ........   Passed    0.00 sec\n\n100% tests passed, 0 tests failed out of 2\n\nTotal Test time (real) =   1.01 sec\n";
const PROVE: &str = "t/a.t .. \n1..1\nok 1 - a\nok\nt/b.t .. \n1..1\nok 1 - b\nok\nAll tests successful.\n\
    Files=2, Tests=2,  0 wallclock secs ( 0.01 usr)\nResult: PASS\n";
const MESON: &str = "1/2 p / a  OK              0.01s\n2/2 p / b  OK              0.01s\n\nOk:                 2   \n\
    Expected Fail:      0   \nFail:               0   \n";
const JULIA: &str = "     Testing Running tests...\nTest Summary: | Pass  Total  Time\na             |    3      3  0.5s\n\
    Test Summary: | Pass  Total  Time\nb             |   12     12  0.5s\n     Testing Words tests passed \n";
const NOSE2: &str = "test_a (m.C.test_a) ... ok\nm.test_b:1\n1 ... ok\n\n\
    ----------------------------------------------------------------------\nRan 2 tests in 0.001s\n\nOK\n";
const TCLTEST: &str = "---- w-1.1 start\n++++ w-1.1 PASSED\n---- w-1.2 start\n++++ w-1.2 PASSED\n\
    w.test:\tTotal\t2\tPassed\t2\tSkipped\t0\tFailed\t0\n";

/// A whole report of each format, and the words after which nothing of it can be missing.
const WHOLE: [(ReportFormat, &str, &str); 22] = [
    (Pytest, PYTEST, "2 passed in 0.01s ="),
    (Unittest, UNITTEST, "\nOK"),
    (Trial, TRIAL, "PASSED"),
    (Libtest, LIBTEST, "test result: ok."),
    (Luaunit, LUAUNIT, " seconds, "),
    (Go, GO, "\"Package\":\"p\",\"Elapsed\":0.1}"),
    (Tap, TAP, "ok 2"),
    (Junit, JUNIT, "</testsuites>"),
    (Bats, BATS, "2 tests, 0 failure"),
    (Busted, BUSTED, " ran."),
    (Gtest, GTEST, " ran."),
    (Minitest, MINITEST, "0 failures, 0 errors"),
    (Rspec, RSPEC, "2 examples, 0 failure"),
    (Hspec, HSPEC, "2 examples, 0 failure"),
    (Kyua, KYUA, "2/2 passed ("),
    (Phpunit, PHPUNIT, "OK (2 test"),
    (Ctest, CTEST, "failed out of 2"),
    (Prove, PROVE, "Result: PASS"),
    (Meson, MESON, "Ok:                 2"),
    (Julia, JULIA, "Testing Words tests passed"),
    (Nose2, NOSE2, "\nOK"),
    (Tcltest, TCLTEST, "Failed\t0"),
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
fn a_count_that_its_cases_contradict_breaks_a_promise() {
    for (format, report, expected) in [
        (Bats, BATS.replace("2 tests", "1 test"), "a pass; b pass; ...; !"),
        (Bats, BATS.replace("0 failures", "1 failure"), "a pass; b pass; ...; !"),
        (
            Gtest,
            GTEST.replace("2 tests from 1 test suite ran", "1 test from 1 test suite ran"),
            "W.a pass; W.b pass; ...; !",
        ),
        (
            Gtest,
            format!("{GTEST}[  FAILED  ] 1 test, listed below:\n[  FAILED  ] W.c\n"),
            "W.a pass; W.b pass; W.c fail; ...; !",
        ),
        (
            Busted,
            BUSTED.replace("2 tests from 1 test file", "1 test from 1 test file"),
            "a pass; b pass; ...; !",
        ),
        (Minitest, MINITEST.replace("0 errors", "1 errors"), "C#test_a pass; C#test_b pass; ...; !"),
        (Rspec, RSPEC.replace("0 failures", "1 failure"), "Words a pass; Words b pass; ...; !"),
        // What was printed looks like a case, and nothing shows which of the two is one.
        (Rspec, RSPEC.replace("2 examples", "1 example"), "..."),
        (Rspec, RSPEC.replace("2 examples", "3 examples"), "Words a pass; Words b pass; ..."),
        (Hspec, HSPEC.replace("0 failures", "2 failures"), "Words a pass; Words b pass; ...; !"),
        (Kyua, KYUA.replace("2/2", "1/2"), "t:a pass; t:b pass; ...; !"),
        (Kyua, KYUA.replace("2/2", "1/1"), "t:a pass; t:b pass; ...; !"),
        (
            Phpunit,
            PHPUNIT.replace("OK (2 tests, 2 assertions)", "Tests: 2, Assertions: 2, Failures: 1."),
            "Words > A pass; Words > B pass; ...; !",
        ),
        (Ctest, CTEST.replace("0 tests failed", "1 tests failed"), "a pass; b pass; ...; !"),
        (Ctest, CTEST.replace("/2 Test", "/3 Test"), "a pass; b pass; ...; !"),
        (Prove, PROVE.replace("Files=2", "Files=3"), "a pass; b pass; ...; !"),
        (Prove, PROVE.replace("Result: PASS", "Result: FAIL"), "a pass; b pass; ...; !"),
        (Prove, PROVE.replacen("1..1", "1..2", 1), "a pass; b pass; ...; !"),
        (Meson, MESON.replace("/2 p", "/3 p"), "p / a pass; p / b pass; ...; !"),
        (
            Meson,
            MESON.replace("Fail:               0", "Fail:               1"),
            "p / a pass; p / b pass; ...; !",
        ),
        (Julia, JULIA.replacen("     3  0.5s", "     4  0.5s", 1), "a pass; b pass; ...; !"),
        (Nose2, NOSE2.replace("OK", "FAILED (failures=1)"), "m.C.test_a pass; m.test_b:1 pass; ...; !"),
        (Tcltest, TCLTEST.replace("Failed\t0", "Failed\t1"), "w-1.1 pass; w-1.2 pass; ...; !"),
    ] {
        assert_eq!(picture(format, &report), expected, "{report}");
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
    let ctest = CTEST
        .replace("/2 Test", "/3 Test")
        .replace("b ........   Passed ", "b ........***Failed ")
        .replace("0 tests failed", "1 tests failed");
    let meson = MESON
        .replace("/2 p", "/3 p")
        .replace("b  OK ", "b  FAIL ")
        .replace("Ok:                 2", "Ok:                 1")
        .replace("Fail:               0", "Fail:               1");
    let phpunit = "PHPUnit 9.6.7 by Sebastian Bergmann and contributors.\n\nF  1 / 2 ( 50%)\n\nTime: 00:00.003, Memory: 4.00 MB\n\n\
                   There was 1 failure:\n\n1) W::testB\nno\n\nFAILURES!\nTests: 1, Assertions: 1, Failures: 1.\n";
    for (format, report, expected) in [
        (Ctest, &ctest[..], "a pass; b fail; ..."),
        (Meson, &meson, "p / a pass; p / b fail; ..."),
        (Phpunit, phpunit, "fault:W::testB fail; ..."),
        (Pytest, pytest, "a.py::test_a fail; ..."),
        (Luaunit, luaunit, "C.test_a fail; ..."),
        (Libtest, cargo, "a fail; ..."),
        (Libtest, &format!("{cargo}error: 1 target failed:\n    `--lib`\n"), "a fail"),
    ] {
        assert_eq!(picture(format, report), expected, "{report}");
    }
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
            (Gtest, swap(GTEST, "[       OK ]", &format!("[ {:>8.8} ]", upper))),
            (Minitest, swap(MINITEST, " s = .", &format!(" s = {word}"))),
            (Kyua, swap(KYUA, "  ->  passed", &format!("  ->  {word}"))),
            (Ctest, swap(CTEST, "   Passed ", &format!("***{upper} "))),
            (Meson, swap(MESON, "OK  ", &format!("{upper}  "))),
            (Nose2, swap(NOSE2, " ... ok", &format!(" ... {word} {other}"))),
            (Junit, swap(JUNIT, "<testcase ", &format!("<testcase status='{word}' "))),
            (Junit, swap(JUNIT, "<testcase ", &format!("<testcase classname='k' name='c'><{word}/></testcase><testcase "))),
        ] {
            let reading = read(format, report.as_bytes());
            prop_assert!(!passes(&reading), "{:?}: {}\n{:?}", format, report, reading);
            let known = if format == Junit && report.contains("name='c'") { 2 } else { 1 };
            prop_assert!(reading.cases.iter().filter(|case| case.verdict == Verdict::Pass).count() <= known);
        }
    }
}
