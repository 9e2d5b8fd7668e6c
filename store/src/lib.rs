//! The farm's data: SQLite for rows, files for logs and objects. The only crate that knows SQL.
//!
//! One connection writes ([`Store::write`]) and commits all waiting writes together; several read
//! ([`Store::snapshot`]), each a view of one moment.
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "the numbers of tests are small"
    )
)]
#![warn(missing_docs)]

mod breakages;
mod builds;
mod cases;
mod db;
mod error;
pub mod files;
pub mod pages;
#[cfg(test)]
mod tests;
mod upkeep;
mod upstream;
mod workers;

pub use breakages::backlog_claims::{BacklogClaim, NoticeRoot};
pub use breakages::evidence::{Evidence, MAX_LATER};
pub use breakages::inputs::{BreakageInputs, HistoryNews};
pub use breakages::new_failures::UnmailedNewFailures;
pub use breakages::notices::{NewNotice, Notice, Thread};
pub use breakages::quotes::QuotedMessage;
pub use breakages::searches::{AnsweredSearch, BuilderPace, SearchCost};
pub use breakages::self_checks::{CheckCount, ChecksOf, GivenAnswer, SelfCheck};
pub use breakages::variants::BreakageVariant;
pub use breakages::{Breakage, BreakageUpdate, NewBreakage};
pub use builds::artifacts::Artifact;
pub use builds::caches::{CacheQuestion, ComparableRun};
pub use builds::environments::EnvironmentChange;
pub use builds::fetches::FailingFetch;
pub use builds::queue::{RunningBuild, WaitingBuild};
pub use builds::steps::{LogExtentRow, StepRecord, StepResult};
pub use builds::timelines::SuiteTimeline;
pub use builds::{Build, Finish, HistoryCell, NewBuild};
pub use cases::histories::HistoryChange;
pub use cases::marks::CanaryRow;
pub use cases::sick::BreakageShare;
pub use cases::unstable_suites::UnstableSuite;
pub use cases::verdicts::BuildVerdicts;
pub use db::journal::{JournalEntry, Topic};
pub use db::open::{OpenError, Store};
pub use db::transaction::{LatestView, Read, Snapshot, Write};
pub use error::{Error, Result};
pub use files::objects::{ObjectKind, ObjectStore, StoredObject};
pub use upkeep::audit::Audit;
pub use upkeep::backup::backup;
pub use upkeep::health::{FarmCounts, Workforce};
pub use upkeep::inspect::{OrphanedFiles as Orphaned, Orphans};
pub use upkeep::project_starts::ProjectStart;
pub use upkeep::retention::OldLog;
pub use upstream::branches::{Branch, BranchPosition, Change, NewChange};
pub use upstream::builders::Builder;
pub use upstream::missing_refs::NewMissingRef;
pub use upstream::pins::{Pin, PinLock, PinState};
pub use upstream::projects::Project;
pub use upstream::toolchain_inputs::BuilderInputs;
pub use upstream::trunks::Trunk;
pub use workers::Worker;
pub use workers::attempts::Attempt;
pub use workers::joins::{MAX_PENDING_OF_ADDRESS, PendingRequest};
pub use workers::owners::{OwnedWorker, OwnerNotice};
