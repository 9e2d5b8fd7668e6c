//! What the farm remembers: SQLite for facts, files for logs and archives. The only crate that knows SQL.
//!
//! One connection writes ([`Store::write`]), and groups the waiting writes of everybody into one commit; many read
//! ([`Store::snapshot`]), each a view of one moment.

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

pub use breakages::evidence::{Evidence, MAX_LATER};
pub use breakages::notices::{NewNotice, Notice, Thread};
pub use breakages::searches::{Answered, Pace, Spent};
pub use breakages::{Breakage, Opened};
pub use builds::artifacts::Artifact;
pub use builds::environments::EnvironmentChange;
pub use builds::steps::{LogRow, Step};
pub use builds::timelines::Course;
pub use builds::{Build, CoverCell, Finish, NewBuild, RunningBuild, WaitingBuild};
pub use cases::histories::{Look, News, Turned};
pub use cases::marks::CanaryRow;
pub use cases::sick::Toll;
pub use cases::verdicts::{Column, Ran};
pub use db::journal::{Entry, Topic};
pub use db::open::{Glance, OpenError, Read, Snapshot, Store, Write};
pub use error::{Error, Result};
pub use files::objects::{Kind, Objects, Stored};
pub use upkeep::audit::Audit;
pub use upkeep::backup::backup;
pub use upkeep::health::{Counts, Workforce};
pub use upkeep::inspect::{Found as Orphaned, Orphans};
pub use upkeep::retention::OldLog;
pub use upstream::branches::{Branch, Change, Found, Place};
pub use upstream::builders::Builder;
pub use upstream::pins::{Lock, Pin, PinState};
pub use upstream::projects::Project;
pub use upstream::trunks::Trunk;
pub use workers::{Attempt, Worker};
