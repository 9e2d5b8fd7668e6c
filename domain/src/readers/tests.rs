use std::fmt::Write;
use std::io::{self, BufReader, Read};

use proptest::prelude::*;
use protocol::Verdict;

use super::*;
use ReportFormat::{Junit, Libtest, Tap};

/// A reading as a picture: `a pass; b fail(why) 5ms`, with `...` at its end if it is not complete.
fn picture(format: ReportFormat, report: &str) -> String {
    let reading = read(format, report.as_bytes());
    let mut cases = vec![];
    for case in reading.cases {
        let mut word = format!("{} {}", case.name, case.verdict);
        if let Some(text) = case.text {
            write!(word, "({})", text.replace('\n', "/")).unwrap();
        }
        if let Some(ms) = case.duration_ms {
            write!(word, " {ms}ms").unwrap();
        }
        cases.push(word);
    }
    if reading.unplanned {
        cases.push("no plan".into());
    }
    if !reading.complete {
        cases.push("...".into());
    }
    cases.join("; ")
}

#[test]
fn tap_is_read_as_its_lines_say() {
    for (report, expected) in [
        ("1..2\nok 1 - a\nnot ok 2 - b\n", "a pass; b fail"),
        ("ok 1 - a\nok 2 - b\n1..2\n", "a pass; b pass"),
        ("TAP version 14\r\n1..1\r\nok 1 - a\r\n", "a pass"),
        ("1..2\nok\nnot ok\n", "test 1 pass; test 2 fail"),
        ("1..2\nok 1\nok 2 b\n", "test 1 pass; b pass"),
        ("1..2\nnot ok 1 a # TODO later\nok 2 b # todo\n", "a xfail(later); b xpass"),
        ("1..1\nok 1 a # SKIP no net\n", "a skip(no net)"),
        ("1..0 # SKIP no net\n", ""),
        ("1..1\nnot ok 1 a\n# got 1\n#  want 2\n", "a fail(got 1/ want 2)"),
        ("1..1\nok 1 a\n# fine\n", "a pass"),
        (
            "1..1\nnot ok 1 a\n  ---\n  message: x\n    deep\n  duration_ms: 4.2\n  ...\n",
            "a fail(message: x/  deep) 4ms",
        ),
        ("1..2\nnot ok 1 a\n  why\n\n    deep\nnoise\n  none of it\nok 2 b\n", "a fail(why/deep); b pass"),
        ("1..2\nok 1 a\n  ---\n  open: x\nok 2 b\n", "a pass; b pass"),
        ("hello\n1..2\n  noise\nok 1 a\nok, so what\n{\"x\": 1}\nok 2 b\nbye\n", "a pass; b pass"),
        ("1..2\nok 2 b\nok 1 a\n", "b pass; a pass"),
        // One program's stream after another's.
        ("1..1\nok 1 a\n1..1\nok 1 b\n", "a pass; b pass"),
        ("ok 1 a\n1..1\nok 1 b\n1..1\n", "a pass; b pass"),
        ("TAP version 13\n1..1\nok 1 a\nTAP version 13\n1..1\nok 1 b\n", "a pass; b pass"),
        // A stream without a plan.
        ("ok 1 a\nnot ok 2 b\n", "a pass; b fail; no plan"),
        ("ok a\n", "a pass; no plan"),
        ("ok 1 a\nok 3 b\n", "a pass; b pass; no plan; ..."),
        ("ok 1 a\nBail out!\n", "a pass; ..."),
        // A stream with an error is incomplete.
        ("1..3\nok 1 a\n", "a pass; ..."),
        ("1..1\nok 1 a\nok 2 b\n", "a pass; b pass; ..."),
        ("1..2\nok 1 a\nok 1 b\n", "a pass; b pass; ..."),
        ("1..2\nok 1 a\nok 3 b\n", "a pass; b pass; ..."),
        ("1..3\nok 1 a\nBail out! disk full\nok 2 b\n", "a pass; ..."),
        ("1..1\nnot ok 1 a\n  ---\n  message: x", "a fail(message: x); ..."),
        ("", "..."),
        ("Segmentation fault\n", "..."),
    ] {
        assert_eq!(picture(Tap, report), expected, "{report}");
    }
}

