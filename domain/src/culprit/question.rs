//! What is asked: the range, the cases, and what can be run.

use super::evidence::SearchedCase;
use super::proof::Standard;
use super::toolchains::{Cost, ToolchainSupply};

/// The state of a search, from which [`super::answer`] follows.
#[derive(Debug, Clone)]
pub struct Question {
    /// The toolchain of each change: of the good end first, and of the bad end last.
    pub toolchains: Vec<ToolchainSupply>,
    /// What a probe costs.
    pub cost: Cost,
    /// The share of this trunk's changes that cannot be built, from 0 to 1.
    pub unbuildable: f64,
    /// The cases whose culprit is sought.
    pub cases: Vec<SearchedCase>,
    /// Changes whose probes are under way.
    pub pending: Vec<usize>,
    /// How many more probes can be started now.
    pub idle: usize,
    /// What it takes to name a change.
    pub standard: Standard,
}
