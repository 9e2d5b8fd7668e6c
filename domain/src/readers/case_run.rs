//! One run of one case, as a report has it.

use protocol::Verdict;

use super::names::{self, tidy};

/// One run of one case. The same name may come again in a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseRun {
    /// At most [`super::MAX_NAME_BYTES`] bytes, without control characters.
    pub name: String,
    /// How the case ended.
    pub verdict: Verdict,
    /// How long it ran, in milliseconds, if the report says so.
    pub duration_ms: Option<u64>,
    /// The failure message, or why the case was skipped; none for a pass.
    pub text: Option<String>,
}

impl CaseRun {
    /// The case that every step yields by its end, so that a suite without reports has one case that can be relied on.
    pub fn of_step(step: &str, verdict: Verdict) -> CaseRun {
        CaseRun { name: tidy(&format!("step:{step}")), verdict, duration_ms: None, text: None }
    }

    /// The fault of a step that ended before it reported all its cases. If its other cases failed before, and those
    /// that were not reached keep their verdicts, then nothing else would be news.
    pub fn of_broken_off(step: &str) -> CaseRun {
        let name = names::fault(&format!("step:{step} ended before all its cases"));
        CaseRun { name, verdict: Verdict::Fail, duration_ms: None, text: None }
    }

    /// Whether the case's own code ran, however it ended.
    pub fn ran(&self) -> bool {
        match self.verdict {
            Verdict::Pass | Verdict::Xfail | Verdict::Xpass | Verdict::Fail | Verdict::Error => true,
            Verdict::Skip | Verdict::Unreached | Verdict::Missing => false,
        }
    }
}
