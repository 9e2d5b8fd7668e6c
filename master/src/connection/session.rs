//! A worker's connection: shake hands, then keep what it tells and acknowledge it, in that order.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use domain::words::ids::AttemptId;
use futures_util::{FutureExt, StreamExt};
use protocol::{Event, FromMaster, FromWorker, LogFrame, MAX_MESSAGE_BYTES};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connection::handshake::{AdmittedWorker, greet};
use crate::connection::intake::{AttemptReassigned, Intake, ProtocolViolation, WorkerReport};
use crate::farm::failpoint::failpoint;
use crate::farm::{Farm, now};

/// How long the other side has to read why it is closed.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What a worker does while its master is away.
const RESTARTING: &str = "the farm restarts: keep building, and tell of it when it is back";
/// More builds at once than any machine can carry.
pub const MAX_SLOTS: u32 = 256;
/// How much is taken in before it is committed and acknowledged as one.
const BATCH_BYTES: usize = 512 << 10;
const BATCH_REPORTS: usize = 256;
/// How long what a build tells on its way waits for more of it, so that one commit keeps it all. An end does not wait.
const GATHER: Duration = Duration::from_millis(5);

/// Runs one connection to its end. Whatever a worker sends, only its own connection ends by it.
pub async fn session(farm: Farm, mut socket: WebSocket) {
    let (worker, name) = match greet(&farm, &mut socket).await {
        Ok(Some(greeted)) => greeted,
        Ok(None) => return,
        Err(error) => {
            refuse(&mut socket, &format!("{error:#}")).await;
            return;
        }
    };
    let AdmittedWorker { id, bare, holds, from, fence } = worker;
    tracing::info!(worker = name, "connected");
    let intake = Intake::new(farm.clone(), id, bare, holds);
    let ended = converse(&farm, &mut socket, intake, from, &fence).await;
    match ended {
        Ok(End::Left) => {}
        Ok(End::Stopping) => {
            let farewell = FromMaster::Drain { reason: RESTARTING.to_string() };
            last_words(&mut socket, Some(&farewell), RESTARTING).await;
        }
        // No fault of the worker's: it may dial again at once.
        Ok(End::Broken(why)) => {
            last_words(&mut socket, None, &why).await;
            tracing::info!(worker = name, "closed: {why}");
        }
        Err(error) => {
            refuse(&mut socket, &format!("{error:#}")).await;
            tracing::info!(worker = name, "closed: {error:#}");
        }
    }
    if farm.connections.leave(id, &fence) {
        let at = now();
        let left =
            farm.store.write(move |tx| Box::pin(async move { tx.mark_worker_left(id, at).await })).await;
        if let Err(error) = left {
            tracing::warn!(worker = name, %error, "noting that it left");
        }
    }
    tracing::info!(worker = name, "disconnected");
}

/// How a conversation ended that was none of the worker's fault.
enum End {
    Left,
    Stopping,
    Broken(String),
}

async fn refuse(socket: &mut WebSocket, reason: &str) {
    let reason: String = reason.chars().take(1000).collect();
    last_words(socket, Some(&FromMaster::Refused { reason }), "").await;
}

async fn last_words(socket: &mut WebSocket, message: Option<&FromMaster>, why: &str) {
    // A close frame carries at most 123 bytes.
    let end = (0..=why.len().min(123)).rev().find(|end| why.is_char_boundary(*end)).unwrap_or(0);
    let close = CloseFrame { code: close_code::NORMAL, reason: why[..end].into() };
    let said = async {
        // It may be gone already, which is what was wanted.
        if let Some(message) = message {
            let _ = socket.send(Message::Text(protocol::encode(message).into())).await;
        }
        let _ = socket.send(Message::Close(Some(close))).await;
        // A socket that is closed with bytes unread is reset, and the reset may overtake the reason.
        while let Some(Ok(_)) = socket.recv().await {}
    };
    let _ = tokio::time::timeout(LAST_WORDS, said).await;
}

/// Fails when the other side reads nothing for so long: it must not keep its session, and what is offered to it.
pub async fn send(socket: &mut WebSocket, message: &FromMaster, patience: Duration) -> Result<()> {
    let sent =
        tokio::time::timeout(patience, socket.send(Message::Text(protocol::encode(message).into()))).await;
    sent.ok().with_context(|| format!("nothing was read for {} s", patience.as_secs()))?.context("sending")
}

async fn converse(
    farm: &Farm,
    socket: &mut WebSocket,
    mut intake: Intake,
    mut from: tokio::sync::mpsc::Receiver<FromMaster>,
    fence: &CancellationToken,
) -> Result<End> {
    const TOOK_OVER: &str = "another connection with this key took over";

    let silence = farm.config().leases.silence;
    loop {
        let message = tokio::select! {
            () = farm.stop.cancelled() => return Ok(End::Stopping),
            () = fence.cancelled() => match from.is_closed() {
                true => bail!("{TOOK_OVER}"),
                false => return Ok(End::Broken("it does not read what it is told".to_string())),
            },
            out = from.recv() => {
                let Some(out) = out else { bail!("{TOOK_OVER}") };
                send(socket, &out, silence).await?;
                continue;
            }
            message = tokio::time::timeout(silence, socket.recv()) => match message {
                Ok(message) => message,
                Err(_) => return Ok(End::Broken(format!("nothing was heard for {} s", silence.as_secs()))),
            }
        };
        let mut batch = Batch::default();
        if !batch.take(message)? {
            return Ok(End::Left);
        }
        // What comes meanwhile is kept and acknowledged together.
        let mut ended = false;
        let gathered = Instant::now() + GATHER;
        while !ended && batch.has_room() {
            let more = match batch.is_urgent {
                true => socket.next().now_or_never(),
                false => tokio::select! {
                    biased;
                    message = socket.next() => Some(message),
                    Some(out) = from.recv() => {
                        send(socket, &out, silence).await?;
                        continue;
                    }
                    () = tokio::time::sleep_until(gathered) => None,
                },
            };
            match more {
                Some(message) => ended = !batch.take(message)?,
                None => break,
            }
        }
        let answers = match intake.keep(batch.reports).await {
            Ok(answers) => answers,
            Err(error) if error.is::<ProtocolViolation>() => return Err(error),
            Err(error) if error.is::<AttemptReassigned>() => return Ok(End::Broken(error.to_string())),
            Err(error) => {
                tracing::error!("keeping what a worker told: {error:#}");
                return Ok(End::Broken("the farm has trouble of its own".to_string()));
            }
        };
        for answer in answers {
            send(socket, &answer, silence).await?;
        }
        failpoint("after-ack");
        if ended {
            return Ok(End::Left);
        }
    }
}

#[derive(Default)]
struct Batch {
    reports: Vec<WorkerReport>,
    bytes: usize,
    /// Whether somebody waits for what it tells.
    is_urgent: bool,
}

impl Batch {
    fn has_room(&self) -> bool {
        self.bytes < BATCH_BYTES && self.reports.len() < BATCH_REPORTS
    }

    /// False when the connection has ended.
    fn take(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<bool> {
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
                    FromWorker::Accept { attempt } => WorkerReport::Accept(AttemptId(attempt)),
                    FromWorker::Decline { attempt, reason } => {
                        WorkerReport::Decline(AttemptId(attempt), reason)
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
            | WorkerReport::Event(..)
            | WorkerReport::Log(_) => false,
        };
        self.reports.push(report);
        Ok(true)
    }
}

/// What axum is told to refuse before it is read. Up to here a message is only too large, and its sender hears so.
pub const MAX_FRAME: usize = 2 * MAX_MESSAGE_BYTES;
