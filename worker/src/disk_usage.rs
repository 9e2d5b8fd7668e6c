//! What is free on a disk, and what a folder uses of it, at any depth and with any modes.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::fcntl::OFlag;
use nix::sys::statvfs::statvfs;

/// The unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;
/// A name and its inode use space that `st_blocks` does not count.
const ENTRY_BYTES: u64 = 1024;
/// A path that is longer than this begins anew at an open folder: the system takes 4096 bytes.
const MAX_PATH_BYTES: usize = 2048;

/// What is free on the disk of a folder, for this user; none if that cannot be read.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    statvfs(folder).ok().map(|disk| disk.blocks_available().saturating_mul(disk.fragment_size()))
}

/// What everything below a folder uses, at any depth. What vanishes or cannot be read meanwhile counts nothing.
pub fn used_bytes(root: &Path) -> u64 {
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
