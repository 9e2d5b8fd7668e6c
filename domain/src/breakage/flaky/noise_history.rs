//! How often a case failed where it should have passed, and passed where it should have failed: the noise of its verdicts.

use std::collections::BTreeMap;

use protocol::Verdict;

use crate::project_inputs::InputsId;
use crate::words::ids::ChangeId;

/// How many runs there were, and how many of them had another result than expected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoiseRate {
    /// All runs.
    pub runs: u32,
    /// Those with an unexpected result.
    pub odd: u32,
}

/// The noise of one case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoiseHistory {
    /// Runs where the case is not known to be broken: `odd` of them failed.
    pub good: NoiseRate,
    /// Runs where the case is known to be broken: `odd` of them passed.
    pub bad: NoiseRate,
}

/// One run of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoiseRun {
    /// The change that it ran on.
    pub change: ChangeId,
    /// What it ran with.
    pub inputs: InputsId,
    /// What the case did.
    pub verdict: Verdict,
}

/// When a case was broken, according to one of its breakages: good at one change, bad from another one on, and good again
/// from a third one on if it was repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenPeriod {
    /// The last good change.
    pub good: ChangeId,
    /// The first bad change.
    pub bad: ChangeId,
    /// Still bad at the first of these, good again at the second.
    pub fixed: Option<(ChangeId, ChangeId)>,
}

