//! How a case regresses: it fails, or it is not run any longer.

use protocol::Verdict;

/// How a case regressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegressionKind {
    /// It fails.
    Bad,
    /// It is skipped or missing. A test that is not run is as good as broken, and is noticed less.
    Lost,
}

impl RegressionKind {
    /// Whether a verdict shows that the case has not regressed this way; none if the verdict does not show it.
    pub fn is_free(self, verdict: Verdict) -> Option<bool> {
        match (self, verdict) {
            (RegressionKind::Bad, Verdict::Pass | Verdict::Xfail | Verdict::Xpass) => Some(true),
            (RegressionKind::Bad, Verdict::Fail | Verdict::Error) => Some(false),
            (RegressionKind::Bad, Verdict::Skip | Verdict::Missing) => None,
            (
                RegressionKind::Lost,
                Verdict::Pass | Verdict::Xfail | Verdict::Xpass | Verdict::Fail | Verdict::Error,
            ) => Some(true),
            (RegressionKind::Lost, Verdict::Skip | Verdict::Missing) => Some(false),
            (RegressionKind::Bad | RegressionKind::Lost, Verdict::Unreached) => None,
        }
    }

    /// The verdict for a reader that distinguishes only pass and fail: pass if the case has not regressed this way.
    pub fn plain(self, verdict: Verdict) -> Verdict {
        match self.is_free(verdict) {
            Some(true) => Verdict::Pass,
            Some(false) => Verdict::Fail,
            None => Verdict::Unreached,
        }
    }
}
