//! What an earlier process of this worker left running when it was killed. Bubblewrap dies with the worker that started
//! it, unless that dies while the sandbox is being laid: then its inner process waits for ever. A step without a sandbox
//! lives on, and would write into the next build's world.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A killed process is gone in a moment, unless it hangs in the kernel.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Kills every process that was started as a step of a build below `work`, and returns when none is left.
pub fn end(work: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        let left = steps_below(work)?;
        if left.is_empty() {
            return Ok(());
        }
        if !told {
            tracing::warn!("killing {} processes that an earlier worker left behind", left.len());
            told = true;
        }
        if Instant::now() > deadline {
            bail!("processes of earlier builds do not end, though they were killed: {left:?}");
        }
        for process in left {
            match kill(process, Signal::SIGKILL) {
                // ESRCH: it has ended by itself.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(e) => bail!("process {process} of an earlier build cannot be killed: {e}"),
            }
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

fn steps_below(work: &Path) -> anyhow::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("looking for processes")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // What cannot be read is another user's, or has just ended.
        let told = |what| fs::read(Path::new("/proc").join(&name).join(what)).unwrap_or_default();
        if is_step_below(&told("environ"), work) || is_sandbox_of(&told("cmdline"), work) {
            found.push(Pid::from_raw(process));
        }
    }
    Ok(found)
}

/// `FARM_SOURCE` is set for steps alone, and names a folder of this worker only where nothing could be mounted.
fn is_step_below(environment: &[u8], work: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;

    let marker = [b"FARM_SOURCE=", work.as_os_str().as_bytes(), b"/"].concat();
    environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(&marker))
}

/// A sandbox names the folders of its build to mount them.
fn is_sandbox_of(command: &[u8], work: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;

    let below = [work.as_os_str().as_bytes(), b"/"].concat();
    let mut words = command.split(|byte| *byte == 0);
    let is_bubblewrap =
        words.next().is_some_and(|program| program.rsplit(|byte| *byte == b'/').next() == Some(b"bwrap"));
    is_bubblewrap && words.any(|word| word.starts_with(&below))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn sleeper(source: &Path) -> std::process::Child {
        Command::new("sleep").arg("1000").env("FARM_SOURCE", source).spawn().unwrap()
    }

    #[test]
    fn a_step_of_this_folder_is_killed_and_that_of_another_lives() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("a/work"), folder.path().join("a/work-of-another"));
        let mut left = sleeper(&ours.join("7/src"));
        let mut other = sleeper(&theirs.join("7/src"));
        // It has its environment once it is a `sleep`.
        while steps_below(&ours).unwrap().is_empty() || steps_below(&theirs).unwrap().is_empty() {
            std::thread::yield_now();
        }
        // Who waits for it is not the worker that ends it.
        let waiter = std::thread::spawn(move || left.wait().unwrap());
        end(&ours).unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(waiter.join().unwrap().signal(), Some(9));
        assert_eq!(other.try_wait().unwrap(), None);
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn only_the_marker_itself_marks() {
        let work = Path::new("/home/a/work");
        assert!(is_step_below(b"HOME=/x\0FARM_SOURCE=/home/a/work/7/src\0", work));
        for other in [
            &b"PWD=/home/a/work/7/src\0"[..],
            b"FARM_SOURCE=/trunkfarm/src\0",
            b"FARM_SOURCE=/home/a/work\0",
            b"OLD_FARM_SOURCE=/home/a/work/7/src\0",
            b"",
        ] {
            assert!(!is_step_below(other, work), "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn a_sandbox_is_known_by_what_it_mounts() {
        let work = Path::new("/home/a/work");
        assert!(is_sandbox_of(b"/usr/bin/bwrap\0--bind\0/home/a/work/7/src\0/trunkfarm/src\0", work));
        assert!(!is_sandbox_of(b"bwrap\0--bind\0/home/a/works/7/src\0/trunkfarm/src\0", work));
        assert!(!is_sandbox_of(b"/usr/bin/vi\0/home/a/work/7/src/a.c\0", work));
    }
}