#[test]
fn a_subtest_gives_its_cases_their_outer_name_and_is_no_case_itself() {
    for (report, expected) in [
        (
            "1..2\n# Subtest: o\n    1..2\n    ok 1 - a\n    not ok 2 - b\n    # why\nnot ok 1 - o\nok 2 - c\n",
            "o > a pass; o > b fail(why); c pass",
        ),
        ("    ok 1 - a\n    1..1\nok 1 - o\n1..1\n", "o > a pass"),
        ("1..1\n    1..1\n        1..1\n        ok 1 a\n    ok 1 m\nok 1 o\n", "o > m > a pass"),
        ("1..1\n# Subtest: o\n    1..1\n    ok 1 a\nok 1\n", "o > a pass"),
        ("1..1\n    1..1\n    not ok 1 a\nnot ok 1 o # TODO later\n", "o > a xfail"),
        ("1..1\n    1..0 # SKIP no net\nok 1 o\n", "o skip"),
        (
            "1..1\n    1..2\n    ok 1 a\nnot ok 1 o\n  ---\n  exit: 1\n  ...\n",
            "o > a pass; fault:o fail(exit: 1); ...",
        ),
        ("1..1\n    1..1\n    ok 1 a\nok 1 o\n  ---\n  duration_ms: 3\n  ...\n", "o > a pass"),
        ("1..1\n# Subtest: o\n    1..2\n    ok 1 a\n", "o > a pass; ..."),
        // The inner titles belong to the inner subtests, wherever the stream ends.
        ("# Subtest: o\n    # Subtest: a\n    ok 1 - a\n", "o > a pass; ..."),
        ("1..1\n    # Subtest: o\n    1..1\n    ok 1 a\nok 1\n", "o > a pass"),
        // Some writers put the line that sums a subtest up before it, and the subtest in braces.
        (
            "1..1\nnot ok 1 - o # time=3ms {\n    1..2\n    ok 1 - a\n    not ok 2 - b\n}\n",
            "o > a pass; o > b fail",
        ),
        (
            "1..1\nok 1 - o {\n    1..1\n    ok 1 - m {\n        1..1\n        ok 1 - a\n    }\n}\n",
            "o > m > a pass",
        ),
        ("1..1\nok 1 - o # time=3ms {\n}\n", "o pass 3ms; ..."),
        ("1..1\nnot ok 1 - o {\n    1..1\n    ok 1 - a\n", "o > a pass; ..."),
        ("1..1\n# Subtest: o\n    1..2\n    ok 1 a\n    Bail out! no\n", "o > a pass; ..."),
    ] {
        assert_eq!(picture(Tap, report), expected, "{report}");
    }
}

#[test]
fn junit_is_read_as_its_elements_say() {
    for (inside, expected) in [
        ("<testcase classname='k' name='a' time='0.0042'/>", "k.a pass 4ms"),
        ("<testcase name='a' time='1,234.5'></testcase>", "a pass 1234500ms"),
        (
            "<testcase name='a'><failure message='m &lt; n'>body &amp; more</failure></testcase>",
            "a fail(m < n/body & more)",
        ),
        ("<testcase name='a'><error><![CDATA[<crash>]]></error></testcase>", "a error(<crash>)"),
        ("<testcase name='a'><failure/><error>e</error></testcase>", "a error(e)"),
        ("<testcase name='a'><skipped message='no net'/></testcase>", "a skip(no net)"),
        ("<testcase name='a'><skipped type='pytest.xfail' message='later'/></testcase>", "a xfail(later)"),
        ("<testcase name='a' status='notrun'/>", "a skip"),
        ("<testcase name='a'><error type='UnexpectedSuccess'/></testcase>", "a xpass"),
        ("<testcase name='a'><skipped type='todo'/><failure>f</failure></testcase>", "a xfail(f)"),
        ("<testcase name='a'><skipped type='todo' message='later'/></testcase>", "a xpass(later)"),
        ("<testcase name='a'><failure type='said here'/></testcase>", "a fail(said here)"),
        (
            "<testcase classname='' name='a'><error message='collection failure'>e</error></testcase>",
            "fault:a error(collection failure/e); ...",
        ),
        ("<testcase name='k.a' classname='k'/><testcase name='k a' classname='k a'/>", "k.a pass; k a pass"),
        ("<testcase name='a' classname='k.lua:12'/>", "k.lua.a pass"),
        ("<testcase name='a'><flakyFailure message='x'/></testcase>", "a pass"),
        ("<testcase name='a'><failure>f</failure><rerunFailure>g</rerunFailure></testcase>", "a fail(f)"),
        ("<testcase name='' classname='k'><error>e</error></testcase>", "fault:k error(e); ..."),
        ("<testcase name='' classname='k'><skipped/></testcase>", "k skip"),
        (
            "<testcase name='initializationError' classname='k'><failure>f</failure></testcase>",
            "fault:k.initializationError fail(f); ...",
        ),
        (
            "<testsuite name='k'><testcase name='k' classname='k'><error>e</error></testcase></testsuite>",
            "fault:k error(e); ...",
        ),
        ("<testcase name='k' classname='k'><error>e</error></testcase>", "k error(e)"),
        (
            "<testcase name='a'><failure>f<b>g</b></failure><system-out>h</system-out></testcase>",
            "a fail(fg)",
        ),
        ("<properties><property name='p'/></properties><testcase name='a'/>", "a pass"),
        ("<testsuite><testsuite><testcase name='a'/></testsuite></testsuite>", "a pass"),
        ("<system-out><testcase name='a'/>", "a pass; ..."),
        ("<testcase name='&#233;&#x21;&unknown; &'/>", "é!&unknown; & pass"),
        ("<testcase/>", "unnamed pass"),
        ("", ""),
    ] {
        for root in ["testsuite", "testsuites"] {
            let report = format!("<?xml version='1.0' encoding='UTF-8'?><{root}>{inside}</{root}>");
            assert_eq!(picture(Junit, &report), expected, "{report}");
        }
    }
}

