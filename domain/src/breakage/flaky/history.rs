//! How often a case failed where it should pass, and passed where it should fail: what its noise is measured by.

use std::collections::BTreeMap;

use protocol::Verdict;

use crate::words::ids::ChangeId;

/// Runs, and how many of them did otherwise than they should.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoiseRate {
    pub runs: u32,
    pub odd: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoiseHistory {
    /// Where nothing is known to be wrong with the case: `odd` of the runs failed all the same.
    pub good: NoiseRate,
    /// Where it is known to be broken: `odd` of the runs passed all the same.
    pub bad: NoiseRate,
}

/// When a case was broken, as far as a breakage of it says: good at one change, bad from another on, and good again
/// by a third, where it was repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenPeriod {
    pub good: ChangeId,
    pub bad: ChangeId,
    /// Still bad at the first, good again at the second.
    pub fixed: Option<(ChangeId, ChangeId)>,
}

/// Counts a case's runs. `order` is its branch's changes, first to last; runs of other changes count for nothing, and
/// neither do those of which nobody knows what they should have said: inside a range, and before the case ever passed.
pub fn history(order: &[ChangeId], runs: &[(ChangeId, Verdict)], spells: &[BrokenPeriod]) -> NoiseHistory {
    let position: BTreeMap<ChangeId, usize> = order.iter().enumerate().map(|(at, &c)| (c, at)).collect();
    let at = |change: ChangeId| position.get(&change).copied();
    let passed = |verdict: Verdict| match verdict {
        Verdict::Pass | Verdict::Xfail | Verdict::Xpass => Some(true),
        Verdict::Fail | Verdict::Error => Some(false),
        Verdict::Skip | Verdict::Missing | Verdict::Unreached => None,
    };
    let told: Vec<(usize, bool)> =
        runs.iter().filter_map(|&(change, verdict)| Some((at(change)?, passed(verdict)?))).collect();
    let Some(first_pass) = told.iter().filter(|(_, passed)| *passed).map(|(at, _)| *at).min() else {
        return NoiseHistory::default();
    };

    let mut history = NoiseHistory::default();
    for (place, passed) in told.into_iter().filter(|(place, _)| *place >= first_pass) {
        let should_pass = spells.iter().try_fold(true, |should, spell| {
            let (good, bad) = (at(spell.good), at(spell.bad));
            let (after, by) = spell.fixed.map_or((None, None), |(after, by)| (at(after), at(by)));
            match () {
                // An end that was rewound bounds nothing.
                () if bad.is_none() => Some(should),
                () if good.is_some_and(|good| place <= good) => Some(should),
                () if by.is_some_and(|by| place >= by) => Some(should),
                () if bad.is_some_and(|bad| place < bad) => None,
                () if after.is_some_and(|after| place > after) => None,
                () => Some(false),
            }
        });
        let Some(should_pass) = should_pass else { continue };
        let rate = if should_pass { &mut history.good } else { &mut history.bad };
        rate.runs += 1;
        rate.odd += u32::from(passed != should_pass);
    }
    history
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One run a change: `+` passed, `-` failed, `s` skipped; and spells as `good..bad` or `good..bad fixed after..by`.
    fn told(picture: &str, spells: &[&str]) -> String {
        let order: Vec<ChangeId> = (0..picture.len() as i64).map(ChangeId).collect();
        let verdict = |letter| match letter {
            '+' => Verdict::Pass,
            '-' => Verdict::Fail,
            's' => Verdict::Skip,
            other => panic!("no verdict is drawn as {other}"),
        };
        let runs: Vec<_> = order.iter().copied().zip(picture.chars().map(verdict)).collect();
        let ends = |text: &str| {
            let (one, other) = text.split_once("..").unwrap();
            (ChangeId(one.parse().unwrap()), ChangeId(other.parse().unwrap()))
        };
        let spell = |text: &&str| {
            let (range, fixed) =
                text.split_once(" fixed ").map_or((*text, None), |(r, f)| (r, Some(ends(f))));
            let (good, bad) = ends(range);
            BrokenPeriod { good, bad, fixed }
        };
        let spells: Vec<BrokenPeriod> = spells.iter().map(spell).collect();
        let NoiseHistory { good, bad } = history(&order, &runs, &spells);
        format!("{}/{} failed, {}/{} passed", good.odd, good.runs, bad.odd, bad.runs)
    }

    #[test]
    fn where_nothing_is_known_to_be_wrong_each_failure_is_noise() {
        assert_eq!(told("++++", &[]), "0/4 failed, 0/0 passed");
        assert_eq!(told("+-+s", &[]), "1/3 failed, 0/0 passed");
    }

    #[test]
    fn bad_from_the_first_build_on_is_no_noise() {
        assert_eq!(told("--++", &[]), "0/2 failed, 0/0 passed");
        assert_eq!(told("----", &[]), "0/0 failed, 0/0 passed");
    }

    #[test]
    fn where_the_case_is_broken_each_pass_is_noise() {
        assert_eq!(told("++--+-", &["1..2"]), "0/2 failed, 1/4 passed");
        assert_eq!(told("++--++", &["1..2 fixed 3..4"]), "0/4 failed, 0/2 passed");
    }

    #[test]
    fn inside_a_range_nobody_knows_what_a_run_should_say() {
        assert_eq!(told("++-+--", &["1..4"]), "0/2 failed, 0/2 passed");
        assert_eq!(told("+--+-+", &["0..1 fixed 2..5"]), "0/2 failed, 0/2 passed");
    }

    #[test]
    fn a_breakage_whose_bad_end_was_rewound_says_nothing() {
        assert_eq!(told("+-+", &["0..9"]), "1/3 failed, 0/0 passed");
    }
}
