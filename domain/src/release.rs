//! Which of a repository's tags is its newest release. Tags are written by people: this reads the conventions that are in
//! use (PEP 440, semantic versions, `release_5_4`, `1.0.2k`, dates), and orders what it does not know below what it does.

use std::cmp::Ordering;

/// How far a tag's version is a release, the least first. A tag of a lower class counts only where there is none of a higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ReleaseClass {
    /// A word before its number says that it is not one: `nightly-20190301`.
    Unstable,
    /// A word after its number says that it comes before one, or is unknown: `2.0-rc1`.
    Prerelease,
    /// Only a date, beside which versions count: `20190301`.
    Dated,
    Release,
}

/// Where a version stands among those with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Development,
    /// A word whose meaning is not known.
    Unknown,
    Alpha,
    Beta,
    Candidate,
    Final,
    Post,
}

/// A number in a tag: how many digits it has, and these, so that one of a thousand digits needs no arithmetic.
type Digits<'a> = (usize, &'a str);

/// What a tag says, in the order in which it decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Version<'a> {
    class: ReleaseClass,
    /// Without zeros at the end: 1.2 and 1.2.0 are one version.
    numbers: Vec<Digits<'a>>,
    stage: Stage,
    /// The letter of `1.0.2k`.
    letter: Option<char>,
    stage_numbers: Vec<Digits<'a>>,
    /// Equal versions need an order, too.
    tag: &'a str,
}

/// The tag of the newest release; none if no tag has a number. Versions decide, and neither dates nor the order of the tags:
/// a fix of an old series is younger than the new series, and not newer. What is no release by its own words counts only
/// where there is no release.
pub fn newest<'a>(tags: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    tags.into_iter().filter_map(Version::parse).max().map(|version| version.tag)
}

/// Orders two tags as [`newest`] does; tags without a number are below all others.
pub fn compare(a: &str, b: &str) -> Ordering {
    Version::parse(a).cmp(&Version::parse(b)).then_with(|| a.cmp(b))
}

/// Words before a number that deny that it is a release.
const UNSTABLE: [&str; 36] = [
    "alpha",
    "archive",
    "backup",
    "beta",
    "branch",
    "build",
    "builds",
    "canary",
    "ci",
    "daily",
    "deploy",
    "dev",
    "devel",
    "develop",
    "draft",
    "edge",
    "experimental",
    "import",
    "merge",
    "night",
    "nightly",
    "old",
    "pr",
    "pre",
    "preview",
    "pull",
    "rc",
    "snapshot",
    "start",
    "test",
    "testing",
    "tip",
    "tmp",
    "unstable",
    "weekly",
    "wip",
];

/// Words directly before a number that belong to it.
const VERSION_WORDS: [&str; 6] = ["v", "ver", "version", "r", "rel", "release"];

/// Words after a number, with what they mean. Letters alone are in [`Suffix::stage`].
const STAGES: [(&str, Stage); 34] = [
    ("dev", Stage::Development),
    ("devel", Stage::Development),
    ("develop", Stage::Development),
    ("nightly", Stage::Development),
    ("snapshot", Stage::Development),
    ("alpha", Stage::Alpha),
    ("beta", Stage::Beta),
    ("pre", Stage::Candidate),
    ("preview", Stage::Candidate),
    ("candidate", Stage::Candidate),
    ("cr", Stage::Candidate),
    ("rc", Stage::Candidate),
    ("final", Stage::Final),
    ("ga", Stage::Final),
    ("lts", Stage::Final),
    ("rel", Stage::Final),
    ("release", Stage::Final),
    ("stable", Stage::Final),
    ("fix", Stage::Post),
    ("hotfix", Stage::Post),
    ("p", Stage::Post),
    ("patch", Stage::Post),
    ("patchlevel", Stage::Post),
    ("pl", Stage::Post),
    ("post", Stage::Post),
    ("r", Stage::Post),
    ("rev", Stage::Post),
    ("revision", Stage::Post),
    ("service", Stage::Post),
    ("sp", Stage::Post),
    ("sr", Stage::Post),
    ("u", Stage::Post),
    ("update", Stage::Post),
    ("ur", Stage::Post),
];

impl<'a> Version<'a> {
    fn parse(tag: &'a str) -> Option<Version<'a>> {
        let start = start(tag)?;
        let (prefix, version) = tag.split_at(start);
        // What follows a plus describes the build of a version.
        let version = version.split_once('+').map_or(version, |(version, _)| version);
        let (numbers, rest) = leading_numbers(version);
        let Suffix { stage, letter, numbers: stage_numbers } = Suffix::parse(rest);
        let denied = words(prefix).any(|word| UNSTABLE.iter().any(|one| word.eq_ignore_ascii_case(one)));
        let class = match stage {
            _ if denied => ReleaseClass::Unstable,
            Stage::Final | Stage::Post if is_date(version, &numbers) => ReleaseClass::Dated,
            Stage::Final | Stage::Post => ReleaseClass::Release,
            Stage::Development | Stage::Unknown | Stage::Alpha | Stage::Beta | Stage::Candidate => {
                ReleaseClass::Prerelease
            }
        };
        let mut numbers: Vec<Digits<'a>> = numbers.into_iter().map(digits).collect();
        while numbers.last().is_some_and(|(length, _)| *length == 0) {
            numbers.pop();
        }
        Some(Version { class, numbers, stage, letter, stage_numbers, tag })
    }
}

/// What follows a version's numbers.
struct Suffix<'a> {
    stage: Stage,
    letter: Option<char>,
    numbers: Vec<Digits<'a>>,
}

