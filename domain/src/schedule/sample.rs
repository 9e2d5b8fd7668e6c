//! In which order the suites of a change are built where workers are too few for all of them before the next change comes. What
//! is not begun by then is superseded: it was not tested at that change, and no rule takes it for tested.

use std::cmp::Reverse;

/// After so long a search's answer says nothing about how often a project breaks today.
pub const RECENT: std::time::Duration = std::time::Duration::from_secs(90 * 24 * 3600);

/// How many suites may wait for each slot of the workers, so that most of those that are left out never get a row.
const WAITING_PER_SLOT: usize = 4;
/// And how many may wait in any case.
const LEAST_WAITING: usize = 64;

/// What is known of a suite when its turn is decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SuiteStanding {
    /// How many registered projects need its project, directly or not.
    pub dependents: u32,
    /// How many breakages of it were given a culprit recently.
    pub breakages: u32,
    /// How many tested changes there are since the last one at which it was tested, or at all.
    pub untested: usize,
}

/// How many suites of a branch and platform may wait for a worker at once.
pub fn most_waiting(slots: u32) -> usize {
    let slots = usize::try_from(slots).unwrap_or(usize::MAX);
    slots.saturating_mul(WAITING_PER_SLOT).max(LEAST_WAITING)
}

/// The order of the suites that are to be enqueued at a change, as indices; `begun` others were enqueued at it already.
///
/// Every other place belongs to the suite that has been untested for longest. So of P suites, of which C are built at each change,
/// each is built once within P / (C / 2) changes, rounded up. The places between them belong to the suites that tell most:
/// those with many dependents, and those that broke recently.
pub fn order(standings: &[SuiteStanding], begun: usize) -> Vec<usize> {
    let worth = |at: usize| {
        let SuiteStanding { dependents, breakages, untested } = standings[at];
        let product = (u64::from(dependents) + 1).saturating_mul(u64::from(breakages) + 1);
        (product, untested, Reverse(at))
    };
    let age = |at: usize| (standings[at].untested, worth(at));
    let mut by_age: Vec<usize> = (0..standings.len()).collect();
    let mut by_worth = by_age.clone();
    by_age.sort_by_key(|at| Reverse(age(*at)));
    by_worth.sort_by_key(|at| Reverse(worth(*at)));
    let (mut by_age, mut by_worth) = (by_age.into_iter(), by_worth.into_iter());
    let mut is_taken = vec![false; standings.len()];
    let mut order = Vec::with_capacity(standings.len());
    while order.len() < standings.len() {
        let place = begun + order.len();
        let next = match place % 2 {
            0 => by_age.find(|at| !is_taken[*at]),
            _ => by_worth.find(|at| !is_taken[*at]),
        };
        let Some(next) = next else { break };
        is_taken[next] = true;
        order.push(next);
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `dependents/breakages/untested`, one for each suite.
    fn standings(text: &str) -> Vec<SuiteStanding> {
        let standing = |word: &str| {
            let numbers: Vec<u32> = word.split('/').map(|n| n.parse().unwrap()).collect();
            SuiteStanding { dependents: numbers[0], breakages: numbers[1], untested: numbers[2] as usize }
        };
        text.split_whitespace().map(standing).collect()
    }

    #[test]
    fn the_longest_untested_and_the_most_telling_take_turns() {
        let four = standings("0/0/1 9/0/1 0/3/1 0/0/7");
        assert_eq!(order(&four, 0), [3, 1, 2, 0]);
        assert_eq!(order(&four, 1), [1, 3, 2, 0], "the first place went to another one already");
        assert_eq!(order(&standings("2/0/1 2/2/1 0/2/1"), 1)[0], 1, "needed by many, and broken recently");
        assert_eq!(order(&[], 0), [0; 0]);
    }

    #[test]
    fn suites_of_equal_standing_come_in_their_order() {
        assert_eq!(order(&standings("0/0/1 0/0/1 0/0/1 0/0/1"), 0), [0, 1, 2, 3]);
    }

    #[test]
    fn as_many_may_wait_as_the_workers_take_soon() {
        assert_eq!((most_waiting(0), most_waiting(4), most_waiting(100)), (64, 64, 400));
    }

    proptest! {
        #[test]
        fn each_suite_has_one_place(all in prop::collection::vec((0..5_u32, 0..5_u32, 0..5_usize), 0..30), begun in 0..9_usize) {
            let all: Vec<SuiteStanding> = all.into_iter()
                .map(|(dependents, breakages, untested)| SuiteStanding { dependents, breakages, untested }).collect();
            let mut places = order(&all, begun);
            places.sort_unstable();
            prop_assert_eq!(places, (0..all.len()).collect::<Vec<_>>());
        }

        /// More dependents or more breakages never give a suite a later place, if all else is equal.
        #[test]
        fn what_tells_more_comes_no_later(
            all in prop::collection::vec((0..5_u32, 0..5_u32, 0..5_usize), 1..20),
            which in any::<prop::sample::Index>(),
            more in (0..5_u32, 0..5_u32),
            begun in 0..3_usize,
        ) {
            let mut all: Vec<SuiteStanding> = all.into_iter()
                .map(|(dependents, breakages, untested)| SuiteStanding { dependents, breakages, untested }).collect();
            let which = which.index(all.len());
            let place = |all: &[SuiteStanding]| order(all, begun).iter().position(|at| *at == which);
            let before = place(&all);
            all[which].dependents += more.0;
            all[which].breakages += more.1;
            prop_assert!(place(&all) <= before);
        }

        /// Whatever breaks and whoever needs whom, and however few suites are built at each change: each is built within the bound.
        #[test]
        fn each_suite_is_tested_within_a_bounded_number_of_changes(
            suites in 1..40_usize,
            built in 1..40_usize,
            rounds in 1..4_usize,
            luck in prop::collection::vec((0..9_u32, 0..9_u32), 40..90),
        ) {
            let mut untested = vec![0; suites];
            let bound = suites.div_ceil(built.div_ceil(2));
            for change in 0..4 * bound {
                untested.iter_mut().for_each(|age| *age += 1);
                prop_assert!(untested.iter().all(|age| *age <= bound), "{untested:?} after {change}, of at most {bound}");
                let mut begun: Vec<usize> = Vec::new();
                // The scheduler enqueues as many as may wait, and more when these have run.
                while begun.len() < built.min(suites) {
                    let left: Vec<usize> = (0..suites).filter(|suite| !begun.contains(suite)).collect();
                    let standings: Vec<SuiteStanding> = left.iter().map(|suite| {
                        let (dependents, breakages) = luck[(suite * 7 + change * 13) % luck.len()];
                        SuiteStanding { dependents, breakages, untested: untested[*suite] }
                    }).collect();
                    let room = built.div_ceil(rounds).min(built - begun.len());
                    begun.extend(order(&standings, begun.len()).into_iter().take(room).map(|at| left[at]).collect::<Vec<_>>());
                }
                for suite in begun {
                    untested[suite] = 0;
                }
            }
        }
    }
}
