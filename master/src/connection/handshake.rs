//! The handshake: who connects, whether it may, and what becomes of the attempts that it still holds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::extract::ws::{Message, WebSocket};
use domain::volunteer::terms::bounded;
use domain::words::ids::{AttemptId, WorkerId};
use domain::words::states::{Standing, WorkerState};
use ed25519_dalek::{Signature, VerifyingKey};
use protocol::{
    FromMaster, FromWorker, HeldAttempt, Resume, ResumeAction, Sha256, VERSION, WorkerFacts, WorkerTerms,
};
use store::Worker;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::connection::barred;
use crate::connection::socket::{MAX_SLOTS, send};
use crate::farm::{Farm, now};
use crate::settle::{late_report, settle_loss};

/// A hello takes one round trip; what takes longer is not a worker.
const HELLO: Duration = Duration::from_secs(15);
const EXPECTED_HELLO: &str = "expected a hello before anything else";
/// Only this many entries of each list in a hello are read.
const MAX_ARTIFACTS: usize = 10_000;
const MAX_HELD: usize = 1000;

/// A worker that may report and be offered builds.
pub struct AdmittedWorker {
    pub id: WorkerId,
    pub name: String,
    /// Whether it has no sandbox.
    pub bare: bool,
    /// Whether it may hold attempts.
    pub holds_attempts: bool,
    pub outgoing: mpsc::Receiver<FromMaster>,
    pub fence: CancellationToken,
}

/// How a worker introduces itself when it connects.
struct Hello {
    protocol: u32,
    version: String,
    key: String,
    signature: String,
    facts: WorkerFacts,
    slots: u32,
    held: Vec<HeldAttempt>,
    artifacts: Vec<Sha256>,
    terms: WorkerTerms,
}

/// Admits the worker that connects; none when the connection ends first. An error is the reason for a refusal.
pub async fn shake_hands(farm: &Farm, socket: &mut WebSocket) -> Result<Option<AdmittedWorker>> {
    let silence = farm.config().leases.silence;
    let nonce = random_hex();
    let challenge = FromMaster::Challenge { protocol: VERSION, nonce: nonce.clone() };
    send(socket, &challenge, silence).await?;
    let Some(hello) = receive_hello(farm, socket).await? else { return Ok(None) };
    if hello.protocol != VERSION {
        let theirs = hello.protocol;
        bail!(
            "this farm speaks protocol {VERSION}, the worker {theirs}; install the farm-worker of the farm's version"
        );
    }
    let key = verify(&hello.key, &hello.signature, &nonce)?;
    let worker = find_approved(farm, &key).await?;
    let (id, name) = (worker.id, worker.name);
    check_capacity(farm, id)?;

    let Hello { version, facts, slots, held, artifacts, terms, .. } = hello;
    let (bare, slots) = (facts.sandbox == "none", slots.min(MAX_SLOTS));
    let version: String = version.chars().take(80).collect();
    let facts = Arc::new(facts);
    let holds_attempts =
        mark_connected(farm, id, &facts, (version, slots), &terms).await? || !held.is_empty();
    let resumed = resume(farm, id, held).await?;

    let token = random_hex();
    let artifacts: BTreeSet<_> = artifacts.into_iter().take(MAX_ARTIFACTS).collect();
    let (outgoing, fence) = farm.connections.enter(id, facts, slots, artifacts, token.clone());
    farm.connections.set_terms(id, terms);
    welcome(farm, socket, &name, token, resumed).await?;
    farm.activations.schedule.notify_one();
    farm.activations.search.notify_one();
    farm.activations.dispatch.notify_one();
    Ok(Some(AdmittedWorker { id, name, bare, holds_attempts, outgoing, fence }))
}

async fn receive_hello(farm: &Farm, socket: &mut WebSocket) -> Result<Option<Hello>> {
    let message = tokio::select! {
        () = farm.stop.cancelled() => return Ok(None),
        message = tokio::time::timeout(HELLO, socket.recv()) => message,
    };
    let text = match message {
        Err(_) => bail!("no hello came within {} s", HELLO.as_secs()),
        Ok(None | Some(Err(_) | Ok(Message::Close(_)))) => return Ok(None),
        Ok(Some(Ok(Message::Text(text)))) => text,
        Ok(Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_)))) => bail!(EXPECTED_HELLO),
    };
    let message: FromWorker = protocol::decode(&text)?;
    let FromWorker::Hello { protocol, version, key, signature, facts, slots, held, artifacts, terms } =
        message
    else {
        bail!(EXPECTED_HELLO);
    };
    let terms = bounded(*terms.unwrap_or_default());
    Ok(Some(Hello { protocol, version, key, signature, facts, slots, held, artifacts, terms }))
}

async fn find_approved(farm: &Farm, key: &[u8; 32]) -> Result<Worker> {
    let mut snapshot = farm.store.snapshot().await?;
    let worker = snapshot.read().worker_by_key(key).await?;
    let worker = worker.context("this key is unknown here; run `farm-worker join URL` first")?;
    let standing = snapshot.read().standing(worker.id).await?;
    drop(snapshot);
    match worker.state {
        WorkerState::Approved if standing != Standing::Active => bail!(barred::why(standing)),
        WorkerState::Approved => Ok(worker),
        WorkerState::Pending => bail!(
            "not approved yet; the operator runs `farm-master worker approve {} --owner NAME`",
            code(key)
        ),
        WorkerState::Refused => bail!("the operator refused this key"),
    }
}

