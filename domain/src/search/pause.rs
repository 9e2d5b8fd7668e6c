//! Why a search pauses, and for how long.

use std::time::Duration;

use crate::outcome::words;

/// Why a search does not continue, or ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// Its project, platform or variant is no longer in the configuration.
    Retired,
    /// An end of its range is no longer on the branch.
    Rewound,
    /// No worker is available that may run its probes.
    NoWorker,
    /// Too many of its probes in a row had no result.
    NoResult,
    /// It has cost as much as a search may.
    BudgetSpent,
}

words!(PauseReason {
    Retired = "retired", Rewound = "rewound", NoWorker = "no-worker", NoResult = "no-result", BudgetSpent = "budget-spent",
});

/// The pause after the first probe without a result; each further one in a row makes it four times as long.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// So many probes in a row without a result end the search: with these pauses, three and a half hours have passed then.
const MAX_WITHOUT_RESULT: u32 = 7;

/// How long to pause after so many probes in a row without a result, because an infra failure ended them; none if it is
/// no use to continue.
pub fn pause(without_result: u32) -> Option<Duration> {
    match without_result {
        0 => Some(Duration::ZERO),
        MAX_WITHOUT_RESULT.. => None,
        again => Some(FIRST_PAUSE * 4_u32.pow(again - 1)),
    }
}
