//! What real runners print: `tests/corpus/outputs`, made by `tests/corpus/make.sh`, but for what says itself that it
//! was written by hand. Each reader must find there what
//! the runner itself counts, and must come to its end within its bounds whatever of it is broken.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use protocol::ReportFormat::{
    self, Bats, Busted, Ctest, Go, Gtest, Junit, Kyua, Libtest, Lines, Luaunit, Meson, Minitest, Phpunit,
    Prove, Pytest, Rspec, Tap, Tcltest, Trial, Unittest,
};
use protocol::Verdict;
use trunkfarm_domain::readers::{
    MAX_CASE_TEXT_BYTES, MAX_CASES, MAX_NAME_BYTES, MAX_WARNINGS, Reading, ReportSource, detect, read,
    signature,
};

/// A file, its format, and what its runner says itself: so many cases passed, failed or erred, were skipped, failed as
/// expected, passed against expectation; and whether all that it meant to tell is in the file.
const COUNTS: [(&str, ReportFormat, [usize; 5], bool); 87] = [
    ("bats-none.txt", Lines, [0, 0, 0, 0, 0], true),
    ("bats.tap", Tap, [2, 1, 1, 0, 0], true),
    ("bats.txt", Bats, [2, 1, 1, 0, 0], true),
    ("busted-gtest.txt", Gtest, [2, 2, 1, 0, 0], true),
    ("busted-plain.txt", Busted, [0, 2, 0, 0, 0], true),
    ("busted.tap", Tap, [1, 2, 1, 0, 0], true),
    ("busted.txt", Busted, [0, 2, 0, 0, 0], true),
    ("busted.xml", Junit, [1, 2, 1, 0, 0], true),
    ("ctest-stop.txt", Ctest, [1, 1, 0, 0, 0], false),
    ("ctest-v.txt", Ctest, [2, 4, 2, 0, 0], true),
    ("ctest.txt", Ctest, [2, 4, 2, 0, 0], true),
    ("django-none.txt", Unittest, [0, 0, 0, 0, 0], true),
    ("django-parallel.txt", Unittest, [2, 3, 1, 1, 0], true),
    ("django.txt", Unittest, [2, 3, 1, 1, 0], true),
    ("go-broken.json", Go, [0, 1, 0, 0, 0], false),
    ("go-dies.json", Go, [1, 1, 0, 0, 0], false),
    ("go.json", Go, [7, 2, 1, 0, 0], true),
    ("gotestsum.xml", Junit, [9, 4, 1, 0, 0], false),
    ("gtest-dies.txt", Gtest, [1, 1, 0, 0, 0], false),
    ("gtest-none.txt", Gtest, [0, 0, 0, 0, 0], true),
    ("gtest-repeat.txt", Gtest, [2, 2, 2, 0, 0], true),
    ("gtest.txt", Gtest, [2, 2, 1, 0, 0], true),
    ("gtest.xml", Junit, [2, 3, 2, 0, 0], true),
    ("hspec.txt", Rspec, [3, 2, 2, 0, 0], true),
    ("jest-junit.xml", Junit, [3, 3, 1, 0, 0], true),
    ("kyua.txt", Kyua, [2, 2, 1, 1, 0], true),
    ("libtest-dies.txt", Libtest, [1, 1, 0, 0, 0], false),
    ("libtest-none.txt", Libtest, [0, 0, 0, 0, 0], true),
    ("libtest.json", Libtest, [7, 3, 1, 0, 0], true),
    ("libtest.txt", Libtest, [7, 3, 1, 0, 0], true),
    ("libtest.xml", Junit, [1, 1, 0, 0, 0], false),
    ("luaunit-none.txt", Luaunit, [0, 0, 0, 0, 0], true),
    ("luaunit-v.txt", Luaunit, [3, 4, 1, 0, 0], true),
    ("luaunit.tap", Tap, [3, 4, 1, 0, 0], true),
    ("luaunit.txt", Luaunit, [0, 4, 0, 0, 0], true),
    ("luaunit.xml", Junit, [3, 4, 1, 0, 0], true),
    ("meson-stop.txt", Meson, [1, 1, 0, 0, 0], false),
    ("meson-v.txt", Meson, [1, 4, 1, 1, 1], true),
    ("meson.txt", Meson, [1, 4, 1, 1, 1], true),
    ("minitest-v.txt", Minitest, [1, 2, 1, 0, 0], true),
    ("minitest.txt", Minitest, [0, 2, 0, 0, 0], true),
    ("mocha.tap", Tap, [3, 3, 1, 0, 0], false),
    ("mocha.xml", Junit, [3, 3, 1, 0, 0], false),
    ("nextest.xml", Junit, [6, 3, 0, 0, 0], true),
    ("node.tap", Tap, [4, 2, 1, 1, 0], true),
    ("node.xml", Junit, [4, 2, 1, 1, 0], true),
    ("nose2.txt", Unittest, [5, 4, 1, 1, 0], false),
    ("perl-bails.tap", Tap, [1, 0, 0, 0, 0], false),
    ("perl-dies.tap", Tap, [1, 1, 0, 0, 0], false),
    ("perl-skips.tap", Tap, [0, 0, 0, 0, 0], true),
    ("perl.tap", Tap, [3, 3, 3, 1, 1], true),
    ("phpunit-stop.txt", Phpunit, [0, 1, 0, 0, 0], false),
    ("phpunit-testdox.txt", Phpunit, [0, 3, 0, 0, 0], false),
    ("phpunit.txt", Phpunit, [0, 3, 0, 0, 0], true),
    ("prove-v.txt", Prove, [5, 2, 2, 1, 0], false),
    ("prove.txt", Prove, [1, 2, 1, 0, 0], true),
    ("pytest-colour.txt", Pytest, [7, 7, 2, 1, 1], true),
    ("pytest-crash.txt", Pytest, [1, 1, 0, 0, 0], false),
    ("pytest-import.txt", Pytest, [0, 1, 0, 0, 0], false),
    ("pytest-none.txt", Pytest, [0, 0, 0, 0, 0], true),
    ("pytest-rA.txt", Pytest, [7, 7, 2, 1, 1], true),
    ("pytest-rerun.txt", Pytest, [1, 1, 0, 0, 0], true),
    ("pytest-subtests.txt", Pytest, [1, 5, 0, 0, 0], true),
    ("pytest-v.txt", Pytest, [7, 7, 2, 1, 1], true),
    ("pytest-vrA.txt", Pytest, [7, 7, 2, 1, 1], true),
    ("pytest-xdist.txt", Pytest, [7, 7, 2, 1, 1], true),
    ("pytest.xml", Junit, [8, 8, 2, 1, 0], false),
    ("rspec-dots.txt", Rspec, [0, 3, 0, 0, 0], true),
    ("rspec.txt", Rspec, [3, 3, 3, 0, 0], true),
    ("surefire-set-up.xml", Junit, [0, 1, 0, 0, 0], false),
    ("surefire.xml", Junit, [2, 2, 1, 0, 0], true),
    ("tape.tap", Tap, [1, 1, 1, 1, 0], true),
    ("tcltest-all.txt", Tcltest, [1, 2, 0, 0, 0], true),
    ("tcltest-v.txt", Tcltest, [1, 2, 1, 0, 0], true),
    ("trial-import.txt", Trial, [1, 1, 0, 0, 0], false),
    ("trial-none.txt", Trial, [0, 1, 0, 0, 0], true),
    ("trial-text.txt", Trial, [0, 4, 0, 0, 0], true),
    ("trial.txt", Trial, [2, 4, 1, 1, 1], true),
    ("unittest-3.10.txt", Unittest, [2, 5, 1, 0, 0], true),
    ("unittest-crash.txt", Unittest, [1, 1, 0, 0, 0], false),
    ("unittest-import.txt", Unittest, [1, 1, 0, 0, 0], false),
    ("unittest-none.txt", Unittest, [0, 0, 0, 0, 0], true),
    ("unittest-quiet.txt", Unittest, [0, 5, 0, 0, 0], false),
    ("unittest.txt", Unittest, [4, 5, 3, 1, 1], false),
    ("vitest.tap", Tap, [5, 1, 1, 0, 1], true),
    ("vitest.xml", Junit, [5, 1, 2, 0, 0], true),
    ("xmlrunner.xml", Junit, [4, 6, 3, 1, 1], false),
];

