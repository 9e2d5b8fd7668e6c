//! Marks that people put on cases: expected to fail, or flaky; until a last day, with an issue that gives the reason.

use serde::{Deserialize, Serialize};

use crate::breakage::flaky::{BadCase, is_only_flaky};
use crate::outcome::{Cause, words};
use crate::schedule::canary::Canary;
use crate::variant::DEFAULT_NAME;
use crate::words::ids::Timestamp;

/// What a mark says about its cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkKind {
    /// They fail, and are expected to.
    ExpectedToFail,
    /// They fail now and then.
    Flaky,
}

impl MarkKind {
    /// As it stands on a page.
    pub fn label(self) -> &'static str {
        match self {
            MarkKind::ExpectedToFail => "expected to fail",
            MarkKind::Flaky => "known to be flaky",
        }
    }
}

words!(MarkKind { ExpectedToFail = "expected-to-fail", Flaky = "flaky" });

/// A mark of a project's cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What it says.
    pub kind: MarkKind,
    /// The names of its cases; `*` stands for any text.
    pub cases: String,
    /// None: on all branches.
    pub branch: Option<String>,
    /// None: on all platforms.
    pub platform: Option<String>,
    /// None: on all variants of the trunk.
    pub variant: Option<String>,
    /// The URL of the issue that gives the reason.
    pub issue: String,
    /// From then on the mark is void.
    pub until: Timestamp,
}

impl Mark {
    /// Whether it is for this branch, platform and variant.
    pub fn is_of(&self, branch: &str, platform: &str, variant: Option<&str>) -> bool {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        fits(&self.branch, branch)
            && fits(&self.platform, platform)
            && fits(&self.variant, variant.unwrap_or(DEFAULT_NAME))
    }

    /// Whether its last day is over.
    pub fn is_void(&self, now: Timestamp) -> bool {
        now >= self.until
    }

    /// Whether it is for the case of this name.
    pub fn speaks_of(&self, case: &str) -> bool {
        matches(&self.cases, case)
    }
}

/// What failing cases are to a reader who knows what is flaky and what is marked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FailureNews {
    /// At least one of them is not known to fail.
    #[default]
    News,
    /// They are all known, and fail now and then.
    Flaky,
    /// They are all known, and at least one of them is expected to fail; or the suite is one that must fail.
    Expected,
}

/// A case that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCase {
    /// Its name.
    pub name: String,
    /// Whether its last breakage ended as flaky.
    pub is_flaky: bool,
    /// What the mark that is in force says of it.
    pub mark: Option<MarkKind>,
}

/// What the failing cases of a run, or of a breakage, are.
pub fn failure_news(bad: &[FailedCase], cause: Option<Cause>, canary: Option<Canary>) -> FailureNews {
    if canary == Some(Canary::MustFail) {
        return FailureNews::Expected;
    }
    let known: Vec<BadCase> = bad
        .iter()
        .map(|case| BadCase { name: case.name.clone(), is_flaky: case.is_flaky || case.mark.is_some() })
        .collect();
    match is_only_flaky(&known, cause) {
        false => FailureNews::News,
        true if bad.iter().any(|case| case.mark == Some(MarkKind::ExpectedToFail)) => FailureNews::Expected,
        true => FailureNews::Flaky,
    }
}

/// The first moment of a day that is written as 2027-01-31, in UTC; none for a text that is no such day.
pub fn day(text: &str) -> Option<Timestamp> {
    let digits = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    let mut words = text.splitn(3, '-');
    let (year, month, day) = (words.next()?, words.next()?, words.next()?);
    if !digits(year, 4) || !digits(month, 2) || !digits(day, 2) {
        return None;
    }
    let (year, month, day): (i64, i64, i64) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Howard Hinnant, *chrono-Compatible Low-Level Date Algorithms*: years that begin in March end with the leap day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400) * 365 + year.rem_euclid(400) / 4 - year.rem_euclid(400) / 100;
    let days = era * 146_097 + of_era + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(Timestamp(days * 24 * 3600 * 1000))
}