/// A class distinguishes cases; without a class, the inner suites do.
#[test]
fn a_case_without_a_class_is_named_after_the_suites_around_it() {
    for (inside, expected) in [
        ("<testcase name='a'/>", "a pass"),
        ("<testsuite name='y'><testcase name='a'/></testsuite><testcase name='b'/>", "y > a pass; b pass"),
        ("<testsuite name='y'><testcase classname='k' name='a'/></testsuite>", "k.a pass"),
        // Node calls every class `test`.
        ("<testsuite name='y'><testcase classname='test' name='a'/></testsuite>", "x > y > a pass"),
    ] {
        let report = format!("<testsuites><testsuite name='x'>{inside}</testsuite></testsuites>");
        assert_eq!(picture(Junit, &report), expected, "{report}");
    }
}

#[test]
fn a_broken_junit_report_is_read_as_far_as_it_goes() {
    for (report, expected) in [
        ("<testsuite><testcase name='a'/><testcase name='b'>", "a pass; ..."),
        ("<testsuite><testcase name='a'/><testcase name='b'><failure>why", "a pass; b fail(why); ..."),
        ("<testsuite><testcase name='a'/><testcase na", "a pass; ..."),
        ("<testsuite><testcase name='a'/></oops>", "a pass; ..."),
        ("<html></html>", "..."),
        ("", "..."),
        ("\u{feff}<testsuite><testcase name='a'/></testsuite>", "a pass"),
    ] {
        assert_eq!(picture(Junit, report), expected, "{report}");
    }
}

#[test]
fn a_libtest_case_that_takes_long_has_the_verdict_of_its_end() {
    let event = |kind: &str, word: &str| {
        format!("{{ \"type\": \"{kind}\", \"event\": \"{word}\", \"name\": \"a\" }}\n")
    };
    for (word, expected) in [("ok", "a pass"), ("failed", "a fail")] {
        let events = [("suite", "started"), ("test", "started"), ("test", "timeout"), ("test", word)];
        let report: String = events.iter().map(|(kind, word)| event(kind, word)).collect();
        assert_eq!(picture(Libtest, &(report + &event("suite", "ok"))), expected);
    }
}

#[test]
fn trial_prints_a_class_once_if_the_next_module_has_one_of_that_name() {
    let report = "test_a\n  Same\n    test_one ...   [OK]\ntest_b\n    test_one ...   [FAIL]\n  Other\n    test_two ...   [OK]\n\
                  test_gone ...   [ERROR]\ntest_c\n  Other\n    test_one ...   [OK]\n";
    let expected = "test_a.Same.test_one pass; test_b.Same.test_one fail; test_b.Other.test_two pass; \
                    fault:test_gone error; test_c.Other.test_one pass; ...";
    assert_eq!(picture(ReportFormat::Trial, report), expected);
}

