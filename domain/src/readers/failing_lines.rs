//! Reads suites that have no report: lines of the log that look like failures become faults, named by the normalized
//! line. A fault that a later run does not repeat has passed there.

use std::collections::BTreeSet;
use std::io::{self, BufRead};

use protocol::Verdict;

use super::failing_cases::FailingCases;
use super::line_reader::{self, LineFlow};
use super::normalizer::{error_line, normalize};
use super::reading::ReportSource;
use super::report_builder::ReportBuilder;

/// A log with more different failures is noise, or shows one failure that broke everything.
const MAX_FAULTS: usize = 50;
/// Shows in the name that the fault is from a line, and not from a runner.
const SOURCE: &str = "line:";

pub fn read(input: impl BufRead, report: &mut ReportBuilder) -> io::Result<()> {
    report.set_source(ReportSource::Lines);
    let (mut faults, mut ran) = (BTreeSet::new(), None);
    let mut cases = FailingCases::default();
    let ended = line_reader::each(input, |line| {
        ran = ran.max(count(line));
        let (name, line) = match (cases.on(line), error_line(line)) {
            (Some(name), _) => (name, line),
            (None, Some(line)) if !is_summary(line) => (format!("{SOURCE}{}", normalize(line)), line),
            (None, Some(_) | None) => return LineFlow::Continue,
        };
        if faults.contains(&name) {
            return LineFlow::Continue;
        }
        if faults.len() == MAX_FAULTS {
            report.limit(format!("More than {MAX_FAULTS} lines look like failures; the rest was not read."));
            return LineFlow::Stop;
        }
        let Some(index) = report.fault(&name, Verdict::Fail) else {
            return LineFlow::Stop;
        };
        report.add_text(index, line);
        faults.insert(name);
        LineFlow::Continue
    });
    if ran == Some(Ran::None) {
        report.set_source(ReportSource::Nothing);
    }
    ended.finish(report)
}

/// Whether a line only repeats that something failed, which the step's end shows already.
pub(super) fn is_summary(line: &str) -> bool {
    line.starts_with("make") || line.contains("*** [") || line.starts_with("FAILED (")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ran {
    None,
    Some,
}

/// Whether a line of a known runner says that it runs tests, or none.
fn count(line: &str) -> Option<Ran> {
    const NONE: [&str; 8] = [
        "no tests ran",
        "NO TESTS RAN",
        "no tests to run",
        "No tests found",
        "No tests were found",
        "No tests executed",
        "No test files found",
        "[no test files]",
    ];
    let line = line.trim();
    if NONE.iter().any(|none| line.contains(none)) {
        return Some(Ran::None);
    }
    if is_package_of_go(line) {
        return Some(Ran::Some);
    }
    // `10 examples, 0 failures` holds the words of `0 examples, 0 failures`.
    const COUNTED: [&str; 3] = [" examples, ", " example, ", " tests, "];
    let counted =
        COUNTED.iter().find_map(|word| line.split_once(word).filter(|(_, rest)| rest.starts_with("0 ")));
    if let Some((before, _)) = counted
        && let Some(ran) = before.rsplit(' ').next().and_then(number)
    {
        return Some(ran);
    }
    const BEFORE: [&str; 6] = ["Ran ", "running ", "collected ", "1..", "Tests run: ", "Running "];
    if let Some(count) = BEFORE.iter().find_map(|before| line.strip_prefix(before)) {
        return number(count);
    }
    let mut words = line.split_whitespace();
    let (count, word, next) = (words.next()?, words.next()?, words.next().unwrap_or_default());
    let is_of_tests = match word.trim_end_matches(['.', ';', ',']) {
        "passing" | "passed" => true,
        // `0 tests failed` is good news.
        "tests" => !["fail", "err", "skip", "broke"].iter().any(|bad| next.to_lowercase().starts_with(bad)),
        _ => false,
    };
    if is_of_tests { number(count) } else { None }
}

/// The number at the start of a text.
fn number(text: &str) -> Option<Ran> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    match text[..digits].bytes().any(|digit| digit != b'0') {
        true => Some(Ran::Some),
        false if digits > 0 => Some(Ran::None),
        false => None,
    }
}

/// `ok  \texample.org/a\t0.1s`: Go prints one for each package that has tests.
fn is_package_of_go(line: &str) -> bool {
    let mut fields = line.split('\t').map(str::trim);
    let is_time = |field: &str| {
        field.starts_with("(cached)")
            || field.starts_with(|c: char| c.is_ascii_digit()) && field.contains('s')
    };
    fields.next() == Some("ok") && fields.next().is_some() && fields.next().is_some_and(is_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_fault_shows_that_it_is_from_a_line() {
        let mut report = ReportBuilder::default();
        read(&b"a.c:3: error: no such type\na.c:4: error: no such type\n"[..], &mut report).unwrap();
        let names: Vec<_> = report.build().cases.into_iter().map(|case| case.name).collect();
        assert_eq!(names, ["fault:line:a.c:#: error: no such type"]);
        assert!(crate::readers::is_fault(&names[0]));
    }

    #[test]
    fn the_counts_that_known_runners_print_are_recognised() {
        use Ran::{None as Zero, Some as Any};
        for (line, expected) in [
            ("Ran 0 tests in 0.000s", Some(Zero)),
            ("Ran 12 tests in 0.100s", Some(Any)),
            ("running 0 tests", Some(Zero)),
            ("running 10 tests", Some(Any)),
            ("collected 0 items / 1 error", Some(Zero)),
            ("===== no tests ran in 0.01s =====", Some(Zero)),
            ("1..0 # SKIP no net", Some(Zero)),
            ("1..3", Some(Any)),
            ("  0 passing (2ms)", Some(Zero)),
            ("  4 passing (2ms)", Some(Any)),
            ("ok  \texample.org/a\t0.1s [no tests to run]", Some(Zero)),
            ("Tests run: 0, Failures: 0", Some(Zero)),
            ("ok  \texample.org/a\t0.1s", Some(Any)),
            ("?   \texample.org/b\t[no test files]", Some(Zero)),
            ("0 examples, 0 failures", Some(Zero)),
            ("10 examples, 0 failures", Some(Any)),
            ("Finished in 1s: 0 tests, 0 errors", Some(Zero)),
            ("20 tests, 0 failures", Some(Any)),
            ("0 tests failed", None),
            ("0 tests skipped", None),
            ("25 tests", Some(Any)),
            ("0 tests", Some(Zero)),
            ("Ran away", None),
            ("all is well", None),
        ] {
            assert_eq!(count(line), expected, "{line}");
        }
    }
}
