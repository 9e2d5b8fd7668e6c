//! Whether a case that passes again is repaired, or only lucky.

use super::evidence::Tally;
use super::noise::{Rate, ln_sum};
use crate::numbers::index;

/// A repair is believed when the case is still broken with less probability than this.
pub const STILL_BROKEN: f64 = 0.01;

/// What is known of a case that was broken and passes again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepairEvidence {
    /// Runs where it is known to be good.
    pub good: Tally,
    /// Runs where it is known to be broken: those that passed were lucky.
    pub bad: Tally,
    /// The runs in a row, all of them passed, that seem to show the repair.
    pub passes: u32,
}

/// The probability that the case is still broken. A run of a good case fails with probability f, one of a broken case passes
/// with probability g; both rates are unknown, weighed by the runs that are known, and integrated out. Before its passes the
/// case is as likely to be repaired as not.
pub fn still_broken(evidence: &RepairEvidence) -> f64 {
    let RepairEvidence { good, bad, passes } = *evidence;
    let runs = |tally: Tally| index(tally.fails + tally.passes + passes);
    // Given the known runs, the probability of the passes is the ratio of two marginal likelihoods.
    let failing = Rate::of_false_failures(Tally::default(), runs(good));
    let repaired =
        failing.weigh(good.fails, good.passes + passes).ln - failing.weigh(good.fails, good.passes).ln;
    let passing = Rate::of_false_passes(Tally::default(), runs(bad));
    let broken = passing.weigh(bad.passes + passes, bad.fails).ln - passing.weigh(bad.passes, bad.fails).ln;
    (broken - ln_sum(broken, repaired)).exp()
}

/// How many failures with identical inputs it takes to refute a repair: as many as a culprit's proof has.
const REFUTING_FAILURES: u32 = 3;

/// Whether the runs at the first good change after a breakage show that the case is bad there all the same, and that its
/// first pass was luck.
pub fn is_refuted(at_repair: Tally) -> bool {
    at_repair.fails >= REFUTING_FAILURES && at_repair.fails > at_repair.passes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_repair_is_refuted_by_failures_and_never_by_passes(passes in 0u32..50, fails in 0u32..50, more in 0u32..9) {
            let is_refuted = |passes, fails| is_refuted(Tally { fails, passes });
            prop_assert!(!is_refuted(passes, fails) || is_refuted(passes, fails + more));
            prop_assert!(is_refuted(passes, fails) || !is_refuted(passes + more, fails));
            prop_assert!(!is_refuted(passes, 2), "two failures may be bad luck");
            prop_assert!(is_refuted(passes, passes.max(2) + 1));
        }
    }

    /// How many passes in a row prove the repair of a case that failed and passed so often while it was broken.
    fn needed(fails: u32, passes: u32) -> u32 {
        let bad = Tally { fails, passes };
        let good = Tally { fails: 0, passes: 5 };
        let is_proven =
            |passes: &u32| still_broken(&RepairEvidence { good, bad, passes: *passes }) < STILL_BROKEN;
        (1..100).find(is_proven).unwrap()
    }

    #[test]
    fn the_more_a_broken_case_passes_the_more_passes_prove_its_repair() {
        assert_eq!(needed(1, 0), 2);
        assert_eq!(needed(2, 0), 2);
        assert_eq!(needed(5, 0), 2);
        assert_eq!(needed(40, 0), 1, "it has failed so often that one pass is no luck");
        assert_eq!(needed(9, 1), 2);
        assert_eq!(needed(3, 1), 4);
        assert_eq!(needed(3, 3), 12);
        assert_eq!(needed(20, 20), 8);
    }

    proptest::proptest! {
        #[test]
        fn a_further_pass_makes_a_repair_no_less_likely(
            fails in 0_u32..40,
            lucky in 0_u32..40,
            good in 0_u32..40,
            passes in 0_u32..40,
        ) {
            let after = |passes| {
                let (good, bad) = (Tally { fails: 0, passes: good }, Tally { fails, passes: lucky });
                still_broken(&RepairEvidence { good, bad, passes })
            };
            proptest::prop_assert!((0.0..=1.0).contains(&after(passes)));
            if fails > 0 {
                proptest::prop_assert!(after(passes + 1) <= after(passes) + 1e-9);
            }
            proptest::prop_assert!((after(0) - 0.5).abs() < 1e-9);
        }
    }
}
