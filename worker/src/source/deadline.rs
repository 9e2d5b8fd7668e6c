//! When the work on a source has to end.

use std::time::Instant;

use anyhow::ensure;
use tokio_util::sync::CancellationToken;

/// What ends the work on a source before it is complete.
#[derive(Clone)]
pub struct SourceDeadline {
    pub deadline: Instant,
    pub stop: CancellationToken,
}

impl SourceDeadline {
    /// An error once the work has to end.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.stop.is_cancelled(), "stopped");
        ensure!(Instant::now() < self.deadline, "it took too long");
        Ok(())
    }
}
