//! Self-checks: idle workers repeat old answers, so that the farm knows how often it is right.

use std::collections::BTreeMap;

use protocol::Verdict;
use serde::{Deserialize, Serialize};

use crate::breakage::RegressionKind;
use crate::culprit::Tally;
use crate::outcome::words;
use crate::project_inputs::InputsId;
use crate::words::ids::{CaseId, ChangeId, Timestamp, WorkerId};

/// How often each part of an answer is repeated at most, once the answer was given.
pub const MAX_CHECKS: u32 = 8;
/// The same for a part that the last repetition contradicted: an answer with the proof of three runs on each side is taken
/// back after some twenty others, and the farm should not stop before that.
pub const MAX_CHECKS_IN_DOUBT: u32 = 24;
/// The share of idle builds is kept among the last builds, as many as this.
pub const SHARE_OF: u32 = 1_000;
/// A flaky case whose repetitions all agree is flaky with less probability than this.
const STILL_FLAKY: f64 = 0.02;

/// Which part of which kind of answer is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// The change before a named culprit: what the culprit broke is good there.
    Parent,
    /// A named culprit: what it broke is bad there.
    Culprit,
    /// Where a case was found flaky: it still passes now and then, and fails now and then.
    Flaky,
    /// The first good change after a breakage: what was broken is good there.
    Repair,
}

words!(CheckKind { Parent = "parent", Culprit = "culprit", Flaky = "flaky", Repair = "repair" });

/// What a repetition showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckResult {
    /// The answer stood.
    Stood,
    /// The answer fell: this run contradicts it.
    Fell,
    /// The run showed nothing about the answer.
    None,
}

words!(CheckResult { Stood = "stood", Fell = "fell", None = "none" });

/// A part of an answer that may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerToCheck {
    /// When the answer was given.
    pub found_at: Timestamp,
    /// How often it was repeated since then.
    pub checks: u32,
    /// Whether the last repetition contradicted it.
    pub is_in_doubt: bool,
    /// Whether its toolchain and its revision can still be had.
    pub is_available: bool,
}

/// What idle workers have made of late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdleWork {
    /// Builds that idle workers made, self-checks among them.
    pub builds: u32,
    /// Self-checks, those that wait or run among them.
    pub checks: u32,
    /// Whether something else waits: an undecided breakage, a change, another repetition.
    pub is_waited_for: bool,
}

/// Whether the next build of an idle worker may be a self-check, if these may have the given share, 0 to 1.
pub fn is_due(idle: &IdleWork, share: f64) -> bool {
    !idle.is_waited_for && f64::from(idle.checks) + 1.0 <= share * (f64::from(idle.builds) + 1.0)
}

/// Which answer is repeated next: one that a repetition has just contradicted, so that it is soon taken back or stands;
/// else the one that was repeated least, and the oldest of those.
pub fn next(answers: &[AnswerToCheck]) -> Option<usize> {
    let may_be_checked = |answer: &AnswerToCheck| {
        let most = if answer.is_in_doubt { MAX_CHECKS_IN_DOUBT } else { MAX_CHECKS };
        answer.is_available && answer.checks < most
    };
    let order =
        |answer: &AnswerToCheck| (std::cmp::Reverse(answer.is_in_doubt), answer.checks, answer.found_at);
    let open = answers.iter().enumerate().filter(|(_, answer)| may_be_checked(answer));
    open.min_by_key(|(index, answer)| (order(answer), *index)).map(|(index, _)| index)
}

/// What the cases of a flaky answer did in one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOfCases {
    /// Its change.
    pub change: ChangeId,
    /// The worker that made it.
    pub worker: WorkerId,
    /// What it ran with.
    pub inputs: InputsId,
    /// What the cases did.
    pub verdicts: BTreeMap<CaseId, Verdict>,
}

/// The first change at which a case has passed and failed with the same inputs on one worker.
pub fn flaky_at(runs: &[RunOfCases]) -> Option<ChangeId> {
    let mut shown: BTreeMap<(ChangeId, InputsId, WorkerId, CaseId), bool> = BTreeMap::new();
    for run in runs {
        for (case, verdict) in &run.verdicts {
            let Some(is_good) = RegressionKind::Failing.shows_good(*verdict) else { continue };
            let first = *shown.entry((run.change, run.inputs, run.worker, *case)).or_insert(is_good);
            if first != is_good {
                return Some(run.change);
            }
        }
    }
    None
}

/// A case of an answer in a repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedCase {
    /// How it went bad.
    pub regression: RegressionKind,
    /// What it did in the repetition.
    pub verdict: Verdict,
    /// What it did in earlier runs of the identical inputs; only a flaky answer is judged by them.
    pub before: Tally,
    /// What it did in the repetitions since the answer was given, this one among them.
    pub repeated: Tally,
}