#[expect(clippy::disallowed_methods, reason = "a test may read what a rule may not")]
fn outputs() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/outputs");
    let entries = fs::read_dir(folder).expect("the corpus is part of the repository");
    let mut outputs: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    outputs.sort();
    outputs
}

fn format(name: &str, output: &[u8]) -> ReportFormat {
    if name.ends_with(".xml") { Junit } else { detect(output).unwrap_or(Lines) }
}

fn counts(reading: &Reading) -> [usize; 5] {
    let count =
        |wanted: &[Verdict]| reading.cases.iter().filter(|case| wanted.contains(&case.verdict)).count();
    use Verdict::{Error, Fail, Pass, Skip, Xfail, Xpass};
    [&[Pass][..], &[Fail, Error], &[Skip], &[Xfail], &[Xpass]].map(count)
}

#[test]
fn every_output_is_recognised_and_says_what_its_runner_counts() {
    let told: Vec<_> = outputs()
        .into_iter()
        .map(|(name, output)| {
            let format = format(&name, &output);
            let reading = read(format, &output[..]);
            (name, format, counts(&reading), reading.complete)
        })
        .collect();
    let expected: Vec<_> = COUNTS
        .iter()
        .map(|(name, format, counts, whole)| (name.to_string(), *format, *counts, *whole))
        .collect();
    for (told, expected) in told.iter().zip(&expected) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), expected.len());
}

