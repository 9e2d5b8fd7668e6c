//! What a poll changes: compares a branch as the farm knows it with the branch as its remote shows it now. Each change of a
//! branch contains those before it: the order is that of first parents, a merge is one change, and dates play no part.

pub mod containment;
pub mod mend;
pub mod transition;

use std::collections::HashMap;

/// A change's place on a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// A change with a higher number contains it, if both survive. A number is given once on a branch and never again.
    pub number: i64,
    /// The commit.
    pub sha: String,
    /// Whether a rewind took it off the branch.
    pub gone: bool,
}

/// A branch as the farm knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownBranch {
    /// Named in farm.toml, and not seen at the remote yet.
    Awaited,
    /// There at the last poll. All positions ever given, by rising number, the gone ones too.
    Watched(Vec<Position>),
    /// It was there once, and was not at the last poll.
    Deleted(Vec<Position>),
}

/// A branch as its remote shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteBranch {
    /// The remote does not have it.
    Absent,
    /// First parents, oldest first, the tip last, behind the one where reading could stop: the newest surviving change of
    /// this branch that the tip contains, by whichever parents, or the branch's base.
    Joined(Vec<String>),
    /// Reading met neither: the branch is new and has no base, or it was replaced by one that shares no change with it.
    Apart {
        /// The commit at its tip.
        tip: String,
    },
}

/// What a poll is to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollPlan {
    /// Nothing.
    Unchanged,
    /// The branch is no longer there. Its history stays as it is, to be read: a branch that was closed was not
    /// rewound. The mirror must keep its last change, for no branch at the remote holds it now.
    Deleted,
    /// The branch is there, and is watched from now on.
    Moved {
        /// Numbers of the positions that a rewind took off the branch, rising. The mirror must keep the last
        /// of them, which holds all the others, before the rows are written: after a crash in between, the
        /// next poll finds the same again.
        gone: Vec<i64>,
        /// New positions at the end, rising. A commit that was rewound and came back is among them with a new number; its
        /// old position stays gone. So one commit may be on a branch twice, but survive only once.
        added: Vec<NewPosition>,
    },
}

/// A position to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPosition {
    /// One more than the last number that was ever given on the branch, and so on.
    pub number: i64,
    /// The commit.
    pub sha: String,
}

impl KnownBranch {
    /// All positions ever given, the gone ones too.
    pub fn positions(&self) -> &[Position] {
        match self {
            KnownBranch::Awaited => &[],
            KnownBranch::Watched(positions) | KnownBranch::Deleted(positions) => positions,
        }
    }

    /// The branch's history as it stands, oldest first.
    pub fn surviving(&self) -> impl Iterator<Item = &Position> {
        self.positions().iter().filter(|position| !position.gone)
    }
}

/// Compares a branch with its remote. However many commits are new, they are one plan.
///
/// A branch without a base begins at the tip that it had when it was first seen, and begins again at its tip if it was
/// replaced by a branch that contains none of its changes.
pub fn poll(known: &KnownBranch, remote: &RemoteBranch) -> PollPlan {
    let chain = match remote {
        RemoteBranch::Absent => return without_branch(known),
        RemoteBranch::Joined(chain) => chain.as_slice(),
        RemoteBranch::Apart { tip } => std::slice::from_ref(tip),
    };

    let surviving: HashMap<&str, i64> = known.surviving().map(|p| (p.sha.as_str(), p.number)).collect();
    // Surviving changes contain those before them, so what lies before the newest common one is common too.
    let common = chain.iter().rposition(|sha| surviving.contains_key(sha.as_str()));
    let (last_kept, fresh) = match common {
        Some(at) => (surviving[chain[at].as_str()], &chain[at + 1..]),
        None => (i64::MIN, chain),
    };

    let gone: Vec<i64> = known.surviving().map(|p| p.number).filter(|number| *number > last_kept).collect();
    let next = known.positions().iter().map(|p| p.number).max().map_or(1, |last| last + 1);
    let added: Vec<NewPosition> =
        (next..).zip(fresh).map(|(number, sha)| NewPosition { number, sha: sha.clone() }).collect();

    match known {
        KnownBranch::Watched(_) if gone.is_empty() && added.is_empty() => PollPlan::Unchanged,
        KnownBranch::Awaited | KnownBranch::Watched(_) | KnownBranch::Deleted(_) => {
            PollPlan::Moved { gone, added }
        }
    }
}

fn without_branch(known: &KnownBranch) -> PollPlan {
    match known {
        KnownBranch::Awaited | KnownBranch::Deleted(_) => PollPlan::Unchanged,
        KnownBranch::Watched(_) => PollPlan::Deleted,
    }
}

#[cfg(test)]
mod tests;
