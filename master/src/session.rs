//! A worker's connection: shake hands, then keep what it tells and acknowledge it, in that order.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use domain::ids::{AttemptId, WorkerId};
use ed25519_dalek::{Signature, VerifyingKey};
use futures_util::StreamExt;
use protocol::{FromMaster, FromWorker, Held, LogFrame, MAX_MESSAGE_BYTES, Next, Resume, VERSION};
use tokio_util::sync::CancellationToken;

use crate::failpoint::failpoint;
use crate::farm::{Farm, now};
use crate::intake::{Improper, Intake, Report, TakenAway};
use crate::late;

/// A hello takes one round trip; whoever takes longer is no worker.
const HELLO: Duration = Duration::from_secs(15);
/// How long the other side has to read why it is closed.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What a worker does while its master is away.
const RESTARTING: &str = "the farm restarts: keep building, and tell of it when it is back";
/// More builds at once than any machine can carry.
const MAX_SLOTS: u32 = 256;
/// How much is taken in before it is committed and acknowledged as one.
const BATCH_BYTES: usize = 512 << 10;
const BATCH_REPORTS: usize = 256;

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
    let Greeted { id, bare, from, fence } = worker;
    tracing::info!(worker = name, "connected");
    let ended = converse(&farm, &mut socket, Intake::new(farm.clone(), id, bare), from, &fence).await;
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
    if farm.hub.leave(id, &fence) {
        let at = now();
        let left = farm.store.write(move |tx| Box::pin(async move { tx.worker_left(id, at).await })).await;
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

struct Greeted {
    id: WorkerId,
    /// Whether it has no sandbox.
    bare: bool,
    from: tokio::sync::mpsc::Receiver<FromMaster>,
    fence: CancellationToken,
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
async fn send(socket: &mut WebSocket, message: &FromMaster, patience: Duration) -> Result<()> {
    let sent =
        tokio::time::timeout(patience, socket.send(Message::Text(protocol::encode(message).into()))).await;
    sent.ok().with_context(|| format!("nothing was read for {} s", patience.as_secs()))?.context("sending")
}

async fn greet(farm: &Farm, socket: &mut WebSocket) -> Result<Option<(Greeted, String)>> {
    let leases = farm.config().leases;
    let nonce = random_words();
    let challenge = FromMaster::Challenge { protocol: VERSION, nonce: nonce.clone() };
    send(socket, &challenge, leases.silence).await?;
    let hello = tokio::select! {
        () = farm.stop.cancelled() => return Ok(None),
        hello = tokio::time::timeout(HELLO, socket.recv()) => hello,
    };
    let text = match hello {
        Err(_) => bail!("no hello came within {} s", HELLO.as_secs()),
        Ok(None | Some(Err(_)) | Some(Ok(Message::Close(_)))) => return Ok(None),
        Ok(Some(Ok(Message::Text(text)))) => text,
        Ok(Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_)))) => {
            bail!("expected a hello before anything else")
        }
    };
    let message: FromWorker = protocol::decode(&text)?;
    let FromWorker::Hello { protocol, version, key, signature, facts, slots, held, artifacts } = message
    else {
        bail!("expected a hello before anything else");
    };
    if protocol != VERSION {
        bail!(
            "this farm speaks protocol {VERSION}, the worker {protocol}; install the farm-worker that fits"
        );
    }
    let key = verify(&key, &signature, &nonce)?;

    let mut snapshot = farm.store.snapshot().await?;
    let row = snapshot.read().worker_by_key(&key).await?;
    drop(snapshot);
    let row = row.context("this key is unknown here; run `farm-worker join URL` first")?;
    match row.state.as_str() {
        "approved" => {}
        "pending" => bail!(
            "not approved yet; the operator runs `farm-master worker approve {} --owner NAME`",
            code(&key)
        ),
        _ => bail!("the operator refused this key"),
    }
    let id = row.id;
    let bare = facts.sandbox == "none";
    let token = random_words();
    let artifacts: BTreeSet<_> = artifacts.into_iter().take(10_000).collect();
    let slots = slots.min(MAX_SLOTS);
    let version: String = version.chars().take(80).collect();
    let at = now();
    let withdrawn = farm
        .store
        .write(move |tx| {
            Box::pin(async move {
                tx.worker_connected(id, &facts, &version, slots, at).await?;
                tx.heartbeat(id, at + leases.silence, at).await?;
                tx.withdraw_offers(id, at).await
            })
        })
        .await?;
    for (attempt, by) in withdrawn {
        let reason = "its first worker is back".to_string();
        farm.hub.tell(by, FromMaster::Cancel { attempt: attempt.0, reason });
    }
    let (held, late) = resume(farm, id, held).await?;
    let (from, fence) = farm.hub.enter(id, slots, artifacts, token.clone());
    let welcome = FromMaster::Welcome {
        name: row.name.clone(),
        heartbeat_ms: leases.heartbeat().as_millis() as u64,
        token,
        held,
    };
    send(socket, &welcome, leases.silence).await?;
    for attempt in late {
        let refusal = FromMaster::Cancel { attempt, reason: late::REFUSAL.to_string() };
        send(socket, &refusal, leases.silence).await?;
    }
    farm.nudges.schedule.notify_one();
    farm.nudges.search.notify_one();
    farm.nudges.dispatch.notify_one();
    Ok(Some((Greeted { id, bare, from, fence }, row.name)))
}