impl<'a> Suffix<'a> {
    fn parse(rest: &'a str) -> Suffix<'a> {
        let word = words(rest).next().unwrap_or_default();
        let numbers: Vec<Digits<'a>> = number_runs(rest).map(digits).collect();
        let (stage, letter) = Suffix::stage(rest, word, !numbers.is_empty());
        Suffix { stage, letter, numbers }
    }

    fn stage(rest: &str, word: &str, has_number: bool) -> (Stage, Option<char>) {
        let known = STAGES.iter().find(|(one, _)| word.eq_ignore_ascii_case(one)).map(|(_, stage)| *stage);
        let mut letters = word.chars();
        let single = letters.next().filter(|_| letters.next().is_none()).map(|c| c.to_ascii_lowercase());
        match (single, known) {
            (None, None) if word.is_empty() && has_number => (Stage::Post, None),
            (None, None) if word.is_empty() => (Stage::Final, None),
            (Some('a'), _) if has_number => (Stage::Alpha, None),
            (Some('b'), _) if has_number => (Stage::Beta, None),
            (Some('c'), _) if has_number => (Stage::Candidate, None),
            // `1.0.2k`: a letter that belongs to the number, as a further digit would.
            (Some(letter), _) if rest.starts_with(char::is_alphabetic) && !has_number => {
                (Stage::Post, Some(letter))
            }
            (_, Some(stage)) => (stage, None),
            (_, None) => (Stage::Unknown, None),
        }
    }
}

/// Where the version starts: at the first number that stands at the start of a word, or after one of [`VERSION_WORDS`]; else at
/// the first number, as in `lua5.4`.
fn start(tag: &str) -> Option<usize> {
    let mut first = None;
    for (at, _) in tag.char_indices().filter(|(_, c)| c.is_ascii_digit()) {
        let before = &tag[..at];
        let in_number = before.ends_with(|c: char| c.is_ascii_digit() || c == '.');
        first = first.or(Some(at));
        let word = before.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
        let before_word = &before[..before.len() - word.len()];
        let is_own = word.is_empty() || VERSION_WORDS.iter().any(|one| word.eq_ignore_ascii_case(one));
        if !in_number && is_own && !before_word.ends_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Some(at);
        }
    }
    first
}

/// The numbers at the start, and what follows them. A hyphen or underscore separates numbers only where dots do not:
/// `5_4` is 5.4, and the last number of `1.2-1` is a revision of 1.2.
fn leading_numbers(version: &str) -> (Vec<&str>, &str) {
    let mut numbers = Vec::new();
    let mut rest = version;
    let mut dotted = false;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        numbers.push(&rest[..end]);
        rest = &rest[end..];
        let mut following = rest.chars();
        let (separator, next) = (following.next(), following.next());
        let continues = match separator {
            Some('.') => true,
            Some('-' | '_') => !dotted,
            Some(_) | None => false,
        };
        if !continues || !next.is_some_and(|c| c.is_ascii_digit()) {
            return (numbers, rest);
        }
        dotted |= separator == Some('.');
        rest = &rest[1..];
    }
}

/// Whether a version is only a day: `20190301`, `2019-03-01`. With dots it is a version that is counted by the calendar.
fn is_date(version: &str, numbers: &[&str]) -> bool {
    let within = |text: &str, low: u32, high: u32| text.parse().is_ok_and(|n: u32| (low..=high).contains(&n));
    match numbers {
        [day] if day.len() == 8 => {
            within(&day[..4], 1970, 2199) && within(&day[4..6], 1, 12) && within(&day[6..], 1, 31)
        }
        [year, month, day] if !version.contains('.') => {
            year.len() == 4 && within(year, 1970, 2199) && within(month, 1, 12) && within(day, 1, 31)
        }
        _ => false,
    }
}

fn digits(digits: &str) -> Digits<'_> {
    let digits = digits.trim_start_matches('0');
    (digits.len(), digits)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty())
}

