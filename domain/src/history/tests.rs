use proptest::prelude::*;

use super::*;

/// A branch as a picture: `a b c` survive at positions 1, 2, 3; `(b)` is gone; `-` was never seen; `deleted: a b` was
/// there once.
fn known(picture: &str) -> KnownBranch {
    if picture == "-" {
        return KnownBranch::Awaited;
    }
    let (deleted, shas) = match picture.strip_prefix("deleted:") {
        Some(rest) => (true, rest),
        None => (false, picture),
    };
    let position = |(word, number): (&str, i64)| Position {
        number,
        sha: word.trim_matches(['(', ')']).to_string(),
        gone: word.starts_with('('),
    };
    let positions = shas.split_whitespace().zip(1..).map(position).collect();
    if deleted { KnownBranch::Deleted(positions) } else { KnownBranch::Watched(positions) }
}

/// The remote as a picture: `a b c` from a known change or the base on; `.. c` if it meets neither; `-` if it is absent.
fn remote(picture: &str) -> RemoteBranch {
    match picture.split_once(".. ") {
        _ if picture == "-" => RemoteBranch::Absent,
        Some((_, tip)) => RemoteBranch::Apart { tip: tip.to_string() },
        None => RemoteBranch::Joined(picture.split_whitespace().map(str::to_string).collect()),
    }
}

/// The plan of a poll in words: changes by name, and added ones with their position.
fn history(before: &str, now: &str) -> String {
    let known = known(before);
    match poll(&known, &remote(now)) {
        PollPlan::Unchanged => "unchanged".to_string(),
        PollPlan::Deleted => "deleted".to_string(),
        PollPlan::Moved { gone, added } => {
            let name = |number: &i64| {
                let position =
                    known.positions().iter().find(|p| p.number == *number).expect("a known position");
                position.sha.clone()
            };
            let gone: Vec<String> = gone.iter().map(name).collect();
            let added: Vec<String> = added.iter().map(|a| format!("{}{}", a.sha, a.number)).collect();
            let part = |verb: &str, shas: &[String]| format!("{verb} {}", shas.join(" "));
            match (gone.is_empty(), added.is_empty()) {
                (true, true) => "watched".to_string(),
                (true, false) => part("add", &added),
                (false, true) => part("gone", &gone),
                (false, false) => format!("{}; {}", part("gone", &gone), part("add", &added)),
            }
        }
    }
}

#[test]
fn new_commits_follow_at_the_end() {
    assert_eq!(history("a b c", "c d e"), "add d4 e5");
    assert_eq!(history("a b c", "a b c d"), "add d4");
}

#[test]
fn a_quiet_branch_is_unchanged() {
    assert_eq!(history("a b c", "c"), "unchanged");
    assert_eq!(history("a b c", "a b c"), "unchanged");
    assert_eq!(history("a b (c)", "b"), "unchanged");
}

#[test]
fn a_new_branch_begins_at_its_base() {
    assert_eq!(history("-", "a b c"), "add a1 b2 c3");
}

#[test]
fn a_new_branch_without_a_base_begins_at_its_tip() {
    assert_eq!(history("-", ".. c"), "add c1");
}

#[test]
fn a_rewind_removes_the_changes_after_the_newest_common_one() {
    assert_eq!(history("a b c", "a b x y"), "gone c; add x4 y5");
    assert_eq!(history("a b c", "b x y"), "gone c; add x4 y5");
    assert_eq!(history("a b c", "a"), "gone b c");
}

#[test]
fn positions_never_repeat() {
    assert_eq!(history("a (b) (c)", "a x"), "add x4");
    assert_eq!(history("a (b) (c) x", "a y"), "gone x; add y5");
}

#[test]
fn a_rewound_commit_that_comes_back_gets_a_new_position() {
    assert_eq!(history("a (b) (c) x", "a b c"), "gone x; add b5 c6");
}

#[test]
fn a_branch_that_was_replaced_begins_again_at_its_tip() {
    assert_eq!(history("a b c", ".. z"), "gone a b c; add z4");
    assert_eq!(history("(a) (b) z", "z y"), "add y4");
}

#[test]
fn a_replaced_branch_that_still_holds_the_base_begins_again_at_the_base() {
    assert_eq!(history("b c", "a x"), "gone b c; add a3 x4");
}

