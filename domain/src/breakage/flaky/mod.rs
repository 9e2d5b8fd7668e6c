//! Which failed runs are no news: those in which only cases fail that are known to fail now and then.

mod noise_history;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::Verdict;

use crate::breakage::regression_kind::{RegressionKind, is_run};
use crate::outcome::Cause;
use crate::words::BreakageState;
use crate::words::ids::{CaseId, Timestamp};
pub use noise_history::{BrokenPeriod, NoiseHistory, NoiseRate, NoiseRun, history};

/// How long a case that was proven flaky opens no breakage.
const FLAKY_PERIOD: Duration = Duration::from_secs(45 * 24 * 3600);

/// Since when a proof that a case is flaky still holds.
pub fn flaky_since(now: Timestamp) -> Timestamp {
    now - FLAKY_PERIOD
}

/// The cases that pass in one of two runs of identical inputs on one worker, and fail in the other: they are flaky. A case
/// that a run does not report does not differ.
pub fn differing(one: &BTreeMap<CaseId, Verdict>, other: &BTreeMap<CaseId, Verdict>) -> BTreeSet<CaseId> {
    let differs = |case: &CaseId, verdict: Verdict| {
        let theirs = other.get(case).and_then(|verdict| RegressionKind::Failing.shows_good(*verdict));
        theirs.is_some_and(|theirs| {
            RegressionKind::Failing.shows_good(verdict).is_some_and(|ours| ours != theirs)
        })
    };
    one.iter().filter(|&(case, &verdict)| differs(case, verdict)).map(|(case, _)| *case).collect()
}

/// Whether a case that has shown itself intermittent is a better answer than the one that a search found, and takes its
/// place. An answer that blames no change gives way: failures for which the machines or the world are blamed, wherever the
/// case was intermittent; a search without a result, if that was at its good end or before. A change is blamed by proof, and
/// only evidence in the range takes that back.
pub fn outranks(found: BreakageState, is_before_range: bool) -> bool {
    match found {
        BreakageState::Environment => true,
        BreakageState::Inconclusive => is_before_range,
        BreakageState::Suspected
        | BreakageState::Searching
        | BreakageState::Named
        | BreakageState::OneOfK
        | BreakageState::Flaky
        | BreakageState::Fixed
        | BreakageState::Gone => false,
    }
}

/// Whether a case is intermittent by its verdicts in runs of identical inputs on one machine, oldest first. It must change
/// twice: a machine or a service that broke, and stays so, changes it once.
pub fn is_intermittent(verdicts: impl IntoIterator<Item = Verdict>) -> bool {
    let mut good = verdicts.into_iter().filter_map(|verdict| RegressionKind::Failing.shows_good(verdict));
    let Some(mut last) = good.next() else { return false };
    let changes = good.filter(|good| std::mem::replace(&mut last, *good) != *good);
    changes.count() >= 2
}

/// The cases that ran in only one of two complete runs of identical inputs: they are unstable.
pub fn unstable(one: &BTreeMap<CaseId, Verdict>, other: &BTreeMap<CaseId, Verdict>) -> BTreeSet<CaseId> {
    let ran = |of: &BTreeMap<CaseId, Verdict>, case: &CaseId| {
        is_run(of.get(case).copied().unwrap_or(Verdict::Missing))
    };
    let in_either = one.keys().chain(other.keys()).copied();
    in_either
        .filter(|case| matches!((ran(one, case), ran(other, case)), (Some(one), Some(other)) if one != other))
        .collect()
}

