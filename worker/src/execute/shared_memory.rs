//! Memory that processes share: files in `/dev/shm`, memfds and shared mappings. It belongs to no process alone, and a kernel
//! counts it for a group of processes only in a control group. So it is added up here, when it may matter.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// What an empty file in memory uses.
const INODE_BYTES: u64 = 1024;

/// The memory that all processes of the machine share, and what is swapped out. Cheap to read: a step cannot use more.
pub fn of_machine() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let value = |name| kibibytes(&text, name);
    value("Shmem:").saturating_add(value("SwapTotal:").saturating_sub(value("SwapFree:")))
}

/// What these processes use together, with what is swapped out and what they share: the larger of what they have mapped
/// and what is stored, since most of the one is in the other.
pub fn of_processes(ids: &[i32]) -> u64 {
    let (mut private, mut mapped, mut stored) = (0u64, 0u64, 0u64);
    let mut memfds = HashSet::new();
    let mut mounts = HashSet::new();
    if let Some(of_machine) = device(Path::new("/dev/shm")) {
        mounts.insert(of_machine);
    }
    for id in ids {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        private += kibibytes(&status, "RssAnon:") + kibibytes(&status, "VmSwap:");
        let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
        // Older kernels do not divide what is mapped among the processes that share it.
        mapped += match rollup.contains("Pss_Shmem:") {
            true => kibibytes(&rollup, "Pss_Shmem:"),
            false => kibibytes(&status, "RssShmem:"),
        };
        let shared = format!("/proc/{id}/root/dev/shm");
        if device(Path::new(&shared)).is_some_and(|device| mounts.insert(device))
            && let Ok(disk) = statvfs(shared.as_str())
        {
            stored += (disk.blocks() - disk.blocks_free()) * disk.fragment_size();
            stored += (disk.files() - disk.files_free()) * INODE_BYTES;
        }
        for file in fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten() {
            let is_memfd =
                fs::read_link(file.path()).is_ok_and(|to| to.as_os_str().as_bytes().starts_with(b"/memfd:"));
            if is_memfd
                && let Ok(metadata) = fs::metadata(file.path())
                && memfds.insert((metadata.dev(), metadata.ino()))
            {
                stored += metadata.blocks() * 512;
            }
        }
    }
    private.saturating_add(mapped.max(stored))
}

fn device(folder: &Path) -> Option<u64> {
    fs::metadata(folder).ok().map(|metadata| metadata.dev())
}

/// A line such as `Shmem:    12 kB`, in bytes; 0 if there is none.
fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB"));
    line.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_memfd_counts_once_however_many_have_it_open() {
        let own = i32::try_from(std::process::id()).unwrap();
        let before = of_processes(&[own]);
        let memfd = nix::sys::memfd::memfd_create(c"hog", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
        let mut file = fs::File::from(memfd);
        file.write_all(&vec![1; 64 << 20]).unwrap();
        let again = file.try_clone().unwrap();
        let after = of_processes(&[own]);
        drop(again);
        assert!((before + (48 << 20)..before + (112 << 20)).contains(&after), "{before} {after}");
        assert!(of_machine() >= 64 << 20);
    }
}
