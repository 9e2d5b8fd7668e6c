//! Normalizes lines, so that two that report the same failure are equal: numbers, addresses, durations and the folders of
//! this run are replaced. Normalized lines are the names of faults, and the signatures by which failures are grouped.
//!
//! The same is done to log lines elsewhere under the name of log templates (compare P. He and others: *Drain: An Online
//! Log Parsing Approach with Fixed Depth Tree*, ICWS 2017); here fixed rules suffice, and need no training.

use super::names;
use super::volatile::{is_mixed, temporary, volatile, without_stamp};

/// Longer lines differ enough in their beginning.
const MAX_NORMALIZED_BYTES: usize = 300;
/// As long as the longest name of a case.
const MAX_STABLE_BYTES: usize = super::limits::MAX_NAME_BYTES;
const MAX_ROUNDS: usize = 8;
/// An error is reported early in a text, or the text is mostly something else.
const MAX_LINES: usize = 400;

/// A line without what differs from run to run: numbers, addresses, identifiers, dates and random names become `#`,
/// durations `#time`, and of an absolute path only the last component stays. At most 300 bytes.
pub fn normalize(line: &str) -> String {
    fold(line, Numbers::Replaced, MAX_NORMALIZED_BYTES)
}

/// A text without what differs from run to run, but with its numbers and folders.
pub fn stable(text: &str) -> String {
    fold(text, Numbers::Kept, MAX_STABLE_BYTES)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    Replaced,
    Kept,
}

/// Folds until nothing changes any more: what stood behind a number may be volatile by itself. A round that changes
/// something leaves fewer letters and digits, and few texts need a second one.
fn fold(line: &str, numbers: Numbers, most: usize) -> String {
    let mut folded = fold_once(line, numbers, most);
    for _ in 0..MAX_ROUNDS {
        let again = fold_once(&folded, numbers, most);
        if again == folded {
            break;
        }
        folded = again;
    }
    folded
}

fn fold_once(line: &str, numbers: Numbers, most: usize) -> String {
    let mut folded = String::with_capacity(line.len().min(most + 8));
    let mut rest = line.trim();
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        if folded.len() > most {
            break;
        }
        let is_path = first == '/' && !before.is_alphanumeric() && !".#".contains(before);
        let length = if first.is_whitespace() {
            folded.push(' ');
            rest.len() - rest.trim_start().len()
        } else if is_path && numbers == Numbers::Replaced {
            path(rest, &mut folded)
        } else if first.is_alphanumeric() || first == '_' {
            word(rest, before, numbers, &mut folded)
        } else {
            folded.push(if first.is_control() { char::REPLACEMENT_CHARACTER } else { first });
            first.len_utf8()
        };
        before = folded.chars().next_back().unwrap_or(' ');
        rest = &rest[length..];
    }
    names::truncated(&folded, most).trim_end().to_string()
}

/// Only the last component of an absolute path is the same on every machine.
fn path(rest: &str, normalized: &mut String) -> usize {
    let length = rest.find(|c: char| !is_of_path(c)).unwrap_or(rest.len());
    let (path, trailing) = split_trailing(&rest[..length]);
    match path.rsplit_once('/') {
        Some((folders, last)) if !folders.is_empty() && !last.is_empty() => {
            normalized.push_str("…/");
            let is_temporary = folders == "/tmp" || folders.ends_with("/tmp");
            normalize_words(last, is_temporary, normalized);
        }
        Some(_) | None => normalize_words(path, false, normalized),
    }
    normalized.push_str(trailing);
    length
}

fn is_of_path(c: char) -> bool {
    c.is_alphanumeric() || "/._-+~@%=".contains(c)
}

/// A full stop after a path ends the sentence.
fn split_trailing(path: &str) -> (&str, &str) {
    path.split_at(path.trim_end_matches('.').len())
}

/// In the folder of temporary files, a word that only a machine chooses is a random one.
fn normalize_words(text: &str, is_temporary: bool, normalized: &mut String) {
    let (mut rest, mut before) = (text, ' ');
    while let Some(first) = rest.chars().next() {
        let found = &rest[..rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len())];
        let length = if is_temporary && is_mixed(found) {
            normalized.push('#');
            found.len()
        } else if first.is_alphanumeric() || first == '_' {
            word(rest, before, Numbers::Replaced, normalized)
        } else {
            normalized.push(first);
            first.len_utf8()
        };
        before = normalized.chars().next_back().unwrap_or(' ');
        rest = &rest[length..];
    }
}

