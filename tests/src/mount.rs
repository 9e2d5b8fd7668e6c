//! A small disk that can be filled: a tmpfs mounted on a folder. Only root can mount it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unmounted when dropped.
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Returns None and prints the reason if this machine does not allow mounting.
    pub fn mount(folder: &Path, mebibytes: u32) -> Option<SmallDisk> {
        fs::create_dir_all(folder).expect("making a folder to mount on");
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder).output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk { folder: folder.to_path_buf() }),
            Ok(output) => {
                println!("skipped: no tmpfs here: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("skipped: no tmpfs here: {error}");
                None
            }
        }
    }

    /// Fills the disk until at most `leave_bytes` are free. Returns how many bytes it has used for that.
    pub fn fill(&self, leave_bytes: u64) -> u64 {
        let ballast = self.folder.join("ballast");
        let mut bytes = 0;
        loop {
            let free = self.free_bytes();
            if free <= leave_bytes {
                return bytes;
            }
            bytes += free - leave_bytes;
            // The file only grows, so that nothing is written twice.
            let length = Command::new("fallocate").args(["-l", &bytes.to_string()]).arg(&ballast).status();
            assert!(length.expect("running fallocate").success(), "the disk has less space than df reports");
        }
    }

    /// Removes what [`SmallDisk::fill`] has written.
    pub fn make_room(&self) {
        fs::remove_file(self.folder.join("ballast")).expect("it was filled");
    }

    fn free_bytes(&self) -> u64 {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.folder).output();
        let said = String::from_utf8(output.expect("running df").stdout).expect("df prints text");
        said.lines().nth(1).and_then(|line| line.trim().parse().ok()).expect("df prints a number")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: processes that still have files open there are about to end.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