/// The faults whose names differ between two complete runs of identical inputs: each run has some that the other lacks. A
/// fault that only one of the runs has, while the other has none of its own, is flaky.
pub fn differing_faults(
    one: &BTreeMap<CaseId, Verdict>,
    other: &BTreeMap<CaseId, Verdict>,
    is_fault: impl Fn(&CaseId) -> bool,
) -> BTreeSet<CaseId> {
    let fails = |of: &BTreeMap<CaseId, Verdict>, case: &CaseId| of.get(case).is_some_and(|it| it.is_bad());
    let only_in =
        |these: &BTreeMap<CaseId, Verdict>, those: &BTreeMap<CaseId, Verdict>| -> BTreeSet<CaseId> {
            let own = these.keys().filter(|case| fails(these, case) && !fails(those, case) && is_fault(case));
            own.copied().collect()
        };
    let (first, second) = (only_in(one, other), only_in(other, one));
    match first.is_empty() || second.is_empty() {
        true => BTreeSet::new(),
        false => first.into_iter().chain(second).collect(),
    }
}

/// A case of a suite that failed in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCase {
    /// Its name.
    pub name: String,
    /// Whether its last breakage ended as flaky, or a person marked it so.
    pub is_flaky: bool,
}

/// Begins the name of the case of a step as a whole; see `readers::CaseRun::of_step`.
const STEP: &str = "step:";

/// Whether this is the name of the case of a step as a whole.
pub fn is_of_step(case: &str) -> bool {
    case.starts_with(STEP)
}

/// Whether a step fails only because known cases fail: there are failed cases beside the steps, and all of them are known.
pub fn fails_along<'c>(bad: impl IntoIterator<Item = &'c str>, is_known: impl Fn(&str) -> bool) -> bool {
    let mut others = bad.into_iter().filter(|case| !is_of_step(case)).peekable();
    others.peek().is_some() && others.all(is_known)
}

