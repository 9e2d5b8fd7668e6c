//! States and kinds of what the store keeps, each with the one word that SQL, JSON and pages use.

use serde::{Deserialize, Serialize};

use crate::outcome::words;

/// How far one try of a build on one worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptState {
    /// The worker has not accepted yet.
    Offered,
    /// The worker has accepted.
    Running,
    /// The worker sent its last report.
    Ended,
    /// The worker declined the offer, or the offer was withdrawn.
    Declined,
    /// The build was taken from the worker.
    Lost,
}

impl AttemptState {
    /// Whether the attempt is with a worker now.
    pub fn is_live(self) -> bool {
        match self {
            AttemptState::Offered | AttemptState::Running => true,
            AttemptState::Ended | AttemptState::Declined | AttemptState::Lost => false,
        }
    }
}

/// Whether a machine may work for the farm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    /// It asked to join; the operator has not decided yet.
    Pending,
    /// It may work.
    Approved,
    /// The operator refused it.
    Refused,
}

/// Whether an approved worker may still work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It may.
    Active,
    /// The operator keeps it from working.
    Disabled,
    /// The farm has forgotten the machine; its name stays for the history.
    Removed,
}

/// What a mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// New project inputs made cases worse.
    ProjectInputs,
    /// A change was found to be a culprit.
    Named,
    /// A known culprit broke more projects.
    Spread,
    /// All that a culprit broke is repaired.
    Fixed,
    /// There are too many culprits at once for a mail each.
    Storm,
    /// A change is not the culprit after all.
    Correction,
    /// A project's first build has ended.
    FirstResult,
    /// What old changes broke, for the contacts of a project that the farm began to test after them.
    Backlog,
    /// All that a backlog reported is repaired.
    BacklogFixed,
    /// What a backlog reported is not so after all.
    BacklogCorrection,
    /// Cases are new, and fail from their first run on.
    NewFailure,
}

/// Whether a mail has left the farm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeState {
    /// It waits for its next try.
    Waiting,
    /// A server accepted it.
    Sent,
    /// A server refused it for good.
    Failed,
}

/// Whether toolchain inputs are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToolchainInputsState {
    /// Their baseline is not judged yet.
    Proposed,
    /// In use.
    Current,
    /// In use before.
    Past,
    /// Never in use: others were proposed first, or a toolchain was made apart from those in use.
    Dropped,
}

words!(AttemptState {
    Offered = "offered", Running = "running", Ended = "ended", Declined = "declined", Lost = "lost",
});
words!(WorkerState { Pending = "pending", Approved = "approved", Refused = "refused" });
words!(Standing { Active = "active", Disabled = "disabled", Removed = "removed" });
words!(NoticeKind {
    ProjectInputs = "project-inputs", Named = "named", Spread = "spread", Fixed = "fixed", Storm = "storm",
    Correction = "correction", FirstResult = "first-result", Backlog = "backlog",
    BacklogFixed = "backlog-fixed", BacklogCorrection = "backlog-correction", NewFailure = "new-failure",
});
words!(ToolchainInputsState {
    Proposed = "proposed", Current = "current", Past = "past", Dropped = "dropped",
});
words!(NoticeState { Waiting = "waiting", Sent = "sent", Failed = "failed" });
