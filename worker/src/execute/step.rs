//! One step, from its first process to its last: its output is sent as it comes, and it is stopped when it takes too
//! long, prints nothing for too long, prints too much, uses more of the machine than it may, or is cancelled. Time in which this program
//! itself did not run, because it was stopped or its machine suspended, counts for none of this, nor does time in which the
//! step was stopped.

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use domain::clock::{RunClock, TICK};
use domain::readers::MAX_REPORT_BYTES;
use nix::sys::signal::Signal;
use protocol::{InfraFailure, Limits, RecipeStep, StepEnd};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::blocking::infra_failure;
use super::disk_watch::DiskWatch;
use super::job::ExecutionEvent;
use super::log_sender::{LogSender, ReceiverGone};
use super::process::{OutputMode, ProcessTree, StepOutput, end_from_status};
use super::process_watch::{ProcessWatch, oom_kills};
use super::sandbox::Sandbox;
use super::variables::Variables;
use super::workspace::Workspace;
use crate::length;

/// Time to write a last line between SIGTERM and SIGKILL. In bubblewrap a step gets no such time: SIGTERM ends it at
/// once.
const TERMINATION_GRACE: Duration = Duration::from_secs(2);
/// No limit is longer than this, whatever a recipe sets: a clock cannot count to the end of all numbers.
const MAX_TIME_LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a step's output may stay open after the step has ended. Without a sandbox, a process that left the group
/// may hold it.
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// The most that a pipe can hold, and so the most that can be in it after its last writer has ended.
const MAX_PIPE_BYTES: usize = 1 << 20;

/// A step and all that it needs to run.
pub struct StepTask<'a> {
    pub index: u16,
    pub step: &'a RecipeStep,
    pub limits: &'a Limits,
    pub sandbox: &'a Sandbox,
    pub workspace: &'a Workspace,
    pub variables: &'a Variables,
    /// Where to keep the output that may be the step's report.
    pub capture: Option<&'a Path>,
    pub outputs: OutputMode,
    /// The build's own folder, and how much of the disk it may use.
    pub folder: &'a Path,
    pub disk_bytes: u64,
}

/// A step that has ended.
pub struct EndedStep {
    pub end: StepEnd,
    /// The end of its log.
    pub last_output: Vec<u8>,
}

/// Runs the step to its end, whatever that end is. An error is this machine's, not the step's.
pub async fn run(
    task: &StepTask<'_>,
    out: &Sender<ExecutionEvent>,
    stop: &CancellationToken,
) -> Result<EndedStep, InfraFailure> {
    let oom_kills_before = oom_kills().await;
    let mut running = RunningStep::start(task, out).await?;
    let status = match running.supervise(stop).await? {
        Supervised::Exited(status) => status,
        Supervised::ReceiverGone => {
            return Ok(EndedStep { end: StepEnd::Cancelled, last_output: Vec::new() });
        }
    };
    let RunningStep { tree, mut outputs, mut log, state, .. } = running;
    let sandbox_status = tree.end();
    drain(&mut outputs, &mut log).await.map_err(in_capture)?;
    let (beginning, last_output) = (log.beginning(), log.end());
    log.finish().await;
    let end = match state {
        StepState::Terminating { why, .. } | StepState::Killed { why } => why,
        StepState::Running if task.sandbox.has_run_command(&sandbox_status) => {
            match end_from_status(status) {
                StepEnd::Signal { signal } if is_sigkill(signal) && oom_kills().await > oom_kills_before => {
                    return Err(InfraFailure::Worker {
                        detail: "this machine ran out of memory and killed the step".into(),
                    });
                }
                end => end,
            }
        }
        StepState::Running => {
            return Err(InfraFailure::Sandbox {
                detail: format!("bubblewrap ended ({status}) before the step's command did: {beginning}"),
            });
        }
    };
    Ok(EndedStep { end, last_output })
}

struct RunningStep<'a> {
    tree: ProcessTree,
    outputs: OutputReader,
    log: LogSender<'a>,
    processes: ProcessWatch,
    clock: StepClock,
    /// How long the step may run, and be silent.
    deadline: Duration,
    silence: Duration,
    last_output: Duration,
    state: StepState,
}

/// The time that a step had: this program was awake to see it, and nobody had stopped the step.
struct StepClock {
    started: Instant,
    ran: RunClock,
}

impl StepClock {
    /// A step may be stopped for as long as it may run.
    fn start(deadline: Duration) -> StepClock {
        StepClock { started: Instant::now(), ran: RunClock::new(Duration::ZERO, deadline) }
    }

