//! How much of the disk a build uses. The free space of the disk is looked at twice a second, which costs nothing; what is
//! in the build's folder is added up only when that leaves it open whether the build is within its limit.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::statvfs::statvfs;

/// What others have freed meanwhile hides what a build has written, but not for longer than this.
const MEASURE_PERIOD: Duration = Duration::from_secs(60);
/// The unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;
/// A name and its inode use space that `st_blocks` does not count.
const ENTRY_BYTES: u64 = 1024;
/// A path that is longer than this begins anew at an open folder: the system takes 4096 bytes.
const MAX_PATH_BYTES: usize = 2048;

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

fn free_bytes(folder: &Path) -> Option<u64> {
    statvfs(folder).ok().map(|disk| disk.blocks_available() * disk.fragment_size())
}

/// What everything below a folder uses, at any depth. What vanishes or cannot be read meanwhile counts nothing.
fn used_bytes(root: &Path) -> u64 {
    let mut bytes = 0u64;
    let mut linked = HashSet::new();
    // The open folder that a path begins at is kept open as long as a path needs it.
    let mut folders: Vec<(Option<Rc<File>>, PathBuf)> = vec![(None, root.to_path_buf())];
    while let Some((mut begins_at, mut folder)) = folders.pop() {
        if folder.as_os_str().as_bytes().len() > MAX_PATH_BYTES {
            let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let opened = File::options().read(true).custom_flags(flags.bits()).open(&folder);
            let Ok(opened) = opened else { continue };
            folder = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
            begins_at = Some(Rc::new(opened));
        }
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let is_counted =
                metadata.is_dir() || metadata.nlink() < 2 || linked.insert((metadata.dev(), metadata.ino()));
            if is_counted {
                let own = metadata.blocks().saturating_mul(BLOCK_BYTES);
                bytes = bytes.saturating_add(own).saturating_add(ENTRY_BYTES);
            }
            if metadata.is_dir() {
                folders.push((begins_at.clone(), entry.path()));
            }
        }
    }
    bytes
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

    #[test]
    fn files_count_at_any_depth_and_once_whatever_links_there_are() {
        let root = tempfile::tempdir().unwrap();
        let script = "import os\nfor _ in range(5000):\n os.mkdir('d'); os.chdir('d')\n\
                      open('file','w').write('x'*(1<<20)); os.link('file','again'); os.symlink('/', 'out')";
        let made =
            std::process::Command::new("python3").args(["-c", script]).current_dir(root.path()).status();
        assert!(made.expect("python3 makes the chain").success());
        let folders = 5000 * (4096 + ENTRY_BYTES);
        let used = used_bytes(root.path());
        assert!(((1 << 20)..(2 << 20) + folders).contains(&used), "{used}");
        crate::trash::remove_tree(&root.path().join("d")).unwrap();
    }
}