/// Counts a case's runs. `order` is its branch's changes, first to last. Runs of other changes do not count, and neither do
/// runs whose expected result is unknown: those inside a range, and those before the case first passed. Nor is it noise
/// what a case does throughout with some inputs: where it should pass, runs count from its first pass with the same inputs on.
pub fn history(order: &[ChangeId], runs: &[NoiseRun], periods: &[BrokenPeriod]) -> NoiseHistory {
    let position: BTreeMap<ChangeId, usize> = order.iter().enumerate().map(|(at, &c)| (c, at)).collect();
    let at = |change: ChangeId| position.get(&change).copied();
    let passed = |verdict: Verdict| match verdict {
        Verdict::Pass | Verdict::Xfail | Verdict::Xpass => Some(true),
        Verdict::Fail | Verdict::Error => Some(false),
        Verdict::Skip | Verdict::Missing | Verdict::Unreached => None,
    };
    let results: Vec<(usize, InputsId, bool)> =
        runs.iter().filter_map(|run| Some((at(run.change)?, run.inputs, passed(run.verdict)?))).collect();
    let mut first_passes: BTreeMap<InputsId, usize> = BTreeMap::new();
    for &(at, inputs, _) in results.iter().filter(|(.., passed)| *passed) {
        let first = first_passes.entry(inputs).or_insert(at);
        *first = at.min(*first);
    }
    let Some(first_pass) = first_passes.values().copied().min() else { return NoiseHistory::default() };

    let mut history = NoiseHistory::default();
    for (position, inputs, passed) in results.into_iter().filter(|(at, ..)| *at >= first_pass) {
        let should_pass = periods.iter().try_fold(true, |should, period| {
            let (good, bad) = (at(period.good), at(period.bad));
            let (after, by) = period.fixed.map_or((None, None), |(after, by)| (at(after), at(by)));
            match () {
                // An end that was rewound is no bound.
                () if bad.is_none() => Some(should),
                () if good.is_some_and(|good| position <= good) => Some(should),
                () if by.is_some_and(|by| position >= by) => Some(should),
                () if bad.is_some_and(|bad| position < bad) => None,
                () if after.is_some_and(|after| position > after) => None,
                () => Some(false),
            }
        });
        let Some(should_pass) = should_pass else { continue };
        if should_pass && first_passes.get(&inputs).is_none_or(|first| position < *first) {
            continue;
        }
        let rate = if should_pass { &mut history.good } else { &mut history.bad };
        rate.runs += 1;
        rate.odd += u32::from(passed != should_pass);
    }
    history
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::ids::PinId;

    /// One run for each change: `+` passed, `-` failed, `s` skipped; and periods as `good..bad` or
    /// `good..bad fixed after..by`.
    fn counted(picture: &str, periods: &[&str]) -> String {
        counted_with(picture, &"a".repeat(picture.len()), periods)
    }

    /// The same, with a letter for the inputs of each run.
    fn counted_with(picture: &str, inputs: &str, periods: &[&str]) -> String {
        let order: Vec<ChangeId> = (0..picture.len() as i64).map(ChangeId).collect();
        let verdict = |letter| match letter {
            '+' => Verdict::Pass,
            '-' => Verdict::Fail,
            's' => Verdict::Skip,
            other => panic!("no verdict is drawn as {other}"),
        };
        let with =
            |letter: char| InputsId { toolchain: None, pin: Some(PinId(i64::from(u32::from(letter)))) };
        let drawn = picture.chars().map(verdict).zip(inputs.chars().map(with));
        let run = |(change, (verdict, inputs))| NoiseRun { change, inputs, verdict };
        let runs: Vec<NoiseRun> = order.iter().copied().zip(drawn).map(run).collect();
        let ends = |text: &str| {
            let (one, other) = text.split_once("..").unwrap();
            (ChangeId(one.parse().unwrap()), ChangeId(other.parse().unwrap()))
        };
        let period = |text: &&str| {
            let (range, fixed) =
                text.split_once(" fixed ").map_or((*text, None), |(r, f)| (r, Some(ends(f))));
            let (good, bad) = ends(range);
            BrokenPeriod { good, bad, fixed }
        };
        let periods: Vec<BrokenPeriod> = periods.iter().map(period).collect();
        let NoiseHistory { good, bad } = history(&order, &runs, &periods);
        format!("{}/{} failed, {}/{} passed", good.odd, good.runs, bad.odd, bad.runs)
    }

    #[test]
    fn each_failure_of_a_case_that_is_not_broken_is_noise() {
        assert_eq!(counted("++++", &[]), "0/4 failed, 0/0 passed");
        assert_eq!(counted("+-+s", &[]), "1/3 failed, 0/0 passed");
    }

    #[test]
    fn failures_before_the_first_pass_are_no_noise() {
        assert_eq!(counted("--++", &[]), "0/2 failed, 0/0 passed");
        assert_eq!(counted("----", &[]), "0/0 failed, 0/0 passed");
    }

    #[test]
    fn each_pass_of_a_broken_case_is_noise() {
        assert_eq!(counted("++--+-", &["1..2"]), "0/2 failed, 1/4 passed");
        assert_eq!(counted("++--++", &["1..2 fixed 3..4"]), "0/4 failed, 0/2 passed");
    }

    #[test]
    fn what_a_case_does_throughout_with_some_inputs_is_no_noise() {
        assert_eq!(counted_with("++--++", "aabbcc", &[]), "0/4 failed, 0/0 passed");
        assert_eq!(counted_with("++-+-+", "aabbbb", &[]), "1/5 failed, 0/0 passed", "from its first pass on");
        assert_eq!(counted_with("++----", "aabbcc", &["1..2"]), "0/2 failed, 0/4 passed");
    }

    proptest::proptest! {
        /// A case that never differs with the same inputs has failed by no noise, whatever was switched.
        #[test]
        fn verdicts_that_differ_only_with_the_inputs_are_no_noise(runs in "[a-e]{1,20}", failing in "[a-e]{0,4}") {
            let picture: String = runs.chars().map(|with| if failing.contains(with) { '-' } else { '+' }).collect();
            let counted = counted_with(&picture, &runs, &[]);
            proptest::prop_assert!(counted.starts_with("0/"), "{picture} with {runs}: {counted}");
        }
    }

    #[test]
    fn runs_inside_a_range_do_not_count() {
        assert_eq!(counted("++-+--", &["1..4"]), "0/2 failed, 0/2 passed");
        assert_eq!(counted("+--+-+", &["0..1 fixed 2..5"]), "0/2 failed, 0/2 passed");
    }

    #[test]
    fn a_breakage_whose_bad_end_was_rewound_is_ignored() {
        assert_eq!(counted("+-+", &["0..9"]), "1/3 failed, 0/0 passed");
    }
}