fn number_runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn newest_of(tags: &str) -> Option<&str> {
        newest(tags.split_whitespace())
    }

    #[test]
    fn the_newest_tag_is_the_highest_release() {
        let table = [
            ("v1.9 v1.10", "v1.10"),
            ("1.2 1.2.1 1.1.9", "1.2.1"),
            ("v2.0.0-rc1 v1.9.0", "v1.9.0"),
            ("2.0rc1 2.0b7 2.0rc", "2.0rc1"),
            ("3.15.0a2 3.14.0rc3", "3.15.0a2"),
            ("latest v0.1", "v0.1"),
            ("release_5_4 release_5_10", "release_5_10"),
            ("v00000000000000000000000000002 v1", "v00000000000000000000000000002"),
            ("v99999999999999999999999999999999 v3", "v99999999999999999999999999999999"),
            // What says by a word that it is no release.
            ("v1.2.3 nightly-20190301 v1.3.0", "v1.3.0"),
            ("v1.2.3 snapshot/9.9 test-77 backup_2024 ci-build-1234 v1.3.0", "v1.3.0"),
            ("v1.3.0 v1.4.0-nightly.20240101 v1.4.0.dev3 v1.4-beta", "v1.3.0"),
            ("nightly-20190301 v0.1-rc1", "v0.1-rc1"),
            ("nightly-20190301 nightly-20190302", "nightly-20190302"),
            // A date beside versions is a snapshot; alone it is how the project counts.
            ("v1.3.0 20190301", "v1.3.0"),
            ("v1.3.0 2019-03-01", "v1.3.0"),
            ("20190301 20200101 20191231", "20200101"),
            ("2023.7.22 2024.08.30 2024.2.2", "2024.08.30"),
            ("v21.3 v2022.1", "v2022.1"),
            // What comes after a release is one, too.
            ("1.0 1.0.post1", "1.0.post1"),
            ("1.0.2 1.0.2k 1.0.2a", "1.0.2k"),
            ("3.3 3.3a 3.4-rc", "3.3a"),
            ("v1.0-1 v1.0-2 v1.0", "v1.0-2"),
            ("v1.0-2 v1.0.1-1", "v1.0.1-1"),
            ("1.0.Final 0.9.Final 1.1.CR1", "1.0.Final"),
            ("v1_9_3_p484 v1_9_3_p9", "v1_9_3_p484"),
            ("1.0+build9 1.0.1+build1", "1.0.1+build1"),
            // The number of a name is not that of its version.
            ("utf8-1.2 utf8-1.10", "utf8-1.10"),
            ("lua5.1-cjson-2.1 lua5.1-cjson-2.0", "lua5.1-cjson-2.1"),
            ("lua-5.3.6 lua-5.4.0", "lua-5.4.0"),
            ("pkg@1.2.0 pkg@1.10.0", "pkg@1.10.0"),
            ("release/1.2 release/1.10", "release/1.10"),
            ("lua5.3 lua5.4", "lua5.4"),
        ];
        for (tags, expected) in table {
            assert_eq!(newest_of(tags), Some(expected), "{tags}");
        }
    }

    #[test]
    fn without_a_number_no_tag_is_the_newest() {
        assert_eq!(newest_of(""), None);
        assert_eq!(newest_of("stable nightly"), None);
    }

    fn tag() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "v", "release_", "nightly-", "1", "20190301", "0", "7", ".", "-", "_", "+", "rc", "a", "k",
            "post", "lua", "é", "dev", "/",
        ]);
        prop_oneof![prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat()), "\\PC{0,12}"]
    }

    proptest! {
        #[test]
        fn tags_have_a_total_order_and_the_newest_is_its_last(tags in prop::collection::vec(tag(), 0..8)) {
            let mut sorted: Vec<&str> = tags.iter().map(String::as_str).collect();
            // The standard library's sort panics where an order contradicts itself.
            sorted.sort_by(|a, b| compare(a, b));
            for pair in sorted.windows(2) {
                prop_assert!(compare(pair[0], pair[1]) != Ordering::Greater);
            }
            let last = sorted.last().copied().filter(|last| last.contains(|c: char| c.is_ascii_digit()));
            prop_assert_eq!(newest(sorted.iter().copied()), last);
        }

        /// Whatever is tagged beside its releases, a project's newest release stays the newest.
        #[test]
        fn nothing_but_a_release_displaces_a_release(
            versions in prop::collection::btree_set((0..30_u32, 0..30_u32, 0..30_u32), 1..8),
            others in prop::collection::vec((0..UNSTABLE.len(), any::<u32>(), 0..5_usize), 0..8),
        ) {
            let releases: Vec<String> = versions.iter().map(|(a, b, c)| format!("v{a}.{b}.{c}")).collect();
            let others = others.iter().map(|(word, n, form)| match form {
                0 => format!("{}-{n}", UNSTABLE[*word]),
                1 => format!("{}/{n}.{n}", UNSTABLE[*word].to_uppercase()),
                2 => format!("{n}.0-rc{n}"),
                3 => format!("v{n}.0.0-alpha.{n}"),
                _ => format!("{:04}{:02}{:02}", 1970 + n % 200, 1 + n % 12, 1 + n % 28),
            });
            let tags: Vec<String> = others.chain(releases.iter().cloned()).collect();
            prop_assert_eq!(newest(tags.iter().map(String::as_str)), releases.last().map(String::as_str));
        }
    }
}
