//! `/breakages/N`: the range shrinking, the evidence, the cases, the mails sent.

use askama::Template;
use serde::Serialize;

use super::{BuildMark, BuilderLine, ChangeLine, FailureGroupLine, Frame, Page};
use crate::format::status_style::StatusStyle;
use crate::format::units::Moment;

#[derive(Debug, Clone, Serialize)]
pub struct BreakageView {
    pub id: i64,
    pub state: String,
    /// What its search found; it stays when the breakage is fixed.
    pub found: Option<String>,
    pub status_style: StatusStyle,
    pub sentence: String,
    pub builder: BuilderLine,
    pub opened_at: Moment,
    pub ended_at: Option<Moment>,
    pub split_from: Option<i64>,
    pub again_of: Option<i64>,
    /// Other breakages with the same culprit.
    pub siblings: Vec<SiblingLine>,
    /// Whose failure it is, where it is a dependency's.
    pub filed: Option<FiledLine>,
    /// Breakages of projects that need this one, by the same culprit: they are filed under this.
    pub dependents: Vec<SiblingLine>,
    /// Of all that the same change broke.
    pub alike: Vec<FailureGroupLine>,
    /// From the bad end down to the good end.
    pub range: Vec<SuspectLine>,
    /// How many changes between are not shown.
    pub range_hidden: i64,
    /// What its search thinks, in sentences; and the figures.
    pub search: Option<SearchProgress>,
    /// Whether its cases were proven to fail now and then; the range then holds the changes that were run.
    pub is_flaky: bool,
    /// What proved it, in words.
    pub proof: Option<String>,
    pub cases: Vec<String>,
    /// Those of its cases that are not run any more; the others fail.
    pub lost: Vec<String>,
    pub cases_count: i64,
    pub evidence: Vec<EvidenceLine>,
    pub notices: Vec<NoticeLine>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SiblingLine {
    pub id: i64,
    pub builder: BuilderLine,
    pub status_style: StatusStyle,
}

/// Where a search stands.
#[derive(Debug, Clone, Serialize)]
pub struct SearchProgress {
    pub sentences: Vec<String>,
    /// How likely it is not the trunk; flaky from ever; and bad only now and then since a change.
    pub environment: f64,
    pub flaky: f64,
    pub intermittent: f64,
    pub probes: i64,
    pub probes_left: i64,
    /// In the range.
    pub changes: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct FiledLine {
    /// `by way of say, which the same change broke`
    pub words: String,
    /// The registered project, where it is one.
    pub project: Option<String>,
    /// Its breakage by the same culprit.
    pub breakage: Option<i64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SuspectLine {
    pub change: ChangeLine,
    pub standing: SuspectStanding,
    /// How likely it is the culprit.
    pub posterior: Option<f64>,
    /// The builds that spoke of it.
    pub builds: Vec<BuildMark>,
}

/// What is known of a change of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SuspectStanding {
    /// The breakage is there.
    Bad,
    Suspect,
    Culprit,
    /// The breakage is not there yet.
    Good,
    /// Good and bad on identical inputs.
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

    pub fn said(self) -> &'static str {
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

/// One run that spoke of the breakage's cases.
#[derive(Debug, Clone, Serialize)]
pub struct EvidenceLine {
    pub build: i64,
    pub reason: String,
    /// The reason in a few words.
    pub why: String,
    pub change: ChangeLine,
    pub worker: String,
    pub bad: i64,
    pub good: i64,
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

impl SuspectLine {
    /// `42 %`; nothing where it is next to none.
    fn likely(&self) -> Option<String> {
        self.posterior.and_then(percent)
    }

    /// The width of its bar.
    fn bar(&self) -> u32 {
        self.posterior.map_or(0, |posterior| (posterior * 100.0).round() as u32)
    }
}

/// A probability for people: none below half a hundredth, and never a full hundred.
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