    fn read(&mut self, is_stopped: bool) -> Duration {
        self.ran.read(self.started.elapsed(), is_stopped)
    }
}

/// Whether the step is still allowed to run, and if not, why.
enum StepState {
    Running,
    /// It received SIGTERM, and will be killed at that time.
    Terminating {
        why: StepEnd,
        kill_at: Duration,
    },
    Killed {
        why: StepEnd,
    },
}

enum Supervised {
    Exited(ExitStatus),
    ReceiverGone,
}

impl<'a> RunningStep<'a> {
    async fn start(
        task: &StepTask<'_>,
        out: &'a Sender<ExecutionEvent>,
    ) -> Result<RunningStep<'a>, InfraFailure> {
        let log = LogSender::new(task.index, task.limits.log_bytes, out);
        let (tree, streams) = start(task)?;
        let outputs = OutputReader::new(streams, task.capture).await.map_err(in_capture)?;
        let deadline = time_limit(task.step.time_ms.unwrap_or(task.limits.time_ms));
        Ok(RunningStep {
            processes: ProcessWatch::new(
                tree.leader(),
                task.limits.memory_bytes,
                DiskWatch::new(task.folder, task.disk_bytes),
            ),
            tree,
            outputs,
            log,
            clock: StepClock::start(deadline),
            deadline,
            silence: time_limit(task.step.silence_ms.unwrap_or(task.limits.silence_ms)),
            last_output: Duration::ZERO,
            state: StepState::Running,
        })
    }

    /// Forwards output and enforces limits until the first process has ended or nobody listens any more.
    async fn supervise(&mut self, stop: &CancellationToken) -> Result<Supervised, InfraFailure> {
        loop {
            let now = self.time();
            self.check_time(now);
            let room = self.log.room();
            let alarm = self.silence_alarm();
            let next_look = self.next_look(now, alarm);
            let is_running = matches!(self.state, StepState::Running);
            tokio::select! {
                biased;
                () = stop.cancelled(), if is_running => self.terminate(StepEnd::Cancelled),
                status = self.tree.wait() => return status.map(Supervised::Exited).map_err(|e| {
                    InfraFailure::Worker { detail: format!("waiting for the end of a step failed: {e}") }
                }),
                // After a mere request to end, it would go on growing.
                limit = self.processes.exceeded(), if is_running => self.kill(limit),
                permit = self.log.ready() => {
                    match permit {
                        Ok(permit) => permit.send(self.log.take()),
                        Err(ReceiverGone) => return Ok(Supervised::ReceiverGone),
                    }
                    self.last_output = self.time();
                }
                output = self.outputs.ready(), if room > 0 && self.outputs.is_open() => {
                    self.last_output = self.time();
                    let printed = self.outputs.take(output, room).await.map_err(in_capture)?;
                    self.log.print(printed, Instant::now());
                    if self.log.is_runaway() && matches!(self.state, StepState::Running) {
                        self.terminate(StepEnd::LogLimit);
                    }
                }
                // The last branch: what was printed while this program did not run is read before it calls that silence.
                () = tokio::time::sleep(next_look) => {
                    let now = self.time();
                    if alarm.is_some_and(|alarm| now >= alarm) {
                        self.terminate(StepEnd::Silent);
                    }
                }
            }
        }
    }

    /// The time that the step had until now.
    fn time(&mut self) -> Duration {
        self.clock.read(self.processes.are_stopped())
    }

    /// When the step will have been silent for too long.
    fn silence_alarm(&self) -> Option<Duration> {
        match &self.state {
            // While nothing can be sent we do not read, and must not call that silence.
            StepState::Running if self.log.room() == 0 => None,
            StepState::Running => Some(self.last_output + self.silence),
            StepState::Terminating { .. } | StepState::Killed { .. } => None,
        }
    }

    /// How long to wait at most before the clock is read again.
    fn next_look(&self, now: Duration, alarm: Option<Duration>) -> Duration {
        let limit = match &self.state {
            StepState::Running => Some(self.deadline),
            StepState::Terminating { kill_at, .. } => Some(*kill_at),
            StepState::Killed { .. } => None,
        };
        let due = alarm.into_iter().chain(limit).min().map(|due| due.saturating_sub(now));
        due.map_or(TICK, |due| due.min(TICK))
    }

    fn check_time(&mut self, now: Duration) {
        match &self.state {
            StepState::Running if now >= self.deadline => self.terminate(StepEnd::TimedOut),
            StepState::Terminating { why, kill_at } if now >= *kill_at => self.kill(why.clone()),
            StepState::Running | StepState::Terminating { .. } | StepState::Killed { .. } => {}
        }
    }

    fn terminate(&mut self, why: StepEnd) {
        self.tree.signal(Signal::SIGTERM);
        self.state = StepState::Terminating { why, kill_at: self.time() + TERMINATION_GRACE };
    }

    fn kill(&mut self, why: StepEnd) {
        self.tree.signal(Signal::SIGKILL);
        self.state = StepState::Killed { why };
    }
}

