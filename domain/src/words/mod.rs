//! The glossary's other words for states and kinds.

pub mod ids;
pub mod platform;
pub mod states;

use serde::{Deserialize, Serialize};

use crate::outcome::words;

/// Why a build exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// An end of its branch.
    Tip,
    /// A change between two builds, made while workers were idle.
    Backfill,
    /// Repeats a tested change with new project inputs.
    Baseline,
    /// Made for a search.
    Probe,
    /// Runs identical inputs again, to measure noise.
    Null,
    /// Makes a toolchain again that was deleted.
    Force,
    /// Asks for a project's newest revision.
    Latest,
}

impl Reason {
    /// Whether the build makes history; the others are only evidence.
    pub fn makes_history(self) -> bool {
        match self {
            Reason::Tip | Reason::Backfill | Reason::Baseline => true,
            Reason::Probe | Reason::Null | Reason::Force | Reason::Latest => false,
        }
    }
}

/// What a builder builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuilderKind {
    /// The trunk's toolchain, on a branch and platform.
    Toolchain,
    /// A project's suite, on a branch and platform.
    Suite,
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildState {
    /// It waits for a worker.
    Queued,
    /// A worker holds it.
    Leased,
    /// It has ended.
    Finished,
}

/// How far a worker's results are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Its results do not count yet.
    Probation,
    /// Its results count.
    Counted,
    /// Its results count, and its toolchains run everywhere.
    Maker,
}

/// How far the search for a breakage's culprit is, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakageState {
    /// It is new.
    Suspected,
    /// Its search is under way.
    Searching,
    /// Its culprit is named.
    Named,
    /// Its culprit is one of a few changes.
    OneOfK,
    /// The evidence shows nothing.
    Inconclusive,
    /// Its cases are flaky.
    Flaky,
    /// A machine or the environment is to blame.
    Environment,
    /// It is repaired.
    Fixed,
    /// Its changes are no longer part of the history.
    Gone,
}

impl BreakageState {
    /// Whether its search has not ended.
    pub fn is_undecided(self) -> bool {
        match self {
            BreakageState::Suspected | BreakageState::Searching => true,
            BreakageState::Named
            | BreakageState::OneOfK
            | BreakageState::Inconclusive
            | BreakageState::Flaky
            | BreakageState::Environment
            | BreakageState::Fixed
            | BreakageState::Gone => false,
        }
    }

    /// Whether it is repaired or gone.
    pub fn is_over(self) -> bool {
        match self {
            BreakageState::Fixed | BreakageState::Gone => true,
            BreakageState::Suspected
            | BreakageState::Searching
            | BreakageState::Named
            | BreakageState::OneOfK
            | BreakageState::Inconclusive
            | BreakageState::Flaky
            | BreakageState::Environment => false,
        }
    }
}

words!(Reason {
    Tip = "tip", Backfill = "backfill", Baseline = "baseline", Probe = "probe", Null = "null", Force = "force",
    Latest = "latest",
});
words!(BuilderKind { Toolchain = "toolchain", Suite = "suite" });
words!(BuildState { Queued = "queued", Leased = "leased", Finished = "finished" });
words!(Trust { Probation = "probation", Counted = "counted", Maker = "maker" });
words!(BreakageState {
    Suspected = "suspected", Searching = "searching", Named = "named", OneOfK = "one-of-k",
    Inconclusive = "inconclusive", Flaky = "flaky", Environment = "environment", Fixed = "fixed", Gone = "gone",
});
