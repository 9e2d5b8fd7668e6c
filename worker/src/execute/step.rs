//! One step, from its first process to its last: what it prints goes out as it comes, and it is stopped when it
//! takes too long, is silent too long, prints too much, or nobody wants it any more.

use std::io;
use std::path::Path;
use std::time::Duration;

use domain::readers::MAX_REPORT_BYTES;
use nix::sys::signal::Signal;
use protocol::{InfraFailure, Limits, RecipeStep, StepEnd};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::outlet::{LogSender, ReceiverGone};
use super::process::{OutputMode, ProcessTree, StepOutput, end_of};
use super::sandbox::{NetworkAccess, Sandbox};
use super::variables::Variables;
use super::workspace::Workspace;
use super::{ExecutionEvent, memory};

/// Time to write a last line between SIGTERM and SIGKILL. Inside bubblewrap there is none: it ends at once.
const GRACE: Duration = Duration::from_secs(2);
/// No limit of a recipe is longer; a clock cannot count to the end of all numbers.
const MAX_TIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a step's output may stay open after its end: someone who left the group without a sandbox holds it.
const DRAIN: Duration = Duration::from_secs(1);
/// The most that a pipe can hold, and so all that can be in it after the last writer has gone.
const MAX_PIPE_BYTES: usize = 1 << 20;

/// A step and all that it needs to run.
pub struct Task<'a> {
    pub index: u16,
    pub step: &'a RecipeStep,
    pub limits: &'a Limits,
    pub sandbox: &'a Sandbox,
    pub workspace: &'a Workspace,
    pub variables: &'a Variables,
    /// Where to keep what of its output may be its report.
    pub capture: Option<&'a Path>,
    pub outputs: OutputMode,
}

/// Why the step is no longer left to itself.
enum Stage {
    Running,
    /// It was asked to go, and will be killed at that time.
    Stopping {
        why: StepEnd,
        kill_at: Instant,
    },
    Killed {
        why: StepEnd,
    },
}

/// Runs the step to its end, whatever that end is. A trouble is this machine's own, not the step's.
pub async fn run(
    task: &Task<'_>,
    out: &Sender<ExecutionEvent>,
    stop: &CancellationToken,
) -> Result<StepEnd, InfraFailure> {
    let mut outlet = LogSender::new(task.index, task.limits.log_bytes, out);
    let (mut tree, streams) = start(task)?;
    let mut reading = Reading::new(streams, task.capture).await.map_err(in_capture)?;
    let time = limit(task.step.time_ms.unwrap_or(task.limits.time_ms));
    let silence = limit(task.step.silence_ms.unwrap_or(task.limits.silence_ms));
    let times_up = Instant::now() + time;
    let mut heard = Instant::now();
    let mut memory_clock = memory::clock();
    let killed_before = memory::kills();
    let mut stage = Stage::Running;

    let status = loop {
        let room = outlet.room();
        let alarm = match &stage {
            // While nothing can leave we do not listen, and must not call that silence.
            Stage::Running if room == 0 => Some(times_up),
            Stage::Running => Some(times_up.min(heard + silence)),
            Stage::Stopping { kill_at, .. } => Some(*kill_at),
            Stage::Killed { .. } => None,
        };
        tokio::select! {
            biased;
            () = stop.cancelled(), if matches!(stage, Stage::Running) => {
                stage = ask_to_go(&tree, StepEnd::Cancelled);
            }
            () = until(alarm) => {
                stage = match stage {
                    Stage::Running if Instant::now() >= times_up => ask_to_go(&tree, StepEnd::TimedOut),
                    Stage::Running => ask_to_go(&tree, StepEnd::Silent),
                    Stage::Stopping { why, .. } | Stage::Killed { why } => {
                        tree.signal(Signal::SIGKILL);
                        Stage::Killed { why }
                    }
                };
            }
            status = tree.wait() => break status,
            _ = memory_clock.tick(), if matches!(stage, Stage::Running) => {
                if memory::held_by(tree.first()) > task.limits.memory_bytes {
                    // Asked to go, it would grow on.
                    tree.signal(Signal::SIGKILL);
                    stage = Stage::Killed { why: StepEnd::OutOfMemory };
                }
            }
            permit = outlet.ready() => {
                match permit {
                    Ok(permit) => permit.send(outlet.take()),
                    Err(ReceiverGone) => return Ok(StepEnd::Cancelled),
                }
                heard = Instant::now();
            }
            output = reading.ready(), if room > 0 && reading.is_open() => {
                let printed = reading.take(output, room).await.map_err(in_capture)?;
                heard = Instant::now();
                outlet.print(printed, heard);
                if outlet.ran_away() && matches!(stage, Stage::Running) {
                    stage = ask_to_go(&tree, StepEnd::LogLimit);
                }
            }
        }
    };
    let status = status.map_err(|e| InfraFailure::Worker {
        detail: format!("the end of a step could not be awaited: {e}"),
    })?;
    let said = tree.end();
    drain(&mut reading, &mut outlet).await.map_err(in_capture)?;
    let first_words = outlet.first_words();
    outlet.finish().await;
    match stage {
        Stage::Stopping { why, .. } | Stage::Killed { why } => Ok(why),
        Stage::Running if task.sandbox.reached(&said) => match end_of(status) {
            StepEnd::Signal { signal }
                if signal == Signal::SIGKILL as i32 && memory::kills() > killed_before =>
            {
                Err(InfraFailure::Worker {
                    detail: "this machine ran out of memory and killed the step".into(),
                })
            }
            end => Ok(end),
        },
        Stage::Running => Err(InfraFailure::Sandbox {
            detail: format!("bubblewrap ended with {status} before the step did: {first_words}"),
        }),
    }
}