/// With `-s` a case may print directly before its verdict.
#[test]
fn pytest_ends_a_case_after_what_it_printed_without_a_newline() {
    let start = "=== test session starts ===\n";
    for (lines, expected) in [
        ("a.py::t .PASSED\na.py::u PASSED\n=== 2 passed in 0.1s ===\n", "a.py::t pass; a.py::u pass"),
        (
            "a.py::t x\nyPASSED\na.py::u x\nyFAILED\n=== FAILURES ===\n=== 1 passed in 0.1s ===\n",
            "a.py::t pass; a.py::u fail",
        ),
        // What only looks like a verdict yields to the verdict after it.
        ("a.py::t notFAILED\nPASSED\n=== 1 passed in 0.1s ===\n", "a.py::t pass"),
        ("a.py::t notFAILED\nnothing\n.PASSED\n=== 1 passed in 0.1s ===\n", "a.py::t pass"),
        ("a.py::u .XFAIL\n=== 1 xfailed in 0.1s ===\n", "a.py::u xfail"),
        (
            "a.py::t .PASSED\na.py::u \n",
            "a.py::t pass; a.py::u error(The output ends while this case runs.); ...",
        ),
    ] {
        assert_eq!(picture(ReportFormat::Pytest, &format!("{start}{lines}")), expected, "{lines}");
    }
}

/// Gotestsum counts a package that cannot be built so. Mocha counts failures so, and has elements for them.
#[test]
fn a_junit_report_that_counts_more_errors_than_it_has_is_not_complete() {
    for (root, inside, expected) in [
        ("errors='1' failures='1'", "<failure/>", "a fail; ..."),
        ("errors='1' failures='0'", "<failure/>", "a fail"),
        ("errors='1' failures='1'", "<failure/><error/>", "a error"),
        ("errors='0' failures='9'", "<failure/>", "a fail"),
        ("errors='many'", "<failure/>", "a fail"),
        ("errors='18446744073709551615' failures='1'", "<failure/>", "a fail; ..."),
    ] {
        let report = format!(
            "<testsuites {root}><testsuite><testcase name='a'>{inside}</testcase></testsuite></testsuites>"
        );
        assert_eq!(picture(Junit, &report), expected, "{report}");
    }
}

/// The later tests of a package that dies are not missing. A package that only fails prints `FAIL` after its last test.
#[test]
fn a_go_package_that_dies_has_not_reported_all_its_tests() {
    let event = |action: &str, more: &str| format!("{{\"Action\":\"{action}\",\"Package\":\"p\"{more}}}\n");
    let test = |action: &str| event(action, ",\"Test\":\"T\"");
    let says = |words: &str| event("output", &format!(",\"Output\":\"{words}\\n\""));
    for (report, expected) in [
        ([test("run"), test("fail"), says("FAIL"), says("FAIL\\tp\\t0.1s"), event("fail", "")], "p.T fail"),
        (
            [test("run"), test("fail"), says("panic: no"), says("FAIL\\tp\\t0.1s"), event("fail", "")],
            "p.T fail; ...",
        ),
        (
            [test("run"), String::new(), says("exit status 3"), says("FAIL\\tp\\t0.1s"), event("fail", "")],
            "fault:p error(exit status 3/FAIL\tp\t0.1s); p.T error(The output ends while this case runs.); ...",
        ),
    ] {
        assert_eq!(picture(ReportFormat::Go, &report.concat()), expected, "{report:?}");
    }
}

/// Pytest prints `PASSED` for a unittest case whose subtest failed; the plugin of older pytests does so for any case.
#[test]
fn a_case_of_pytest_is_as_good_as_its_worst_subtest() {
    let why = "=== FAILURES ===\n____ C.t [a message] (i=1) ____\nE   no\n";
    let list =
        "=== short test summary info ===\nPASSED a.py::C::t\nSUBFAILED[a message] (i=1) a.py::C::t - no\n";
    let end = "=== 1 failed, 1 passed, 1 subtests passed in 0.1s ===\n";
    for progress in [
        "a.py .   [100%]\n",
        "a.py::C::t PASSED   [100%]\n",
        "a.py::C::t SUBPASSED(i=0)\na.py::C::t SUBFAILED[a message] (i=1)\na.py::C::t PASSED\n",
        "a.py::C::t \nSUBPASSED(i=0)\nSUBFAILED[a message] (i=1)\nPASSED\n",
        "a.py::C::t [a message] (i=1) SUBFAIL   [100%]\na.py::C::t PASSED   [100%]\n",
    ] {
        let report = format!("=== test session starts ===\n{progress}{why}{list}{end}");
        assert_eq!(picture(ReportFormat::Pytest, &report), "a.py::C::t fail(E   no)", "{progress}");
    }
}

