//! Reads one line of TAP 13 or 14.

use crate::readers::report_builder::milliseconds;

/// A line. Other output of the program may stand between the lines of TAP.
#[derive(Debug, PartialEq, Eq)]
pub enum TapLine<'a> {
    Version,
    Plan {
        tests: u64,
        skip: Option<&'a str>,
    },
    Test(TapTest),
    BailOut(&'a str),
    Comment(&'a str),
    /// `{`: the start of a subtest whose line stands before it, with its diagnostics.
    Open,
    /// `}`: the end of a subtest that stands after the line that sums it up.
    Close,
    Other,
}

/// `ok 1 - description # directive`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapTest {
    pub ok: bool,
    pub number: Option<u64>,
    pub description: String,
    pub directive: TapDirective,
    pub duration_ms: Option<u64>,
    /// It ends with `{`: its subtest follows.
    pub opens: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TapDirective {
    None,
    Todo(String),
    Skip(String),
}

/// Reads a line that has lost its indentation.
pub fn parse(line: &str) -> TapLine<'_> {
    let line = line.trim_end();
    match line {
        "{" => return TapLine::Open,
        "}" => return TapLine::Close,
        _ => {}
    }
    if let Some(comment) = line.strip_prefix('#') {
        return TapLine::Comment(comment.strip_prefix(' ').unwrap_or(comment));
    }
    if let Some(plan) = line.strip_prefix("1..") {
        return self::plan(plan);
    }
    if let Some(test) = line.strip_prefix("not ok").and_then(|rest| test(false, rest)) {
        return TapLine::Test(test);
    }
    if let Some(test) = line.strip_prefix("ok").and_then(|rest| test(true, rest)) {
        return TapLine::Test(test);
    }
    if let Some(reason) = after_word(line, "bail out!") {
        return TapLine::BailOut(reason.trim());
    }
    match after_word(line, "tap version ") {
        Some(_) => TapLine::Version,
        None => TapLine::Other,
    }
}

/// The test line with this number behind what a program printed without a newline: `working...not ok 2 - b`.
pub fn glued(line: &str, number: u64) -> Option<TapTest> {
    let at = line.find("ok ").filter(|&at| at > 0)?;
    let before = &line[..at];
    let start = before.strip_suffix("not ").unwrap_or(before);
    // `book 2` is a word, but `doing not ok 2` is none.
    if start.is_empty() || start.len() == at && start.ends_with(char::is_alphanumeric) {
        return None;
    }
    match parse(&line[start.len()..]) {
        TapLine::Test(test) if test.number == Some(number) => Some(test),
        _ => None,
    }
}

fn after_word<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = line.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

fn plan(rest: &str) -> TapLine<'_> {
    let (digits, rest) = split_digits(rest);
    let rest = rest.trim_start();
    if digits.is_empty() || !(rest.is_empty() || rest.starts_with('#')) {
        return TapLine::Other;
    }
    let skip = rest.strip_prefix('#').map(str::trim_start).and_then(|rest| after_word(rest, "skip"));
    TapLine::Plan { tests: number(digits), skip: skip.map(reason) }
}

fn test(ok: bool, rest: &str) -> Option<TapTest> {
    if !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return None;
    }
    let rest = rest.trim_start();
    let (digits, behind) = split_digits(rest);
    let (number, rest) = if !digits.is_empty() && (behind.is_empty() || behind.starts_with([' ', '\t'])) {
        (Some(number(digits)), behind.trim_start())
    } else {
        (None, rest)
    };
    let (rest, is_dashed) = match rest.strip_prefix('-') {
        Some(behind) if behind.is_empty() || behind.starts_with([' ', '\t']) => (behind, true),
        _ => (rest, false),
    };
    let rest = rest.trim();
    let (rest, opens) = match rest.strip_suffix('{') {
        Some(before) if before.is_empty() || before.ends_with(' ') => (before.trim_end(), true),
        _ => (rest, false),
    };
    let mut test = TapTest {
        ok,
        number,
        description: String::new(),
        directive: TapDirective::None,
        duration_ms: None,
        opens,
    };
    let description = test.take_directives(rest);
    // Busted writes `- # SKIP adds`: that is the name, and not a reason.
    test.description = match &mut test.directive {
        TapDirective::Skip(name) if description.is_empty() && is_dashed => std::mem::take(name),
        TapDirective::None | TapDirective::Skip(_) | TapDirective::Todo(_) => unescape(description),
    };
    Some(test)
}

impl TapTest {
    /// Searches for a directive after each ` #`, and returns the text before it. A hash that begins no directive belongs
    /// to the description.
    fn take_directives<'a>(&mut self, text: &'a str) -> &'a str {
        // A description may be empty: then ` # SKIP` stands at its start.
        let hashes = text.match_indices('#').filter(|&(at, _)| at == 0 || text[..at].ends_with([' ', '\t']));
        for (at, _) in hashes {
            let behind = text[at + 1..].trim_start();
            if let Some(rest) = after_word(behind, "todo").filter(|r| !r.starts_with(char::is_alphanumeric)) {
                self.directive = TapDirective::Todo(reason(rest).into());
            } else if let Some(rest) = after_word(behind, "skip") {
                self.directive = TapDirective::Skip(reason(rest).into());
            } else if let Some(time) = after_word(behind, "time=") {
                // It must not get into the name, or the name would differ in each run.
                self.duration_ms = time.strip_suffix("ms").and_then(|t| milliseconds(t.parse().ok()?));
            } else {
                continue;
            }
            return text[..at].trim_end();
        }
        text
    }
}

