//! Reads one line of what pytest prints.

/// Pytest's word for how a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeWord {
    Passed,
    Failed,
    Error,
    Skipped,
    Xfail,
    Xpass,
    Rerun,
    Subpassed,
    Subfailed,
    Subskipped,
}

impl OutcomeWord {
    /// Whether it is the word for a subtest; the case itself has another one.
    pub fn is_of_subtest(self) -> bool {
        match self {
            OutcomeWord::Subpassed | OutcomeWord::Subfailed | OutcomeWord::Subskipped => true,
            OutcomeWord::Passed
            | OutcomeWord::Failed
            | OutcomeWord::Error
            | OutcomeWord::Skipped
            | OutcomeWord::Xfail
            | OutcomeWord::Xpass
            | OutcomeWord::Rerun => false,
        }
    }
}

const WORDS: [(&str, OutcomeWord); 13] = [
    ("PASSED", OutcomeWord::Passed),
    ("FAILED", OutcomeWord::Failed),
    ("ERROR", OutcomeWord::Error),
    ("SKIPPED", OutcomeWord::Skipped),
    ("XFAIL", OutcomeWord::Xfail),
    ("XPASS", OutcomeWord::Xpass),
    ("RERUN", OutcomeWord::Rerun),
    ("SUBPASSED", OutcomeWord::Subpassed),
    ("SUBFAILED", OutcomeWord::Subfailed),
    ("SUBSKIPPED", OutcomeWord::Subskipped),
    // The words of the plugin that existed before pytest had subtests.
    ("SUBPASS", OutcomeWord::Subpassed),
    ("SUBFAIL", OutcomeWord::Subfailed),
    ("SUBSKIP", OutcomeWord::Subskipped),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heading {
    Start,
    Summary,
    Other,
}

/// `=== short test summary info ===`
pub fn heading(line: &str) -> Option<Heading> {
    let line = line.trim_end();
    let words = line.strip_prefix("==")?.strip_suffix("==")?.trim_matches('=');
    match words.strip_prefix(' ')?.strip_suffix(' ')? {
        "test session starts" => Some(Heading::Start),
        "short test summary info" => Some(Heading::Summary),
        _ => Some(Heading::Other),
    }
}

/// Whether a heading is one of those that a session without a first heading has.
pub fn is_of_pytest(line: &str) -> bool {
    let words = line.trim().trim_matches('=').trim();
    ["FAILURES", "ERRORS", "PASSES", "XFAILURES", "XPASSES", "warnings summary", "short test summary info"]
        .contains(&words)
}

/// `____ TestOld.test_adds ____`: the case whose failure message follows.
pub fn title(line: &str) -> Option<&str> {
    let line = line.trim_end();
    let words = line.strip_prefix('_')?.strip_suffix('_')?.trim_matches('_');
    let words = words.strip_prefix(' ')?.strip_suffix(' ')?;
    let of = |doing: &str| words.strip_prefix(doing);
    let whose =
        of("ERROR at setup of ").or_else(|| of("ERROR at teardown of ")).or_else(|| of("ERROR collecting "));
    let whose = whose.unwrap_or(words);
    // `Old.test_adds [message] (n=1)` is a subtest of the case.
    let name = up_to_space(whose);
    Some(
        if whose[name.len()..].starts_with(" [")
            || whose[name.len()..].starts_with(" (") && whose.ends_with([']', ')'])
        {
            name
        } else {
            whose
        },
    )
}

/// Pytest's last line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SessionTotals<'a> {
    /// Whether it stands between `=`; it does not under `-q`.
    pub is_heading: bool,
    /// How many ran and did not fail.
    pub good: u64,
    /// How many failed.
    pub bad: u64,
    /// A word that is not known, of a plugin.
    pub unknown: Option<&'a str>,
}

