//! How much space is free below the data folder.

use std::path::Path;

use domain::health::Disk;
use nix::sys::statvfs::statvfs;

use crate::config::Config;

/// None when the file system does not answer the question; the disk then does not count as full.
pub async fn free_space(config: &Config, data: &Path) -> Option<Disk> {
    let path = data.to_path_buf();
    // On a thread that may block: a dead disk or file server answers late or never.
    let answer = tokio::task::spawn_blocking(move || statvfs(&path)).await.ok()?;
    match answer {
        Ok(about) => Some(Disk {
            free_bytes: about.blocks_available().saturating_mul(about.fragment_size()),
            floor_bytes: config.retention.free_bytes,
        }),
        Err(error) => {
            tracing::warn!(%error, "cannot read the free space in {}", data.display());
            None
        }
    }
}