#[test]
fn an_entity_bomb_is_a_warning_and_some_text() {
    let report = "<!DOCTYPE b [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]>\
                  <testsuite><testcase name='&b;'><failure>&b;</failure></testcase></testsuite>";
    assert_eq!(picture(Junit, report), "&b; fail(&b;)");
    assert_eq!(
        read(Junit, report.as_bytes()).warnings,
        ["The report declares entities; they are not expanded."]
    );
}

#[test]
fn endlessly_nested_elements_end_the_reading() {
    let reading = read(Junit, "<testsuite>".repeat(100_000).as_bytes());
    assert_eq!((reading.cases.len(), reading.complete), (0, false));
}

#[test]
fn bytes_that_are_not_utf8_are_read_as_latin1_with_a_warning() {
    let tap = read(Tap, &b"1..1\nok 1 caf\xe9\n"[..]);
    let junit = read(
        Junit,
        &b"<?xml version='1.0' encoding='ISO-8859-1'?><testsuite><testcase name='caf\xe9'/></testsuite>"[..],
    );
    for reading in [&tap, &junit] {
        assert_eq!(reading.cases[0].name, "café");
        assert!(reading.complete);
        assert!(reading.warnings.iter().any(|w| w.contains("not UTF-8")), "{:?}", reading.warnings);
    }
    let other = read(Junit, &b"<?xml version='1.0' encoding='KOI8-R'?><testsuite/>"[..]);
    assert_eq!(other.warnings, ["The report says that it is `KOI8-R`; it was read as UTF-8."]);
}

/// The XML parser stops at a mistake, and the input may have been read ahead of it or not.
#[test]
fn whether_a_malformed_report_is_utf8_does_not_depend_on_how_its_bytes_arrive() {
    let report = &b"<testsuite><testcase name='a'/></testcase> caf\xe9"[..];
    let reading = read(Junit, report);
    assert!(reading.warnings.iter().any(|w| w.contains("not UTF-8")), "{:?}", reading.warnings);
    assert_eq!(read(Junit, BufReader::with_capacity(1, report)), reading);
}

#[test]
fn each_problem_of_a_report_has_its_warning() {
    for (report, expected) in [
        ("1..3\nok 1\n", "The plan is for 3 tests, but 1 came."),
        ("ok 1\n", "The stream has no plan; it may have ended too early."),
        ("1..2\nok 1\nok 1\n", "Test numbers are repeated."),
        ("1..2\nok 1\nok 3\n", "Test numbers are missing."),
        ("1..0 # SKIP no net\n", "The whole suite was skipped (`no net`)."),
        ("1..0\n", "The plan is to run no test at all."),
        ("Bail out! disk full", "The suite bailed out (`disk full`); what would follow was not reached."),
        ("hello", "The report is not TAP: it has neither a plan nor a test line."),
        (
            "1..1\n# Subtest: o\n    ok 1\nok 1 o\n",
            "The stream of subtest `o` has no plan; it may have ended too early.",
        ),
    ] {
        assert_eq!(read(Tap, report.as_bytes()).warnings, [expected], "{report}");
    }
}

#[test]
fn only_cases_whose_code_ran_have_run() {
    assert_eq!(read(Tap, &b"1..3\nok 1 # SKIP\nnot ok 2 # TODO\nok 3\n"[..]).ran, 2);
    assert_eq!(read(Tap, &b"1..0 # SKIP\n"[..]).ran, 0);
}

#[test]
fn the_step_itself_is_a_case() {
    let case = CaseRun::of_step("unit tests", Verdict::Fail);
    assert_eq!((case.name.as_str(), case.verdict), ("step:unit tests", Verdict::Fail));
}

