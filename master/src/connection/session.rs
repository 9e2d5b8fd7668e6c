//! A worker's connection: shake hands, then record its reports and acknowledge them, in that order.

use std::ops::ControlFlow::{self, Break, Continue};
use std::time::Duration;

use anyhow::{Result, bail};
use axum::extract::ws::{Message, WebSocket};
use domain::volunteer::terms::bounded;
use domain::words::ids::{AttemptId, Timestamp, WorkerId};
use futures_util::{FutureExt, StreamExt};
use protocol::{Event, FromMaster, FromWorker, LogFrame};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connection::fault::{ProtocolViolation, Reconnect};
use crate::connection::handshake::{AdmittedWorker, shake_hands};
use crate::connection::intake::{Intake, WorkerReport};
use crate::connection::socket::{self, MAX_SLOTS};
use crate::farm::failpoint::failpoint;
use crate::farm::{Farm, now};

/// What a worker does while its master is away.
const RESTARTING: &str = "the farm restarts: keep building, and report when it is back";
const REPLACED: &str = "another connection with this key took over";
/// How much is read before it is committed and acknowledged as one.
const BATCH_BYTES: usize = 512 << 10;
const BATCH_REPORTS: usize = 256;
/// How long the first report of a running build waits for more, so that one commit records them all. An end does not wait.
const GATHER: Duration = Duration::from_millis(5);

/// Runs one connection to its end. Whatever a worker sends, only its own connection ends because of it.
pub async fn run(farm: Farm, mut socket: WebSocket) {
    let worker = match shake_hands(&farm, &mut socket).await {
        Ok(Some(admitted)) => admitted,
        Ok(None) => return,
        Err(error) => {
            socket::refuse(&mut socket, &format!("{error:#}")).await;
            return;
        }
    };
    let AdmittedWorker { id, name, bare, holds_attempts, outgoing, fence } = worker;
    tracing::info!(worker = name, "connected");
    let intake = Intake::new(farm.clone(), id, bare, holds_attempts);
    let silence = farm.config().leases.silence;
    let conversation =
        Conversation { farm: &farm, worker: &name, socket: &mut socket, outgoing, fence: &fence, silence };
    let ended = conversation.run(intake).await;
    close(&mut socket, &name, ended).await;
    leave(&farm, id, &name, &fence).await;
    tracing::info!(worker = name, "disconnected");
}

async fn close(socket: &mut WebSocket, worker: &str, ended: Result<CloseReason>) {
    match ended {
        Ok(CloseReason::WorkerLeft) => {}
        Ok(CloseReason::Stopping) => {
            let drain = FromMaster::Drain { reason: RESTARTING.to_string() };
            socket::close(socket, Some(&drain), RESTARTING).await;
        }
        Ok(CloseReason::Interrupted(why)) => {
            socket::close(socket, None, &why).await;
            tracing::info!(worker, "closed: {why}");
        }
        Err(error) => {
            socket::refuse(socket, &format!("{error:#}")).await;
            tracing::info!(worker, "closed: {error:#}");
        }
    }
}

async fn leave(farm: &Farm, id: WorkerId, name: &str, fence: &CancellationToken) {
    if farm.connections.leave(id, fence) {
        let at = now();
        let left =
            farm.store.write(move |tx| Box::pin(async move { tx.mark_worker_left(id, at).await })).await;
        if let Err(error) = left {
            tracing::warn!(worker = name, %error, "cannot record that the worker left");
        }
    }
}

/// Why a connection was closed, where the worker is not at fault.
enum CloseReason {
    WorkerLeft,
    Stopping,
    /// The worker may reconnect at once.
    Interrupted(String),
}

/// What comes next from a worker's socket; none at its end.
type Incoming = Option<Result<Message, axum::Error>>;

struct Conversation<'a> {
    farm: &'a Farm,
    /// Its name, for the log.
    worker: &'a str,
    socket: &'a mut WebSocket,
    outgoing: mpsc::Receiver<FromMaster>,
    fence: &'a CancellationToken,
    silence: Duration,
}

