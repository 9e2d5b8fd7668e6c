//! What becomes of builds whose change was removed from their branch.

use crate::words::Reason;

/// Whether a build that is not finished is of use to anybody. A build of a change that its branch has is; of any other, only
/// one that asks something else than what the change does.
///
/// Nothing else can need it: a search and a baseline whose change is gone take another one, and the suites of a change go
/// with its toolchain.
pub fn is_needed(reason: Reason, is_on_branch: bool) -> bool {
    is_on_branch
        || match reason {
            // It asks for a project's newest revision, with whatever toolchain.
            Reason::Latest => true,
            Reason::Tip
            | Reason::Backfill
            | Reason::Baseline
            | Reason::Probe
            | Reason::Null
            | Reason::Force => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_rewind_only_a_question_about_the_project_is_needed() {
        let reasons = [
            Reason::Tip,
            Reason::Backfill,
            Reason::Baseline,
            Reason::Probe,
            Reason::Null,
            Reason::Force,
            Reason::Latest,
        ];
        assert!(reasons.iter().all(|&reason| is_needed(reason, true)));
        let needed: Vec<Reason> = reasons.into_iter().filter(|&reason| is_needed(reason, false)).collect();
        assert_eq!(needed, [Reason::Latest]);
    }
}
