//! How a state looks: one glyph, one word, one CSS class. Pages never tell a state by colour alone.

use std::fmt;

use serde::{Serialize, Serializer};

/// What a reader sees of a build, a cell, a column or a worker.
///
/// It is coarser than an outcome with its cause, and finer where history matters: a failure is *new* or *still*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shade {
    Passed,
    /// Something is bad here that was good in the previous cover build.
    New,
    Still,
    /// Bad in the builder's first build already.
    Inherited,
    /// The toolchain itself could not be made.
    Broken,
    /// There was no toolchain to test with.
    Blocked,
    Flaky,
    Infra,
    Cancelled,
    Running,
    Queued,
    Covered,
}

impl Shade {
    pub const ALL: [Shade; 12] = {
        use Shade::*;
        [Passed, New, Still, Inherited, Broken, Blocked, Flaky, Infra, Cancelled, Running, Queued, Covered]
    };

    /// The word in JSON, and the class in `farm.css`.
    pub fn as_str(self) -> &'static str {
        match self {
            Shade::Passed => "passed",
            Shade::New => "new",
            Shade::Still => "still",
            Shade::Inherited => "inherited",
            Shade::Broken => "broken",
            Shade::Blocked => "blocked",
            Shade::Flaky => "flaky",
            Shade::Infra => "infra",
            Shade::Cancelled => "cancelled",
            Shade::Running => "running",
            Shade::Queued => "queued",
            Shade::Covered => "covered",
        }
    }

    pub fn glyph(self) -> &'static str {
        match self {
            Shade::Passed => "✓",
            Shade::New => "✗",
            // "n" stands for the number of bad cases, which the cell prints behind it.
            Shade::Still | Shade::Inherited => "✗",
            Shade::Broken => "B",
            Shade::Blocked => "⊘",
            Shade::Flaky => "~",
            Shade::Infra => "!",
            Shade::Cancelled => "–",
            Shade::Running => "▶",
            Shade::Queued => "…",
            Shade::Covered => "·",
        }
    }

    /// As the legend explains it.
    pub fn meaning(self) -> &'static str {
        match self {
            Shade::Passed => "passed",
            Shade::New => "new failure",
            Shade::Still => "still failing (cases)",
            Shade::Inherited => "bad from the first build on",
            Shade::Broken => "toolchain broken",
            Shade::Blocked => "blocked: no toolchain",
            Shade::Flaky => "flaky",
            Shade::Infra => "the farm's own trouble",
            Shade::Cancelled => "cancelled",
            Shade::Running => "running",
            Shade::Queued => "queued",
            Shade::Covered => "covered by the build above",
        }
    }
}

impl fmt::Display for Shade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Shade {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
