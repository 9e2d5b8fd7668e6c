//! `/breakages/N`: the range as it shrinks, the evidence, the cases, and the mail that was sent.

use askama::Template;
use serde::Serialize;

use super::{BuildMark, BuilderLine, CaseCountsLine, ChangeLine, FailureGroupLine, Frame, MarkLine, Page};
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, hidden};

#[derive(Debug, Clone, Serialize)]
pub struct BreakageView {
    pub id: i64,
    pub state: String,
    /// What its search found; it stays when the breakage is fixed.
    pub found: Option<String>,
    pub status_style: StatusStyle,
    pub sentence: String,
    /// The marks in force that speak for its cases, while it is open.
    pub marks: Vec<MarkLine>,
    pub builder: BuilderLine,
    pub opened_at: Moment,
    pub ended_at: Option<Moment>,
    pub split_from: Option<i64>,
    pub again_of: Option<i64>,
    /// Other breakages with the same culprit.
    pub siblings: Vec<SiblingLine>,
    /// The dependency that causes it, if one does.
    pub filed_under: Option<FiledLine>,
    /// Breakages by the same culprit of projects that need this one: they are filed under this breakage.
    pub dependents: Vec<SiblingLine>,
    /// The failure message of one of its cases, from a run at the culprit if one failed there.
    pub message: Option<MessageLine>,
    /// Groups of like failure messages, of all that the same change broke.
    pub failure_groups: Vec<FailureGroupLine>,
    /// From the bad end down to the good end.
    pub range: Vec<SuspectLine>,
    /// How many changes between are not shown.
    pub range_hidden: i64,
    pub search: Option<SearchProgress>,
    /// Whether its cases were proven to be flaky; the range then holds the changes on which they were run.
    pub is_flaky: bool,
    /// What proves the answer, in words.
    pub proof: Option<String>,
    /// The runs that prove the culprit, counted for each worker.
    pub proof_runs: Vec<ProofRuns>,
    pub cases: Vec<String>,
    /// Those of its cases that are no longer run; the others fail.
    pub not_run: Vec<String>,
    pub cases_count: i64,
    /// The same by kind: tests that fail, tests that are not run, faults and steps.
    pub counts: CaseCountsLine,
    /// How many changes cannot be distinguished from the culprit, itself included; none without a culprit.
    pub suspects: Option<i64>,
    /// How many changes there are after the last bad one up to the repair; none without a repair.
    pub repair_range: Option<i64>,
    /// The newest runs first.
    pub evidence: Vec<EvidenceLine>,
    pub notices: Vec<NoticeLine>,
}

/// A failure message, and where it is from.
#[derive(Debug, Clone, Serialize)]
pub struct MessageLine {
    pub text: String,
    pub build: i64,
    /// The change at which it was printed, if that is not the culprit.
    pub seen_at: Option<ChangeLine>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SiblingLine {
    pub id: i64,
    pub builder: BuilderLine,
    pub status_style: StatusStyle,
}

/// The progress of a search.
#[derive(Debug, Clone, Serialize)]
pub struct SearchProgress {
    /// The progress in words.
    pub sentences: Vec<String>,
    /// The probability that the trunk is not to blame.
    pub environment: f64,
    /// The probability that the cases were flaky before the range as well.
    pub flaky: f64,
    /// The probability that the culprit made the cases flaky.
    pub intermittent: f64,
    pub probes: i64,
    pub probes_left: i64,
    /// How many changes the range had when it was widest.
    pub changes: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct FiledLine {
    /// `by way of say, which the same change broke`
    pub text: String,
    /// The dependency, if it is a registered project.
    pub project: Option<String>,
    /// The dependency's breakage by the same culprit.
    pub breakage: Option<i64>,
}

/// The runs of one worker that stand behind an answer: without the culprit, and with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProofRuns {
    pub worker: String,
    pub passes_before: u32,
    pub failures_before: u32,
    pub passes_with: u32,
    pub failures_with: u32,
}

#[derive(Debug, Clone, Serialize)]
pub struct SuspectLine {
    pub change: ChangeLine,
    pub standing: SuspectStanding,
    /// The probability that it is the culprit.
    pub posterior: Option<f64>,
    /// The builds that ran the cases on it.
    pub builds: Vec<BuildMark>,
}

/// What is known about a change of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SuspectStanding {
    /// The change has the breakage.
    Bad,
    Suspect,
    Culprit,
    /// The change does not have the breakage.
    Good,
    /// Both, on identical inputs.
    Varies,
}

impl SuspectStanding {
    /// The class in `farm.css`.
    pub fn as_str(self) -> &'static str {
        match self {
            SuspectStanding::Bad => "bad",
            SuspectStanding::Suspect => "suspect",
            SuspectStanding::Culprit => "bad named",
            SuspectStanding::Good => "good",
            SuspectStanding::Varies => "varies",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            SuspectStanding::Bad => "bad",
            SuspectStanding::Suspect => "suspect",
            SuspectStanding::Culprit => "culprit",
            SuspectStanding::Good => "good",
            SuspectStanding::Varies => "varies",
        }
    }

    pub fn status_style(self) -> StatusStyle {
        match self {
            SuspectStanding::Bad => StatusStyle::Still,
            SuspectStanding::Suspect => StatusStyle::Queued,
            SuspectStanding::Culprit => StatusStyle::New,
            SuspectStanding::Good => StatusStyle::Passed,
            SuspectStanding::Varies => StatusStyle::Flaky,
        }
    }
}

/// One run of the breakage's cases.
#[derive(Debug, Clone, Serialize)]
pub struct EvidenceLine {
    pub build: i64,
    pub reason: String,
    /// The reason in a few words.
    pub why: String,
    pub change: ChangeLine,
    pub worker: String,
    /// How many of the breakage's cases were as it describes: failing, or not run.
    pub bad_cases: i64,
    /// How many of them were not.
    pub good_cases: i64,
    pub status_style: StatusStyle,
    pub at: Option<Moment>,
}

#[derive(Debug, Clone, Serialize)]
pub struct NoticeLine {
    pub kind: String,
    pub subject: String,
    pub state: String,
    pub at: Moment,
}

impl BreakageView {
    fn more_cases(&self) -> usize {
        hidden(self.cases_count, self.cases.len())
    }
}

impl SuspectLine {
    /// `42 %`; none if it is close to zero.
    fn likely(&self) -> Option<String> {
        self.posterior.and_then(percent)
    }

    /// The width of its bar, of 100.
    fn bar(&self) -> String {
        format!("{:.0}", self.posterior.unwrap_or(0.0) * 100.0)
    }
}

/// A probability for people: none below half a percent, and never a full hundred.
pub fn percent(probability: f64) -> Option<String> {
    match probability * 100.0 {
        ..0.5 => None,
        99.95.. => Some("> 99.9 %".into()),
        99.0.. => Some(format!("{:.1} %", probability * 100.0)),
        of_100 => Some(format!("{of_100:.0} %")),
    }
}

#[derive(Template)]
#[template(path = "breakage.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a BreakageView,
}

impl Page for BreakageView {
    const HERE: &'static str = "";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_never_printed_as_zero_or_certain() {
        let printed: Vec<Option<String>> = [0.004, 0.006, 0.42, 0.991, 0.9999].map(percent).to_vec();
        let expected = [None, Some("1 %"), Some("42 %"), Some("99.1 %"), Some("> 99.9 %")];
        assert_eq!(printed, expected.map(|text| text.map(ToString::to_string)));
    }
}
