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
    /// Where the report has it, the most general first: its suites, its file or its description. They tell cases of one
    /// name apart; see [`crate::results::collect`].
    pub places: Vec<String>,
}

impl CaseRun {
    /// A run of which only the name and the verdict are known.
    pub fn new(name: &str, verdict: Verdict) -> CaseRun {
        CaseRun { name: tidy(name), verdict, duration_ms: None, text: None, places: vec![] }
    }

    /// The case that every step yields by its end, so that a suite without reports has one case that can be relied on.
    pub fn of_step(step: &str, verdict: Verdict) -> CaseRun {
        CaseRun::new(&format!("step:{step}"), verdict)
    }

    /// The fault of a step that ended before it reported all its cases, and the promises that its report broke. If its
    /// other cases failed before, and those that were not reached keep their verdicts, then nothing else would be news.
    pub fn of_broken_off(step: &str, broken: &[String]) -> CaseRun {
        let name = names::fault(&format!("step:{step} ended before all its cases"));
        let text = Some(broken.join("\n")).filter(|text| !text.is_empty());
        CaseRun { text, ..CaseRun::new(&name, Verdict::Fail) }
    }

    /// Whether the case's own code ran, however it ended.
    pub fn ran(&self) -> bool {
        match self.verdict {
            Verdict::Pass | Verdict::Xfail | Verdict::Xpass | Verdict::Fail | Verdict::Error => true,
            Verdict::Skip | Verdict::Unreached | Verdict::Missing => false,
        }
    }
}
