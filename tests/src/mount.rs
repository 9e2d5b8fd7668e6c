//! A small disk, to be filled: a tmpfs in the place of a folder. Only root can mount one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unmounted when dropped.
pub struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// None, with the reason printed, where this machine lets nobody mount.
    pub fn mount(place: &Path, mebibytes: u32) -> Option<SmallDisk> {
        fs::create_dir_all(place).expect("making a folder to mount on");
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(place).output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk { place: place.to_path_buf() }),
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

    /// Leaves so many bytes free at the most, and says how many it took.
    pub fn fill(&self, leave_bytes: u64) -> u64 {
        let ballast = self.place.join("ballast");
        let mut bytes = 0;
        loop {
            let free = self.free_bytes();
            if free <= leave_bytes {
                return bytes;
            }
            bytes += free - leave_bytes;
            // A file of its own, so that nothing must be written twice.
            let length = Command::new("fallocate").args(["-l", &bytes.to_string()]).arg(&ballast).status();
            assert!(length.expect("running fallocate").success(), "the disk has less room than it says");
        }
    }

    pub fn make_room(&self) {
        fs::remove_file(self.place.join("ballast")).expect("it was filled");
    }

    fn free_bytes(&self) -> u64 {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.place).output();
        let said = String::from_utf8(output.expect("running df").stdout).expect("df says text");
        said.lines().nth(1).and_then(|line| line.trim().parse().ok()).expect("df says a number")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there is about to be ended.
        let _ = Command::new("umount").arg("-l").arg(&self.place).status();
    }
}
