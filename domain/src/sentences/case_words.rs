//! A case as a reader knows it. The farm names what is no test by names of its own, which nobody who did not write it knows.

use crate::readers::is_fault;

/// The name of a test as it is; of a step and of a fault, in words: ``the step `test` ended before all its cases``.
pub fn case_words(name: &str) -> String {
    if let Some(step) = name.strip_prefix("step:") {
        return format!("the step `{step}`");
    }
    let Some(fault) = name.strip_prefix("fault:").filter(|_| is_fault(name)) else { return name.to_string() };
    match (fault.strip_prefix("step:"), fault.strip_prefix("line:")) {
        (Some(ended), _) => match ended.split_once(" ended ") {
            Some((step, how)) => format!("the step `{step}` ended {how}"),
            None => format!("the step `{ended}`"),
        },
        (None, Some(line)) => format!("a line of its log: {line}"),
        (None, None) => format!("{fault} (reported only when it fails)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readers::CaseRun;

    #[test]
    fn what_is_no_test_is_named_in_words_and_a_test_by_its_name() {
        for (name, words) in [
            ("greets", "greets"),
            ("a: step:test", "a: step:test"),
            ("step:test", "the step `test`"),
            (CaseRun::of_broken_off("test", &[]).name.as_str(), "the step `test` ended before all its cases"),
            ("fault:line:error: no pear is left", "a line of its log: error: no pear is left"),
            ("fault:tests/test_pear.py", "tests/test_pear.py (reported only when it fails)"),
            ("fault:greets \u{d7}2", "greets \u{d7}2 (reported only when it fails)"),
        ] {
            assert_eq!(case_words(name), words);
        }
    }

    proptest::proptest! {
        /// No reader meets an internal prefix, whatever a suite calls its cases.
        #[test]
        fn words_never_begin_with_an_internal_prefix(prefix in "(fault:)?(step:|line:)?", name in "[a-z :]{0,12}") {
            let words = case_words(&format!("{prefix}{name}"));
            // `line:` alone is a test's own name, and so is what follows an inner prefix.
            let is_own = !prefix.starts_with("fault:") && !prefix.starts_with("step:");
            let inner = name.trim_start();
            let is_nested = inner.starts_with("fault:") || inner.starts_with("step:") || inner.starts_with("line:");
            proptest::prop_assert!(is_own || is_nested || !words.starts_with(&prefix), "{words}", words = words);
        }
    }
}
