//! What one runner prints within another is none of the outer one's.

use super::*;

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

proptest! {
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
