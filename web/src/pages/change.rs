//! `/changes/SHA`: what this change broke, fixed, or has not yet met.

use askama::Template;
use serde::Serialize;

use super::{BuildMark, BuilderLine, ChangeLine, FailureGroupLine, Frame, Page};
use crate::format::status_style::StatusStyle;

#[derive(Debug, Clone, Serialize)]
pub struct ChangeView {
    pub change: ChangeLine,
    pub sentence: String,
    /// Whether it broke so many suites at once that mail of it waits for all searches.
    pub is_sick: bool,
    pub trunk: String,
    /// Where it stands: `master #26`.
    pub branches: Vec<String>,
    pub message: String,
    pub paths: Vec<String>,
    /// How many paths it touches in all.
    pub paths_count: i64,
    pub broke: Vec<EffectLine>,
    pub fixed: Vec<EffectLine>,
    pub alike: Vec<FailureGroupLine>,
    /// What is searched, and may be its fault.
    pub suspected: Vec<EffectLine>,
    /// Each builder with its cell of this change; cover builds first, then evidence.
    pub builders: Vec<BuilderReach>,
    pub older: Option<ChangeLine>,
    pub newer: Option<ChangeLine>,
}

/// A breakage that this change caused or ended.
#[derive(Debug, Clone, Serialize)]
pub struct EffectLine {
    pub breakage: i64,
    pub builder: BuilderLine,
    pub cases: i64,
    pub status_style: StatusStyle,
    /// `still broken`, `fixed`, or how likely it is the culprit.
    pub now: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct BuilderReach {
    pub builder: BuilderLine,
    pub status_style: Option<StatusStyle>,
    pub said: String,
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
    fn effects(&self) -> [(&'static str, &[EffectLine]); 3] {
        [("Broke", &self.broke), ("Suspect of", &self.suspected), ("Fixed", &self.fixed)]
    }
}