/// Whether a text matches a pattern in which `*` stands for any text, even an empty one.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("greets", "greets", true),
            ("greets", "greets twice", false),
            ("greets*", "greets twice", true),
            ("*twice", "greets twice", true),
            ("*", "", true),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            ("net.*::test_*", "net.http::test_get", true),
            ("net.*::test_*", "net.http::get", false),
            ("a*b*a", "aba", true),
            ("ab*ba", "aba", false),
            ("ä*ö", "äöö", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} ~ {text}");
        }
    }

    /// The failed cases as words: `~` is proven flaky, `=` marked as expected to fail, `?` marked as flaky.
    fn failed(bad: &str) -> Vec<FailedCase> {
        let case = |word: &str| FailedCase {
            name: word.trim_start_matches(['~', '=', '?']).to_string(),
            is_flaky: word.starts_with('~'),
            mark: match word.chars().next() {
                Some('=') => Some(MarkKind::ExpectedToFail),
                Some('?') => Some(MarkKind::Flaky),
                _ => None,
            },
        };
        bad.split_whitespace().map(case).collect()
    }

    #[test]
    fn a_marked_failure_is_expected_and_a_marked_case_hides_no_other() {
        use FailureNews::{Expected, Flaky, News};
        for (bad, expected) in [
            ("", News),
            ("a", News),
            ("=a", Expected),
            ("=a step:test", Expected),
            ("=a ~b ?c step:test", Expected),
            ("~a", Flaky),
            ("?a step:test", Flaky),
            ("=a b", News),
            ("step:test", News),
        ] {
            assert_eq!(failure_news(&failed(bad), Some(Cause::Exit), None), expected, "{bad}");
        }
        assert_eq!(
            failure_news(&failed("=a step:test"), Some(Cause::TimedOut), None),
            News,
            "no mark explains that"
        );
        assert_eq!(failure_news(&failed("a step:test"), Some(Cause::Exit), Some(Canary::MustFail)), Expected);
        assert_eq!(failure_news(&failed("a"), Some(Cause::Exit), Some(Canary::MustPass)), News);
    }

    proptest::proptest! {
        /// A failure is news exactly if one of its own cases is neither flaky nor marked, and expected only by a mark.
        #[test]
        fn only_marks_make_a_failure_expected(kinds in proptest::collection::vec("[~=?x]", 1..6), step: bool) {
            let mut bad: Vec<String> = kinds.iter().enumerate().map(|(n, kind)| format!("{kind}{n}")).collect();
            if step {
                bad.push("step:test".into());
            }
            let expected = match kinds.iter().map(String::as_str).collect::<Vec<_>>() {
                kinds if kinds.contains(&"x") => FailureNews::News,
                kinds if kinds.contains(&"=") => FailureNews::Expected,
                _ => FailureNews::Flaky,
            };
            proptest::prop_assert_eq!(failure_news(&failed(&bad.join(" ")), Some(Cause::Exit), None), expected);
        }

        #[test]
        fn a_text_matches_itself_also_with_a_star_in_place_of_any_piece(
            text in "[ab]{0,8}", from in 0_usize..8, length in 0_usize..8,
        ) {
            proptest::prop_assert!(matches(&text, &text));
            let from = from.min(text.len());
            let upto = (from + length).min(text.len());
            let pattern = format!("{}*{}", &text[..from], &text[upto..]);
            proptest::prop_assert!(matches(&pattern, &text));
        }
    }

    #[test]
    fn a_day_begins_at_midnight() {
        let days = |text| day(text).map(|at| at.0 as f64 / 86_400_000.0);
        for (text, expected) in [
            ("1970-01-01", Some(0.0)),
            ("1970-03-01", Some(59.0)),
            ("2000-02-29", Some(11_016.0)),
            ("2026-11-26", Some(20_783.0)),
            ("2100-02-29", None),
            ("2026-13-01", None),
            ("2026-04-31", None),
            ("2026-4-1", None),
            ("2026-01-00", None),
            ("+026-01-01", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(days(text), expected, "{text}");
        }
    }

    #[test]
    fn a_mark_holds_on_its_branch_and_platform_and_until_its_day() {
        let mark = Mark {
            kind: MarkKind::Flaky,
            cases: "net*".into(),
            branch: Some("main".into()),
            platform: None,
            variant: None,
            issue: "https://example.org/1".into(),
            until: Timestamp(1_000),
        };
        assert!(mark.is_of("main", "linux-x86_64", None) && !mark.is_of("3.14", "linux-x86_64", None));
        assert!(!mark.is_void(Timestamp(999)) && mark.is_void(Timestamp(1_000)));
        assert!(mark.is_of("main", "linux-x86_64", Some("asan")));
        let one = Mark { platform: Some("linux-aarch64".into()), ..mark.clone() };
        assert!(!one.is_of("main", "linux-x86_64", None));
        let asan = Mark { variant: Some("asan".into()), ..mark.clone() };
        assert!(asan.is_of("main", "x", Some("asan")) && !asan.is_of("main", "x", Some("release")));
        assert!(!asan.is_of("main", "x", None));
        let default = Mark { variant: Some(DEFAULT_NAME.into()), ..mark };
        assert!(default.is_of("main", "x", None) && !default.is_of("main", "x", Some("asan")));
    }

    #[test]
    fn every_word_round_trips() {
        assert!(MarkKind::ALL.iter().all(|&kind| MarkKind::parse(kind.as_str()) == Some(kind)));
    }
}