/// A number, an address or a name. Digits within a name belong to it: `test_2` is not `test_3`.
fn word(rest: &str, before: char, numbers: Numbers, folded: &mut String) -> usize {
    if let Some(length) = volatile(rest, before) {
        folded.push('#');
        return length;
    }
    if let Some((fixed, length)) = temporary(rest) {
        folded.push_str(&rest[..fixed]);
        folded.push('#');
        return length;
    }
    let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    if numbers == Numbers::Kept || !rest.starts_with(|c: char| c.is_ascii_digit()) {
        folded.push_str(&rest[..length]);
        return length;
    }
    number(rest, folded)
}

/// A number with its unit, or several of them as one duration: `1h2m3.5s`.
fn number(rest: &str, folded: &mut String) -> usize {
    let number = length_of_number(rest);
    folded.push('#');
    let mut end = number;
    loop {
        let unit = unit(&rest[end..]);
        if !is_time(unit) {
            // What looks like a unit only after others is none of this number.
            if end == number {
                folded.push_str(self::word_at(&rest[end..]));
                return end + self::word_at(&rest[end..]).len();
            }
            break;
        }
        end += unit.len();
        if !rest[end..].starts_with(|c: char| c.is_ascii_digit()) {
            break;
        }
        end += length_of_number(&rest[end..]);
    }
    // The same duration may be printed in another unit the next time.
    folded.push_str("time");
    end
}

/// The digits after the point belong to the same number, so that 3 and 3.5 become equal, and so does the exponent.
fn length_of_number(rest: &str) -> usize {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let whole = digits(rest);
    let decimals = rest[whole..].strip_prefix('.').map_or(0, digits);
    let number = if decimals > 0 { whole + 1 + decimals } else { whole };
    let exponent = rest[number..].strip_prefix(['e', 'E']).and_then(|rest| rest.strip_prefix(['+', '-']));
    match exponent.map_or(0, digits) {
        0 => number,
        exponent => number + 2 + exponent,
    }
}

fn word_at(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

/// The letters that follow a number directly.
fn unit(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphabetic()).unwrap_or(text.len())]
}

fn is_time(unit: &str) -> bool {
    matches!(unit, "ns" | "us" | "µs" | "ms" | "s" | "m" | "h" | "sec" | "min")
}

/// The normalized line by which a failure message is recognised: the first one that reports an error, or else the first.
/// None if the text has no such line.
pub fn signature(text: &str) -> Option<String> {
    let lines = || text.lines().take(MAX_LINES).map(str::trim);
    // Pytest marks its own words.
    let marked = lines().find_map(|line| line.strip_prefix("E  "));
    let messages = || lines().map(message).filter(|line| !line.is_empty());
    let line = marked
        .map(message)
        .or_else(|| messages().find(|line| (is_error(line) || is_exception(line)) && !is_idle(line)))
        .or_else(|| messages().find(|line| !is_idle(line)));
    line.map(normalize).filter(|normalized| !normalized.is_empty())
}

/// `package.module.Name: what happened`
fn is_exception(line: &str) -> bool {
    let Some((name, _)) = line.split_once(": ") else { return false };
    let is_dotted = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    is_dotted && name.rsplit_once('.').is_some_and(|(_, last)| last.starts_with(char::is_uppercase))
}

/// A line without the place in the source that it names, and without the marks of its runner.
fn message(line: &str) -> &str {
    let line = line.trim();
    let line = ["lua: ", "lua5.4: ", "luajit: "].iter().find_map(|p| line.strip_prefix(p)).unwrap_or(line);
    without_place(line)
}

/// The message of `file.c:12:5: message`.
fn without_place(line: &str) -> &str {
    let Some((file, rest)) = line.split_once(':') else { return line };
    let is_file = !file.is_empty() && !file.contains(char::is_whitespace) && file.contains(['.', '/']);
    let mut behind = rest;
    let mut numbers = 0;
    while let Some((number, more)) = behind.split_once(':')
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
    {
        (behind, numbers) = (more, numbers + 1);
    }
    if is_file && numbers > 0 {
        behind.trim_start()
    } else if is_file && !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit() || b == b':') {
        // Only the place: what happened there is on the next line.
        ""
    } else {
        line
    }
}

/// A line that reports an error, without the stamp at its start; none if it reports none.
pub fn error_line(line: &str) -> Option<&str> {
    let line = line.trim();
    let Some(rest) = without_stamp(line) else {
        return (is_error(line) && !counts_none(line)).then_some(line);
    };
    // Behind the stamp there may be the host, the thread or the logger before the level.
    let is_level = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        ["ERROR", "FATAL", "CRITICAL", "FAIL", "FAILED"].contains(&word)
    };
    let is_error = is_error(rest) || rest.split_whitespace().take(5).any(is_level);
    (is_error && !counts_none(rest)).then_some(rest)
}

