//! `/changes/SHA`: what this change broke, fixed, or has not yet met.

use askama::Template;
use serde::Serialize;

use super::{Alike, BuilderLine, ChangeLine, Frame, Mark, Page};
use crate::format::shade::Shade;

#[derive(Debug, Clone, Serialize)]
pub struct Change {
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
    pub broke: Vec<Effect>,
    pub fixed: Vec<Effect>,
    pub alike: Vec<Alike>,
    /// What is searched, and may be its fault.
    pub suspected: Vec<Effect>,
    /// Each builder with its cell of this change; cover builds first, then evidence.
    pub builders: Vec<Met>,
    pub older: Option<ChangeLine>,
    pub newer: Option<ChangeLine>,
}

/// A breakage that this change caused or ended.
#[derive(Debug, Clone, Serialize)]
pub struct Effect {
    pub breakage: i64,
    pub builder: BuilderLine,
    pub cases: i64,
    pub shade: Shade,
    /// `still broken`, `fixed`, or how likely it is the culprit.
    pub now: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Met {
    pub builder: BuilderLine,
    pub shade: Option<Shade>,
    pub said: String,
    pub builds: Vec<Mark>,
}

#[derive(Template)]
#[template(path = "change.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a Change,
}

impl Page for Change {
    const HERE: &'static str = "";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}

impl Change {
    fn effects(&self) -> [(&'static str, &[Effect]); 3] {
        [("Broke", &self.broke), ("Suspect of", &self.suspected), ("Fixed", &self.fixed)]
    }
}
