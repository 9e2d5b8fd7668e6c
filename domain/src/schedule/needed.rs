//! Which builds that are not finished are still of use to anybody.

use crate::words::Reason;

/// Where the change of a build that is not finished stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeStanding {
    /// On its branch, which is watched.
    Current,
    /// It was removed from its branch.
    Rewound,
    /// Its branch was deleted upstream.
    BranchDeleted {
        /// Whether a breakage of the branch and the platform has no answer yet.
        is_searched: bool,
    },
}

impl ChangeStanding {
    /// Why a build is cancelled whose change stands so.
    pub fn reason(self) -> &'static str {
        match self {
            ChangeStanding::Current => "nothing needs it",
            ChangeStanding::Rewound => "its change was removed from the branch",
            ChangeStanding::BranchDeleted { .. } => "its branch was deleted upstream",
        }
    }
}

/// Whether a build that is not finished is of use to anybody.
///
/// A search and a baseline whose change was rewound take another one, and the suites of a change go with its toolchain. A
/// branch that was deleted gets no more history, and needs to be joined with nothing; but a search that has begun there goes
/// on, with the toolchains and the repetitions that it needs. What the configuration no longer asks for is dropped from the
/// queue elsewhere, and what runs of it may end.
pub fn is_needed(reason: Reason, standing: ChangeStanding) -> bool {
    match (standing, reason) {
        (ChangeStanding::Current, _) => true,
        // It asks for a project's newest revision, with whatever toolchain.
        (_, Reason::Latest) => true,
        (ChangeStanding::Rewound, _) | (ChangeStanding::BranchDeleted { .. }, Reason::Baseline) => false,
        (
            ChangeStanding::BranchDeleted { is_searched },
            Reason::Tip | Reason::Backfill | Reason::Probe | Reason::Null | Reason::Force,
        ) => is_searched,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(standing: ChangeStanding) -> String {
        let needed = Reason::ALL.iter().filter(|&&reason| is_needed(reason, standing));
        needed.map(|reason| reason.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_needed_depends_on_where_the_change_stands() {
        use ChangeStanding::{BranchDeleted, Current, Rewound};
        let all = Reason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(" ");
        assert_eq!(needed(Current), all);
        assert_eq!(needed(Rewound), "latest");
        assert_eq!(needed(BranchDeleted { is_searched: false }), "latest");
        assert_eq!(needed(BranchDeleted { is_searched: true }), "tip backfill probe null force latest");
    }

    #[test]
    fn a_search_never_makes_a_build_superfluous() {
        for &reason in Reason::ALL {
            let deleted = |is_searched| is_needed(reason, ChangeStanding::BranchDeleted { is_searched });
            assert!(deleted(true) || !deleted(false), "{reason:?}");
        }
    }
}
