//! Names of cases. They are keys for years and lines of a case list: one line, bounded, and truncation never makes two
//! names equal.

use protocol::Verdict;
use sha2::{Digest, Sha256};

use super::limits::MAX_NAME_BYTES;

/// The name as it is stored: trimmed, without control characters, at most [`super::MAX_NAME_BYTES`] bytes. It does not
/// change a name that is so already.
pub fn tidy(raw: &str) -> String {
    let raw = raw.trim();
    let mut name = String::with_capacity(raw.len().min(MAX_NAME_BYTES));
    if raw.is_empty() {
        name.push_str("unnamed");
    } else if raw.len() <= MAX_NAME_BYTES && !raw.contains(char::is_control) {
        name.push_str(raw);
    } else {
        name.extend(raw.chars().map(visible));
        if name.len() > MAX_NAME_BYTES {
            let ending = ending(raw);
            name.truncate(truncated(&name, MAX_NAME_BYTES - ending.len()).len());
            name.push_str(&ending);
        }
    }
    name
}

/// Begins the name of a *fault*: what a suite reports only when it fails, such as a module that cannot be imported or a
/// failing line of a log.
const FAULT: &str = "fault:";

/// The name of a fault.
pub fn fault(name: &str) -> String {
    if is_fault(name) { tidy(name) } else { tidy(&format!("{FAULT}{}", tidy(name))) }
}

/// Whether a case is a fault: a suite reports it only when it fails.
pub fn is_fault(name: &str) -> bool {
    name.starts_with(FAULT)
}

/// The name of a case inside a subtest.
pub fn within(outer: &str, inner: &str) -> String {
    match inner.strip_prefix(FAULT) {
        Some(inner) => fault(&format!("{outer} > {inner}")),
        None => tidy(&format!("{outer} > {inner}")),
    }
}

/// The verdict of a case that a complete run does not report.
pub fn unreported(name: &str) -> Verdict {
    if is_fault(name) { Verdict::Pass } else { Verdict::Missing }
}

/// Whether this is the name of a set-up or tear-down, which a runner reports only when it fails.
pub fn is_of_set_up(name: &str) -> bool {
    const UNITTEST: [&str; 4] = ["setUpClass (", "tearDownClass (", "setUpModule (", "tearDownModule ("];
    const MOCHA: [&str; 4] =
        ["\"before all\" hook", "\"after all\" hook", "\"before each\" hook", "\"after each\" hook"];
    UNITTEST.iter().any(|start| name.starts_with(start))
        || MOCHA.iter().any(|hook| name.contains(hook))
        || name.contains("unittest.loader._FailedTest")
        || name.contains("unittest.loader.ModuleImportFailure")
        || name.contains("nose2.loader.ModuleImportFailure")
}

/// At most `bytes` from the start of a text, whole characters only.
pub fn truncated(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

fn visible(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// Keeps two long names different that differ only after the point where they are truncated.
fn ending(whole: &str) -> String {
    let hash = Sha256::digest(whole.as_bytes());
    let mut ending = String::from("…");
    for byte in &hash[..8] {
        ending.push_str(&format!("{byte:02x}"));
    }
    ending
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_one_visible_line() {
        for (raw, name) in [
            ("adds", "adds"),
            ("  adds  ", "adds"),
            ("", "unnamed"),
            (" \n ", "unnamed"),
            ("a\nb\tc", "a b c"),
            ("nul\0 esc\x1b[31m", "nul\u{fffd} esc\u{fffd}[31m"),
            ("größer ≥ 1", "größer ≥ 1"),
        ] {
            assert_eq!(tidy(raw), name, "{raw:?}");
        }
    }

    #[test]
    fn two_long_names_stay_different() {
        let long = "é".repeat(MAX_NAME_BYTES);
        let (one, two) = (tidy(&format!("{long}1")), tidy(&format!("{long}2")));
        assert!(one.len() <= MAX_NAME_BYTES && two.len() <= MAX_NAME_BYTES);
        assert_ne!(one, two);
    }

    proptest! {
        #[test]
        fn a_tidy_name_is_bounded_and_does_not_change_again(raw in "(.|\n|\0| ){0,40}", times in 1usize..60) {
            let name = tidy(&raw.repeat(times));
            prop_assert!((1..=MAX_NAME_BYTES).contains(&name.len()));
            prop_assert!(!name.contains(char::is_control));
            prop_assert_eq!(tidy(&name), name);
        }

        #[test]
        fn a_truncated_text_is_the_longest_start_that_fits(text in ".{0,20}", bytes in 0usize..30) {
            let start = truncated(&text, bytes);
            prop_assert!(text.starts_with(start) && start.len() <= bytes);
            let next = text[start.len()..].chars().next();
            prop_assert!(next.is_none_or(|c| start.len() + c.len_utf8() > bytes));
        }
    }
}