/// Whether a line that looks like a failure counts none of them: `0 errors`, `FAIL: 0`.
fn counts_none(line: &str) -> bool {
    let words: Vec<&str> =
        line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let is_bad = |word: &&str| {
        ["error", "errors", "failure", "failures", "failed", "fail", "failing", "fatal"]
            .contains(&word.to_lowercase().as_str())
    };
    let number = |at: Option<usize>| words.get(at?).and_then(|word| word.parse::<u64>().ok());
    let mut none = false;
    for (at, _) in words.iter().enumerate().filter(|(_, word)| is_bad(word)) {
        let is_thing = |word: &&str| ["test", "tests", "case", "cases", "checks"].contains(word);
        let thing = at.checked_sub(1).filter(|&before| words.get(before).is_some_and(is_thing));
        let before = number(thing.or(Some(at)).and_then(|at| at.checked_sub(1)));
        let behind = number(Some(at + 1));
        match (before, behind) {
            (Some(0), _) | (None, Some(0)) => none = true,
            // `ERROR SUMMARY: 0 errors`
            (None, None) if words.get(at + 1).is_some_and(|word| word.eq_ignore_ascii_case("summary")) => {}
            (Some(_), _) | (None, Some(_) | None) => return false,
        }
    }
    none
}

/// Whether a line reports an error.
pub fn is_error(line: &str) -> bool {
    const BEGINS: [&str; 12] = [
        "FAIL", "Fail:", "ERROR", "Error", "error", "FATAL", "fatal", "not ok", "panic:", "[FAIL", "[ERROR",
        "Assert",
    ];
    const HOLDS: [&str; 17] = [
        "Error: ",
        "Exception: ",
        "error: ",
        "Failure: ",
        "Error in ",
        "undefined reference",
        "Segmentation fault",
        "core dumped",
        "Assertion ",
        "assertion failed",
        "assertion `",
        "Failure message: ",
        "attempt to ",
        "stack overflow",
        ": FAIL",
        "... FAIL",
        "... ERROR",
    ];
    let is_bare = |name: &str| line.ends_with(name) && !line.contains(' ');
    (BEGINS.iter().any(|begin| line.starts_with(begin)) || HOLDS.iter().any(|held| line.contains(held)))
        || is_bare("Error")
        || is_bare("Exception")
}

const IDLE: [&str; 7] =
    ["# ", "Looks like you", "location:", "failureType:", "operator:", "at:", "stack traceback:"];

