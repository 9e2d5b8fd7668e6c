//! Why reports of a worker cannot be recorded, where that is not the farm's own fault.

use domain::words::ids::AttemptId;

/// A worker that keeps to the protocol never sends this; its connection ends.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProtocolViolation(pub String);

/// Why the reports of an attempt cannot be believed. The worker would repeat them after each reconnect, for ever: so this
/// ends the attempt, and not the connection.
#[derive(Debug, thiserror::Error)]
#[error("the worker's reports contradict each other or the recipe: {0}")]
pub struct Contradiction(pub String);

/// What a reconnect resolves; the worker is not at fault.
#[derive(Debug, thiserror::Error)]
pub enum Reconnect {
    /// The worker learns it from the handshake of its next connection.
    #[error("attempt {0} was given to another worker meanwhile")]
    AttemptReassigned(AttemptId),
    /// The session of a connection that was replaced has not ended yet.
    #[error("an earlier connection still writes the log of step {1} of attempt {0}")]
    LogBusy(AttemptId, u16),
}
