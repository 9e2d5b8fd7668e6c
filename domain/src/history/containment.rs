//! What a branch's tip contains. First parents alone do not answer this: whoever merges the trunk into his own work and
//! pushes that (a foxtrot merge) turns the trunk's old changes into a side line, though the tip contains all of them.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// The newest surviving change that `tip` contains, then the first parents of `tip` that contain that change, oldest first,
/// the tip last. None if the tip contains no surviving change.
///
/// The surviving changes of a branch contain one another in their order, so the tip contains all that come before the
/// newest one, and none that come after it. Each change of the answer contains all before it, too. What a foxtrot merge
/// brings beside the old tip does not, so it is no position of its own, as with any other merge: a build of it would show
/// the branch without the changes before it, and "good" there would accuse the merge of what is older.
///
/// `number` is the position of a surviving change, `newest` the highest one. `parents` are a commit's, the first one first; it
/// also bounds the walk, by an error.
pub fn joined<C: Copy + Eq + Hash, E>(
    tip: C,
    newest: Option<i64>,
    number: impl Fn(C) -> Option<i64>,
    mut parents: impl FnMut(C) -> Result<Vec<C>, E>,
) -> Result<Option<Vec<C>>, E> {
    let Some(newest) = newest else { return Ok(None) };
    let mut chain = vec![tip];
    let mut last = tip;
    while number(last).is_none()
        && let Some(&first) = parents(last)?.first()
    {
        chain.push(first);
        last = first;
    }
    // Nearly every poll ends here.
    if number(last) != Some(newest) {
        let walk = Walk::from(tip, &number, parents)?;
        let Some(kept) = walk.newest else { return Ok(None) };
        let containing = walk.containing(kept);
        let above = chain.iter().take_while(|commit| containing.contains(commit)).count();
        chain.truncate(above);
        if chain.last() != Some(&kept) {
            chain.push(kept);
        }
    }
    chain.reverse();
    Ok(Some(chain))
}

/// All that a tip contains, down to the surviving changes.
struct Walk<C> {
    /// The newest surviving change that was met.
    newest: Option<C>,
    children: HashMap<C, Vec<C>>,
}

impl<C: Copy + Eq + Hash> Walk<C> {
    fn from<E>(
        tip: C,
        number: impl Fn(C) -> Option<i64>,
        mut parents: impl FnMut(C) -> Result<Vec<C>, E>,
    ) -> Result<Walk<C>, E> {
        let mut children: HashMap<C, Vec<C>> = HashMap::new();
        let mut met: Vec<C> = Vec::new();
        let (mut seen, mut open) = (HashSet::from([tip]), vec![tip]);
        while let Some(commit) = open.pop() {
            if number(commit).is_some() {
                // What it contains survives, or is older than the branch's history.
                met.push(commit);
                continue;
            }
            for parent in parents(commit)? {
                children.entry(parent).or_default().push(commit);
                if seen.insert(parent) {
                    open.push(parent);
                }
            }
        }
        Ok(Walk { newest: met.into_iter().max_by_key(|&commit| number(commit)), children })
    }

