//! When the results of a new worker count: once they have agreed with those of others often enough.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Verdict;

use crate::breakage::flaky::{differing, unstable};
use crate::words::ids::CaseId;

/// So many results in a row that agree with those of others end a probation.
pub const ENOUGH: u32 = 10;

/// Whether two complete runs of identical inputs agree, except for cases that are known to differ by themselves.
pub fn agrees(
    one: &BTreeMap<CaseId, Verdict>,
    other: &BTreeMap<CaseId, Verdict>,
    noisy: &BTreeSet<CaseId>,
) -> bool {
    let differ = differing(one, other);
    differ.iter().chain(&unstable(one, other)).all(|case| noisy.contains(case))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_agree_if_each_case_has_the_same_verdict_or_is_known_to_be_noisy() {
        use Verdict::{Error, Fail, Pass, Skip};
        let case_verdicts = |verdicts: &[Verdict]| (1..).map(CaseId).zip(verdicts.iter().copied()).collect();
        let known = case_verdicts(&[Pass, Fail, Pass]);
        for (other, noisy, expected) in [
            (&[Pass, Fail, Pass][..], &[][..], true),
            (&[Pass, Error, Pass], &[], true),
            (&[Fail, Fail, Pass], &[], false),
            (&[Fail, Fail, Pass], &[1], true),
            (&[Pass, Fail, Skip], &[], false),
            (&[Pass, Fail], &[], false),
            (&[Pass, Fail], &[3], true),
            (&[Fail, Fail], &[3], false),
        ] {
            let noisy = noisy.iter().copied().map(CaseId).collect();
            assert_eq!(agrees(&known, &case_verdicts(other), &noisy), expected, "{other:?} {noisy:?}");
        }
    }
}
