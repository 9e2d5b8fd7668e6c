//! What can be wrong with a case: it fails, or it is not run any more.

use protocol::Verdict;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegressionKind {
    Bad,
    /// Skipped or vanished. Tests that nobody runs are as good as broken, and look better.
    Lost,
}

impl RegressionKind {
    /// Whether a run says that the case is free of this harm; none when it says nothing of it.
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

    /// A verdict as one who only knows pass and fail is to read it.
    pub fn plain(self, verdict: Verdict) -> Verdict {
        match self.is_free(verdict) {
            Some(true) => Verdict::Pass,
            Some(false) => Verdict::Fail,
            None => Verdict::Unreached,
        }
    }
}