#[test]
fn a_deleted_branch_keeps_its_history() {
    assert_eq!(history("a b", "-"), "deleted");
    assert_eq!(history("deleted: a b", "-"), "unchanged");
    assert_eq!(history("-", "-"), "unchanged");
}

#[test]
fn a_deleted_branch_that_comes_back_is_compared_with_its_old_history() {
    assert_eq!(history("deleted: a b", "b"), "watched");
    assert_eq!(history("deleted: a b", "b c"), "add c3");
    assert_eq!(history("deleted: a b", "a x"), "gone b; add x3");
    assert_eq!(history("deleted: a b", ".. x"), "gone a b; add x3");
}

#[test]
fn a_burst_of_commits_is_one_plan() {
    let burst: Vec<String> = (0..=500).map(|n| format!("c{n}")).collect();
    let known = KnownBranch::Watched(vec![Position { number: 1, sha: "c0".into(), gone: false }]);
    let PollPlan::Moved { gone, added } = poll(&known, &RemoteBranch::Joined(burst)) else {
        panic!("it moved")
    };
    assert_eq!((gone.len(), added.len()), (0, 500));
    assert_eq!((added[0].number, added[499].number), (2, 501));
}

/// Applies the plan of a poll, as the store does.
pub fn apply(known: KnownBranch, poll: PollPlan) -> KnownBranch {
    let mut positions = known.positions().to_vec();
    match poll {
        PollPlan::Unchanged => known,
        PollPlan::Deleted => KnownBranch::Deleted(positions),
        PollPlan::Moved { gone, added } => {
            positions.iter_mut().filter(|p| gone.contains(&p.number)).for_each(|p| p.gone = true);
            positions.extend(added.into_iter().map(|a| Position {
                number: a.number,
                sha: a.sha,
                gone: false,
            }));
            KnownBranch::Watched(positions)
        }
    }
}

/// Reads a remote's chain back from its tip to a surviving change, as the mirror does.
fn read(known: &KnownBranch, chain: &[String]) -> RemoteBranch {
    let survives = |sha: &String| known.surviving().any(|p| p.sha == *sha);
    let start = chain.iter().rposition(survives).unwrap_or(0);
    RemoteBranch::Joined(chain[start..].to_vec())
}

/// What happened to the branch between two polls.
#[derive(Debug, Clone)]
enum Deed {
    Commit(usize),
    /// Keep this many from the base on, then commit so many others.
    Rewind(usize, usize),
    /// Push what was there before the last rewind.
    Restore,
    Delete,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0usize..5).prop_map(Deed::Commit),
        3 => (1usize..8, 0usize..4).prop_map(|(keep, commits)| Deed::Rewind(keep, commits)),
        2 => Just(Deed::Restore),
        1 => Just(Deed::Delete),
    ]
}

proptest! {
    #[test]
    fn what_survives_is_the_remotes_first_parent_chain(deeds in prop::collection::vec(deed(), 1..20)) {
        let mut names = (0..).map(|n| format!("c{n}"));
        let mut fresh = |many: usize| names.by_ref().take(many).collect::<Vec<_>>();
        let mut chain = fresh(3);
        let mut before_rewind = chain.clone();
        let mut known = KnownBranch::Awaited;
        for deed in deeds {
            let mut deleted = false;
            match deed {
                Deed::Commit(many) => chain.extend(fresh(many)),
                Deed::Rewind(keep, commits) => {
                    before_rewind = chain.clone();
                    chain.truncate(keep);
                    chain.extend(fresh(commits));
                }
                Deed::Restore => std::mem::swap(&mut chain, &mut before_rewind),
                Deed::Delete => deleted = true,
            }
            let remote = if deleted { RemoteBranch::Absent } else { read(&known, &chain) };
            let seen = poll(&known, &remote);
            known = apply(known, seen);
            prop_assert_eq!(poll(&known, &remote), PollPlan::Unchanged, "a second look finds nothing new");

            let numbers: Vec<i64> = known.positions().iter().map(|p| p.number).collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", numbers);
            if !deleted {
                let surviving: Vec<&String> = known.surviving().map(|p| &p.sha).collect();
                prop_assert_eq!(surviving, chain.iter().collect::<Vec<_>>());
            }
        }
    }
}