fn check_capacity(farm: &Farm, worker: WorkerId) -> Result<()> {
    let max_workers = farm.config().max_workers;
    let most = usize::try_from(max_workers).expect("32 bits fit into an address");
    if !farm.connections.has_room_for(worker, most) {
        bail!("this farm has as many workers as it may have at once ({max_workers}); try again later");
    }
    Ok(())
}

/// Records that the worker is connected, and withdraws the offers of its builds to others. Returns whether it holds any
/// attempt.
async fn mark_connected(
    farm: &Farm,
    id: WorkerId,
    facts: &Arc<WorkerFacts>,
    (version, slots): (String, u32),
    terms: &WorkerTerms,
) -> Result<bool> {
    let terms = Some(terms.clone()).filter(|terms| *terms != WorkerTerms::default());
    let (silence, at) = (farm.config().leases.silence, now());
    let facts = facts.clone();
    let (holds, withdrawn) = farm
        .store
        .write(move |tx| {
            Box::pin(async move {
                tx.mark_worker_connected(id, &facts, &version, slots, at).await?;
                // What its owner says follows the welcome.
                tx.put_pause(id, None, at).await?;
                tx.put_terms(id, terms.as_ref(), at).await?;
                tx.end_absence(id).await?;
                let holds = tx.heartbeat(id, at + silence, at).await?;
                Ok((holds, tx.withdraw_offers(id, at).await?))
            })
        })
        .await?;
    for (attempt, by) in withdrawn {
        let reason = "the first worker of this build is back".to_string();
        farm.connections.send(by, FromMaster::Cancel { attempt: attempt.0, reason });
    }
    Ok(holds)
}

async fn welcome(
    farm: &Farm,
    socket: &mut WebSocket,
    name: &str,
    token: String,
    resumed: ResumedAttempts,
) -> Result<()> {
    let leases = farm.config().leases;
    let heartbeat_ms = u64::try_from(leases.heartbeat().as_millis()).expect("an hour at most");
    let ResumedAttempts { answers: held, late } = resumed;
    let name = name.to_string();
    let welcome =
        FromMaster::Welcome { name, heartbeat_ms, token, held, takes_progress: true, takes_pauses: true };
    send(socket, &welcome, leases.silence).await?;
    for attempt in late {
        let refusal = FromMaster::Cancel { attempt, reason: late_report::REFUSAL.to_string() };
        send(socket, &refusal, leases.silence).await?;
    }
    Ok(())
}

/// The first eight digits of a key, as the volunteer reads them to the operator.
pub fn code(key: &[u8; 32]) -> String {
    key[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of exactly `2 * N` hexadecimal digits.
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
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
    let bytes: [u8; 32] = parse_hex(key).context("the key is not 64 hexadecimal digits")?;
    let signature: [u8; 64] = parse_hex(signature).context("the signature is not 128 hexadecimal digits")?;
    let key = VerifyingKey::from_bytes(&bytes).ok().context("the key is not an Ed25519 public key")?;
    let signed = format!("trunkfarm session 1\n{nonce}");
    let verified = key.verify_strict(signed.as_bytes(), &Signature::from_bytes(&signature));
    verified.ok().context("the signature is not this key's over the challenge")?;
    Ok(bytes)
}

fn random_hex() -> String {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).expect("without randomness a challenge could be replayed");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct ResumedAttempts {
    /// For each attempt that the worker still holds: whether to go on with it, or to drop it.
    answers: Vec<Resume>,
    /// Attempts that were taken from the worker, whose reports are recorded all the same.
    late: Vec<i64>,
}

/// Decides on the attempts that the worker still holds. Those that it no longer holds are lost.
async fn resume(farm: &Farm, worker: WorkerId, held: Vec<HeldAttempt>) -> Result<ResumedAttempts> {
    let mut snapshot = farm.store.snapshot().await?;
    let mut read = snapshot.read();
    let mut answers = Vec::with_capacity(held.len().min(MAX_HELD));
    let mut late = Vec::new();
    for held in held.into_iter().take(MAX_HELD) {
        let attempt = read.attempt(AttemptId(held.attempt)).await?.filter(|row| row.worker == worker);
        let then = match attempt {
            Some(attempt) if attempt.state.is_live() => ResumeAction::ResendAfter(attempt.sequence),
            Some(attempt) if late_report::is_wanted(&mut read, &attempt).await? => {
                late.push(held.attempt);
                ResumeAction::ResendAfter(attempt.sequence)
            }
            Some(_) | None => ResumeAction::Drop("the farm no longer waits for it".to_string()),
        };
        answers.push(Resume { attempt: held.attempt, action: then });
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
                Box::pin(
                    async move { settle_loss(tx, attempt.id, "its worker came back without it", at).await },
                )
            })
            .await?;
    }
    Ok(ResumedAttempts { answers, late })
}
