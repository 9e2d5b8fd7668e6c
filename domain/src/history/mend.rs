//! Changes that an older version of the farm marked as rewound although the branch's new tip contained them: it followed first
//! parents alone, so a foxtrot merge took the trunk's old changes away. They are taken back once.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

/// A position of a branch, with the polls that gave it and that took it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatedPosition<C> {
    /// Its number.
    pub number: i64,
    /// Its commit.
    pub commit: C,
    /// When a poll found the commit: all that one poll finds has the same time.
    pub found_at: i64,
    /// When a poll marked it as rewound.
    pub gone_at: Option<i64>,
}

/// What is to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MendedPositions {
    /// The positions that are on the branch after all, rising.
    pub restored: Vec<i64>,
    /// The positions that do not contain the restored ones before them, or repeat one of them, rising: they came with the
    /// merge.
    pub gone: Vec<i64>,
}

/// Which positions were wrongly marked as rewound, and what stands in their way.
///
/// A position is restored if the tip of the poll that marked it contained it, and so did the tips of all later polls. The tip
/// of a poll is the last position that it gave; where a poll rewound the branch to commits that were known before, its tip
/// is not known, and nothing is restored that was marked until then. `contains` tells whether the first commit contains
/// the second one.
pub fn mend<C: Copy + Ord + Hash>(
    positions: &[DatedPosition<C>],
    mut contains: impl FnMut(C, C) -> bool,
) -> MendedPositions {
    let survives = |position: &&DatedPosition<C>| position.gone_at.is_none();
    let Some(tip) = positions.iter().rfind(survives).map(|last| last.commit) else {
        return MendedPositions::default();
    };
    let polls: BTreeSet<i64> =
        positions.iter().flat_map(|position| [Some(position.found_at), position.gone_at]).flatten().collect();
    let tips: BTreeMap<i64, C> =
        positions.iter().map(|position| (position.found_at, position.commit)).collect();
    let mut known: BTreeSet<C> = BTreeSet::new();
    let mut kept: Vec<&DatedPosition<C>> = Vec::new();
    let mut has_restored = false;
    for position in positions {
        if let Some(gone_at) = position.gone_at {
            let is_wrong = polls
                .range(gone_at..)
                .all(|poll| tips.get(poll).is_some_and(|tip_then| contains(*tip_then, position.commit)));
            if !is_wrong || !contains(tip, position.commit) {
                continue;
            }
        }
        // A commit that was found again later has its first place.
        if !known.insert(position.commit) {
            continue;
        }
        has_restored |= position.gone_at.is_some();
        // Until the first one is restored, the surviving changes contain one another anyway.
        if !has_restored || kept.last().is_none_or(|last| contains(position.commit, last.commit)) {
            kept.push(position);
        }
    }
    let is_kept = |position: &DatedPosition<C>| kept.iter().any(|other| other.number == position.number);
    let restored: Vec<i64> =
        kept.iter().filter(|position| position.gone_at.is_some()).map(|position| position.number).collect();
    if restored.is_empty() {
        return MendedPositions::default();
    }
    let gone = positions.iter().filter(survives).filter(|position| !is_kept(position));
    MendedPositions { gone: gone.map(|position| position.number).collect(), restored }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Commits by number; each has its parents, which are older, and the first one first.
    type Graph = Vec<Vec<usize>>;

    fn contains(graph: &Graph, tip: usize, wanted: usize) -> bool {
        tip == wanted || graph[tip].iter().any(|&parent| contains(graph, parent, wanted))
    }

    /// What the older version wrote when it saw these tips, one poll after the other: first parents back to a surviving
    /// change, and what is behind that is gone.
    fn by_first_parents(graph: &Graph, tips: &[usize]) -> Vec<DatedPosition<usize>> {
        let mut positions: Vec<DatedPosition<usize>> = Vec::new();
        let mut found: BTreeMap<usize, i64> = BTreeMap::new();
        for (at, &tip) in (0..).zip(tips) {
            let number = |commit: usize| {
                positions.iter().find(|it| it.commit == commit && it.gone_at.is_none()).map(|it| it.number)
            };
            let mut fresh = Vec::new();
            let mut next = Some(tip);
            let mut last_kept = None;
            while let Some(commit) = next {
                last_kept = number(commit);
                if last_kept.is_some() {
                    break;
                }
                fresh.push(commit);
                next = graph[commit].first().copied();
            }
            for position in positions.iter_mut().filter(|it| it.gone_at.is_none()) {
                if last_kept.is_none_or(|kept| position.number > kept) {
                    position.gone_at = Some(at);
                }
            }
            for commit in fresh.into_iter().rev() {
                let found_at = *found.entry(commit).or_insert(at);
                let number = positions.len() as i64 + 1;
                positions.push(DatedPosition { number, commit, found_at, gone_at: None });
            }
        }
        positions
    }

    fn mended(graph: &Graph, positions: &[DatedPosition<usize>]) -> Vec<usize> {
        let mended = mend(positions, |one, other| contains(graph, one, other));
        let survives = |it: &&DatedPosition<usize>| match it.gone_at {
            None => !mended.gone.contains(&it.number),
            Some(_) => mended.restored.contains(&it.number),
        };
        positions.iter().filter(survives).map(|it| it.commit).collect()
    }

    /// 0 to 4 are official, 5 is made on top of 1, and 6 merges 4 into it.
    #[test]
    fn a_foxtrot_merge_of_old_is_one_change_behind_those_that_it_contains() {
        let graph = vec![vec![], vec![0], vec![1], vec![2], vec![3], vec![1], vec![5, 4], vec![6]];
        for tips in [[4, 6].as_slice(), &[4, 6, 7]] {
            let positions = by_first_parents(&graph, tips);
            assert!(positions[2..5].iter().all(|position| position.gone_at.is_some()));
            let behind = if tips.len() == 3 { vec![6, 7] } else { vec![6] };
            assert_eq!(mended(&graph, &positions), [vec![0, 1, 2, 3, 4], behind].concat());
        }
    }

    /// 3 merges 2 into 1, and 4 merges 3 into 2: that one is found again, after 3.
    #[test]
    fn a_change_that_was_found_again_has_its_first_place() {
        let graph = vec![vec![], vec![0], vec![1], vec![1, 2], vec![2, 3]];
        assert_eq!(mended(&graph, &by_first_parents(&graph, &[2, 3, 4])), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_rewind_stays_one_though_its_changes_are_merged_later() {
        let graph = vec![vec![], vec![0], vec![1], vec![0], vec![3, 2]];
        assert_eq!(mended(&graph, &by_first_parents(&graph, &[2, 3, 4])), [0, 3, 4]);
        assert_eq!(
            mended(&graph, &by_first_parents(&graph, &[2, 0, 4])),
            [0, 3, 4],
            "back to what was known"
        );
    }

    fn graph() -> impl Strategy<Value = Graph> {
        let parents = prop_oneof![
            6 => prop::collection::vec(0usize..6, 1),
            3 => prop::collection::vec(0usize..9, 2..4),
        ];
        prop::collection::vec(parents, 1..30).prop_map(|drawn| {
            let with_parents = |(number, back): (usize, Vec<usize>)| {
                let parents = back.into_iter().filter_map(|steps| number.checked_sub(steps + 1));
                let mut seen = BTreeSet::new();
                parents.filter(|parent| seen.insert(*parent)).collect()
            };
            drawn.into_iter().enumerate().map(with_parents).collect()
        })
    }

    proptest! {
        #[test]
        fn mended_changes_contain_one_another_and_only_what_each_tip_contained_comes_back(
            graph in graph(),
            tips in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        ) {
            let tips: Vec<usize> = tips.iter().map(|tip| tip.index(graph.len())).collect();
            let positions = by_first_parents(&graph, &tips);
            let after = mended(&graph, &positions);
            prop_assert_eq!(after.last(), tips.last());
            for pair in after.windows(2) {
                prop_assert!(pair[0] != pair[1] && contains(&graph, pair[1], pair[0]), "{:?}", after);
            }
            let mend = mend(&positions, |one, other| contains(&graph, one, other));
            for position in positions.iter().filter(|it| mend.restored.contains(&it.number)) {
                let gone_at = position.gone_at.expect("it was gone") as usize;
                prop_assert!(tips[gone_at..].iter().all(|&tip| contains(&graph, tip, position.commit)));
            }
        }

        /// Where each tip contains the one before, nothing was ever rewound, and what first parents lost comes back.
        #[test]
        fn where_nothing_was_rewound_all_that_was_a_tip_survives(
            graph in graph(),
            tips in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        ) {
            let mut grown: Vec<usize> = Vec::new();
            for tip in tips.iter().map(|tip| tip.index(graph.len())) {
                if grown.last().is_none_or(|last| *last != tip && contains(&graph, tip, *last)) {
                    grown.push(tip);
                }
            }
            let after = mended(&graph, &by_first_parents(&graph, &grown));
            for tip in grown {
                prop_assert!(after.contains(&tip), "{} of {:?}", tip, after);
            }
        }
    }
}