/// A large report that is never in memory as a whole: a head, then one piece again and again.
fn endless(head: &'static str, piece: String, bytes: u64) -> impl BufRead {
    struct Again {
        block: Vec<u8>,
        at: usize,
    }
    impl Read for Again {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = (&self.block[self.at..]).read(buffer)?;
            self.at = (self.at + count) % self.block.len();
            Ok(count)
        }
    }
    let again = Again { block: piece.repeat((64 << 10) / piece.len() + 1).into_bytes(), at: 0 };
    BufReader::with_capacity(64 << 10, head.as_bytes().chain(again).take(bytes))
}

const HUNDRED_MB: u64 = 100_000_000;

#[test]
fn a_report_of_100_mb_is_read_up_to_its_bound() {
    let filler = "x".repeat(32 << 10);
    for (format, head, piece) in [
        (Tap, "", format!("ok\n# {filler}\n")),
        (Junit, "<testsuite>", format!("<testcase name='a'><system-out>{filler}</system-out></testcase>")),
    ] {
        let each = piece.len();
        let reading = read(format, endless(head, piece, HUNDRED_MB));
        let expected = MAX_REPORT_BYTES as usize / each;
        assert!(reading.cases.len().abs_diff(expected) <= 1, "{} cases of {expected}", reading.cases.len());
        assert!(!reading.complete);
        assert!(reading.warnings.last().unwrap().contains("larger than 64 MiB"), "{:?}", reading.warnings);
    }
}

#[test]
fn a_report_of_100_mb_of_small_cases_is_read_up_to_their_bound() {
    for (format, head, piece) in
        [(Tap, "", "ok\n"), (Junit, "<testsuite>", "<testcase name='a'><skipped/></testcase>")]
    {
        let reading = read(format, endless(head, piece.into(), HUNDRED_MB));
        assert_eq!((reading.cases.len(), reading.complete), (MAX_CASES, false));
    }
}

#[test]
fn a_token_of_100_mb_is_skipped() {
    for (format, head) in [
        (Tap, "1..1\nok 1 a\n"),
        (Junit, "<testsuite><testcase name='a'/><system-out>"),
        (Junit, "<testsuite><testcase name='a'/><system-out><![CDATA["),
        (Junit, "<testsuite><testcase name='a'/><testcase name='"),
    ] {
        let reading = read(format, endless(head, "x".into(), HUNDRED_MB));
        assert_eq!((reading.cases.len(), reading.complete), (1, false), "{head}");
    }
}

#[test]
fn a_read_error_does_not_lose_the_cases_before_it() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    for (format, start) in [(Tap, "1..1\nok 1 a\n"), (Junit, "<testsuite><testcase name='a'/>")] {
        let reading = read(format, BufReader::new(start.as_bytes().chain(Fails)));
        assert_eq!((reading.cases.len(), reading.complete), (1, false));
        assert!(reading.warnings.iter().any(|w| w.contains("the disk is gone")), "{:?}", reading.warnings);
    }
}

fn assert_bounded(reading: &Reading) {
    assert!(reading.warnings.len() <= MAX_WARNINGS);
    assert!(reading.warnings.iter().all(|w| w.len() < 600 && !w.contains(char::is_control)));
    for case in &reading.cases {
        assert_eq!(tidy(&case.name), case.name);
        assert!(case.text.as_ref().is_none_or(|text| text.len() <= MAX_CASE_TEXT_BYTES));
    }
}

/// A tree of TAP cases: leaves with a verdict, and subtests.
#[derive(Debug, Clone)]
enum Tree {
    Leaf(Verdict),
    Sub(Vec<Tree>),
}

fn trees() -> impl Strategy<Value = Vec<Tree>> {
    use Verdict::{Fail, Pass, Skip, Xfail, Xpass};
    let leaf = prop::sample::select(vec![Pass, Fail, Skip, Xfail, Xpass]).prop_map(Tree::Leaf);
    let tree = leaf.prop_recursive(3, 20, 4, |inner| prop::collection::vec(inner, 1..4).prop_map(Tree::Sub));
    prop::collection::vec(tree, 1..5)
}

