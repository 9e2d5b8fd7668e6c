//! How much of the disk a build uses. The free space of the disk is looked at twice a second, which costs nothing; what is
//! in the build's folder is added up only when that leaves it open whether the build is within its limit.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::disk_usage::{free_bytes, used_bytes};

/// What others have freed meanwhile hides what a build has written, but not for longer than this.
const MEASURE_PERIOD: Duration = Duration::from_secs(60);

/// Watches the folder of one build during one step.
pub struct DiskWatch {
    folder: PathBuf,
    limit_bytes: u64,
    measured: Measured,
    measured_at: Instant,
}

/// What a build used, when so much of its disk was free.
#[derive(Debug, Clone, Copy)]
struct Measured {
    used_bytes: u64,
    free_bytes: u64,
}

impl DiskWatch {
    /// What is in the folder now counts as soon as the build writes.
    pub fn new(folder: &Path, limit_bytes: u64) -> DiskWatch {
        DiskWatch {
            folder: folder.to_path_buf(),
            limit_bytes,
            measured: Measured { used_bytes: 0, free_bytes: free_bytes(folder).unwrap_or(0) },
            measured_at: Instant::now(),
        }
    }

    /// Whether the build uses more than its limit. Blocks.
    pub fn is_exceeded(&mut self) -> bool {
        let Some(free) = free_bytes(&self.folder) else { return false };
        if !must_measure(self.measured, free, self.limit_bytes, self.measured_at.elapsed()) {
            return false;
        }
        let used_bytes = used_bytes(&self.folder);
        self.measured = Measured { used_bytes, free_bytes: free };
        self.measured_at = Instant::now();
        used_bytes > self.limit_bytes
    }
}

/// Whether the folder may have grown beyond the limit since it was measured.
fn must_measure(last: Measured, free_bytes: u64, limit_bytes: u64, elapsed: Duration) -> bool {
    let written = last.free_bytes.saturating_sub(free_bytes);
    last.used_bytes.saturating_add(written) > limit_bytes || elapsed >= MEASURE_PERIOD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_measured_when_it_may_be_too_large_or_was_not_for_long() {
        let last = Measured { used_bytes: 40, free_bytes: 1000 };
        let second = Duration::from_secs(1);
        for (free_bytes, elapsed, expected) in [
            (1000, second, false),
            (940, second, false),
            (939, second, true),
            (2000, second, false),
            (2000, MEASURE_PERIOD, true),
        ] {
            assert_eq!(must_measure(last, free_bytes, 100, elapsed), expected, "{free_bytes} {elapsed:?}");
        }
    }
}
