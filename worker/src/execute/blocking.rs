//! Work that may wait for a disk, kept away from the runtime's own threads, and what its errors mean.

use std::io;

use protocol::InfraFailure;

/// Runs `work` on a thread that may block.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, InfraFailure> + Send + 'static,
) -> Result<T, InfraFailure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
        Err(InfraFailure::Worker {
            detail: format!("internal error in the worker: a background task failed: {e}"),
        })
    })
}

/// An I/O error of this machine while `doing` something. A full disk has a kind of its own.
pub fn infra_failure(doing: &str, e: &io::Error) -> InfraFailure {
    let detail = format!("{doing}: {e}");
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => InfraFailure::NoSpace { detail },
        _ => InfraFailure::Worker { detail },
    }
}
