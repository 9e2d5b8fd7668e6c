//! Processes that an earlier process of this worker left running when it was killed. Bubblewrap dies with the worker that
//! started it, unless the worker dies while the sandbox is being set up: then an inner process waits forever. A step
//! without a sandbox goes on running, and would write into the next build's folders.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A killed process ends in a moment, unless it hangs in the kernel.
const KILL_TIME: Duration = Duration::from_secs(10);
const POLL_PERIOD: Duration = Duration::from_millis(20);

/// Kills every process that was started as a step of a build below `work`, and returns when none is left, or after a while:
/// what hangs in the kernel can only write to folders that no new build uses. Blocks.
pub fn kill_steps(work: &Path) {
    if let Err(e) = try_to_kill_steps(work) {
        tracing::warn!("{e:#}");
    }
}

fn try_to_kill_steps(work: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + KILL_TIME;
    let mut is_logged = false;
    loop {
        let left = steps_below(work)?;
        if left.is_empty() {
            return Ok(());
        }
        if !is_logged {
            tracing::warn!("killing {} processes that an earlier worker left running", left.len());
            is_logged = true;
        }
        if Instant::now() > deadline {
            bail!(
                "these processes of earlier builds were killed but do not end: {left:?}; end them or restart the machine"
            );
        }
        for process in left {
            match kill(process, Signal::SIGKILL) {
                // ESRCH: it has ended by itself.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(e) => bail!("cannot kill process {process} of an earlier build: {e}"),
            }
        }
        std::thread::sleep(POLL_PERIOD);
    }
}

fn steps_below(work: &Path) -> anyhow::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("listing the processes")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that cannot be read belongs to another user, or has just ended.
        let read = |what| fs::read(Path::new("/proc").join(&name).join(what)).unwrap_or_default();
        if is_step_below(&read("environ"), work) || is_sandbox_of(&read("cmdline"), work) {
            found.push(Pid::from_raw(process));
        }
    }
    Ok(found)
}

/// `FARM_SOURCE` is set only for steps, and names a folder of this worker only if nothing is mounted.
fn is_step_below(environment: &[u8], work: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;

    let marker = [b"FARM_SOURCE=", work.as_os_str().as_bytes(), b"/"].concat();
    environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(&marker))
}

/// A sandbox names the folders of its build in its arguments, to mount them.
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
    fn a_step_of_this_folder_is_killed_and_a_step_of_another_folder_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("a/work"), folder.path().join("a/work-of-another"));
        let mut left = sleeper(&ours.join("7/src"));
        let mut other = sleeper(&theirs.join("7/src"));
        // A child has its environment once it has become `sleep`.
        while steps_below(&ours).unwrap().is_empty() || steps_below(&theirs).unwrap().is_empty() {
            std::thread::yield_now();
        }
        // In reality, another process than the worker waits for it.
        let waiter = std::thread::spawn(move || left.wait().unwrap());
        try_to_kill_steps(&ours).unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(waiter.join().unwrap().signal(), Some(9));
        assert_eq!(other.try_wait().unwrap(), None);
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn only_the_whole_marker_identifies_a_step() {
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
    fn a_sandbox_is_identified_by_what_it_mounts() {
        let work = Path::new("/home/a/work");
        assert!(is_sandbox_of(b"/usr/bin/bwrap\0--bind\0/home/a/work/7/src\0/trunkfarm/src\0", work));
        assert!(!is_sandbox_of(b"bwrap\0--bind\0/home/a/works/7/src\0/trunkfarm/src\0", work));
        assert!(!is_sandbox_of(b"/usr/bin/vi\0/home/a/work/7/src/a.c\0", work));
    }
}