impl Conversation<'_> {
    async fn run(mut self, mut intake: Intake) -> Result<CloseReason> {
        loop {
            let message = match self.next_message().await? {
                Continue(message) => message,
                Break(reason) => return Ok(reason),
            };
            let mut batch = Batch::default();
            if !batch.take(message)? {
                return Ok(CloseReason::WorkerLeft);
            }
            let is_open = self.gather(&mut batch).await?;
            let answers = match intake.record(batch.reports).await {
                Ok(answers) => answers,
                Err(error) => return self.interrupt(error),
            };
            for answer in answers {
                self.send(&answer).await?;
            }
            failpoint("after-ack");
            if !is_open {
                return Ok(CloseReason::WorkerLeft);
            }
        }
    }

    /// Sends what is to be sent until a message comes, or a reason to close.
    async fn next_message(&mut self) -> Result<ControlFlow<CloseReason, Incoming>> {
        loop {
            tokio::select! {
                () = self.farm.stop.cancelled() => return Ok(Break(CloseReason::Stopping)),
                () = self.fence.cancelled() => match self.outgoing.is_closed() {
                    true => bail!(REPLACED),
                    false => {
                        let why = "the worker does not read the messages that are sent to it".to_string();
                        return Ok(Break(CloseReason::Interrupted(why)));
                    }
                },
                message = self.outgoing.recv() => {
                    let Some(message) = message else { bail!(REPLACED) };
                    if let FromMaster::Refused { reason } = message {
                        bail!(reason);
                    }
                    self.send(&message).await?;
                }
                message = tokio::time::timeout(self.silence, self.socket.recv()) => {
                    return Ok(match message {
                        Ok(message) => Continue(message),
                        Err(_) => {
                            let why = format!("nothing came from the worker for {} s", self.silence.as_secs());
                            Break(CloseReason::Interrupted(why))
                        }
                    });
                }
            }
        }
    }

    /// Adds what else has come, so that it is recorded and acknowledged together. Returns whether the connection is open.
    async fn gather(&mut self, batch: &mut Batch) -> Result<bool> {
        let until = Instant::now() + GATHER;
        while batch.has_room() {
            let next = match batch.is_urgent {
                true => self.socket.next().now_or_never(),
                false => tokio::select! {
                    biased;
                    message = self.socket.next() => Some(message),
                    Some(message) = self.outgoing.recv() => {
                        if let FromMaster::Refused { reason } = message {
                            bail!(reason);
                        }
                        self.send(&message).await?;
                        continue;
                    }
                    () = tokio::time::sleep_until(until) => None,
                },
            };
            let Some(message) = next else { break };
            if !batch.take(message)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn interrupt(&self, error: anyhow::Error) -> Result<CloseReason> {
        if error.is::<ProtocolViolation>() {
            return Err(error);
        }
        if error.is::<Reconnect>() {
            return Ok(CloseReason::Interrupted(error.to_string()));
        }
        tracing::error!(worker = self.worker, "cannot record the worker's reports: {error:#}");
        Ok(CloseReason::Interrupted("internal error on the farm".to_string()))
    }

    async fn send(&mut self, message: &FromMaster) -> Result<()> {
        socket::send(self.socket, message, self.silence).await
    }
}

#[derive(Default)]
struct Batch {
    reports: Vec<WorkerReport>,
    bytes: usize,
    /// Whether something waits for one of its reports.
    is_urgent: bool,
}

impl Batch {
    fn has_room(&self) -> bool {
        self.bytes < BATCH_BYTES && self.reports.len() < BATCH_REPORTS
    }

    /// Returns false at the end of the connection.
    fn take(&mut self, message: Incoming) -> Result<bool> {
        let report = match message {
            None | Some(Ok(Message::Close(_))) => return Ok(false),
            Some(Err(error)) => bail!("the connection broke: {error}"),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(true),
            Some(Ok(Message::Text(text))) => {
                self.bytes += text.len();
                match protocol::decode(&text)? {
                    FromWorker::Hello { .. } => bail!("a second hello on one connection"),
                    FromWorker::Heartbeat => WorkerReport::Heartbeat,
                    FromWorker::Slots { slots } => WorkerReport::Slots(slots.min(MAX_SLOTS)),
                    FromWorker::Pause { reason, until_ms } => {
                        let reason = reason.chars().filter(|c| !c.is_control()).take(100).collect();
                        WorkerReport::Pause(Some((reason, until_ms.map(Timestamp))))
                    }
                    FromWorker::Resume => WorkerReport::Pause(None),
                    FromWorker::Terms { terms } => WorkerReport::Terms(bounded(terms)),
                    FromWorker::Accept { attempt } => WorkerReport::Accept(AttemptId(attempt)),
                    FromWorker::Decline { attempt, reason } => {
                        WorkerReport::Decline(AttemptId(attempt), reason)
                    }
                    FromWorker::Progress { attempt, progress } => {
                        WorkerReport::Progress(AttemptId(attempt), progress)
                    }
                    FromWorker::Event { attempt, sequence, event } => {
                        WorkerReport::Event(AttemptId(attempt), sequence, event)
                    }
                }
            }
            Some(Ok(Message::Binary(frame))) => {
                self.bytes += frame.len();
                WorkerReport::Log(LogFrame::from_bytes(&frame)?)
            }
        };
        self.is_urgent |= match &report {
            WorkerReport::Slots(_)
            | WorkerReport::Decline(..)
            | WorkerReport::Event(_, _, Event::Finished { .. }) => true,
            WorkerReport::Heartbeat
            | WorkerReport::Accept(_)
            | WorkerReport::Pause(_)
            | WorkerReport::Terms(_)
            | WorkerReport::Progress(..)
            | WorkerReport::Event(..)
            | WorkerReport::Log(_) => false,
        };
        self.reports.push(report);
        Ok(true)
    }
}
