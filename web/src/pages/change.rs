//! `/changes/SHA`: what this change broke and fixed, and the builders that built it.

use askama::Template;
use serde::Serialize;

use super::{
    BuildMark, BuilderLine, CaseCountsLine, ChangeLine, FailureGroupLine, Frame, MarkLine, Page, SwitchLine,
};
use crate::format::status_style::StatusStyle;
use crate::format::units::{count, hidden};

#[derive(Debug, Clone, Serialize)]
pub struct ChangeView {
    pub change: ChangeLine,
    pub sentence: String,
    /// Whether it broke so many suites at once that mail about it waits for all searches.
    pub is_sick: bool,
    pub trunk: String,
    /// Its position on each branch: `master #26`.
    pub branches: Vec<String>,
    pub message: String,
    pub paths: Vec<String>,
    /// How many paths it touches in total.
    pub paths_count: i64,
    pub broke: Vec<EffectLine>,
    /// Breakages of which one of several changes is the culprit, this one among them.
    pub perhaps_broke: Vec<EffectLine>,
    pub fixed: Vec<EffectLine>,
    /// Breakages that one of several changes repaired, this one among them.
    pub perhaps_fixed: Vec<EffectLine>,
    pub failure_groups: Vec<FailureGroupLine>,
    /// Breakages whose search goes on, and which it may have caused.
    pub suspected: Vec<EffectLine>,
    /// The toolchain inputs that begin here.
    pub toolchain_inputs: Vec<SwitchLine>,
    /// How many suites were tested at it, of all that its branches have.
    pub suites: SuiteCounts,
    /// Each builder with its builds of this change.
    pub builders: Vec<BuilderReach>,
    /// How many more builders there are than a page shows.
    pub more_builders: i64,
    pub older: Option<ChangeLine>,
    pub newer: Option<ChangeLine>,
}

/// Where workers are few, not all suites are tested at each change, and nothing is known of the others there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SuiteCounts {
    pub tested: i64,
    pub all: i64,
}

/// A breakage that this change caused or ended.
#[derive(Debug, Clone, Serialize)]
pub struct EffectLine {
    pub breakage: i64,
    pub builder: BuilderLine,
    pub cases: i64,
    /// The same by kind.
    pub counts: CaseCountsLine,
    pub status_style: StatusStyle,
    /// `still broken`, `repaired`, or the probability that this change is the culprit.
    pub now: String,
    /// The marks in force that speak for its cases, while it is open.
    pub marks: Vec<MarkLine>,
}

#[derive(Debug, Clone, Serialize)]
pub struct BuilderReach {
    pub builder: BuilderLine,
    pub status_style: Option<StatusStyle>,
    /// The result of the history build: `3 new`, `40 passed`, `not built`.
    pub result: String,
    pub builds: Vec<BuildMark>,
}

#[derive(Template)]
#[template(path = "change.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a ChangeView,
}

impl Page for ChangeView {
    const HERE: &'static str = "";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}

impl ChangeView {
    fn more_paths(&self) -> usize {
        hidden(self.paths_count, self.paths.len())
    }

    /// What is not tested is stated, so that nobody takes it for good.
    fn untested(&self) -> Option<String> {
        let SuiteCounts { tested, all } = self.suites;
        (tested < all).then(|| {
            format!(
                "{tested} of {} tested at it; of the others nothing is known here.",
                count(all, "suite is", "suites are")
            )
        })
    }

    fn effects(&self) -> [(&'static str, &[EffectLine]); 5] {
        [
            ("Broke", &self.broke),
            ("Broken by one of several changes, this one among them", &self.perhaps_broke),
            ("Suspected of", &self.suspected),
            ("Repaired", &self.fixed),
            ("Repaired by one of several changes, this one among them", &self.perhaps_fixed),
        ]
    }
}
