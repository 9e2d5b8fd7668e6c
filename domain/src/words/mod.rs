//! The rest of the glossary's words that are states or kinds of something.

pub mod ids;
pub mod platform;
pub mod states;

use serde::{Deserialize, Serialize};

use crate::outcome::words;

/// Why a build exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    Tip,
    Backfill,
    Baseline,
    Probe,
    Null,
    Force,
    /// Asks for a project's newest revision.
    Latest,
}

impl Reason {
    /// Whether the build makes history; the others are evidence only.
    pub fn makes_history(self) -> bool {
        match self {
            Reason::Tip | Reason::Backfill | Reason::Baseline => true,
            Reason::Probe | Reason::Null | Reason::Force | Reason::Latest => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuilderKind {
    Toolchain,
    Suite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildState {
    Queued,
    Leased,
    Finished,
}

/// How far a worker's word goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Its results are not believed yet.
    Probation,
    Counted,
    /// Its toolchains run everywhere.
    Maker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakageState {
    Suspected,
    Searching,
    Named,
    OneOfK,
    Inconclusive,
    Flaky,
    Environment,
    Fixed,
    Gone,
}

impl BreakageState {
    /// Whether its search is still to come or under way.
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
