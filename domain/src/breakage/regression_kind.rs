//! How a case regresses: it fails, or it is not run any longer.

use protocol::Verdict;

/// How a case regressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegressionKind {
    /// It fails.
    Failing,
    /// It is skipped or missing. A test that is not run is as good as broken, and is noticed less.
    NotRun,
}

impl RegressionKind {
    /// Whether a verdict shows that the case has not regressed this way; none if the verdict does not show it.
    pub fn shows_good(self, verdict: Verdict) -> Option<bool> {
        match (self, verdict) {
            (RegressionKind::Failing, Verdict::Pass | Verdict::Xfail | Verdict::Xpass) => Some(true),
            (RegressionKind::Failing, Verdict::Fail | Verdict::Error) => Some(false),
            (RegressionKind::Failing, Verdict::Skip | Verdict::Missing) => None,
            (
                RegressionKind::NotRun,
                Verdict::Pass | Verdict::Xfail | Verdict::Xpass | Verdict::Fail | Verdict::Error,
            ) => Some(true),
            (RegressionKind::NotRun, Verdict::Skip | Verdict::Missing) => Some(false),
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
