//! What the farm remembers: SQLite for facts, files for logs and archives. The only crate that knows SQL.
//!
//! One connection writes ([`Store::write`]), and groups the waiting writes of everybody into one commit; many read
//! ([`Store::snapshot`]), each a view of one moment.

mod artifacts;
mod audit;
mod backup;
mod branches;
mod breakages;
mod builders;
mod builds;
mod courses;
mod environments;
mod error;
mod evidence;
mod flakes;
mod health;
mod histories;
mod inspect;
mod journal;
mod keep;
mod leases;
pub mod log;
mod marks;
mod names;
mod notices;
mod objects;
mod open;
pub mod pages;
mod pins;
mod plans;
mod probation;
mod projects;
mod said;
mod searches;
mod sick;
mod sides;
mod steps;
#[cfg(test)]
mod tests;
mod texts;
mod trunks;
mod verdicts;
mod workers;
mod writer;

pub use artifacts::Artifact;
pub use audit::Audit;
pub use backup::backup;
pub use branches::{Branch, Change, Found, Place};
pub use breakages::{Breakage, Opened};
pub use builders::Builder;
pub use builds::{Build, CoverCell, Finish, NewBuild, RunningBuild, WaitingBuild};
pub use courses::Course;
pub use environments::EnvironmentChange;
pub use error::{Error, Result};
pub use evidence::{Evidence, MAX_LATER};
pub use health::{Counts, Workforce};
pub use histories::{Look, News, Turned};
pub use inspect::{Found as Orphaned, Orphans};
pub use journal::{Entry, Topic};
pub use keep::OldLog;
pub use marks::CanaryRow;
pub use notices::{NewNotice, Notice, Thread};
pub use objects::{Kind, Objects, Stored};
pub use open::{Glance, OpenError, Read, Snapshot, Store, Write};
pub use pins::{Lock, Pin, PinState};
pub use projects::Project;
pub use searches::{Answered, Pace, Spent};
pub use sick::Toll;
pub use steps::{LogRow, Step};
pub use trunks::Trunk;
pub use verdicts::{Column, Ran};
pub use workers::{Attempt, Worker};