/// `==== 5 failed, 9 passed, 2 skipped in 0.08s ====`, with less around it under `-q`.
pub fn totals(line: &str) -> Option<SessionTotals<'_>> {
    let line = line.trim();
    let words = line.trim_matches('=').trim();
    let (counts, time) = words.rsplit_once(" in ")?;
    if !time.split(' ').next()?.ends_with('s') || !time.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let is_heading = line.starts_with('=') && line.ends_with('=');
    let mut totals = SessionTotals { is_heading, ..SessionTotals::default() };
    if counts == "no tests ran" {
        return Some(totals);
    }
    let mut is_known = false;
    for count in counts.split(", ") {
        let (number, what) = count.split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        match what {
            "passed" | "xfailed" | "xpassed" => totals.good = totals.good.saturating_add(number),
            "failed" | "error" | "errors" => totals.bad = totals.bad.saturating_add(number),
            "skipped" | "deselected" | "warning" | "warnings" | "rerun" => {}
            what if what.starts_with("subtests ") => {}
            what => {
                totals.unknown = Some(what);
                continue;
            }
        }
        is_known = true;
    }
    (is_known || is_heading).then_some(totals)
}

/// `!!!! stopping after 1 failures !!!!`, `!!!! Interrupted: 1 error during collection !!!!`: why the run did not go on.
pub fn stopped(line: &str) -> Option<&str> {
    let line = line.trim_end();
    let words = line.strip_prefix("!!")?.strip_suffix("!!")?.trim_matches('!');
    words.strip_prefix(' ')?.strip_suffix(' ')
}

/// `a.py::t WEIRD [ 50%]`: a word that stands where a verdict stands, and is none.
pub fn unknown_word(line: &str) -> Option<&str> {
    let line = line.trim_end();
    let shown = without_percent(line);
    let word = shown[begun(shown)?.len()..].trim();
    let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase() || b"!?_".contains(&b));
    (shown.len() < line.len() && is_word).then_some(word)
}

/// A line that is printed during the run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Progress<'a> {
    pub name: Option<&'a str>,
    pub word: Option<OutcomeWord>,
    pub reason: Option<&'a str>,
    /// The word at the end of the line, directly after other text: the verdict of a case that printed that text, or no
    /// verdict at all.
    pub possible: Option<OutcomeWord>,
}

/// `test_prices.py::test_adds PASSED  [ 5%]`; under xdist `[gw0] [  5%] PASSED test_prices.py::test_adds`; and the name
/// alone when a case begins.
pub fn progress(line: &str) -> Option<Progress<'_>> {
    if let Some((_, rest)) = line.strip_prefix("[gw").and_then(|rest| rest.split_once(']')) {
        let rest = rest.trim_start();
        let rest =
            rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(rest, |(_, rest)| rest);
        let (word, name) = first(rest.trim())?;
        return Some(Progress { name: Some(name), word: Some(word), ..Progress::default() });
    }
    let shown = without_percent(line.trim_end());
    if let Some((name, word)) = subtest(shown) {
        return Some(Progress { name, word: Some(word), ..Progress::default() });
    }
    let Some((before, word, reason)) = verdict(shown) else {
        let (name, possible) = (begun(line), glued(shown));
        return (name.is_some() || possible.is_some()).then_some(Progress {
            name,
            possible,
            ..Progress::default()
        });
    };
    let name = match before.trim_end() {
        "" => None,
        name if is_name(name) => Some(name),
        // After a name and what the case printed, or after the latter alone.
        printed => begun(printed),
    };
    Some(Progress { name, word: Some(word), reason, possible: None })
}

/// `test_prices.py::test_adds SUBFAILED[message] (n=1)`
fn subtest(line: &str) -> Option<(Option<&str>, OutcomeWord)> {
    let name = begun(line);
    let rest = line[name.map_or(0, str::len)..].trim_start();
    let word = find(&rest[..rest.find(['[', '('])?])?;
    (word.is_of_subtest() && rest.ends_with([']', ')'])).then_some((name, word))
}

/// The word at the start of a line and the name after it: `FAILED name`, `SUBFAILED[message] (n=1) name`, or the older
/// plugin's `[message] (n=1) SUBFAIL name`.
fn first(line: &str) -> Option<(OutcomeWord, &str)> {
    let line = if line.starts_with(['[', '(']) { &line[line.find(" SUB")? + 1..] } else { line };
    let (word, rest) = line.split_at(line.find([' ', '[', '('])?);
    let word = find(word)?;
    let name = if word.is_of_subtest() { after_subtest(rest)? } else { rest.strip_prefix(' ')? };
    Some((word, name))
}

