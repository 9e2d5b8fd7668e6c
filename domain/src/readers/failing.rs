//! Suites without reports: lines of a log that look like failures become faults, named by what they say without
//! its numbers, addresses and folders. A fault that does not come again has passed.

use std::collections::BTreeSet;
use std::io::{self, BufRead};

use protocol::Verdict;

use super::ReportBuilder;
use super::fold::{fold, tells_of_error};
use super::lines::{self, LineFlow};

/// A log with more different failures tells of noise, or of one that broke everything.
const MAX_FAULTS: usize = 50;
/// Says in the name that a line was its source, and no runner.
const SOURCE: &str = "line:";

pub fn read(input: impl BufRead, draft: &mut ReportBuilder) -> io::Result<()> {
    draft.only_lines();
    let (mut faults, mut ran) = (BTreeSet::new(), None);
    let ended = lines::each(input, |line| {
        ran = ran.max(count(line));
        let line = line.trim();
        if !tells_of_error(line) || is_sum(line) {
            return LineFlow::Continue;
        }
        let name = fold(line);
        if faults.contains(&name) {
            return LineFlow::Continue;
        }
        if faults.len() == MAX_FAULTS {
            draft.lacks(format!("More than {MAX_FAULTS} lines look like failures; the rest was not read."));
            return LineFlow::Stop;
        }
        let Some(index) = draft.fault(&format!("{SOURCE}{name}"), Verdict::Fail) else {
            return LineFlow::Stop;
        };
        draft.add_text(index, line);
        faults.insert(name);
        LineFlow::Continue
    });
    if ran == Some(Ran::None) {
        draft.ran_none();
    }
    ended.told_to(draft)
}

/// It says in its own words that something failed, which the step's end says already.
fn is_sum(line: &str) -> bool {
    line.starts_with("make") || line.contains("*** [") || line.starts_with("FAILED (")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ran {
    None,
    Some,
}

/// What a line of a known runner says of how many tests it runs.
fn count(line: &str) -> Option<Ran> {
    const NONE: [&str; 10] = [
        "no tests ran",
        "NO TESTS RAN",
        "no tests to run",
        "No tests found",
        "No tests were found",
        "No tests executed",
        "No test files found",
        "[no test files]",
        "0 examples, 0 failures",
        "0 tests, 0 ",
    ];
    let line = line.trim();
    if NONE.iter().any(|none| line.contains(none)) {
        return Some(Ran::None);
    }
    const BEFORE: [&str; 6] = ["Ran ", "running ", "collected ", "1..", "Tests run: ", "Running "];
    let number = BEFORE.iter().find_map(|before| line.strip_prefix(before));
    let number = number.or_else(|| {
        let word = line.split_whitespace().nth(1)?;
        ["passing", "passed", "passed;", "passed,", "tests"]
            .contains(&word.trim_end_matches('.'))
            .then_some(line)
    })?;
    let digits = number.len() - number.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    match number[..digits].bytes().any(|digit| digit != b'0') {
        true => Some(Ran::Some),
        false if digits > 0 => Some(Ran::None),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_fault_says_that_it_was_a_line() {
        let mut draft = ReportBuilder::default();
        read(&b"a.c:3: error: no such type\na.c:4: error: no such type\n"[..], &mut draft).unwrap();
        let names: Vec<_> = draft.finish().cases.into_iter().map(|case| case.name).collect();
        assert_eq!(names, ["fault:line:a.c:#: error: no such type"]);
        assert!(super::super::is_fault(&names[0]));
    }

    #[test]
    fn known_runners_are_believed_when_they_say_how_many_they_ran() {
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
            ("Ran away", None),
            ("all is well", None),
        ] {
            assert_eq!(count(line), expected, "{line}");
        }
    }
}
