//! How many tests a run does not reach any longer.

use std::collections::BTreeSet;

use protocol::Verdict;

use crate::project_inputs::CaseVerdicts;
use crate::words::ids::CaseId;

/// The cases that were good before and that a run does not reach, since it ends before them. `known` are the cases of the
/// breakage itself. If the run reported all its cases, a case that it does not name is missing, and not unreached.
pub fn unreached(
    before: &CaseVerdicts,
    with: &CaseVerdicts,
    is_complete: bool,
    known: &BTreeSet<CaseId>,
) -> BTreeSet<CaseId> {
    let was_good = |verdict| matches!(verdict, Verdict::Pass | Verdict::Xfail | Verdict::Xpass);
    let is_unreached = |case: &CaseId| match with.get(case) {
        Some(verdict) => *verdict == Verdict::Unreached,
        None => !is_complete,
    };
    let good = before.iter().filter(|(_, verdict)| was_good(**verdict)).map(|(case, _)| *case);
    good.filter(|case| !known.contains(case) && is_unreached(case)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdicts of cases 1, 2, 3: `P` passed, `F` failed, `U` unreached, `-` not named.
    fn verdicts(picture: &str) -> CaseVerdicts {
        let named = picture.chars().zip(1..).filter(|(letter, _)| *letter != '-');
        let verdict = |letter| u8::try_from(letter).ok().and_then(crate::results::verdict);
        named.map(|(letter, id)| (CaseId(id), verdict(letter).expect("a verdict's letter"))).collect()
    }

    #[test]
    fn what_a_broken_off_run_does_not_name_is_not_reached() {
        let count = |before, with, is_complete| {
            unreached(&verdicts(before), &verdicts(with), is_complete, &BTreeSet::from([CaseId(1)])).len()
        };
        assert_eq!(count("PPPP", "F", false), 3);
        assert_eq!(count("PPPP", "F", true), 0, "they are missing");
        assert_eq!(count("PPPP", "FPUP", true), 1);
        assert_eq!(count("PPFP", "F", false), 2, "what was bad before is no loss");
        assert_eq!(count("PPPP", "-", false), 3, "the breakage's own case is counted already");
    }
}
