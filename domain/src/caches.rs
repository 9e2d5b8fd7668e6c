//! Declared caches: folders that a recipe's fetch or compile steps fill and later builds find again. They save time and must
//! change nothing, so they are no part of a build's inputs. Some runs therefore go without them, and where these show
//! something else, the caches are dropped.

use std::collections::BTreeSet;

use protocol::Sha256;
use sha2::Digest;

use crate::breakage::RegressionKind;
use crate::project_inputs::CaseVerdicts;
use crate::words::Reason;
use crate::words::ids::CaseId;

/// How many runs without caches must agree before they outweigh those with them: one alone may be a flaky case's.
const MIN_WITHOUT: usize = 2;

/// Whether a run goes without caches: each null run; each second probe of a cell, and so one of the three that a proof needs
/// at least; and a toolchain that is made again. `earlier_probes` are those of the same cell.
pub fn runs_without(reason: Reason, earlier_probes: u32) -> bool {
    match reason {
        Reason::Null | Reason::Force => true,
        Reason::Probe => earlier_probes % 2 == 1,
        Reason::Tip | Reason::Backfill | Reason::Baseline | Reason::Latest => false,
    }
}

/// The cases that all runs with caches show otherwise than all runs without them. All are runs of identical inputs on one
/// worker. A case that a run does not report says nothing about it.
pub fn disagreeing(with: &[CaseVerdicts], without: &[CaseVerdicts]) -> BTreeSet<CaseId> {
    let cases: BTreeSet<CaseId> = with.iter().flat_map(|run| run.keys().copied()).collect();
    let common = |runs: &[CaseVerdicts], case: &CaseId, least: usize| {
        let shown: Vec<bool> =
            runs.iter().filter_map(|run| RegressionKind::Failing.shows_good(*run.get(case)?)).collect();
        let first = *shown.first()?;
        (shown.len() >= least && shown.iter().all(|good| *good == first)).then_some(first)
    };
    let disagrees = |case: &CaseId| {
        let (with, without) = (common(with, case, 1), common(without, case, MIN_WITHOUT));
        with.zip(without).is_some_and(|(with, without)| with != without)
    };
    cases.into_iter().filter(disagrees).collect()
}

/// Whose cache it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOwner<'a> {
    /// The recipe of a trunk.
    Trunk,
    /// One project of the trunk.
    Project(&'a str),
    /// All projects of the trunk that declare it, since the operator says so.
    AllProjects,
}

/// The name of a cache on a worker. Each variant of a trunk has its own: a tool that caches what it compiled may overlook the
/// arguments that make the variant. `variant` is empty for the plain trunk. `epoch` is the newest disagreement that concerns
/// the cache: after one, it has another name, and so begins empty everywhere.
pub fn cache_key(trunk: &str, variant: &str, owner: CacheOwner<'_>, name: &str, epoch: i64) -> Sha256 {
    let (kind, project) = match owner {
        CacheOwner::Trunk => ("trunk", ""),
        CacheOwner::Project(project) => ("project", project),
        CacheOwner::AllProjects => ("projects", ""),
    };
    // No name contains a newline.
    let text = format!("{kind}\n{trunk}\n{variant}\n{project}\n{name}\n{epoch}\n");
    Sha256(sha2::Sha256::digest(text).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::Verdict;

    use super::*;

    fn run(letters: &str) -> CaseVerdicts {
        let verdict = |letter| match letter {
            'P' => Some(Verdict::Pass),
            'F' => Some(Verdict::Fail),
            'E' => Some(Verdict::Error),
            'U' => Some(Verdict::Unreached),
            _ => None,
        };
        (1..).map(CaseId).zip(letters.chars()).filter_map(|(case, it)| Some((case, verdict(it)?))).collect()
    }

    fn shown(with: &[&str], without: &[&str]) -> Vec<i64> {
        let runs = |letters: &[&str]| letters.iter().map(|it| run(it)).collect::<Vec<_>>();
        disagreeing(&runs(with), &runs(without)).into_iter().map(|case| case.0).collect()
    }

    #[test]
    fn caches_disagree_where_every_run_with_them_differs_from_every_run_without() {
        assert_eq!(shown(&["PPF"], &["PFP", "PEP"]), [2, 3]);
        assert_eq!(shown(&["P"], &["F"]), [0; 0], "one run may be bad luck");
        assert_eq!(shown(&["P", "F"], &["F", "F"]), [0; 0], "it also fails with them");
        assert_eq!(shown(&["P"], &["F", "P"]), [0; 0], "it is flaky");
        assert_eq!(shown(&["PP"], &["F.", "FU"]), [1], "what is not reported says nothing");
        assert_eq!(shown(&[], &["F", "F"]), [0; 0]);
        assert_eq!(shown(&["P"], &[]), [0; 0]);
    }

    #[test]
    fn a_cache_belongs_to_one_owner_one_variant_and_one_epoch() {
        use CacheOwner::{AllProjects, Project, Trunk};
        let mut keys = BTreeSet::new();
        let mut count = 0;
        for trunk in ["a", "b"] {
            for owner in [Trunk, Project("a"), Project("b"), AllProjects] {
                for (variant, name) in [("", "a"), ("", "b"), ("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]
                {
                    for epoch in [0, 1] {
                        keys.insert(cache_key(trunk, variant, owner, name, epoch));
                        count += 1;
                    }
                }
            }
        }
        assert_eq!(keys.len(), count);
    }

    proptest! {
        /// Of the runs that make history none goes without caches, of the null runs each, and of the probes of a cell half:
        /// so one at least of the three that a proof needs, and never all of them.
        #[test]
        fn every_proof_has_a_run_without_caches_and_one_with_them(first in 0u32..200, count in 3u32..40) {
            let without = (first..first + count).filter(|earlier| runs_without(Reason::Probe, *earlier)).count();
            prop_assert!(without >= 1 && without < count as usize);
            for &reason in Reason::ALL {
                prop_assert!(!(reason.makes_history() && runs_without(reason, first)));
            }
            prop_assert!(runs_without(Reason::Null, first));
        }

        /// Runs that agree with each other never disagree, however many there are.
        #[test]
        fn equal_runs_agree(letters in "[PFEU.]{0,12}", with in 0usize..4, without in 0usize..4) {
            prop_assert_eq!(
                shown(&vec![letters.as_str(); with], &vec![letters.as_str(); without]),
                Vec::<i64>::new()
            );
        }
    }
}
