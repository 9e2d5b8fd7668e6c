//! What the runs prove when a search ends without one culprit.

use super::evidence::SearchedCase;
use super::evidence_state::{OpenCase, tallies};
use super::proof::{RunCounts, Standard};

/// The shortest stretch of changes that the runs so far prove to hold the culprit: the last change before it, and its last
/// change. None if nothing is proven.
pub fn narrowest_proven(case: &SearchedCase, standard: Standard) -> Option<(usize, usize)> {
    let open = OpenCase::new(case, 1, 0);
    let seen = tallies(&case.runs);
    let posterior = open.posterior(&seen);
    let luck = open.of_luck(&posterior, &seen);
    let counts = RunCounts::new(&case.runs);
    let mut proven: Option<(usize, usize)> = None;
    for worker in counts.workers() {
        let bad = counts.with(worker, true, standard.runs);
        for parent in counts.with(worker, false, standard.runs) {
            let is_proven =
                |last: &usize| *last > parent && standard.allows(posterior.between(parent, *last), luck);
            if let Some(last) = bad.clone().find(is_proven)
                && proven.is_none_or(|(from, to)| last - parent < to - from)
            {
                proven = Some((parent, last));
            }
        }
    }
    proven
}
