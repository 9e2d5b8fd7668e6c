//! Normalizes lines, so that two that report the same failure are equal: numbers, addresses, durations and the folders of
//! this run are replaced. Normalized lines are the names of faults, and the signatures by which failures are grouped.
//!
//! The same is done to log lines elsewhere under the name of log templates (compare P. He and others: *Drain: An Online
//! Log Parsing Approach with Fixed Depth Tree*, ICWS 2017); here fixed rules suffice, and need no training.

use super::names;

/// Longer lines differ enough in their beginning.
const MAX_NORMALIZED_BYTES: usize = 300;
/// An error is reported early in a text, or the text is mostly something else.
const MAX_LINES: usize = 400;

/// A line without what differs from run to run: numbers and addresses become `#`, durations `#time`, and of an absolute
/// path only the last component stays. At most 300 bytes.
pub fn normalize(line: &str) -> String {
    let mut normalized = String::with_capacity(line.len().min(MAX_NORMALIZED_BYTES + 8));
    let mut rest = line.trim();
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        if normalized.len() > MAX_NORMALIZED_BYTES {
            break;
        }
        let length = if first.is_whitespace() {
            normalized.push(' ');
            rest.len() - rest.trim_start().len()
        } else if first == '/' && !before.is_alphanumeric() && !".#".contains(before) {
            path(rest, &mut normalized)
        } else if first.is_alphanumeric() || first == '_' {
            word(rest, &mut normalized)
        } else {
            normalized.push(if first.is_control() { char::REPLACEMENT_CHARACTER } else { first });
            first.len_utf8()
        };
        before = normalized.chars().next_back().unwrap_or(' ');
        rest = &rest[length..];
    }
    names::truncated(&normalized, MAX_NORMALIZED_BYTES).trim_end().to_string()
}

/// Only the last component of an absolute path is the same on every machine.
fn path(rest: &str, normalized: &mut String) -> usize {
    let length = rest.find(|c: char| !is_of_path(c)).unwrap_or(rest.len());
    let (path, trailing) = split_trailing(&rest[..length]);
    match path.rsplit_once('/') {
        Some((folders, last)) if !folders.is_empty() && !last.is_empty() => {
            normalized.push_str("…/");
            normalized.push_str(&normalize_words(last));
        }
        Some(_) | None => normalized.push_str(&normalize_words(path)),
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

fn normalize_words(text: &str) -> String {
    let (mut normalized, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            word(rest, &mut normalized)
        } else {
            normalized.push(first);
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    normalized
}

/// A number, an address or a name. Digits within a name belong to it: `test_2` is not `test_3`.
fn word(rest: &str, normalized: &mut String) -> usize {
    let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let word = &rest[..length];
    if let Some(digits) = word.strip_prefix("0x")
        && !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
    {
        normalized.push('#');
        return length;
    }
    let hex = word.len() >= 8 && word.bytes().all(|b| b.is_ascii_hexdigit());
    if hex && word.bytes().any(|b| b.is_ascii_digit()) {
        normalized.push('#');
        return length;
    }
    let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    if digits == 0 {
        normalized.push_str(word);
        return length;
    }
    // The digits after the point belong to the same number, so that 3 and 3.5 become equal.
    let number = match rest[digits..].strip_prefix('.') {
        Some(behind) if digits == length => {
            let decimals = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
            if decimals > 0 { digits + 1 + decimals } else { digits }
        }
        Some(_) | None => digits,
    };
    let unit_end = rest[number..].find(|c: char| !c.is_alphanumeric() && c != '_');
    let unit = &rest[number..unit_end.map_or(rest.len(), |end| number + end)];
    normalized.push('#');
    match unit {
        // The same duration may be printed in another unit the next time.
        "ns" | "us" | "µs" | "ms" | "s" | "m" | "h" | "sec" | "min" => normalized.push_str("time"),
        unit => normalized.push_str(unit),
    }
    number + unit.len()
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

    proptest! {
        #[test]
        fn a_normalized_line_is_bounded(line in "(.|/|[0-9]|0x|\\.|_|ms| ){0,60}", times in 1usize..9) {
            prop_assert!(normalize(&line.repeat(times)).len() <= MAX_NORMALIZED_BYTES);
        }

        #[test]
        fn numbers_make_no_difference(before in "[a-z ]{0,9} ", one in 0u32.., other in 0u32.., behind in "( [a-z]{0,5})?") {
            prop_assert_eq!(normalize(&format!("{before}{one}{behind}")), normalize(&format!("{before}{other}{behind}")));
        }
    }
}