/// The names, and the line by which each failure is recognised.
#[test]
fn every_case_has_its_name_and_every_failure_its_line() {
    let mut all = String::new();
    for (name, output) in outputs() {
        let reading = read(format(&name, &output), &output[..]);
        writeln!(all, "{name}").unwrap();
        for case in &reading.cases {
            let line = case
                .text
                .as_deref()
                .and_then(signature)
                .map(|line| format!("  <- {line}"))
                .unwrap_or_default();
            writeln!(all, "    {} {}{line}", case.verdict, case.name).unwrap();
        }
        reading.warnings.iter().for_each(|warning| writeln!(all, "    ! {warning}").unwrap());
    }
    insta::assert_snapshot!(all);
}

/// Exit code 0 cannot make a suite green if its runner reports that it ran nothing.
#[test]
fn a_runner_that_ran_none_is_believed() {
    let mut none = 0;
    for (name, output) in
        outputs().into_iter().filter(|(name, _)| name.contains("-none") || name.contains("-skips"))
    {
        // One that is asked for a case that is not there calls that an error.
        if name == "trial-none.txt" {
            continue;
        }
        let reading = read(format(&name, &output), &output[..]);
        assert_eq!((reading.ran, reading.cases.len()), (0, 0), "{name}");
        assert_ne!(reading.source, ReportSource::Lines, "{name}");
        none += 1;
    }
    assert_eq!(none, 8);
}

fn assert_bounded(format: ReportFormat, output: &[u8]) {
    let reading = read(format, output);
    assert!(reading.cases.len() <= MAX_CASES && reading.warnings.len() <= MAX_WARNINGS);
    assert!(
        reading.warnings.iter().all(|w| w.len() < 600 && !w.contains(char::is_control)),
        "{:?}",
        reading.warnings
    );
    for case in &reading.cases {
        assert!(!case.name.is_empty() && case.name.len() <= MAX_NAME_BYTES);
        assert!(!case.name.contains(char::is_control) && case.name.trim() == case.name, "{:?}", case.name);
        assert!(case.text.as_ref().is_none_or(|text| text.len() <= MAX_CASE_TEXT_BYTES));
        assert!(case.verdict != Verdict::Missing, "only a comparison can tell what is missing");
    }
}

/// A piece of one output, a piece of another after it, and some bytes that belong to neither.
fn spliced() -> impl Strategy<Value = Vec<u8>> {
    let outputs = outputs();
    let count = outputs.len();
    let piece = (0..count, any::<prop::sample::Index>(), any::<prop::sample::Index>());
    let noise = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (prop::collection::vec(piece, 1..3), noise).prop_map(move |(pieces, noise)| {
        let mut bytes = Vec::new();
        for (which, from, to) in pieces {
            let output = &outputs[which].1;
            let (from, to) = (from.index(output.len()), to.index(output.len()));
            bytes.extend_from_slice(&output[from.min(to)..from.max(to)]);
        }
        for (at, byte) in noise.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        bytes
    })
}

proptest! {
    #[test]
    fn whatever_is_broken_each_reader_ends_within_its_bounds(bytes in spliced()) {
        for format in ReportFormat::ALL {
            assert_bounded(format, &bytes);
        }
        detect(&bytes[..]);
    }

    #[test]
    fn an_output_that_breaks_off_names_no_case_that_the_whole_does_not(
        which in any::<prop::sample::Index>(),
        end in any::<prop::sample::Index>(),
    ) {
        let outputs = outputs();
        let (name, output) = &outputs[which.index(outputs.len())];
        let format = format(name, output);
        prop_assume!(format != Lines);
        // Broken off after a line: within one, a name itself may be broken.
        let end = output[..end.index(output.len())].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let part = read(format, &output[..end]);
        let whole = read(format, &output[..]);
        let plain = |name: &str| name.trim_start_matches("fault:").to_string();
        let known: Vec<String> = whole.cases.iter().map(|case| plain(&case.name)).collect();
        // A subtest that is not summed up has not all of its name yet; and one that runs, whose subtests have not begun,
        // is not known to be no case itself.
        let is_known = |name: &str| {
            let (name, parent) = (plain(name), plain(name) + "/");
            known.iter().any(|known| known.ends_with(&name) || known.starts_with(&parent))
        };
        let unknown = part.cases.iter().find(|case| !is_known(&case.name));
        // Where the whole names only failures, or cannot tell its passes from other lines, the passes of a part have names
        // that it has left out.
        let leaves_out = ["without being named", "which of them passed is not known"];
        let names_all = !whole.warnings.iter().any(|warning| leaves_out.iter().any(|words| warning.contains(words)));
        prop_assert!(unknown.is_none() || !names_all, "{}: {:?}", name, unknown);
    }
}
