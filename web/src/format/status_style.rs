//! How a state looks: one glyph, one word, one CSS class. Pages never show a state by colour alone.

use std::fmt;

use serde::{Serialize, Serializer};

/// The state that a reader sees of a build, a cell, a builder or a worker.
///
/// It is coarser than an outcome with its cause, and finer where history matters: a failure is *new* or *still*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusStyle {
    Passed,
    /// Something fails that passed in the previous history build.
    New,
    Still,
    /// It failed in the builder's first build already.
    Inherited,
    /// The toolchain itself does not build.
    Broken,
    /// There was no toolchain to test with.
    Blocked,
    Flaky,
    /// It fails, and marks say that it does, or it is a canary that must fail.
    Expected,
    Infra,
    Cancelled,
    Running,
    Queued,
    Superseded,
}

impl StatusStyle {
    pub const ALL: [StatusStyle; 13] = {
        use StatusStyle::{
            Blocked, Broken, Cancelled, Expected, Flaky, Infra, Inherited, New, Passed, Queued, Running,
            Still, Superseded,
        };
        [
            Passed, New, Still, Inherited, Broken, Blocked, Flaky, Expected, Infra, Cancelled, Running,
            Queued, Superseded,
        ]
    };

    /// The word in JSON, and the class in `farm.css`.
    pub fn as_str(self) -> &'static str {
        match self {
            StatusStyle::Passed => "passed",
            StatusStyle::New => "new",
            StatusStyle::Still => "still",
            StatusStyle::Inherited => "inherited",
            StatusStyle::Broken => "broken",
            StatusStyle::Blocked => "blocked",
            StatusStyle::Flaky => "flaky",
            StatusStyle::Expected => "expected",
            StatusStyle::Infra => "infra",
            StatusStyle::Cancelled => "cancelled",
            StatusStyle::Running => "running",
            StatusStyle::Queued => "queued",
            StatusStyle::Superseded => "superseded",
        }
    }

    pub fn glyph(self) -> &'static str {
        match self {
            StatusStyle::Passed => "✓",
            StatusStyle::New => "✗",
            // The cell prints the number of failing cases after it.
            StatusStyle::Still | StatusStyle::Inherited => "✗",
            StatusStyle::Broken => "B",
            StatusStyle::Blocked => "⊘",
            StatusStyle::Flaky => "~",
            StatusStyle::Expected => "=",
            StatusStyle::Infra => "!",
            StatusStyle::Cancelled => "–",
            StatusStyle::Running => "▶",
            StatusStyle::Queued => "…",
            StatusStyle::Superseded => "·",
        }
    }

    /// What the legend says.
    pub fn meaning(self) -> &'static str {
        match self {
            StatusStyle::Passed => "passed",
            StatusStyle::New => "new failure",
            StatusStyle::Still => "still failing (cases)",
            StatusStyle::Inherited => "failing since the first build",
            StatusStyle::Broken => "toolchain does not build",
            StatusStyle::Blocked => "blocked: no toolchain",
            StatusStyle::Flaky => "flaky",
            StatusStyle::Expected => "fails as expected",
            StatusStyle::Infra => "infra failure: the farm's fault",
            StatusStyle::Cancelled => "cancelled",
            StatusStyle::Running => "running",
            StatusStyle::Queued => "queued",
            StatusStyle::Superseded => "superseded by the build above",
        }
    }
}

impl fmt::Display for StatusStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for StatusStyle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