/// Whether a line is one that a runner prints before the message.
fn is_idle(line: &str) -> bool {
    line.starts_with("Traceback")
        || line.starts_with("File \"")
        || line.starts_with("Failed test")
        || line.starts_with("=== ")
        || line.starts_with("--- ")
        || line.starts_with("thread '")
        || (line.starts_with("at ") && line.contains(" line "))
        || IDLE.iter().any(|begin| line.starts_with(begin))
        || ["Failed", "unknown file", "error: |-", "stack: |-"].contains(&line)
        || !line.contains(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_normalized() {
        for (line, expected) in [
            ("expected 10, got 12.5", "expected #, got #"),
            ("object at 0x7f39Ab02>", "object at #>"),
            ("  took 12.3ms  or 4 s", "took #time or # s"),
            ("took 2s", "took #time"),
            ("open /tmp/farm-x1/run.7/data.txt failed", "open …/data.txt failed"),
            ("see /usr/lib/python3.11/site.py.", "see …/site.py."),
            ("src/lib.rs:14:9: error", "src/lib.rs:#:#: error"),
            ("test_2 and utf8 stay", "test_2 and utf8 stay"),
            ("commit 3f2a9c01be is bad", "commit # is bad"),
            ("decade and facade stay", "decade and facade stay"),
            ("either/or", "either/or"),
            ("a / b", "a / b"),
            ("-5 and +7", "-# and +#"),
            ("größer als 5€", "größer als #€"),
            ("2 tests", "# tests"),
        ] {
            assert_eq!(normalize(line), expected, "{line}");
        }
    }

    #[test]
    fn a_failure_is_recognised_by_the_line_that_reports_the_error() {
        for (text, expected) in [
            (
                "Traceback (most recent call last):\n  File \"/a/b.py\", line 3, in f\n    x()\nNameError: name 'x' is not defined",
                "NameError: name 'x' is not defined",
            ),
            (
                "    def test():\n>       assert f() == 1\nE       AttributeError: no attribute 'y'\n\ntest.py:3: AttributeError",
                "AttributeError: no attribute 'y'",
            ),
            (
                "sample.lua:6: attempt to index a nil value (local 'none')",
                "attempt to index a nil value (local 'none')",
            ),
            (
                "lua: other.lua:99: attempt to index a nil value (local 'none')",
                "attempt to index a nil value (local 'none')",
            ),
            ("sample.cc:5\nExpected equality of these values:\n  2", "Expected equality of these values:"),
            (
                "thread 'tests::a' (4415) panicked at src/lib.rs:14:9:\nassertion `left == right` failed\n  left: 2",
                "assertion `left == right` failed",
            ),
            ("  Failed test 'adds'\n  at a.t line 8.\n     got: '2'\n", "got: '#'"),
            ("cc -c a.c\na.c:3:1: error: expected ';'", "error: expected ';'"),
            ("want 10, got 11", "want #, got #"),
        ] {
            assert_eq!(signature(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(signature(" \n\n"), None);
    }

    /// Lines of two runs that differ only in what is different in each.
    #[test]
    fn two_runs_of_one_failure_have_one_line() {
        for (one, other) in [
            ("request 550e8400-e29b-41d4-a716-446655440000", "request 7f3ac1d2-1b4e-4c8f-9d2a-0aa1b2c3d4e5"),
            ("org.example.Conn@1b2c3d4 is closed", "org.example.Conn@7e9a0f2 is closed"),
            ("at 2026-01-02T03:04:05Z: no", "at 2026-11-12T15:44:15.5+01:00: no"),
            ("on Fri Jan  2 03:04:05 2026", "on Wed Nov 30 19:04:18 2026"),
            ("in tmpab12cd_x: no", "in tmpzz9_k3qq: no"),
            ("open /tmp/build-Xa81kQ failed", "open /tmp/build-9Zk2aa failed"),
            ("rm /tmp/tmp.Xa81kQ2b3c", "rm /tmp/tmp.aaBBccDD11"),
            ("took 1h2m3.5s", "took 250ms"),
            ("off by 1.5e-05", "off by 0.25"),
            ("HEAD is at 1b2c3d4", "HEAD is at 9f8e7d6"),
            ("pytest-12/test_a0", "pytest-3/test_a0"),
        ] {
            assert_eq!(normalize(one), normalize(other));
        }
    }

    #[test]
    fn a_line_that_counts_no_failure_reports_none() {
        for (line, expected) in [
            ("ERROR SUMMARY: 0 errors from 0 contexts", None),
            ("FAIL: 0", None),
            ("FAILED 0 tests", None),
            ("Error count: 3", Some("Error count: 3")),
            ("FAIL: 2", Some("FAIL: 2")),
            ("error: 2 tests failed, 0 errors", Some("error: 2 tests failed, 0 errors")),
            ("ERROR: 1 error, 0 failures", Some("ERROR: 1 error, 0 failures")),
            ("2026-01-02 03:04:05,123 ERROR no", Some("ERROR no")),
            ("2026-01-02 03:04:05,123 - app.net - ERROR - no", Some("app.net - ERROR - no")),
            ("2026-01-02 03:04:05 INFO all is well", None),
            ("all is well", None),
        ] {
            assert_eq!(error_line(line), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn a_normalized_line_is_bounded(line in "(.|/|[0-9]|0x|\\.|_|ms| ){0,60}", times in 1usize..9) {
            prop_assert!(normalize(&line.repeat(times)).len() <= MAX_NORMALIZED_BYTES);
        }

        #[test]
        fn normalizing_again_changes_nothing(
            words in prop::collection::vec(
                "[a-z]{1,4}|[0-9]{1,8}|[0-9a-f]{7,9}|0x[0-9a-f]{1,6}|/[a-z]{1,3}/[a-zA-Z0-9]{1,9}|tmp[a-z0-9_]{8}|[0-9]{2}:[0-9]{2}:[0-9]{2}|2026-[01][0-9]-[0-3][0-9]|Jan|Fri,|[0-9]{1,2}(ms|s|m[0-9]s)|@[0-9a-f]{6}|[^ ]{1,3}",
                0..12,
            ),
            gap in "[ :.,=@-]",
        ) {
            let line = words.join(&gap);
            let once = normalize(&line);
            prop_assert_eq!(normalize(&once), once, "{}", line);
            let once = stable(&line);
            prop_assert_eq!(stable(&once), once, "{}", line);
        }

        #[test]
        fn numbers_make_no_difference(before in "[a-z ]{0,9} ", one in 0u32.., other in 0u32.., behind in "( [a-z]{0,5})?") {
            prop_assert_eq!(normalize(&format!("{before}{one}{behind}")), normalize(&format!("{before}{other}{behind}")));
        }
    }
}
