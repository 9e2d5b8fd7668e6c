//! How cases and faults are called, where the runner leaves that open.

use super::*;

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

/// The name of a failure does not tell how many others pass: it would be repaired, and broken anew, when the last one fails.
#[test]
fn failures_alone_are_faults_where_a_runner_names_no_passes() {
    for passes in [0, 1, 7] {
        let all = passes + 1;
        let marks = ".".repeat(passes);
        let busted = format!(
            "{}\u{25fc}\n{passes} successes / 1 failure / 0 errors / 0 pending : 0.001 seconds\n\n\
             Failure \u{2192} w.lua @ 3\nwords splits\nw.lua:4: no\n",
            "\u{25cf}".repeat(passes)
        );
        let minitest = format!(
            "Run options: --seed 1\n\n# Running:\n\n{marks}F\n\nFinished in 0.1s, 1 runs/s, 1 assertions/s.\n\n  1) Failure:\n\
             C#test_b [w.rb:3]:\nno\n\n{all} runs, 2 assertions, 1 failures, 0 errors, 0 skips\n"
        );
        let rspec = format!(
            "{marks}F\n\nFailures:\n\n  1) Words b\n     no\n\nFinished in 0.1 seconds\n{all} examples, 1 failure\n"
        );
        let phpunit = format!(
            "PHPUnit 9.6.7 by Sebastian Bergmann and contributors.\n\n{marks}F  {all} / {all} (100%)\n\nTime: 00:00.003, Memory: 4.00 MB\n\n\
             There was 1 failure:\n\n1) W::testB\nno\n\nFAILURES!\nTests: {all}, Assertions: 2, Failures: 1.\n"
        );
        let tcltest = format!(
            "==== w-1.1 splits FAILED\n---- Result was:\n2\n==== w-1.1 FAILED\n\nw.test:\tTotal\t{all}\tPassed\t{passes}\tSkipped\t0\tFailed\t1\n"
        );
        let unittest = format!(
            "{marks}F\n======================================================================\nFAIL: test_b (m.C.test_b)\n\
             ----------------------------------------------------------------------\nTraceback (most recent call last):\nAssertionError: no\n\n\
             ----------------------------------------------------------------------\nRan {all} tests in 0.001s\n\nFAILED (failures=1)\n"
        );
        let libtest = format!(
            "\nrunning {all} tests\n{marks}F\nfailures:\n\n---- b stdout ----\nno\n\nfailures:\n    b\n\n\
             test result: FAILED. {passes} passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n"
        );
        for (format, report, expected) in [
            (Busted, busted, "fault:words splits fail"),
            (Minitest, minitest, "fault:C#test_b fail"),
            (Rspec, rspec, "fault:Words b fail"),
            (Phpunit, phpunit, "fault:W::testB fail"),
            (Tcltest, tcltest, "fault:w-1.1 fail"),
            (Unittest, unittest, "fault:m.C.test_b fail"),
            (Libtest, libtest, "fault:b fail"),
        ] {
            assert_eq!(picture(format, &report), expected, "{report}");
        }
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
    assert_eq!(detected(&after), "fault:words splits fail; fault:lines joins fail");
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