/// The first eight digits of a key, as the volunteer reads them to the operator.
pub fn code(key: &[u8; 32]) -> String {
    key[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn verify(key: &str, signature: &str, nonce: &str) -> Result<[u8; 32]> {
    let bytes: [u8; 32] = hex(key).context("the key is not 64 hexadecimal digits")?;
    let signature: [u8; 64] = hex(signature).context("the signature is not 128 hexadecimal digits")?;
    let key = VerifyingKey::from_bytes(&bytes).ok().context("the key is no Ed25519 public key")?;
    let said = format!("trunkfarm session 1\n{nonce}");
    let signed = key.verify_strict(said.as_bytes(), &Signature::from_bytes(&signature));
    signed.ok().context("the signature is not this key's over the challenge")?;
    Ok(bytes)
}

fn random_words() -> String {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).expect("a system without randomness cannot greet anybody safely");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// For each attempt that the worker still holds: go on, or drop it. What it holds no longer, it lost. The second part
/// names those that were taken from it and are heard all the same.
async fn resume(farm: &Farm, worker: WorkerId, held: Vec<Held>) -> Result<(Vec<Resume>, Vec<i64>)> {
    let mut snapshot = farm.store.snapshot().await?;
    let mut read = snapshot.read();
    let mut answers = Vec::with_capacity(held.len().min(1000));
    let mut late = Vec::new();
    for held in held.into_iter().take(1000) {
        let attempt = read.attempt(AttemptId(held.attempt)).await?.filter(|row| row.worker == worker);
        let then = match attempt {
            Some(attempt) if is_live(&attempt.state) => Next::From(attempt.sequence),
            Some(attempt) if late::is_wanted(&mut read, &attempt).await? => {
                late.push(held.attempt);
                Next::From(attempt.sequence)
            }
            Some(_) | None => Next::Drop("the farm no longer waits for it".to_string()),
        };
        answers.push(Resume { attempt: held.attempt, then });
    }
    let lost: Vec<_> = read
        .live_attempts()
        .await?
        .into_iter()
        .filter(|attempt| {
            attempt.worker == worker && !answers.iter().any(|held| held.attempt == attempt.id.0)
        })
        .collect();
    drop(snapshot);
    let at = now();
    for attempt in lost {
        farm.store
            .write(move |tx| {
                Box::pin(async move {
                    tx.end_attempt(attempt.id, "lost", Some("its worker came back without it"), at).await?;
                    let lost = domain::outcome::Cause::WorkerLost;
                    crate::dispatch::again(tx, attempt.build, attempt.id, lost, at).await
                })
            })
            .await?;
    }
    Ok((answers, late))
}

fn is_live(state: &str) -> bool {
    state == "offered" || state == "running"
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
        // What has come already is kept and acknowledged together.
        let mut ended = false;
        while !ended && batch.has_room() {
            match futures_util::FutureExt::now_or_never(socket.next()) {
                Some(message) => ended = !batch.take(message)?,
                None => break,
            }
        }
        let answers = match intake.keep(batch.reports).await {
            Ok(answers) => answers,
            Err(error) if error.is::<Improper>() => return Err(error),
            Err(error) if error.is::<TakenAway>() => return Ok(End::Broken(error.to_string())),
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
    reports: Vec<Report>,
    bytes: usize,
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
                    FromWorker::Heartbeat => Report::Heartbeat,
                    FromWorker::Slots { slots } => Report::Slots(slots.min(MAX_SLOTS)),
                    FromWorker::Accept { attempt } => Report::Accept(AttemptId(attempt)),
                    FromWorker::Decline { attempt, reason } => Report::Decline(AttemptId(attempt), reason),
                    FromWorker::Event { attempt, sequence, event } => {
                        Report::Event(AttemptId(attempt), sequence, event)
                    }
                }
            }
            Some(Ok(Message::Binary(frame))) => {
                self.bytes += frame.len();
                Report::Log(LogFrame::from_bytes(&frame)?)
            }
        };
        self.reports.push(report);
        Ok(true)
    }
}

/// What axum is told to refuse before it is read. Up to here a message is only too large, and its sender hears so.
pub const MAX_FRAME: usize = 2 * MAX_MESSAGE_BYTES;
