//! Canaries: projects that prove that the farm still detects breakages. The suite of one must pass, that of another must
//! fail.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::outcome::{Outcome, words};
use crate::words::ids::Timestamp;

/// What a canary must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Canary {
    /// Its suite must pass.
    MustPass,
    /// Its suite must fail.
    MustFail,
}

words!(Canary { MustPass = "must-pass", MustFail = "must-fail" });

/// A canary that has not run for so long runs again.
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// Whether a canary is failing after its last run: the farm no longer detects breakages. `is_explained` means that a change
/// was named that broke the canary: then the trunk is broken, and the farm has detected it.
pub fn is_failing(canary: Canary, last: Outcome, is_explained: bool) -> bool {
    match (canary, last) {
        (Canary::MustPass, Outcome::Failed) => !is_explained,
        (Canary::MustFail, Outcome::Passed) => true,
        (Canary::MustPass, Outcome::Passed) | (Canary::MustFail, Outcome::Failed) => false,
        // Infra failures are reported elsewhere, and without a toolchain there is nothing to detect.
        (Canary::MustPass | Canary::MustFail, Outcome::Infra | Outcome::Cancelled | Outcome::Blocked) => {
            false
        }
    }
}

/// What a failing canary means, in a sentence.
pub fn failing_sentence(
    canary: Canary,
    (project, trunk, platform): (&str, &str, &str),
    (outcome, at): (Outcome, String),
) -> String {
    let must = match canary {
        Canary::MustPass => "must pass",
        Canary::MustFail => "must fail",
    };
    format!(
        "Canary failing on {platform}: {project}, which {must}, {outcome} on {at}. Results there are not reliable, so mail \
         about {trunk} waits until it recovers."
    )
}

/// Whether a canary is to run again, though nothing has changed.
pub fn is_due(last_run: Option<Timestamp>, now: Timestamp) -> bool {
    last_run.is_some_and(|last| last + EVERY <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_failing_if_it_does_not_do_what_it_must() {
        use Canary::{MustFail, MustPass};
        use Outcome::{Blocked, Cancelled, Failed, Infra, Passed};
        for (canary, last, explained, expected) in [
            (MustPass, Passed, false, false),
            (MustPass, Failed, false, true),
            (MustPass, Failed, true, false),
            (MustFail, Failed, false, false),
            (MustFail, Passed, false, true),
            (MustFail, Passed, true, true),
            (MustPass, Infra, false, false),
            (MustFail, Cancelled, false, false),
            (MustFail, Blocked, false, false),
        ] {
            assert_eq!(is_failing(canary, last, explained), expected, "{canary} {last} {explained}");
        }
    }

    #[test]
    fn a_canary_runs_once_a_day() {
        let day = 24 * 3600 * 1000;
        assert!(!is_due(None, Timestamp(day)), "its first run is the scheduler's");
        assert!(!is_due(Some(Timestamp(1)), Timestamp(day)));
        assert!(is_due(Some(Timestamp(1)), Timestamp(day + 1)));
    }

    #[test]
    fn every_word_round_trips() {
        assert!(Canary::ALL.iter().all(|&canary| Canary::parse(canary.as_str()) == Some(canary)));
    }
}