/// `SKIPPED: no net` and `SKIP no net` give the same reason.
fn reason(rest: &str) -> &str {
    rest.trim_start_matches(char::is_alphabetic).trim_start_matches(':').trim()
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// A number that is too large is read as the largest: both are equally wrong.
fn number(digits: &str) -> u64 {
    digits.parse().unwrap_or(u64::MAX)
}

fn unescape(text: &str) -> String {
    text.replace("\\#", "#").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test line as a picture: `ok 1 |description| todo(reason) 5ms`.
    fn picture(line: &str) -> String {
        match parse(line) {
            TapLine::Version => "version".into(),
            TapLine::Plan { tests, skip } => format!("plan {tests} {skip:?}"),
            TapLine::BailOut(reason) => format!("bail out |{reason}|"),
            TapLine::Comment(text) => format!("comment |{text}|"),
            TapLine::Open => "open".into(),
            TapLine::Close => "close".into(),
            TapLine::Other => "other".into(),
            TapLine::Test(test) => {
                let mut out = if test.ok { "ok".to_string() } else { "not ok".to_string() };
                out += &test.number.map(|n| format!(" {n}")).unwrap_or_default();
                out += &format!(" |{}|", test.description);
                out += &match test.directive {
                    TapDirective::None => String::new(),
                    TapDirective::Todo(reason) => format!(" todo({reason})"),
                    TapDirective::Skip(reason) => format!(" skip({reason})"),
                };
                out += if test.opens { " {" } else { "" };
                out + &test.duration_ms.map(|ms| format!(" {ms}ms")).unwrap_or_default()
            }
        }
    }

    #[test]
    fn a_test_line_may_stand_behind_other_output() {
        for (line, expected) in [
            ("working...not ok 2 - b", Some((false, "b"))),
            ("working...ok 2 - b", Some((true, "b"))),
            ("working not ok 2", Some((false, ""))),
            ("not ok 2 - b", None),
            ("book 2 - b", None),
            ("...ok 3 - b", None),
            ("all is ok", None),
        ] {
            let test = glued(line, 2);
            assert_eq!(test.as_ref().map(|test| (test.ok, &test.description[..])), expected, "{line}");
        }
    }

    #[test]
    fn each_kind_of_line_is_read() {
        for (line, expected) in [
            ("ok", "ok ||"),
            ("ok 1", "ok 1 ||"),
            ("ok 1 - adds", "ok 1 |adds|"),
            ("ok 1 adds", "ok 1 |adds|"),
            ("ok - adds", "ok |adds|"),
            ("not ok 12 - a - b", "not ok 12 |a - b|"),
            ("ok 3rd party", "ok |3rd party|"),
            ("ok 1 -5 is negative", "ok 1 |-5 is negative|"),
            ("ok 1 - adds # TODO later", "ok 1 |adds| todo(later)"),
            ("not ok 1 # todo", "not ok 1 || todo()"),
            ("ok 1 - adds # TODOS are many", "ok 1 |adds # TODOS are many|"),
            ("ok 1 - net # SKIP no net", "ok 1 |net| skip(no net)"),
            ("ok 1 - net # skipped: no net", "ok 1 |net| skip(no net)"),
            ("ok 1 - issue #7 holds", "ok 1 |issue #7 holds|"),
            ("ok 1 - issue # 7 # SKIP x", "ok 1 |issue # 7| skip(x)"),
            ("ok 1 - C\\# and \\\\", "ok 1 |C# and \\|"),
            ("ok 1 - \\# TODO is a word", "ok 1 |# TODO is a word|"),
            ("ok 1 - quick # time=4.6ms", "ok 1 |quick| 5ms"),
            ("ok 4 - # SKIP prices converts", "ok 4 |prices converts| skip()"),
            ("ok 4 # SKIP no net", "ok 4 || skip(no net)"),
            ("not ok 1 - a # time=24.47ms {", "not ok 1 |a| { 24ms"),
            ("ok 1 - a {", "ok 1 |a| {"),
            ("{", "open"),
            ("}", "close"),
            ("ok 99999999999999999999 x", "ok 18446744073709551615 |x|"),
            ("okay", "other"),
            ("not okay", "other"),
            ("ok: fine", "other"),
            ("1..5", "plan 5 None"),
            ("1..0 # SKIP no net", "plan 0 Some(\"no net\")"),
            ("1..0 # skipped: no net", "plan 0 Some(\"no net\")"),
            ("1..5 apples", "other"),
            ("1..", "other"),
            ("Bail out!  disk full", "bail out |disk full|"),
            ("bail out!", "bail out ||"),
            ("# why", "comment |why|"),
            ("TAP version 14", "version"),
            ("", "other"),
            ("größer", "other"),
        ] {
            assert_eq!(picture(line), expected, "{line}");
        }
    }
}