/// Writes the trees as TAP, adds to `found` what a reader must find, and returns whether any of them failed.
fn write_tap(
    trees: &[Tree],
    indent: &str,
    prefix: &str,
    out: &mut String,
    found: &mut Vec<(String, Verdict)>,
) -> bool {
    let mut failed = false;
    writeln!(out, "{indent}1..{}", trees.len()).unwrap();
    for (n, tree) in (1..).zip(trees) {
        let (ok, directive) = match tree {
            Tree::Leaf(verdict) => {
                found.push((format!("{prefix}c{n}"), *verdict));
                match verdict {
                    Verdict::Pass => ("ok", ""),
                    Verdict::Skip => ("ok", " # SKIP"),
                    Verdict::Xfail => ("not ok", " # TODO"),
                    Verdict::Xpass => ("ok", " # TODO"),
                    Verdict::Fail | Verdict::Error | Verdict::Unreached | Verdict::Missing => ("not ok", ""),
                }
            }
            Tree::Sub(inner) => {
                let bad = write_tap(inner, &format!("{indent}    "), &format!("{prefix}c{n} > "), out, found);
                (if bad { "not ok" } else { "ok" }, "")
            }
        };
        failed |= ok == "not ok" && directive.is_empty();
        writeln!(out, "{indent}{ok} {n} - c{n}{directive}").unwrap();
    }
    failed
}

proptest! {
    #[test]
    fn any_bytes_are_read_within_the_bounds(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for format in ReportFormat::ALL {
            assert_bounded(&read(format, &bytes[..]));
        }
    }

    #[test]
    fn anything_like_tap_is_read_within_the_bounds(
        text in "((    ){0,3}(ok|not ok|1\\.\\.|#|# Subtest:|  ---|  \\.\\.\\.|Bail out!|TAP version 13)( [0-9]{1,2})?( - a| # TODO| # SKIP)?\n){0,30}",
    ) {
        assert_bounded(&read(Tap, text.as_bytes()));
    }

    #[test]
    fn anything_like_xml_is_read_within_the_bounds(
        text in "(<|>|</|/>|<!|--|-->|<!--|<!\\[CDATA\\[|\\]\\]>|<\\?|\\?>|<!DOCTYPE|\\[|\\]|testsuite|testcase|failure| name=|'|\"|&|;|#|x|é| ){0,60}",
        tail in "(<testsuite><testcase name='a'>)?",
    ) {
        assert_bounded(&read(Junit, text.as_bytes()));
        assert_bounded(&read(Junit, (tail + &text).as_bytes()));
    }

    #[test]
    fn well_formed_tap_round_trips(trees in trees()) {
        let (mut report, mut expected) = (String::new(), vec![]);
        write_tap(&trees, "", "", &mut report, &mut expected);
        let reading = read(Tap, report.as_bytes());
        let found: Vec<_> = reading.cases.into_iter().map(|case| (case.name, case.verdict)).collect();
        prop_assert_eq!(found, expected, "{}", report);
        prop_assert!(reading.complete && reading.warnings.is_empty(), "{:?}", reading.warnings);
    }

    #[test]
    fn well_formed_junit_round_trips(
        cases in prop::collection::vec(
            ("[a-z<>&'\"é][a-z <>&'\"é]{0,9}[a-z]", "[!-~é][ -~é\n]{0,20}[!-~]", 0usize..4, 0u64..100_000),
            0..12,
        ),
    ) {
        use Verdict::{Error, Fail, Pass, Skip};
        let escape = |text: &str| quick_xml::escape::escape(text.to_string());
        let mut report = "<testsuites><testsuite>".to_string();
        let mut expected = vec![];
        for (name, text, kind, ms) in &cases {
            let (verdict, element) = [(Pass, "system-out"), (Fail, "failure"), (Error, "error"), (Skip, "skipped")][*kind];
            let (shown, seconds) = (escape(name), *ms as f64 / 1000.0);
            write!(report, "<testcase classname='K' name='{shown}' time='{seconds}'>").unwrap();
            write!(report, "<{element}>{}</{element}></testcase>", escape(text)).unwrap();
            let text = (verdict != Pass).then(|| text.clone());
            let run = CaseRun::new(&format!("K.{name}"), verdict);
            expected.push(CaseRun { duration_ms: Some(*ms), text, ..run });
        }
        report += "</testsuite></testsuites>";
        let reading = read(Junit, report.as_bytes());
        prop_assert_eq!(reading.cases, expected, "{}", report);
        prop_assert!(reading.complete && reading.warnings.is_empty(), "{:?}", reading.warnings);
    }
}
