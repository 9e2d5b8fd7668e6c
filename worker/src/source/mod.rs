//! Sources: one bare mirror for each repository, fetched only if a revision is missing, and a revision's tree as plain
//! files, with its submodules where they are asked for, which the builds of that revision share.

mod checkout;
mod deadline;
mod export;
mod mirrors;
#[cfg(test)]
mod tests;
mod trees;

pub use deadline::SourceDeadline;
pub use mirrors::{Mirrors, MissingRevision};
pub use trees::{SourceTrees, TreeMeans, WantedSource};
