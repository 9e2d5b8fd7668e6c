//! A change that breaks so many suites at once that the change is the news, and not each suite.

/// Fewer suites may be a coincidence.
const MIN_FAILED: u32 = 4;
/// The divisor of the breakage share: a quarter of the suites that were good.
const SHARE: u32 = 4;

/// Whether a change is sick: a quarter of the suites that were good before it fail on it, and at least four. While it is,
/// no project inputs are proven on it, and notices wait until the searches that end at it have ended.
pub fn is_sick(were_good: u32, failed: u32) -> bool {
    failed >= MIN_FAILED && failed.saturating_mul(SHARE) >= were_good
}

#[cfg(test)]
mod tests {
    use super::is_sick;

    #[test]
    fn a_quarter_of_the_suites_and_at_least_four_make_a_change_sick() {
        for (failed, were_good, expected) in [
            (0, 0, false),
            (3, 3, false),
            (4, 4, true),
            (4, 16, true),
            (4, 17, false),
            (24, 100, false),
            (25, 100, true),
        ] {
            assert_eq!(is_sick(were_good, failed), expected, "{failed} of {were_good}");
        }
    }
}
