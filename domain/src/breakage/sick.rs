//! A change that breaks so many suites at once that it says more of the change than of each suite.

/// Fewer suites are a coincidence.
const FEWEST: u32 = 4;
/// A quarter of the suites that were good.
const PART: u32 = 4;

/// Whether a change is sick: so many of the suites that were good before it fail on it. While it is, no project side is
/// proven on it, and notices wait until the searches that end at it have ended.
pub fn is_sick(were_good: u32, failed: u32) -> bool {
    failed >= FEWEST && failed.saturating_mul(PART) >= were_good
}

#[cfg(test)]
mod tests {
    use super::is_sick;

    #[test]
    fn a_quarter_of_the_suites_and_no_less_than_four_make_a_change_sick() {
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
