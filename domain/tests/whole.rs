//! A report that is not whole is no good news, and what one runner prints within another is none of the outer one's. The
//! reports here are made by hand after what runners print.

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

/// A file of its own, or a class, tells two cases of one name apart.
#[test]
fn equal_names_have_their_places() {
    for (format, report, expected) in [
        (Bats, BATS.replace(" \u{2713} b", "other.bats\n \u{2713} a"), ["words.bats", "other.bats"]),
        (Busted, BUSTED.replace("w.lua @ 3: b", "v.lua @ 3: a"), ["w.lua", "v.lua"]),
        (Prove, PROVE.replace("1 - b", "1 - a"), ["t/a.t", "t/b.t"]),
        (
            Tcltest,
            format!(
                "Tests running in interp:  /t\na.test\n{}",
                TCLTEST.replace("---- w-1.2 start", "b.test").replace("1.2", "1.1")
            ),
            ["a.test", "b.test"],
        ),
    ] {
        let reading = read(format, report.as_bytes());
        let places: Vec<_> = reading.cases.iter().map(|case| case.places.concat()).collect();
        assert_eq!(places, expected, "{report}");
        assert_eq!(reading.cases[0].name, reading.cases[1].name, "{report}");
    }
}

#[test]
fn failures_alone_are_faults_where_a_runner_names_no_passes() {
    let busted = "\u{25cf}\u{25fc}\n1 success / 1 failure / 0 errors / 0 pending : 0.001 seconds\n\n\
                  Failure \u{2192} w.lua @ 3\nwords splits\nw.lua:4: no\n";
    let minitest = "Run options: --seed 1\n\n# Running:\n\n.F\n\nFinished in 0.1s, 1 runs/s, 1 assertions/s.\n\n  1) Failure:\n\
                    C#test_b [w.rb:3]:\nno\n\n2 runs, 2 assertions, 1 failures, 0 errors, 0 skips\n";
    let rspec =
        ".F\n\nFailures:\n\n  1) Words b\n     no\n\nFinished in 0.1 seconds\n2 examples, 1 failure\n";
    let phpunit = "PHPUnit 9.6.7 by Sebastian Bergmann and contributors.\n\n.F  2 / 2 (100%)\n\nTime: 00:00.003, Memory: 4.00 MB\n\n\
                   There was 1 failure:\n\n1) W::testB\nno\n\nFAILURES!\nTests: 2, Assertions: 2, Failures: 1.\n";
    let tcltest = "==== w-1.1 splits FAILED\n---- Result was:\n2\n==== w-1.1 FAILED\n\nw.test:\tTotal\t2\tPassed\t1\tSkipped\t0\tFailed\t1\n";
    for (format, report, expected) in [
        (Busted, busted, "fault:words splits fail"),
        (Minitest, minitest, "fault:C#test_b fail"),
        (Rspec, rspec, "fault:Words b fail"),
        (Phpunit, phpunit, "fault:W::testB fail"),
        (Tcltest, tcltest, "fault:w-1.1 fail"),
    ] {
        assert_eq!(picture(format, report), expected, "{report}");
    }
}

/// Without a declared format, and without the first lines that name the runner.
#[test]
fn a_failure_of_busted_and_of_googletest_is_known_by_its_own_lines() {
    let detected = |report: &str| picture(detect(report.as_bytes()).unwrap_or(Lines), report);
    let splits = "Failure \u{2192} spec/words_spec.lua @ 3\nwords splits\nspec/words_spec.lua:4: not equal\n";
    let joins =
        "\nFailure \u{2192} spec/lines_spec.lua @ 9\nlines joins\nspec/lines_spec.lua:10: not equal\n";
    let count = |marks: &str, passes: usize, bad: usize| {
        let successes = if passes == 1 { "success" } else { "successes" };
        let failures = if bad == 1 { "failure" } else { "failures" };
        format!("{marks}\n{passes} {successes} / {bad} {failures} / 0 errors / 0 pending : 0.001 seconds\n\n")
    };
    let before = format!("{}{splits}", count("-+", 1, 1));
    let after = format!("{}{splits}{joins}", count("--", 0, 2));
    assert_eq!(detected(&before), "fault:words splits fail");
    assert_eq!(detected(&after), "words splits fail; lines joins fail");
    let gtest = "[ RUN      ] Words.Splits\nwords_test.cc:12: Failure\nExpected equality of these values:\n  1\n  2\n\
                 [  FAILED  ] Words.Splits (0 ms)\n[ RUN      ] Words.Joins\n[  FAILED  ] Words.Joins (0 ms)\n 2 FAILED TESTS\n";
    let read = detected(gtest);
    assert!(read.starts_with("Words.Splits fail; Words.Joins fail"), "{read}");
}

