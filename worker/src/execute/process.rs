//! A step's processes as one unit: a session of their own, under limits, that is killed as a whole.

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

/// No single file of a build may grow larger: a runaway writer reaches this limit before the disk is full.
const MAX_FILE_BYTES: u64 = 8 << 30;
/// The same on every machine, so that a suite that counts its file descriptors behaves the same everywhere.
const MAX_OPEN_FILES: u64 = 4096;
/// Processes and threads of one step. The largest builds have some hundred.
pub const MAX_PROCESSES: u32 = 4096;

/// A started step. Dropping it kills its whole process group.
pub struct ProcessTree {
    child: tokio::process::Child,
    group: Pid,
    status: PipeReader,
}

/// What a step prints.
pub struct StepOutput {
    pub stdout: Receiver,
    /// None if both outputs share one pipe, which keeps their lines in order.
    pub stderr: Option<Receiver>,
}

/// How a step's two outputs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    Together,
    /// The standard output is a report, and no warning may be mixed into it.
    Separate,
}

impl ProcessTree {
    /// Starts the command that `command` returns; it receives the pipe to which the sandbox writes its status.
    ///
    /// The calling thread must outlive the tree, since bubblewrap dies with it. A runtime's own worker thread does.
    pub fn start(
        outputs: OutputMode,
        command: impl FnOnce(PipeWriter) -> io::Result<Command>,
    ) -> io::Result<(ProcessTree, StepOutput)> {
        let (status, status_writer) = io::pipe()?;
        // We read it after the end, when nothing more will be written.
        fcntl(&status, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let (stdout, stdout_writer) = io::pipe()?;
        let (stderr, stderr_writer) = match outputs {
            OutputMode::Together => (None, stdout_writer.try_clone()?),
            OutputMode::Separate => {
                let (reader, writer) = io::pipe()?;
                (Some(reader), writer)
            }
        };
        let mut command = command(status_writer)?;
        command.stdin(Stdio::null()).stdout(stdout_writer).stderr(stderr_writer);
        limit_and_lead_session(&mut command);
        let mut command = tokio::process::Command::from(command);
        let child = command.spawn()?;
        // The command holds our copies of the pipes' writing ends: while they are open, no pipe ends.
        drop(command);
        let group = child.id().expect("a child that was not yet waited for has an id");
        let group = Pid::from_raw(i32::try_from(group).expect("Linux process ids are below 2^22"));
        let receiver = |pipe: PipeReader| Receiver::from_owned_fd(OwnedFd::from(pipe));
        let streams = StepOutput { stdout: receiver(stdout)?, stderr: stderr.map(receiver).transpose()? };
        Ok((ProcessTree { child, group, status }, streams))
    }

    /// Its first process, which leads its session.
    pub fn leader(&self) -> Pid {
        self.group
    }

    /// Waits for the end of the first process. May be abandoned and called again.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    pub fn signal(&self, signal: Signal) {
        match killpg(self.group, signal) {
            // ESRCH: no process is left, as intended.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(e) => {
                tracing::warn!("cannot send {signal} to the process group {} of a step: {e}", self.group);
            }
        }
    }

    /// Call this once the first process has ended: kills all others, and returns the status that the sandbox wrote.
    pub fn end(mut self) -> String {
        let mut text = [0; 4096];
        let mut length = 0;
        // An error is the end as well: WouldBlock means that everything was read.
        while let Ok(read @ 1..) = self.status.read(&mut text[length..]) {
            length += read;
        }
        String::from_utf8_lossy(&text[..length]).into_owned()
    }
}

impl Drop for ProcessTree {
    fn drop(&mut self) {
        // The first process may just have been reaped, so that its id is free. Linux assigns ids in turn, so no other
        // process has it yet; but do not keep an ended tree for longer.
        self.signal(Signal::SIGKILL);
    }
}

fn limit_and_lead_session(command: &mut Command) {
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
    #[expect(
        unsafe_code,
        reason = "neither std nor nix can set limits or start a session in a child without pre_exec"
    )]
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. setsid, getrlimit and setrlimit are plain
    // system calls, and the closure allocates nothing.
    unsafe {
        command.pre_exec(limits);
    }
}

/// How a step ended. A shell, and bubblewrap like it, reports a child killed by signal n as exit code 128 + n. We
/// translate only the signals that programs die of: 129 and 130 are codes that programs also choose themselves.
pub fn end_from_status(status: ExitStatus) -> StepEnd {
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
        (Some(code), _) => match Signal::try_from(code - 128) {
            Ok(signal) if FATAL.contains(&signal) => StepEnd::Signal { signal: code - 128 },
            Ok(_) | Err(_) => StepEnd::Exit { code },
        },
        (None, signal) => StepEnd::Signal { signal: signal.unwrap_or(0) },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn exit_codes_are_distinguished_from_fatal_signals() {
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
            assert_eq!(end_from_status(ExitStatus::from_raw(raw)), expected, "{raw:#x}");
        }
    }
}
