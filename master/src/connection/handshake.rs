//! The handshake: who dials, whether it may come in, and what becomes of the attempts that it holds still.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::extract::ws::{Message, WebSocket};
use domain::words::ids::{AttemptId, WorkerId};
use domain::words::states::{AttemptState, WorkerState};
use ed25519_dalek::{Signature, VerifyingKey};
use protocol::{FromMaster, FromWorker, HeldAttempt, Resume, ResumeAction, VERSION};
use tokio_util::sync::CancellationToken;

use crate::connection::session::{MAX_SLOTS, send};
use crate::farm::{Farm, now};
use crate::settle::late_report;

/// A hello takes one round trip; whoever takes longer is no worker.
const HELLO: Duration = Duration::from_secs(15);

pub struct AdmittedWorker {
    pub id: WorkerId,
    /// Whether it has no sandbox.
    pub bare: bool,
    /// Whether it may hold an attempt.
    pub holds: bool,
    pub from: tokio::sync::mpsc::Receiver<FromMaster>,
    pub fence: CancellationToken,
}

pub async fn greet(farm: &Farm, socket: &mut WebSocket) -> Result<Option<(AdmittedWorker, String)>> {
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
    match row.state {
        WorkerState::Approved => {}
        WorkerState::Pending => bail!(
            "not approved yet; the operator runs `farm-master worker approve {} --owner NAME`",
            code(&key)
        ),
        WorkerState::Refused => bail!("the operator refused this key"),
    }
    let id = row.id;
    let most = farm.config().max_workers as usize;
    if !farm.connections.has_room_for(id, most) {
        bail!("this farm has as many workers as it may have at once ({most}); try again later");
    }
    let bare = facts.sandbox == "none";
    let token = random_words();
    let artifacts: BTreeSet<_> = artifacts.into_iter().take(10_000).collect();
    let slots = slots.min(MAX_SLOTS);
    let version: String = version.chars().take(80).collect();
    let at = now();
    let facts = Arc::new(facts);
    let told = facts.clone();
    let (holds, withdrawn) = farm
        .store
        .write(move |tx| {
            Box::pin(async move {
                tx.mark_worker_connected(id, &told, &version, slots, at).await?;
                let holds = tx.heartbeat(id, at + leases.silence, at).await?;
                Ok((holds, tx.withdraw_offers(id, at).await?))
            })
        })
        .await?;
    for (attempt, by) in withdrawn {
        let reason = "its first worker is back".to_string();
        farm.connections.tell(by, FromMaster::Cancel { attempt: attempt.0, reason });
    }
    let holds = holds || !held.is_empty();
    let (held, late) = resume(farm, id, held).await?;
    let (from, fence) = farm.connections.enter(id, facts, slots, artifacts, token.clone());
    let welcome = FromMaster::Welcome {
        name: row.name.clone(),
        heartbeat_ms: leases.heartbeat().as_millis() as u64,
        token,
        held,
    };
    send(socket, &welcome, leases.silence).await?;
    for attempt in late {
        let refusal = FromMaster::Cancel { attempt, reason: late_report::REFUSAL.to_string() };
        send(socket, &refusal, leases.silence).await?;
    }
    farm.activations.schedule.notify_one();
    farm.activations.search.notify_one();
    farm.activations.dispatch.notify_one();
    Ok(Some((AdmittedWorker { id, bare, holds, from, fence }, row.name)))
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
async fn resume(farm: &Farm, worker: WorkerId, held: Vec<HeldAttempt>) -> Result<(Vec<Resume>, Vec<i64>)> {
    let mut snapshot = farm.store.snapshot().await?;
    let mut read = snapshot.read();
    let mut answers = Vec::with_capacity(held.len().min(1000));
    let mut late = Vec::new();
    for held in held.into_iter().take(1000) {
        let attempt = read.attempt(AttemptId(held.attempt)).await?.filter(|row| row.worker == worker);
        let then = match attempt {
            Some(attempt) if attempt.state.is_live() => ResumeAction::From(attempt.sequence),
            Some(attempt) if late_report::is_wanted(&mut read, &attempt).await? => {
                late.push(held.attempt);
                ResumeAction::From(attempt.sequence)
            }
            Some(_) | None => ResumeAction::Drop("the farm no longer waits for it".to_string()),
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
                    tx.end_attempt(
                        attempt.id,
                        AttemptState::Lost,
                        Some("its worker came back without it"),
                        at,
                    )
                    .await?;
                    let lost = domain::outcome::Cause::WorkerLost;
                    crate::dispatch::again(tx, attempt.build, attempt.id, lost, at).await
                })
            })
            .await?;
    }
    Ok((answers, late))
}
