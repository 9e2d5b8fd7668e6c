//! `/breakages/N`: the range shrinking, the evidence, the cases, the mails sent.

use askama::Template;
use serde::Serialize;

use super::{Alike, BuilderLine, ChangeLine, Frame, Mark, Page};
use crate::shade::Shade;
use crate::units::At;

#[derive(Debug, Clone, Serialize)]
pub struct Breakage {
    pub id: i64,
    pub state: String,
    pub shade: Shade,
    pub sentence: String,
    pub builder: BuilderLine,
    pub opened_at: At,
    pub ended_at: Option<At>,
    pub split_from: Option<i64>,
    pub again_of: Option<i64>,
    /// Other breakages with the same culprit.
    pub siblings: Vec<Sibling>,
    /// Whose failure it is, where it is a dependency's.
    pub filed: Option<Filed>,
    /// Breakages of projects that need this one, by the same culprit: they are filed under this.
    pub dependents: Vec<Sibling>,
    /// Of all that the same change broke.
    pub alike: Vec<Alike>,
    /// From the bad end down to the good end.
    pub range: Vec<Suspect>,
    /// How many changes between are not shown.
    pub range_hidden: i64,
    /// Whether its cases were proven to fail now and then; the range then holds the changes that were run.
    pub is_flaky: bool,
    /// What proved it, in words.
    pub proof: Option<String>,
    pub cases: Vec<String>,
    /// Those of its cases that are not run any more; the others fail.
    pub lost: Vec<String>,
    pub cases_count: i64,
    pub evidence: Vec<Evidence>,
    pub notices: Vec<Notice>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Sibling {
    pub id: i64,
    pub builder: BuilderLine,
    pub shade: Shade,
}

#[derive(Debug, Clone, Serialize)]
pub struct Filed {
    /// `by way of say, which the same change broke`
    pub words: String,
    /// The registered project, where it is one.
    pub project: Option<String>,
    /// Its breakage by the same culprit.
    pub breakage: Option<i64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Suspect {
    pub change: ChangeLine,
    pub standing: Standing,
    /// The builds that spoke of it.
    pub builds: Vec<Mark>,
}

/// What is known of a change of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The breakage is there.
    Bad,
    Suspect,
    Culprit,
    /// The breakage is not there yet.
    Good,
    /// Good and bad on identical inputs.
    Varies,
}

impl Standing {
    /// The class in `farm.css`.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Bad => "bad",
            Standing::Suspect => "suspect",
            Standing::Culprit => "bad named",
            Standing::Good => "good",
            Standing::Varies => "varies",
        }
    }

    pub fn said(self) -> &'static str {
        match self {
            Standing::Bad => "bad",
            Standing::Suspect => "suspect",
            Standing::Culprit => "culprit",
            Standing::Good => "good",
            Standing::Varies => "varies",
        }
    }

    pub fn shade(self) -> Shade {
        match self {
            Standing::Bad => Shade::Still,
            Standing::Suspect => Shade::Queued,
            Standing::Culprit => Shade::New,
            Standing::Good => Shade::Passed,
            Standing::Varies => Shade::Flaky,
        }
    }
}

/// One run that spoke of the breakage's cases.
#[derive(Debug, Clone, Serialize)]
pub struct Evidence {
    pub build: i64,
    pub reason: String,
    /// The reason in a few words.
    pub why: String,
    pub change: ChangeLine,
    pub worker: String,
    pub bad: i64,
    pub good: i64,
    pub shade: Shade,
    pub at: Option<At>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Notice {
    pub kind: String,
    pub subject: String,
    pub state: String,
    pub at: At,
}

#[derive(Template)]
#[template(path = "breakage.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a Breakage,
}

impl Page for Breakage {
    const HERE: &'static str = "";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