/// Whether an answer stood in a repetition. Each case that the run shows has a voice; an answer falls when at least half of
/// them contradict it, as a search's answer is doubted.
pub fn judge(kind: CheckKind, cases: &BTreeMap<CaseId, CheckedCase>) -> CheckResult {
    let stands = |case: &CheckedCase| {
        let is_good = case.regression.shows_good(case.verdict)?;
        match kind {
            CheckKind::Parent | CheckKind::Repair => Some(is_good),
            CheckKind::Culprit => Some(!is_good),
            CheckKind::Flaky => is_still_flaky(case.before, case.repeated),
        }
    };
    let voices: Vec<bool> = cases.values().filter_map(stands).collect();
    let against = voices.iter().filter(|stands| !**stands).count();
    match voices.len() {
        0 => CheckResult::None,
        all if 2 * against >= all => CheckResult::Fell,
        _ => CheckResult::Stood,
    }
}

/// None while the repetitions agree with each other, as those of a flaky case may well do for a while. How probable that is
/// follows from its earlier runs: both verdicts are counted once more than they were seen.
fn is_still_flaky(before: Tally, repeated: Tally) -> Option<bool> {
    let (same, runs) = match (repeated.passes, repeated.fails) {
        (0, 0) => return None,
        (passes, 0) => (before.passes, passes),
        (0, fails) => (before.fails, fails),
        _ => return Some(true),
    };
    let all = before.passes + before.fails;
    let one = |n: u32| f64::from(same + 1 + n) / f64::from(all + 2 + n);
    let chance: f64 = (0..runs).map(one).product();
    (chance < STILL_FLAKY).then_some(false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::numbers::index;

    fn answer(found_at: i64, checks: u32) -> AnswerToCheck {
        AnswerToCheck { found_at: Timestamp(found_at), checks, is_in_doubt: false, is_available: true }
    }

    fn answers() -> impl Strategy<Value = Vec<AnswerToCheck>> {
        let one = (0..50_i64, 0..MAX_CHECKS_IN_DOUBT + 3, any::<bool>(), any::<bool>());
        prop::collection::vec(one, 0..12).prop_map(|all| {
            let answer = |(found_at, checks, is_in_doubt, is_available)| AnswerToCheck {
                found_at: Timestamp(found_at),
                checks,
                is_in_doubt,
                is_available,
            };
            all.into_iter().map(answer).collect()
        })
    }

    /// The result for cases drawn by their verdicts, all of which failed at the bad end.
    fn drawn(kind: CheckKind, verdicts: &str) -> CheckResult {
        let case = |letter| CheckedCase {
            regression: RegressionKind::Failing,
            verdict: match letter {
                '+' => Verdict::Pass,
                '-' => Verdict::Fail,
                _ => Verdict::Unreached,
            },
            before: Tally::default(),
            repeated: Tally::default(),
        };
        judge(kind, &(1..).map(CaseId).zip(verdicts.chars().map(case)).collect())
    }

    #[test]
    fn a_parent_and_a_repair_stand_while_they_are_good_and_a_culprit_while_it_is_bad() {
        use CheckResult::{Fell, None, Stood};
        for (verdicts, good, bad) in [
            ("+", Stood, Fell),
            ("-", Fell, Stood),
            ("", None, None),
            ("..", None, None),
            ("++-", Stood, Fell),
            ("+-", Fell, Fell),
            (".+", Stood, Fell),
        ] {
            assert_eq!(drawn(CheckKind::Parent, verdicts), good, "{verdicts}");
            assert_eq!(drawn(CheckKind::Repair, verdicts), good, "{verdicts}");
            assert_eq!(drawn(CheckKind::Culprit, verdicts), bad, "{verdicts}");
        }
    }

    #[test]
    fn a_flaky_case_falls_only_when_its_repetitions_agree_too_often() {
        let tally = |passes, fails| Tally { passes, fails };
        assert_eq!(is_still_flaky(tally(1, 1), tally(0, 0)), None);
        assert_eq!(is_still_flaky(tally(1, 1), tally(3, 0)), None);
        assert_eq!(is_still_flaky(tally(1, 1), tally(3, 1)), Some(true));
        assert_eq!(is_still_flaky(tally(5, 5), tally(0, 8)), Some(false));
        assert_eq!(is_still_flaky(tally(60, 2), tally(8, 0)), None, "it fails rarely");
        assert_eq!(is_still_flaky(tally(60, 2), tally(0, 2)), Some(false), "it fails all at once");
    }

    #[test]
    fn a_case_is_flaky_where_it_differs_on_one_worker() {
        let run = |change, worker, verdict| RunOfCases {
            change: ChangeId(change),
            worker: WorkerId(worker),
            inputs: InputsId::default(),
            verdicts: BTreeMap::from([(CaseId(1), verdict)]),
        };
        let (pass, fail) = (Verdict::Pass, Verdict::Fail);
        assert_eq!(flaky_at(&[run(1, 1, pass), run(2, 1, fail), run(1, 2, fail)]), None);
        assert_eq!(flaky_at(&[run(1, 1, pass), run(2, 1, fail), run(2, 1, pass)]), Some(ChangeId(2)));
        assert_eq!(flaky_at(&[run(1, 1, pass), run(1, 1, Verdict::Skip)]), None);
    }

    #[test]
    fn the_least_checked_and_then_the_oldest_answer_is_next() {
        assert_eq!(next(&[]), None);
        assert_eq!(next(&[answer(5, 1), answer(9, 0), answer(7, 0)]), Some(2));
        let doubted = AnswerToCheck { is_in_doubt: true, ..answer(9, 3) };
        assert_eq!(next(&[answer(5, 0), doubted]), Some(1));
        let lost = AnswerToCheck { is_available: false, ..answer(1, 0) };
        assert_eq!(next(&[lost, answer(5, MAX_CHECKS)]), None);
    }

    proptest! {
        #[test]
        fn what_is_next_may_be_checked_and_nothing_that_may_be_comes_before_it(answers in answers()) {
            let may = |answer: &AnswerToCheck| {
                let most = if answer.is_in_doubt { MAX_CHECKS_IN_DOUBT } else { MAX_CHECKS };
                answer.is_available && answer.checks < most
            };
            match next(&answers) {
                None => prop_assert!(!answers.iter().any(may)),
                Some(chosen) => {
                    let chosen = answers[chosen];
                    prop_assert!(may(&chosen));
                    for other in answers.iter().filter(|other| may(other)) {
                        prop_assert!(chosen.is_in_doubt || !other.is_in_doubt);
                        if chosen.is_in_doubt == other.is_in_doubt {
                            let order = |answer: &AnswerToCheck| (answer.checks, answer.found_at);
                            prop_assert!(order(&chosen) <= order(other));
                        }
                    }
                }
            }
        }

        /// Whatever else idle workers make, every answer gets its checks and no more, and none waits for ever.
        #[test]
        fn each_answer_is_repeated_a_bounded_number_of_times(found in prop::collection::vec(0..50_i64, 1..8)) {
            let mut answers: Vec<AnswerToCheck> = found.iter().map(|at| answer(*at, 0)).collect();
            let mut rounds = 0;
            while let Some(chosen) = next(&answers) {
                answers[chosen].checks += 1;
                rounds += 1;
                let fewest = answers.iter().map(|answer| answer.checks).min();
                prop_assert!(answers.iter().all(|answer| Some(answer.checks) <= fewest.map(|n| n + 1)));
            }
            prop_assert_eq!(rounds, index(MAX_CHECKS) * answers.len());
        }

        /// A farm that makes one idle build after another, and checks whenever it may.
        #[test]
        fn checks_keep_to_their_share_and_wait_for_everything_else(
            share in 0.0..=1.0_f64,
            waited in prop::collection::vec(any::<bool>(), 1..300),
        ) {
            let mut idle = IdleWork::default();
            for is_waited_for in waited {
                idle.is_waited_for = is_waited_for;
                let is_check = is_due(&idle, share);
                prop_assert!(!(is_check && is_waited_for));
                idle.builds += 1;
                idle.checks += u32::from(is_check);
                prop_assert!(f64::from(idle.checks) <= share * f64::from(idle.builds) + 1e-9);
                // Nothing is left unused for long, either.
                if !is_waited_for && !is_check {
                    prop_assert!(f64::from(idle.checks) + 1.0 > share * f64::from(idle.builds));
                }
            }
            prop_assert!(!is_due(&IdleWork::default(), 0.0));
            idle.is_waited_for = false;
            prop_assert!(is_due(&idle, 1.0));
        }

        #[test]
        fn an_answer_falls_for_the_culprit_exactly_where_most_cases_are_good(verdicts in "[+.-]{0,9}") {
            let (good, bad) = (verdicts.matches('+').count(), verdicts.matches('-').count());
            for (kind, against) in [(CheckKind::Culprit, good), (CheckKind::Parent, bad), (CheckKind::Repair, bad)] {
                let expected = match good + bad {
                    0 => CheckResult::None,
                    all if 2 * against >= all => CheckResult::Fell,
                    _ => CheckResult::Stood,
                };
                prop_assert_eq!(drawn(kind, &verdicts), expected);
            }
        }

        #[test]
        fn a_case_that_shows_both_verdicts_is_never_found_to_be_no_longer_flaky(
            before in (0..99_u32, 0..99_u32), repeated in (1..9_u32, 1..9_u32),
        ) {
            let before = Tally { passes: before.0, fails: before.1 };
            let repeated = Tally { passes: repeated.0, fails: repeated.1 };
            prop_assert_eq!(is_still_flaky(before, repeated), Some(true));
        }
    }
}
