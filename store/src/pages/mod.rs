//! What the pages show: one function for each query, each bounded, and the rows as plain structs.

mod branches;
mod breakages;
mod builds;
mod cases;
mod changes;
mod flaky;
mod new_failures;
mod project_inputs;
mod projects;
mod searches;
mod stats;
mod tested;
mod toolchain_inputs;
mod waterfall;
mod worker;
mod workers;

use domain::variant::target;

pub use branches::BranchRow;
pub use breakages::{BreakageFilter, BreakageRow, EvidenceRow, NoticeRow};
pub use builds::{AttemptRow, BuildPage, BuildRow, CaseRow, QueueRow, StepLog, UnbuiltToolchain};
pub use cases::{CasePage, CaseTransitionRow, HistoryRow};
pub use changes::{BranchPositionRow, ChangePage, ChangeRow};
pub use new_failures::NewFailureRow;
pub use project_inputs::{BaselineRow, ProjectInputsRow, ProjectPage};
pub use projects::{FailingProjectRow, NeverWorkedRow};
pub use searches::{SearchRow, SuspectRow};
pub use stats::FallenRow;
pub use tested::{TestedRow, TestedSuite};
pub use toolchain_inputs::{SwitchRow, SwitchedCase};
pub use waterfall::{BranchReach, ColumnRow, PositionRow, StepRow};
pub use worker::{FoundCulpritRow, WorkerAttemptRow};
pub use workers::{RunningRow, WorkerRow};

/// A builder, by the names that a reader knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderRow {
    /// Its id.
    pub id: i64,
    /// None of a toolchain's.
    pub project: Option<String>,
    /// Its trunk's name.
    pub trunk: String,
    /// Its branch's name.
    pub branch: String,
    /// Its platform's label.
    pub platform: String,
    /// What its variant is called; none where its trunk has the default build only.
    pub variant: Option<String>,
}

impl BuilderRow {
    /// Its platform, with its variant where that has a name.
    pub fn target(&self) -> String {
        target(&self.platform, self.variant.as_deref())
    }
}
