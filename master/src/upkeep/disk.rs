//! How much room there is below the data folder.

use std::path::Path;

use domain::health::Disk;
use nix::sys::statvfs::statvfs;

use crate::config::Config;

/// None when the disk cannot be asked; it is then not known to be full.
pub fn free(config: &Config, data: &Path) -> Option<Disk> {
    match statvfs(data) {
        Ok(about) => Some(Disk {
            free_bytes: about.blocks_available().saturating_mul(about.fragment_size()),
            floor_bytes: config.keep.free_bytes,
        }),
        Err(error) => {
            tracing::warn!(%error, "asking for the free space in {}", data.display());
            None
        }
    }
}