fn start(task: &Task<'_>) -> Result<(ProcessTree, StepOutput), InfraFailure> {
    let network = match task.step.network {
        true => NetworkAccess::Granted,
        false => NetworkAccess::Withheld,
    };
    let command =
        |status| task.sandbox.command(task.workspace, task.variables, &task.step.run, network, status);
    ProcessTree::start(task.outputs, command).map_err(|e| InfraFailure::Sandbox {
        detail: format!("step `{}` could not be started: {e}", task.step.name),
    })
}

fn limit(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds).min(MAX_TIME)
}

async fn until(alarm: Option<Instant>) {
    match alarm {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn ask_to_go(tree: &ProcessTree, why: StepEnd) -> Stage {
    tree.signal(Signal::SIGTERM);
    Stage::Stopping { why, kill_at: Instant::now() + GRACE }
}

/// Reads what is still in the pipes.
async fn drain(reading: &mut Reading, outlet: &mut LogSender<'_>) -> io::Result<()> {
    let until = Instant::now() + DRAIN;
    let mut left = 2 * MAX_PIPE_BYTES;
    while left > 0 && reading.is_open() {
        if outlet.room() == 0 {
            outlet.flush().await;
        }
        let Ok(output) = tokio::time::timeout_at(until, reading.ready()).await else {
            break;
        };
        let printed = reading.take(output, outlet.room().min(left)).await?;
        left -= printed.len();
        outlet.print(printed, Instant::now());
    }
    reading.finish().await
}

/// Both outputs of a step, and the file that keeps the one that may be a report.
struct Reading {
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    capture: Option<Capture>,
    piece: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Output {
    Stdout,
    Stderr,
}

struct Capture {
    file: File,
    left: u64,
}

impl Reading {
    async fn new(streams: StepOutput, capture: Option<&Path>) -> io::Result<Reading> {
        let capture = match capture {
            // One byte more than is read, so that a longer report is known to be cut.
            Some(path) => Some(Capture { file: File::create(path).await?, left: MAX_REPORT_BYTES + 1 }),
            None => None,
        };
        Ok(Reading { stdout: Some(streams.stdout), stderr: streams.stderr, capture, piece: Vec::new() })
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

    /// What that output has, at most `room` bytes; nothing when it has ended. Errors are the capture's.
    async fn take(&mut self, output: Output, room: usize) -> io::Result<&[u8]> {
        let (pipe, capture) = match output {
            Output::Stdout => (&mut self.stdout, self.capture.as_mut()),
            Output::Stderr => (&mut self.stderr, None),
        };
        self.piece.resize(room, 0);
        match pipe.as_ref().map_or(Ok(0), |pipe| pipe.try_read(&mut self.piece)) {
            Ok(length @ 1..) => self.piece.truncate(length),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.piece.clear(),
            // The end; a pipe that cannot be read any more has ended as well.
            Ok(_) | Err(_) => {
                *pipe = None;
                self.piece.clear();
            }
        }
        if let Some(capture) = capture {
            let kept = usize::try_from(capture.left).unwrap_or(usize::MAX).min(self.piece.len());
            capture.file.write_all(&self.piece[..kept]).await?;
            capture.left -= kept as u64;
        }
        Ok(&self.piece)
    }

    /// The file takes its last bytes in the background: they are in it only after this.
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
        // An error shows again when it is read.
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    }
}

fn in_capture(e: io::Error) -> InfraFailure {
    super::infra_failure("keeping what a step prints", &e)
}
