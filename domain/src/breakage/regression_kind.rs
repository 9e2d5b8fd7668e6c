//! How a case regresses: it fails, or it is not run any longer.
//!
//! There are two axes. A case that was good *stops passing*: it fails, or is no longer run; whichever came first, a failure
//! is bad for it. A case that failed already can only *stop running*, and for it a failure is as good as a pass.

use std::collections::BTreeSet;

use protocol::Verdict;

use crate::words::ids::CaseId;

/// How a case regressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegressionKind {
    /// It was good, and fails.
    Failing,
    /// It was good, and is skipped or missing. A test that is not run is as good as broken, and is noticed less.
    NotRun,
    /// It failed, and is skipped or missing: what it does is hidden now.
    Hidden,
}

/// What a case has stopped doing. It is in one undecided breakage of each axis at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Axis {
    /// It passed.
    Passing,
    /// It was run, and failed.
    Running,
}

/// Whether a verdict shows that the case was run; none if the run ended before it.
pub fn is_run(verdict: Verdict) -> Option<bool> {
    match verdict {
        Verdict::Pass | Verdict::Xfail | Verdict::Xpass | Verdict::Fail | Verdict::Error => Some(true),
        Verdict::Skip | Verdict::Missing => Some(false),
        Verdict::Unreached => None,
    }
}

impl RegressionKind {
    /// How a case of a breakage regressed, by those of its cases that are not run any longer, and those of them that failed
    /// already.
    pub fn of(case: CaseId, lost: &BTreeSet<CaseId>, hidden: &BTreeSet<CaseId>) -> RegressionKind {
        match (lost.contains(&case), hidden.contains(&case)) {
            (_, true) => RegressionKind::Hidden,
            (true, false) => RegressionKind::NotRun,
            (false, false) => RegressionKind::Failing,
        }
    }

    /// How a case that was not run at the bad end of its range regressed at the culprit, by what runs there showed.
    pub fn at_culprit(verdicts: impl IntoIterator<Item = Verdict>) -> RegressionKind {
        let fails = |verdict| RegressionKind::Failing.shows_good(verdict) == Some(false);
        match verdicts.into_iter().any(fails) {
            true => RegressionKind::Failing,
            false => RegressionKind::NotRun,
        }
    }

    /// What the case has stopped doing.
    pub fn axis(self) -> Axis {
        match self {
            RegressionKind::Failing | RegressionKind::NotRun => Axis::Passing,
            RegressionKind::Hidden => Axis::Running,
        }
    }

    /// Whether a verdict shows that the case has not regressed this way; none if the verdict does not show it. A failure
    /// is never good for a case that was good.
    pub fn shows_good(self, verdict: Verdict) -> Option<bool> {
        match (self, verdict) {
            (
                RegressionKind::Failing | RegressionKind::NotRun,
                Verdict::Pass | Verdict::Xfail | Verdict::Xpass,
            ) => Some(true),
            (RegressionKind::Failing | RegressionKind::NotRun, Verdict::Fail | Verdict::Error) => Some(false),
            (RegressionKind::Failing, Verdict::Skip | Verdict::Missing) => None,
            (RegressionKind::NotRun, Verdict::Skip | Verdict::Missing) => Some(false),
            (RegressionKind::Hidden, _) => is_run(verdict),
            (RegressionKind::Failing | RegressionKind::NotRun, Verdict::Unreached) => None,
        }
    }

    /// The verdict for a reader that distinguishes only pass and fail: pass if the case has not regressed this way.
    pub fn plain(self, verdict: Verdict) -> Verdict {
        match self.shows_good(verdict) {
            Some(true) => Verdict::Pass,
            Some(false) => Verdict::Fail,
            None => Verdict::Unreached,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Error, Fail, Missing, Pass, Skip, Unreached, Xfail, Xpass};

    #[test]
    fn a_failure_is_bad_for_a_case_that_was_good_and_good_for_one_that_is_hidden() {
        let drawn = |kind: RegressionKind| {
            let letter = |verdict| match kind.shows_good(verdict) {
                Some(true) => '+',
                Some(false) => '-',
                None => '.',
            };
            [Pass, Xfail, Xpass, Fail, Error, Skip, Missing, Unreached].map(letter).iter().collect::<String>()
        };
        assert_eq!(drawn(RegressionKind::Failing), "+++--...");
        assert_eq!(drawn(RegressionKind::NotRun), "+++----.");
        assert_eq!(drawn(RegressionKind::Hidden), "+++++--.");
    }
}
