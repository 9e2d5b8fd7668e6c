//! A step's processes as one thing: a session of their own, under limits, that dies as a whole.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, setsid};
use protocol::StepEnd;
use tokio::net::unix::pipe::Receiver;

/// No single file of a build may grow past this: a runaway writer meets it before the disk is full.
const MAX_FILE_BYTES: u64 = 8 << 30;
/// The same on every machine, so that a suite that counts its descriptors finds the same everywhere.
const MAX_OPEN_FILES: u64 = 4096;

/// A started step. When it is dropped, its whole group is killed.
pub struct ProcessTree {
    child: tokio::process::Child,
    group: Pid,
    status: PipeReader,
}

/// What a step prints.
pub struct StepOutput {
    pub stdout: Receiver,
    /// None when both go through one pipe, which keeps their lines in order.
    pub stderr: Option<Receiver>,
}

/// How a step's two outputs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    Together,
    /// Its standard output is a report, which no warning may be mixed into.
    Apart,
}

impl ProcessTree {
    /// Starts what `command` makes for the pipe that it is given to write its status to.
    ///
    /// The calling thread must outlive the tree (bubblewrap dies with it): a runtime's own worker thread does.
    pub fn start(
        outputs: OutputMode,
        command: impl FnOnce(PipeWriter) -> Command,
    ) -> io::Result<(ProcessTree, StepOutput)> {
        let (status, status_writer) = io::pipe()?;
        // Read after the end, when all has been written that ever will be.
        fcntl(&status, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let (stdout, stdout_writer) = io::pipe()?;
        let (stderr, stderr_writer) = match outputs {
            OutputMode::Together => (None, stdout_writer.try_clone()?),
            OutputMode::Apart => {
                let (reader, writer) = io::pipe()?;
                (Some(reader), writer)
            }
        };
        let mut command = command(status_writer);
        command.stdin(Stdio::null()).stdout(stdout_writer).stderr(stderr_writer);
        lead_a_session(&mut command);
        let mut command = tokio::process::Command::from(command);
        let child = command.spawn()?;
        // The command holds our copies of the pipes' other ends: without them gone, no pipe would ever end.
        drop(command);
        let group = child.id().expect("a child that was not waited for has an id");
        let group = Pid::from_raw(i32::try_from(group).expect("Linux process ids are below 2^22"));
        let receiver = |pipe: PipeReader| Receiver::from_owned_fd(OwnedFd::from(pipe));
        let streams = StepOutput { stdout: receiver(stdout)?, stderr: stderr.map(receiver).transpose()? };
        Ok((ProcessTree { child, group, status }, streams))
    }

    /// Its first process, which leads its session.
    pub fn first(&self) -> Pid {
        self.group
    }

    /// Waits for the first process; may be abandoned and called again.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    pub fn signal(&self, signal: Signal) {
        match killpg(self.group, signal) {
            // ESRCH: nobody is left, which is what was wanted.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(e) => tracing::warn!("{signal} could not be sent to the step's group {}: {e}", self.group),
        }
    }

    /// To be called once the first process has ended: ends all others, and gives back what the sandbox wrote of itself.
    pub fn end(mut self) -> String {
        let mut text = [0; 4096];
        let mut length = 0;
        // An error is the end as well: WouldBlock says that all there is was read.
        while let Ok(read @ 1..) = self.status.read(&mut text[length..]) {
            length += read;
        }
        String::from_utf8_lossy(&text[..length]).into_owned()
    }
}

impl Drop for ProcessTree {
    fn drop(&mut self) {
        // The first process may have been waited for a moment ago, and its number be free. Linux hands numbers out in
        // turn, so it is not another's yet: but keep no ended tree for longer.
        self.signal(Signal::SIGKILL);
    }
}

fn lead_a_session(command: &mut Command) {
    let limits = || -> io::Result<()> {
        setsid()?;
        for (resource, wanted) in [
            (Resource::RLIMIT_CORE, 0),
            (Resource::RLIMIT_FSIZE, MAX_FILE_BYTES),
            (Resource::RLIMIT_NOFILE, MAX_OPEN_FILES),
        ] {
            let (_, most) = getrlimit(resource)?;
            let limit = wanted.min(most);
            setrlimit(resource, limit, limit)?;
        }
        Ok(())
    };
    #[expect(unsafe_code, reason = "the standard library has no safe way to act between fork and exec")]
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; setsid, getrlimit and setrlimit are
    // bare system calls, and nothing is allocated.
    unsafe {
        command.pre_exec(limits)
    };
}

/// A shell, and bubblewrap like it, tells of a child that died by signal n with exit code 128 + n. Only the signals
/// that programs die of are read back: 129 and 130 are codes that programs also choose by themselves.
pub fn end_of(status: ExitStatus) -> StepEnd {
    use std::os::unix::process::ExitStatusExt;

    const FATAL: [Signal; 12] = [
        Signal::SIGILL,
        Signal::SIGTRAP,
        Signal::SIGABRT,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGKILL,
        Signal::SIGSEGV,
        Signal::SIGPIPE,
        Signal::SIGTERM,
        Signal::SIGXCPU,
        Signal::SIGXFSZ,
        Signal::SIGSYS,
    ];
    match (status.code(), status.signal()) {
        (Some(code), _) if FATAL.iter().any(|signal| code == 128 + *signal as i32) => {
            StepEnd::Signal { signal: code - 128 }
        }
        (Some(code), _) => StepEnd::Exit { code },
        (None, signal) => StepEnd::Signal { signal: signal.unwrap_or(0) },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn exit_codes_and_deaths_are_told_apart() {
        let exit = |code| StepEnd::Exit { code };
        let signal = |signal| StepEnd::Signal { signal };
        for (raw, expected) in [
            (0, exit(0)),
            (1 << 8, exit(1)),
            (127 << 8, exit(127)),
            (128 << 8, exit(128)),
            (129 << 8, exit(129)),
            (134 << 8, signal(6)),
            (137 << 8, signal(9)),
            (139 << 8, signal(11)),
            (143 << 8, signal(15)),
            (255 << 8, exit(255)),
            (9, signal(9)),
            (11 | 0x80, signal(11)),
        ] {
            assert_eq!(end_of(ExitStatus::from_raw(raw)), expected, "{raw:#x}");
        }
    }
}