fn start(task: &StepTask<'_>) -> Result<(ProcessTree, StepOutput), InfraFailure> {
    let command =
        |status| task.sandbox.command(task.workspace, task.variables, task.step, task.limits, status);
    ProcessTree::start(task.outputs, command).map_err(|e| InfraFailure::Sandbox {
        detail: format!("step `{}` could not be started: {e}", task.step.name),
    })
}

fn time_limit(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds).min(MAX_TIME_LIMIT)
}

fn is_sigkill(signal: i32) -> bool {
    Signal::try_from(signal) == Ok(Signal::SIGKILL)
}

/// Reads what is still in the pipes.
async fn drain(outputs: &mut OutputReader, log: &mut LogSender<'_>) -> io::Result<()> {
    let deadline = Instant::now() + DRAIN_TIME;
    let mut left = 2 * MAX_PIPE_BYTES;
    while left > 0 && outputs.is_open() {
        if log.room() == 0 {
            log.flush().await;
        }
        let Ok(output) = tokio::time::timeout_at(deadline, outputs.ready()).await else {
            break;
        };
        let printed = outputs.take(output, log.room().min(left)).await?;
        left -= printed.len();
        log.print(printed, Instant::now());
    }
    outputs.finish().await
}

/// Reads both outputs of a step, and copies the one that may be a report into a file.
struct OutputReader {
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    capture: Option<Capture>,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Output {
    Stdout,
    Stderr,
}

struct Capture {
    file: File,
    left_bytes: u64,
}

impl OutputReader {
    async fn new(streams: StepOutput, capture: Option<&Path>) -> io::Result<OutputReader> {
        let capture = match capture {
            // One byte more than a reader takes, so that a longer report is recognized as too long.
            Some(path) => Some(Capture { file: File::create(path).await?, left_bytes: MAX_REPORT_BYTES + 1 }),
            None => None,
        };
        Ok(OutputReader { stdout: Some(streams.stdout), stderr: streams.stderr, capture, buffer: Vec::new() })
    }

    fn is_open(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// Waits until an output has something to read, or has ended. May be abandoned and called again.
    async fn ready(&self) -> Output {
        tokio::select! {
            () = readable(&self.stdout) => Output::Stdout,
            () = readable(&self.stderr) => Output::Stderr,
        }
    }

    /// Reads at most `room` bytes from that output; nothing if it has ended. An error comes from the capture file.
    async fn take(&mut self, output: Output, room: usize) -> io::Result<&[u8]> {
        let (pipe, capture) = match output {
            Output::Stdout => (&mut self.stdout, self.capture.as_mut()),
            Output::Stderr => (&mut self.stderr, None),
        };
        self.buffer.resize(room, 0);
        match pipe.as_ref().map_or(Ok(0), |pipe| pipe.try_read(&mut self.buffer)) {
            Ok(length @ 1..) => self.buffer.truncate(length),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.buffer.clear(),
            // The end; a pipe that cannot be read has ended as well.
            Ok(_) | Err(_) => {
                *pipe = None;
                self.buffer.clear();
            }
        }
        if let Some(capture) = capture {
            let captured = usize::try_from(capture.left_bytes).unwrap_or(usize::MAX).min(self.buffer.len());
            capture.file.write_all(&self.buffer[..captured]).await?;
            capture.left_bytes -= length::to_u64(captured);
        }
        Ok(&self.buffer)
    }

    /// tokio writes to the file in the background: the last bytes are in it only after this.
    async fn finish(&mut self) -> io::Result<()> {
        match &mut self.capture {
            Some(capture) => capture.file.flush().await,
            None => Ok(()),
        }
    }
}

/// An output that has ended is never readable again.
async fn readable(pipe: &Option<Receiver>) {
    match pipe {
        // An error occurs again when the pipe is read.
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    }
}

fn in_capture(e: io::Error) -> InfraFailure {
    infra_failure("writing a step's output to a file", &e)
}