/// Whether only flaky cases failed in a run. A step that exits with failures fails along with its cases; one that was
/// killed, hung or ran no tests is news itself, and so is a step that failed while no case did.
pub fn is_only_flaky(bad: &[BadCase], cause: Option<Cause>) -> bool {
    let fails_along = match cause {
        Some(Cause::Exit | Cause::Report) => bad.iter().any(|case| !is_of_step(&case.name)),
        Some(
            Cause::Signal
            | Cause::TimedOut
            | Cause::Silent
            | Cause::OutOfMemory
            | Cause::TooManyProcesses
            | Cause::DiskLimit
            | Cause::RefusedTree
            | Cause::LogLimit
            | Cause::NoTests
            | Cause::Fetch
            | Cause::Checkout
            | Cause::Toolchain
            | Cause::Sandbox
            | Cause::NoSpace
            | Cause::Worker
            | Cause::WorkerLost
            | Cause::ToolchainBroken,
        )
        | None => false,
    };
    !bad.is_empty() && bad.iter().all(|case| case.is_flaky || (fails_along && is_of_step(&case.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The failed cases of a run as words; `~` stands before those that are known to be flaky.
    fn only_flaky(cause: Cause, bad: &str) -> bool {
        let case = |word: &str| BadCase {
            name: word.trim_start_matches('~').to_string(),
            is_flaky: word.starts_with('~'),
        };
        let bad: Vec<BadCase> = bad.split_whitespace().map(case).collect();
        is_only_flaky(&bad, Some(cause))
    }

    #[test]
    fn a_case_that_differs_on_identical_inputs_is_flaky_or_unstable() {
        use Verdict::{Error, Fail, Missing, Pass, Skip, Unreached};
        let case_verdicts = |verdicts: &[Verdict]| (1..).map(CaseId).zip(verdicts.iter().copied()).collect();
        let ids = |ids: &[i64]| ids.iter().copied().map(CaseId).collect::<BTreeSet<_>>();
        let one = case_verdicts(&[Pass, Fail, Pass, Fail, Pass, Skip, Pass]);
        let other = case_verdicts(&[Pass, Pass, Missing, Error, Unreached, Pass]);
        assert_eq!(differing(&one, &other), ids(&[2]));
        assert_eq!(unstable(&one, &other), ids(&[3, 6, 7]));
        assert_eq!(unstable(&other, &one), unstable(&one, &other));
        assert_eq!(differing(&one, &BTreeMap::new()), ids(&[]));
    }

    #[test]
    fn faults_that_each_run_names_differently_are_unstable_and_one_that_only_one_run_has_is_flaky() {
        let run = |faults: &[i64]| -> BTreeMap<CaseId, Verdict> {
            let all = (1..=4).map(|case| (case, faults.contains(&case)));
            all.map(|(case, bad)| (CaseId(case), if bad { Verdict::Fail } else { Verdict::Pass })).collect()
        };
        let differing = |one: &[i64], other: &[i64]| {
            let cases = differing_faults(&run(one), &run(other), |case| case.0 < 4);
            cases.into_iter().map(|case| case.0).collect::<Vec<_>>()
        };
        assert_eq!(differing(&[1, 2], &[1, 3]), [2, 3]);
        assert_eq!(differing(&[1], &[1]), [0; 0]);
        assert_eq!(differing(&[1], &[]), [0; 0], "it is flaky");
        assert_eq!(differing(&[1], &[4]), [0; 0], "a test is no fault");
    }

    #[test]
    fn a_step_fails_along_with_known_cases_and_with_no_others() {
        for (bad, expected) in [
            (&["step:test"][..], false),
            (&["step:test", "~a"], true),
            (&["step:test", "~a", "~b"], true),
            (&["step:test", "~a", "b"], false),
            (&[], false),
        ] {
            assert_eq!(fails_along(bad.iter().copied(), |case| case.starts_with('~')), expected, "{bad:?}");
        }
    }

    #[test]
    fn a_run_is_flaky_when_nothing_but_flaky_cases_and_their_step_is_bad() {
        use Cause::{Exit, Report, Signal, TimedOut};
        for (cause, bad, expected) in [
            (Exit, "~a", true),
            (Exit, "~a ~b", true),
            (Exit, "~a step:test", true),
            (Report, "~a step:test", true),
            (Exit, "~a b", false),
            (Exit, "~a b step:test", false),
            (Exit, "b", false),
            // Only the step failed: it is no news only if it is flaky itself.
            (Exit, "step:test", false),
            (Exit, "~step:test", true),
            // The flaky case does not explain why the step was killed.
            (TimedOut, "~a step:test", false),
            (Signal, "~a step:test", false),
            (TimedOut, "~a ~step:test", true),
            (Exit, "", false),
        ] {
            assert_eq!(only_flaky(cause, bad), expected, "{cause:?}: {bad}");
        }
    }

    /// `+` passes, `-` fails, `s` shows nothing.
    fn is_intermittent_in(runs: &str) -> bool {
        is_intermittent(runs.chars().map(|run| match run {
            '+' => Verdict::Pass,
            '-' => Verdict::Fail,
            _ => Verdict::Skip,
        }))
    }

    proptest::proptest! {
        /// What breaks once and stays broken, or was broken and is mended, is no dice.
        #[test]
        fn what_changes_once_is_not_intermittent(before in 0_usize..9, after in 0_usize..9, breaks: bool) {
            let (first, then) = if breaks { ("+", "-") } else { ("-", "+") };
            let runs = first.repeat(before) + "s" + &then.repeat(after);
            proptest::prop_assert!(!is_intermittent_in(&runs), "{runs}", runs = runs);
        }

        #[test]
        fn what_changes_twice_is_intermittent_whatever_else_ran(runs in "[+s-]{0,9}", there in "[+s-]{0,3}", then in "[+s-]{0,3}") {
            proptest::prop_assert!(is_intermittent_in(&[&*runs, "+", &there, "-", &then, "+"].concat()));
            proptest::prop_assert!(is_intermittent_in(&["-", &there, "+", &then, "-", &runs].concat()));
        }
    }

    #[test]
    fn proof_against_a_change_and_an_open_search_stand() {
        for state in [BreakageState::Named, BreakageState::OneOfK, BreakageState::Searching] {
            assert!(!outranks(state, true) && !outranks(state, false), "{state}");
        }
        assert!(outranks(BreakageState::Environment, false));
        // What became intermittent at a change of the range passed at its good end.
        assert!(outranks(BreakageState::Inconclusive, true) && !outranks(BreakageState::Inconclusive, false));
    }
}