/// The name after `[message] (n=1)`; either part may be missing. If brackets inside them do not match, it begins
/// after the last space before its `::`.
fn after_subtest(text: &str) -> Option<&str> {
    let mut brackets = ['[', '('].into_iter();
    let rest = brackets.try_fold(text, |rest, open| match rest.trim_start() {
        part if part.starts_with(open) => after_bracket(part),
        _ => Some(rest),
    });
    rest.and_then(|rest| rest.strip_prefix(' ')).or_else(|| {
        let before = &text[..text.find("::")?];
        Some(&text[before.rfind(' ')? + 1..])
    })
}

fn after_bracket(text: &str) -> Option<&str> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' if depth > 1 => depth -= 1,
            ']' | ')' => return Some(&text[at + 1..]),
            _ => {}
        }
    }
    None
}

/// `SUBFAILED` ends with `FAILED`: the longest word counts.
fn glued(line: &str) -> Option<OutcomeWord> {
    let words = WORDS.iter().filter(|(name, _)| line.ends_with(name));
    words.max_by_key(|(name, _)| name.len()).map(|(_, word)| *word)
}

/// The last verdict of a line, with nothing after it but a reason.
fn verdict(line: &str) -> Option<(&str, OutcomeWord, Option<&str>)> {
    let (before_reason, reason) =
        match line.strip_suffix(')').and_then(|line| line.rfind(" (").map(|at| (line, at))) {
            Some((inner, at)) => (&line[..at], Some(&inner[at + 2..])),
            None => (line, None),
        };
    let at_end = |line: &str| {
        let start = line.rfind(' ').map_or(0, |at| at + 1);
        let word = line[start..].split('(').next().unwrap_or_default();
        find(word).map(|word| (start, word))
    };
    // The reason itself may hold parentheses; then the first ` WORD (` decides.
    if let Some((start, word)) = at_end(before_reason) {
        return Some((&before_reason[..start], word, reason));
    }
    if let Some((start, word)) = at_end(line) {
        return Some((&line[..start], word, None));
    }
    let found = WORDS.iter().find_map(|(name, word)| {
        let (before, reason) = line.split_once(&format!(" {name} ("))?;
        Some((before, *word, reason.strip_suffix(')')))
    });
    found.filter(|(before, ..)| before.contains("::"))
}

fn find(word: &str) -> Option<OutcomeWord> {
    WORDS.iter().find(|(name, _)| *name == word).map(|(_, word)| *word)
}

fn without_percent(line: &str) -> &str {
    let Some((before, share)) = line.strip_suffix(']').and_then(|line| line.rsplit_once('[')) else {
        return line;
    };
    let is_share = share.ends_with('%') || share.contains('/');
    let is_number = share.chars().all(|c| c.is_ascii_digit() || " %/".contains(c));
    if is_share && is_number { before.trim_end() } else { line }
}

fn is_name(text: &str) -> bool {
    begun(text) == Some(text)
}

/// The name at the start of a line.
fn begun(line: &str) -> Option<&str> {
    let file = line.split("::").next()?;
    if file.len() == line.len() || file.is_empty() || file.contains(char::is_whitespace) {
        return None;
    }
    Some(up_to_space(line))
}

/// Up to the first space that is not within `[...]`.
fn up_to_space(line: &str) -> &str {
    let mut depth = 0usize;
    for (at, c) in line.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => return &line[..at],
            _ => {}
        }
    }
    line
}

/// A line of the list at the end.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary<'a> {
    pub word: OutcomeWord,
    /// None for grouped skips, which have only a place.
    pub name: Option<&'a str>,
    pub place: Option<&'a str>,
    pub times: u64,
    pub reason: Option<&'a str>,
}

pub fn summary(line: &str) -> Option<Summary<'_>> {
    let line = line.trim_end();
    let (kind, rest) = first(line)?;
    if let Some((times, place)) = line.strip_prefix("SKIPPED [").and_then(|rest| rest.split_once("] ")) {
        let (place, reason) = place.split_once(": ").unwrap_or((place, ""));
        let place = place
            .rsplit_once(':')
            .filter(|(_, n)| n.bytes().all(|b| b.is_ascii_digit()))
            .map_or(place, |p| p.0);
        let times = times.parse().ok()?;
        return Some(Summary { word: kind, name: None, place: Some(place), times, reason: Some(reason) });
    }
    let (name, reason) = match kind {
        OutcomeWord::Passed => (rest, None),
        _ => split_reason(rest),
    };
    Some(Summary { word: kind, name: Some(name), place: None, times: 1, reason })
}

