//! `/projects/NAME`: its inputs now and before, what proposed ones wait for, and the last builds of its builders.

use askama::Template;
use domain::variant::target;
use serde::Serialize;

use super::breakages::BreakageLine;
use super::status::RecentBuilds;
use super::{Frame, MarkLine, NewFailureLine, Page};
use crate::format::status_style::StatusStyle;
use crate::format::units::Moment;

#[derive(Debug, Clone, Serialize)]
pub struct ProjectView {
    pub name: String,
    pub sentence: String,
    pub trunk: String,
    /// A public address; none if its source is a folder or comes from a registry.
    pub git: Option<String>,
    pub newest: Option<String>,
    pub polled_at: Option<Moment>,
    /// Why its newest revision is unknown.
    pub problem: Option<String>,
    /// Why its probes do not run single cases, although its recipe offers it.
    pub selection: Option<SelectionLine>,
    pub wants: Vec<String>,
    /// Those that are proposed or in use, on each branch.
    pub project_inputs: Vec<ProjectInputsLine>,
    /// Those that were in use or proposed before, newest first.
    pub past_project_inputs: Vec<ProjectInputsLine>,
    pub recent_builds: Vec<RecentBuilds>,
    pub breakages: Vec<BreakageLine>,
    /// Cases that are new and fail from their first run on; they accuse no change.
    pub new_failures: Vec<NewFailureLine>,
    pub needed_by: Vec<String>,
    pub marks: Vec<ProjectMark>,
    /// The cases that were proven flaky, the noisiest first.
    pub flaky_cases: Vec<FlakyLine>,
    /// The builders whose faults have other names in each run.
    pub unstable_faults: Vec<UnstableFaultsLine>,
}

/// A builder whose suite names its failures differently when it runs identical inputs again: no new name is searched.
#[derive(Debug, Clone, Serialize)]
pub struct UnstableFaultsLine {
    pub branch: String,
    pub platform: String,
    /// How many names differed so far; of very many, not all are counted.
    pub names: usize,
    /// The first of them.
    pub example: String,
}

/// What a human expects of cases of the project, and whether it still holds.
#[derive(Debug, Clone, Serialize)]
pub struct ProjectMark {
    /// Their names; `*` stands for anything.
    pub cases: String,
    /// The only branch, the only platform and the only variant on which it holds; none: on all.
    pub branch: Option<String>,
    pub platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    pub mark: MarkLine,
    pub is_void: bool,
    /// The builders in whose newest build cases pass that it expects to fail.
    pub passing: Vec<PassingMark>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PassingMark {
    pub branch: String,
    pub platform: String,
    /// Its variant, where its trunk has others than the default build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    pub build: i64,
    /// The first of them by name.
    pub case: String,
    pub more_cases: usize,
}

impl PassingMark {
    /// The platform, with the variant where that has a name.
    pub fn target(&self) -> String {
        target(&self.platform, self.variant.as_deref())
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct FlakyLine {
    pub case: String,
    pub platform: String,
    /// Its variant, where its trunk has others than the default build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How many of its runs failed although no breakage explains it.
    pub failures: u32,
    pub runs: u32,
}

impl FlakyLine {
    /// The platform, with the variant where that has a name.
    pub fn target(&self) -> String {
        target(&self.platform, self.variant.as_deref())
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct ProjectInputsLine {
    pub branch: String,
    /// `proposed`, `current`, `past` or `dropped`.
    pub state: String,
    pub status_style: StatusStyle,
    pub revision: String,
    /// How they differ from the project inputs that were in use before.
    pub differences: Vec<String>,
    /// What they wait for, or since when they are in use.
    pub text: String,
    pub needs: Vec<NeedLine>,
    /// SHA-256 of the locked dependencies' file, in hexadecimal.
    pub lock: Option<String>,
    pub baselines: Vec<BaselineLine>,
}

#[derive(Debug, Clone, Serialize)]
pub struct NeedLine {
    pub name: String,
    pub revision: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct BaselineLine {
    pub build: i64,
    pub status_style: StatusStyle,
    /// `on linux-x86_64: no case is worse`
    pub text: String,
    /// The first of the cases that got worse.
    pub cases: Vec<String>,
    pub more_cases: i64,
}

impl ProjectView {
    /// The two tables of project inputs.
    pub fn tables(&self) -> [(&'static str, &[ProjectInputsLine]); 2] {
        [
            ("Project inputs: proposed and in use", &self.project_inputs),
            ("Past project inputs", &self.past_project_inputs),
        ]
    }

    /// How many marks expect failures of cases that pass now.
    pub fn outdated_marks(&self) -> usize {
        self.marks.iter().filter(|mark| !mark.passing.is_empty()).count()
    }
}

impl FlakyLine {
    pub fn rate(&self) -> f64 {
        f64::from(self.failures) / f64::from(self.runs.max(1))
    }
}

impl NeedLine {
    pub fn short(&self) -> &str {
        domain::project_inputs::short(&self.revision)
    }
}

impl ProjectInputsLine {
    pub fn short(&self) -> &str {
        domain::project_inputs::short(&self.revision)
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct SelectionLine {
    /// The breakage whose search showed it.
    pub breakage: i64,
    pub sentence: String,
}

#[derive(Template)]
#[template(path = "project.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a ProjectView,
}

impl Page for ProjectView {
    const HERE: &'static str = "";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