#[test]
fn a_failing_set_of_julia_names_what_failed_in_it() {
    let report = "Words: Test Failed at /src/test/runtests.jl:3\n  Expression: split(x) == 2\n   Evaluated: 1 == 2\n\
                  Test Summary: | Pass  Fail  Error  Broken  Total  Time\n\
                  Words         |    3     1              1      5  0.5s\n  splits      |    1     1                     2  0.1s\n\
                  ERROR: LoadError: Some tests did not pass: 3 passed, 1 failed, 0 errored, 1 broken.\n";
    assert_eq!(picture(Julia, report), "fault:Words: split(x) == # error; Words fail");
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
        (Phpunit, phpunit, "W::testB fail; ..."),
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

const INNER_GTEST: &str = "[==========] Running 2 tests from 1 test suite.\n[ RUN      ] W.a\n[  FAILED  ] W.a (0 ms)\n[ RUN      ] Inner.y\n\
    [  FAILED  ] Inner.y (0 ms)\n[==========] 2 tests from 1 test suite ran. (0 ms total)\n[  FAILED  ] 2 tests, listed below:\n\
    [  FAILED  ] W.a\n[  FAILED  ] Inner.y\n";
const INNER_MINITEST: &str = "Run options: -v --seed 2\n\n# Running:\n\nInner#test_x = 0.00 s = .\nInner#test_y = 0.00 s = F\n\n\
    Finished in 0.1s, 1 runs/s, 1 assertions/s.\n\n  1) Failure:\nInner#test_y [w.rb:3]:\nno\n\n2 runs, 2 assertions, 1 failures, 0 errors, 0 skips\n";
const INNER_RSPEC: &str = "\nInner\n  x\n  y (FAILED - 1)\n\nFailures:\n\n  1) Inner y\n     no\n\nFinished in 0.1 seconds\n2 examples, 1 failure\n\n\
    Failed examples:\n\nrspec ./inner_spec.rb:3 # Inner y\n\n";
const INNER_PHPUNIT: &str = "PHPUnit 9.6.7 by Sebastian Bergmann and contributors.\n\nInner\n \u{2714} X\n \u{2718} Y\n\n\
    Time: 00:00.006, Memory: 6.00 MB\n\nFAILURES!\nTests: 2, Assertions: 2, Failures: 1.\n";
const INNER_CTEST: &str = "Test project /src/inner\n1/2 Test #1: x ........   Passed    0.00 sec\n2/2 Test #2: y ........***Failed    0.00 sec\n\n\
    50% tests passed, 1 tests failed out of 2\n";
const INNER_PROVE: &str =
    "t/x.t .. ok\nt/y.t .. Failed 1/3 subtests \nFiles=2, Tests=4,  0 wallclock secs\nResult: FAIL\n";

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
        Busted => {
            BUSTED.replacen(&BUSTED[BUSTED.find("[       OK ]").unwrap()..], "", 1)
                + &INNER_GTEST.repeat(times)
                + &BUSTED[BUSTED.find("[       OK ]").unwrap()..]
        }
        Gtest => {
            GTEST.replacen("[       OK ] W.a", &format!("{}[       OK ] W.a", INNER_GTEST.repeat(times)), 1)
        }
        Minitest => MINITEST.replacen("a = ", &format!("a = {}", INNER_MINITEST.repeat(times)), 1),
        Rspec => RSPEC.replacen("  b\n", &format!("{}  b\n", INNER_RSPEC), 1),
        Hspec => HSPEC.replacen("  b [", &format!("{}  b [", INNER_RSPEC), 1),
        Phpunit => PHPUNIT.replacen(" \u{2714} B", &format!("{} \u{2714} B", INNER_PHPUNIT.repeat(times)), 1),
        Ctest => CTEST.replacen("2/2 Test", &format!("{}2/2 Test", INNER_CTEST.repeat(times)), 1),
        Prove => PROVE.replacen("ok 1 - a", &format!("{}ok 1 - a", INNER_PROVE.repeat(times)), 1),
        Nose2 => NOSE2.replacen(" ... ok", &format!(" ... {}ok", INNER_UNITTEST.repeat(times)), 1),
        // A quiet test prints below the line of the runner, and indented.
        Bats => BATS.replacen(
            " \u{2713} b",
            &format!(
                "{} \u{2713} b",
                BATS.replace('\n', "\n    ")
                    .replacen("words", "    words", 1)
                    .trim_end_matches(' ')
                    .repeat(times)
            ),
            1,
        ),
        other => unreachable!("{other:?} prints no other run"),
    }
}

#[test]
fn a_run_within_a_case_yields_no_case() {
    for (format, report) in [
        (Pytest, PYTEST),
        (Unittest, UNITTEST),
        (Libtest, LIBTEST),
        (Luaunit, LUAUNIT),
        (Tap, TAP),
        (Bats, BATS),
        (Busted, BUSTED),
        (Gtest, GTEST),
        (Minitest, MINITEST),
        (Rspec, RSPEC),
        (Hspec, HSPEC),
        (Phpunit, PHPUNIT),
        (Ctest, CTEST),
        (Prove, PROVE),
        (Nose2, NOSE2),
    ] {
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

    #[test]
    fn a_run_within_a_case_yields_no_case_wherever_it_is_cut(
        which in 0_usize..13,
        times in 1_usize..4,
        end in any::<prop::sample::Index>(),
    ) {
        let format = [
            Pytest, Unittest, Libtest, Luaunit, Tap, Bats, Busted, Gtest, Minitest, Phpunit, Ctest, Prove, Nose2,
        ][which];
        let report = nested(format, times);
        let (_, _, last) = WHOLE.into_iter().find(|whole| whole.0 == format).unwrap();
        let whole = report.rfind(last).unwrap() + last.len();
        let reading = read(format, &report.as_bytes()[..end.index(whole)]);
        prop_assert!(!passes(&reading), "{:?}: {:?}", format, reading);
    }
}
