//! When tests that are not run any longer are an alarm: a suite that skips all its tests passes, and is worth nothing.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Verdict;

use super::history::{BuilderHistory, HistoryBuild};
use super::regression_kind::{RegressionKind, is_run};
use crate::numbers::index;
use crate::words::ids::{CaseId, ChangeId};

/// A loss of less than a fiftieth of the suite is no alarm.
const FRACTION: usize = 50;
/// In a small suite the loss of a tenth is an alarm; so many lost cases are enough in any suite up to the fiftieth.
const ENOUGH: usize = 5;

/// So many lost cases are an alarm in any suite that the farm accepts: a fiftieth of 200,000.
pub const ALWAYS_ENOUGH: usize = 200_000 / FRACTION;

/// Whether it is an alarm that `lost` of the `ran` cases of a suite are not run any longer.
pub fn is_alarming(lost: usize, ran: usize) -> bool {
    lost * FRACTION >= ran && lost >= (ran / 10).clamp(1, ENOUGH)
}

/// The losses that count, each with the change that shows it. Cases whose names come and go by themselves are not lost.
///
/// A failing case that is not run any longer counts if the build turned green because of that: it is not repaired.
pub fn alarms(history: &BuilderHistory) -> BTreeSet<(ChangeId, CaseId)> {
    let BuilderHistory { history_builds, case_histories, unstable, other_losses, .. } = history;
    // By the change that shows them: the cases that were good, and those that failed.
    let mut lost: BTreeMap<ChangeId, (Vec<CaseId>, Vec<CaseId>)> = BTreeMap::new();
    for case_history in case_histories.iter().filter(|case_history| !unstable.contains(&case_history.case)) {
        // What the case last did with the same inputs, in a build that reached it.
        let mut was = None;
        for (at, &(change, became)) in case_history.verdicts.iter().enumerate() {
            if case_history.baselines.contains(&at) {
                was = None;
            }
            if is_run(became) == Some(false) {
                match was.and_then(|was| RegressionKind::Failing.shows_good(was)) {
                    Some(true) => lost.entry(change).or_default().0.push(case_history.case),
                    Some(false) => lost.entry(change).or_default().1.push(case_history.case),
                    None => {}
                }
            }
            if became != Verdict::Unreached {
                was = Some(became);
            }
        }
    }
    let mut counts = BTreeSet::new();
    if lost.is_empty() {
        return counts;
    }
    // At a baseline a change is twice in the history: the first time it follows another change.
    let neighbours = history_builds.windows(2).rev().map(|pair| (pair[1].change, (pair[0], pair[1])));
    let neighbours: BTreeMap<ChangeId, (HistoryBuild, HistoryBuild)> = neighbours.collect();
    for (change, (good, failing)) in lost {
        let Some((older, newer)) = neighbours.get(&change) else { continue };
        if !older.green && newer.green {
            counts.extend(failing.into_iter().map(|case| (change, case)));
        }
        let others = other_losses.get(&change).copied().unwrap_or(0);
        if is_alarming(good.len() + others, index(older.ran)) {
            counts.extend(good.into_iter().map(|case| (change, case)));
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::is_alarming;

    #[test]
    fn losing_a_fiftieth_is_an_alarm_and_in_a_small_suite_a_tenth() {
        for (lost, ran, expected) in [
            (0, 1, false),
            (1, 1, true),
            (1, 10, true),
            (1, 19, true),
            (1, 20, false),
            (2, 20, true),
            (4, 50, false),
            (5, 50, true),
            (4, 250, false),
            (5, 250, true),
            (5, 251, false),
            (6, 251, true),
            (199, 10_000, false),
            (200, 10_000, true),
            (10_000, 10_000, true),
        ] {
            assert_eq!(is_alarming(lost, ran), expected, "{lost} of {ran}");
        }
    }

    proptest::proptest! {
        #[test]
        fn losing_all_is_always_an_alarm_and_losing_nothing_never_is(ran in 1_usize..200_000) {
            proptest::prop_assert!(is_alarming(ran, ran));
            proptest::prop_assert!(!is_alarming(0, ran));
        }

        #[test]
        fn a_larger_loss_is_never_less_alarming(ran in 1_usize..200_000, lost in 0_usize..200_000) {
            proptest::prop_assert!(!is_alarming(lost, ran) || is_alarming(lost + 1, ran));
        }
    }
}