/// `name - reason`, where a name like `test[a - b]` holds the same.
fn split_reason(rest: &str) -> (&str, Option<&str>) {
    let mut depth = 0i32;
    let mut whole = None;
    for (at, c) in rest.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ' ' if depth == 0 && rest[at..].starts_with(" - ") => {
                whole = Some(at);
                break;
            }
            _ => {}
        }
    }
    match whole.or_else(|| rest.find(" - ")) {
        Some(at) => (&rest[..at], Some(&rest[at + 3..])),
        None => (rest, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_run_is_read() {
        for (line, name, word, reason) in [
            ("a.py::test_b PASSED      [  5%]", Some("a.py::test_b"), Some(OutcomeWord::Passed), None),
            ("a.py::test_b PASSED", Some("a.py::test_b"), Some(OutcomeWord::Passed), None),
            ("a.py::test_b[x y] FAILED [ 1/20]", Some("a.py::test_b[x y]"), Some(OutcomeWord::Failed), None),
            (
                "a.py::test_b[PASSED] PASSED [5%]",
                Some("a.py::test_b[PASSED]"),
                Some(OutcomeWord::Passed),
                None,
            ),
            ("a.py::test_b[[x]] PASSED [5%]", Some("a.py::test_b[[x]]"), Some(OutcomeWord::Passed), None),
            (
                "a.py::test_b SKIPPED (no net) [5%]",
                Some("a.py::test_b"),
                Some(OutcomeWord::Skipped),
                Some("no net"),
            ),
            (
                "a.py::test_b SKIPPED (no (real) net) [5%]",
                Some("a.py::test_b"),
                Some(OutcomeWord::Skipped),
                Some("no (real) net"),
            ),
            ("a.py::C::test_b RERUN [5%]", Some("a.py::C::test_b"), Some(OutcomeWord::Rerun), None),
            ("a.py::test_b ", Some("a.py::test_b"), None, None),
            ("a.py::test_b Killed", Some("a.py::test_b"), None, None),
            ("a.py::test_b printed PASSED", Some("a.py::test_b"), Some(OutcomeWord::Passed), None),
            ("PASSED", None, Some(OutcomeWord::Passed), None),
            ("[gw1] [ 11%] FAILED a.py::test_b ", Some("a.py::test_b"), Some(OutcomeWord::Failed), None),
            (
                "a.py::test_b[x y] SUBFAILED[a message] (i=1) [ 60%]",
                Some("a.py::test_b[x y]"),
                Some(OutcomeWord::Subfailed),
                None,
            ),
            (
                "a.py::test_b SUBFAILED(pt=(1, 2))  [ 60%]",
                Some("a.py::test_b"),
                Some(OutcomeWord::Subfailed),
                None,
            ),
            (
                "a.py::test_b[x y] [a message] (i=1) SUBFAIL [ 60%]",
                Some("a.py::test_b[x y]"),
                Some(OutcomeWord::Subfailed),
                None,
            ),
            ("SUBPASSED[a message] (i=1)", None, Some(OutcomeWord::Subpassed), None),
            (
                "[gw0] [ 40%] SUBFAILED[a [x] (y) :: z] a.py::C::test_b ",
                Some("a.py::C::test_b"),
                Some(OutcomeWord::Subfailed),
                None,
            ),
            (
                "[gw0] [100%] SUBFAILED(n='1') a.py::test_b ",
                Some("a.py::test_b"),
                Some(OutcomeWord::Subfailed),
                None,
            ),
        ] {
            assert_eq!(progress(line), Some(Progress { name, word, reason, possible: None }), "{line}");
        }
        for line in ["a.py .FFE.s [100%]", "", "rootdir: /src", "collected 3 items"] {
            assert_eq!(progress(line), None, "{line}");
        }
    }

    #[test]
    fn a_line_of_the_list_is_read() {
        for (line, word, name, reason) in [
            ("PASSED a.py::test_b[a - b]", OutcomeWord::Passed, "a.py::test_b[a - b]", None),
            (
                "FAILED a.py::test_b[a - b] - no - not",
                OutcomeWord::Failed,
                "a.py::test_b[a - b]",
                Some("no - not"),
            ),
            ("ERROR a.py", OutcomeWord::Error, "a.py", None),
            ("ERROR a.py - ImportError", OutcomeWord::Error, "a.py", Some("ImportError")),
            (
                "SKIPPED a.py::test_b - Skipped: no net",
                OutcomeWord::Skipped,
                "a.py::test_b",
                Some("Skipped: no net"),
            ),
            (
                "SUBFAILED(n=1) a.py::test_b - AssertionError",
                OutcomeWord::Subfailed,
                "a.py::test_b",
                Some("AssertionError"),
            ),
            ("SUBFAILED[x] a.py::test_b - no", OutcomeWord::Subfailed, "a.py::test_b", Some("no")),
            (
                "SUBFAILED[a message] (i=1) a.py::test_b - no",
                OutcomeWord::Subfailed,
                "a.py::test_b",
                Some("no"),
            ),
            (
                "SUBFAILED(pt=(1, 2)) a.py::test_b[c d] - no",
                OutcomeWord::Subfailed,
                "a.py::test_b[c d]",
                Some("no"),
            ),
            (
                "SUBFAILED(pt=(1, 2)) a.py::test_b[c::d e]",
                OutcomeWord::Subfailed,
                "a.py::test_b[c::d e]",
                None,
            ),
            ("SUBFAILED[[x] (y) :: z] a.py::C::test_b", OutcomeWord::Subfailed, "a.py::C::test_b", None),
            ("SUBFAILED(s=')') a.py::C::test_b[c d]", OutcomeWord::Subfailed, "a.py::C::test_b[c d]", None),
            ("SUBFAILED(s='(') a.py::C::test_b", OutcomeWord::Subfailed, "a.py::C::test_b", None),
            // The words of the plugin that older pytests need.
            (
                "[a message] (i=1) SUBFAIL a.py::test_b - no",
                OutcomeWord::Subfailed,
                "a.py::test_b",
                Some("no"),
            ),
            ("(pt=(1, 2)) SUBFAIL a.py::test_b[c d]", OutcomeWord::Subfailed, "a.py::test_b[c d]", None),
        ] {
            let expected = Summary { word, name: Some(name), place: None, times: 1, reason };
            assert_eq!(summary(line), Some(expected), "{line}");
        }
        let folded = summary("SKIPPED [2] a/b.py:40: no net").unwrap();
        assert_eq!(
            (folded.name, folded.place, folded.times, folded.reason),
            (None, Some("a/b.py"), 2, Some("no net"))
        );
        assert_eq!(summary("!!!! Interrupted: 1 error during collection !!!!"), None);
    }

    #[test]
    fn a_title_names_the_case_and_not_its_subtest() {
        for (title, name) in [
            ("C.test_b", "C.test_b"),
            ("C.test_b [a message] (i=1, word='a b')", "C.test_b"),
            ("test_b[c d] (pt=(1, 2))", "test_b[c d]"),
            ("test_b[c - d]", "test_b[c - d]"),
            ("ERROR at setup of test_b[c (d)]", "test_b[c (d)]"),
            ("ERROR collecting a b.py", "a b.py"),
        ] {
            assert_eq!(super::title(&format!("____ {title} ____")), Some(name));
        }
    }

    #[test]
    fn the_last_line_counts_the_good_cases() {
        for (line, good) in [
            ("==== 5 failed, 9 passed, 2 skipped, 1 xfailed, 1 xpassed, 2 errors in 0.08s ====", Some(11)),
            ("= 5 failed, 2 subtests passed in 0.08s =", Some(0)),
            ("1 passed, 3 warnings in 75.10s (0:01:15)", Some(1)),
            ("=== no tests ran in 0.01s ===", Some(0)),
            ("=== 2 skipped in 0.01s ===", Some(0)),
            ("2 apples in 3s", None),
            ("= 2 apples, 1 passed in 3s =", Some(1)),
            ("passed in time", None),
        ] {
            assert_eq!(totals(line).map(|totals| totals.good), good, "{line}");
        }
    }
}
