//! What two lines that tell of the same trouble have in common: numbers, addresses, durations and the folders of
//! this run are folded away. Folded lines are names of faults, and signatures by which cases are grouped.

use super::names;

/// Longer lines differ enough in their beginning.
const MAX_FOLDED_BYTES: usize = 300;
/// An error is told of early, or its text is mostly something else.
const MAX_LINES: usize = 400;

/// A line without what differs from run to run.
pub fn fold(line: &str) -> String {
    let mut folded = String::with_capacity(line.len().min(MAX_FOLDED_BYTES + 8));
    let mut rest = line.trim();
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        if folded.len() > MAX_FOLDED_BYTES {
            break;
        }
        let length = if first.is_whitespace() {
            folded.push(' ');
            rest.len() - rest.trim_start().len()
        } else if first == '/' && !before.is_alphanumeric() && !".#".contains(before) {
            path(rest, &mut folded)
        } else if first.is_alphanumeric() || first == '_' {
            word(rest, &mut folded)
        } else {
            folded.push(if first.is_control() { char::REPLACEMENT_CHARACTER } else { first });
            first.len_utf8()
        };
        before = folded.chars().next_back().unwrap_or(' ');
        rest = &rest[length..];
    }
    names::cut(&folded, MAX_FOLDED_BYTES).trim_end().to_string()
}

/// Of an absolute path only its last part is the same everywhere.
fn path(rest: &str, folded: &mut String) -> usize {
    let length = rest.find(|c: char| !is_of_path(c)).unwrap_or(rest.len());
    let (path, trailing) = split_trailing(&rest[..length]);
    match path.rsplit_once('/') {
        Some((folders, last)) if !folders.is_empty() && !last.is_empty() => {
            folded.push_str("…/");
            folded.push_str(&fold_words(last));
        }
        Some(_) | None => folded.push_str(&fold_words(path)),
    }
    folded.push_str(trailing);
    length
}

fn is_of_path(c: char) -> bool {
    c.is_alphanumeric() || "/._-+~@%=".contains(c)
}

/// A full stop behind a path ends the sentence.
fn split_trailing(path: &str) -> (&str, &str) {
    path.split_at(path.trim_end_matches('.').len())
}

fn fold_words(text: &str) -> String {
    let (mut folded, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            word(rest, &mut folded)
        } else {
            folded.push(first);
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    folded
}

/// A number, an address or a name. Digits within a name belong to it: `test_2` is not `test_3`.
fn word(rest: &str, folded: &mut String) -> usize {
    let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let word = &rest[..length];
    if let Some(digits) = word.strip_prefix("0x")
        && !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
    {
        folded.push('#');
        return length;
    }
    let hex = word.len() >= 8 && word.bytes().all(|b| b.is_ascii_hexdigit());
    if hex && word.bytes().any(|b| b.is_ascii_digit()) {
        folded.push('#');
        return length;
    }
    let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    if digits == 0 {
        folded.push_str(word);
        return length;
    }
    // What is behind the point is of the same number, so that 3 and 3.5 are alike.
    let number = match rest[digits..].strip_prefix('.') {
        Some(behind) if digits == length => {
            let decimals = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
            if decimals > 0 { digits + 1 + decimals } else { digits }
        }
        Some(_) | None => digits,
    };
    let unit_end = rest[number..].find(|c: char| !c.is_alphanumeric() && c != '_');
    let unit = &rest[number..unit_end.map_or(rest.len(), |end| number + end)];
    folded.push('#');
    match unit {
        // One duration may be told in one unit now and in another then.
        "ns" | "us" | "µs" | "ms" | "s" | "m" | "h" | "sec" | "min" => folded.push_str("time"),
        unit => folded.push_str(unit),
    }
    number + unit.len()
}

/// The line by which a failure's text is recognised, folded: the first that tells of an error, else the first.
pub fn signature(text: &str) -> Option<String> {
    let lines = || text.lines().take(MAX_LINES).map(str::trim);
    // Pytest marks what it says itself.
    let marked = lines().find_map(|line| line.strip_prefix("E  "));
    let said = || lines().map(message).filter(|line| !line.is_empty());
    let line = marked
        .map(message)
        .or_else(|| said().find(|line| (tells_of_error(line) || is_exception(line)) && !is_idle(line)))
        .or_else(|| said().find(|line| !is_idle(line)));
    line.map(fold).filter(|folded| !folded.is_empty())
}

/// `package.module.Name: what happened`
fn is_exception(line: &str) -> bool {
    let Some((name, _)) = line.split_once(": ") else { return false };
    let is_dotted = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    is_dotted && name.rsplit_once('.').is_some_and(|(_, last)| last.starts_with(char::is_uppercase))
}

/// A line without the place it speaks of and the marks of its runner.
fn message(line: &str) -> &str {
    let line = line.trim();
    let line = ["lua: ", "lua5.4: ", "luajit: "].iter().find_map(|p| line.strip_prefix(p)).unwrap_or(line);
    without_place(line)
}

/// `file.c:12:5: message` says where and then what.
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

/// Whether a line is one that says what went wrong.
pub fn tells_of_error(line: &str) -> bool {
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

/// Words of a runner that stand before what happened.
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
    fn what_differs_from_run_to_run_is_folded() {
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
            assert_eq!(fold(line), expected, "{line}");
        }
    }

    #[test]
    fn a_failure_is_recognised_by_the_line_that_says_what_went_wrong() {
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
        fn folding_ends_within_its_bound(line in "(.|/|[0-9]|0x|\\.|_|ms| ){0,60}", times in 1usize..9) {
            prop_assert!(fold(&line.repeat(times)).len() <= MAX_FOLDED_BYTES);
        }

        #[test]
        fn numbers_make_no_difference(before in "[a-z ]{0,9} ", one in 0u32.., other in 0u32.., behind in "( [a-z]{0,5})?") {
            prop_assert_eq!(fold(&format!("{before}{one}{behind}")), fold(&format!("{before}{other}{behind}")));
        }
    }
}