    /// The commits of the walk that contain the newest surviving change, itself among them. No path to it leads through
    /// another surviving change, which would be newer.
    fn containing(&self, kept: C) -> HashSet<C> {
        let (mut containing, mut open) = (HashSet::from([kept]), vec![kept]);
        while let Some(commit) = open.pop() {
            for &child in self.children.get(&commit).into_iter().flatten() {
                if containing.insert(child) {
                    open.push(child);
                }
            }
        }
        containing
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::history::tests::apply;
    use crate::history::{KnownBranch, PollPlan, RemoteBranch, poll};

    /// Commits by number; each has its parents, which are older, and the first one first.
    type Graph = Vec<Vec<usize>>;

    /// A few roots, and then commits with one parent or with two or three.
    fn graph() -> impl Strategy<Value = Graph> {
        let parents = prop_oneof![
            6 => prop::collection::vec(0usize..6, 1),
            3 => prop::collection::vec(0usize..9, 2..4),
            1 => Just(Vec::new()),
        ];
        prop::collection::vec(parents, 1..40).prop_map(|drawn| {
            let with_parents = |(number, back): (usize, Vec<usize>)| {
                let parents = back.into_iter().filter_map(|steps| number.checked_sub(steps + 1));
                let mut seen = HashSet::new();
                parents.filter(|parent| seen.insert(*parent)).collect()
            };
            drawn.into_iter().enumerate().map(with_parents).collect()
        })
    }

    fn contains(graph: &Graph, tip: usize, wanted: usize) -> bool {
        tip == wanted || graph[tip].iter().any(|&parent| contains(graph, parent, wanted))
    }

    /// One poll of a branch whose tip is now `tip`, as the master does it. A branch that shares nothing begins at its tip.
    fn look(graph: &Graph, known: &KnownBranch, tip: usize) -> PollPlan {
        let numbers: HashMap<usize, i64> =
            known.surviving().map(|p| (p.sha.parse().expect("a number"), p.number)).collect();
        let newest = numbers.values().copied().max();
        let number = |commit| numbers.get(&commit).copied();
        let Ok(chain) = joined(tip, newest, number, |commit| Ok::<_, Infallible>(graph[commit].clone()));
        let remote = match chain {
            Some(chain) => RemoteBranch::Joined(chain.iter().map(usize::to_string).collect()),
            None => RemoteBranch::Apart { tip: tip.to_string() },
        };
        poll(known, &remote)
    }

    fn surviving(known: &KnownBranch) -> Vec<usize> {
        known.surviving().map(|position| position.sha.parse().expect("a number")).collect()
    }

    fn polled(graph: &Graph, known: KnownBranch, tip: usize) -> KnownBranch {
        let plan = look(graph, &known, tip);
        apply(known, plan)
    }

    /// The history of the issue: 0 to 4 are official, 5 is made on top of 1, and 6 merges 4 into it.
    #[test]
    fn a_foxtrot_merge_is_one_change_behind_those_that_it_contains() {
        let graph = vec![vec![], vec![0], vec![1], vec![2], vec![3], vec![1], vec![5, 4]];
        let mut known = KnownBranch::Awaited;
        for tip in 0..=4 {
            known = polled(&graph, known, tip);
        }
        assert_eq!(surviving(&known), [0, 1, 2, 3, 4]);
        let merged = polled(&graph, known.clone(), 6);
        assert_eq!(surviving(&merged), [0, 1, 2, 3, 4, 6]);
        assert_eq!(merged.positions().last().map(|p| p.number), Some(6));
        // Without the merge the same push is a rewind.
        assert_eq!(surviving(&polled(&graph, known, 5)), [0, 1, 5]);
    }

    /// 3 is pushed away, and what replaces it merges 2 from beside.
    #[test]
    fn what_is_gone_and_what_is_contained_may_mix() {
        let graph = vec![vec![], vec![0], vec![1], vec![2], vec![0], vec![4, 2], vec![5]];
        let mut known = KnownBranch::Awaited;
        for tip in 0..=3 {
            known = polled(&graph, known, tip);
        }
        assert_eq!(surviving(&polled(&graph, known, 6)), [0, 1, 2, 5, 6]);
    }

    proptest! {
        #[test]
        fn what_the_tip_contains_stays_and_nothing_else_does(
            graph in graph(),
            tips in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        ) {
            let mut known = KnownBranch::Awaited;
            for tip in tips {
                let tip = tip.index(graph.len());
                let before = known.clone();
                known = polled(&graph, known, tip);
                for position in before.positions() {
                    let commit: usize = position.sha.parse().expect("a number");
                    let after = &known.positions()[position.number as usize - 1];
                    prop_assert_eq!(after.number, position.number, "positions are never given again");
                    let survives = !position.gone && contains(&graph, tip, commit);
                    prop_assert_eq!(!after.gone, survives, "{} at {}", commit, position.number);
                }
                let surviving = surviving(&known);
                prop_assert_eq!(surviving.last(), Some(&tip));
                for pair in surviving.windows(2) {
                    prop_assert!(contains(&graph, pair[1], pair[0]), "{:?}", surviving);
                }
                let numbers: Vec<i64> = known.positions().iter().map(|p| p.number).collect();
                prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", numbers);
                prop_assert_eq!(look(&graph, &known, tip), PollPlan::Unchanged, "a second look finds nothing");
            }
        }

        /// A poll that comes late sees the same go as many that come early, but for what left and came back in between.
        #[test]
        fn polls_step_by_step_and_at_once_agree_in_what_is_gone(
            graph in graph(),
            start in any::<prop::sample::Index>(),
            steps in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        ) {
            let begun = polled(&graph, KnownBranch::Awaited, start.index(graph.len()));
            let tips: Vec<usize> = steps.iter().map(|tip| tip.index(graph.len())).collect();
            let often = tips.iter().fold(begun.clone(), |known, &tip| polled(&graph, known, tip));
            let once = polled(&graph, begun.clone(), *tips.last().expect("a step"));
            for position in begun.positions() {
                let commit: usize = position.sha.parse().expect("a number");
                let at = position.number as usize - 1;
                let left = tips.iter().any(|&tip| !contains(&graph, tip, commit));
                prop_assert_eq!(often.positions()[at].gone, left);
                prop_assert!(often.positions()[at].gone || !once.positions()[at].gone);
            }
        }
    }
}
