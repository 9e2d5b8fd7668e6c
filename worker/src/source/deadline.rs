//! When the work on a source has to end, and who hears how far it is.

use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use protocol::FetchProgress;
use tokio_util::sync::CancellationToken;

/// What ends the work on a source before it is complete.
#[derive(Clone)]
pub struct SourceDeadline {
    /// What is fetched, in the words of a report.
    pub what: String,
    pub deadline: Instant,
    pub stop: CancellationToken,
    /// Called with each step of a fetch, thousands of times a second.
    pub on_progress: Option<Arc<dyn Fn(FetchProgress) + Send + Sync>>,
}

impl SourceDeadline {
    /// The same for another source.
    pub fn of(&self, what: &str) -> SourceDeadline {
        SourceDeadline { what: what.to_string(), ..self.clone() }
    }

    /// Tells how far the fetch is.
    pub fn report(&self, progress: &git2::Progress<'_>) {
        let Some(on_progress) = &self.on_progress else { return };
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        on_progress(FetchProgress {
            what: self.what.clone(),
            bytes: count(progress.received_bytes()),
            total_bytes: None,
            objects: count(progress.received_objects()),
            total_objects: Some(count(progress.total_objects())).filter(|total| *total > 0),
        });
    }

    /// An error once the work has to end.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.stop.is_cancelled(), "stopped");
        ensure!(Instant::now() < self.deadline, "it took too long");
        Ok(())
    }
}
