//! What a worker asks for outside of a session: to join, to have another key, to be forgotten, and a plan to rehearse. Each of
//! these comes from a stranger, so each is small, bounded, and changes at most one row.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use domain::words::ids::Timestamp;
use domain::words::platform::platforms_of;
use ed25519_dalek::{Signature, VerifyingKey};
use protocol::{Join, Plan, SignedRequest, WorkerFacts};

use crate::connection::barred::PENDING;
use crate::connection::handshake::parse_hex;
use crate::connection::refusal::Refusal;
use crate::farm::{Farm, now};

const CLOCKS: Duration = Duration::from_millis(protocol::MAX_CLOCK_DIFFERENCE_MS);

pub async fn join(
    State(farm): State<Farm>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    Json(join): Json<Join>,
) -> Result<StatusCode, Refusal> {
    check_protocol(join.protocol)?;
    let key = parse_hex(&join.key).ok_or_else(|| bad("the key is not 64 hexadecimal digits"))?;
    if !protocol::is_worker_name(&join.name) {
        return Err(bad(&format!("this is not a worker's name: expected {}", protocol::WORKER_NAME)));
    }
    // The peer alone: what a header says about the client is the client's own word.
    let address = peer.map_or("unknown".to_string(), |Extension(ConnectInfo(peer))| peer.ip().to_string());
    let at = now();
    farm.store
        .write(move |tx| {
            Box::pin(async move {
                tx.expire_joins(at - PENDING, at).await?;
                tx.check_join_room(&key, &join.facts, &address).await?;
                tx.register_join_request(&key, &join.name, &join.facts, at).await?;
                tx.put_join_address(&key, &address, at).await
            })
        })
        .await?;
    Ok(StatusCode::ACCEPTED)
}

pub async fn rekey(
    State(farm): State<Farm>,
    Json(request): Json<SignedRequest>,
) -> Result<StatusCode, Refusal> {
    let next = request.next_key.as_deref().and_then(parse_hex);
    let next: [u8; 32] = next.ok_or_else(|| bad("the new key is not 64 hexadecimal digits"))?;
    let key = verify(&request)?;
    let at = now();
    farm.store.write(move |tx| Box::pin(async move { tx.request_rekey(&key, &next, at).await })).await?;
    Ok(StatusCode::ACCEPTED)
}

pub async fn leave(
    State(farm): State<Farm>,
    Json(request): Json<SignedRequest>,
) -> Result<StatusCode, Refusal> {
    if request.next_key.is_some() {
        return Err(bad("whoever leaves needs no new key"));
    }
    let key = verify(&request)?;
    let at = now();
    let name = farm.store.write(move |tx| {
        Box::pin(async move {
            let Some((_, name)) = tx.worker_name_by_key(&key).await? else { return Ok(None) };
            tx.remove_worker(&name, at).await?;
            Ok(Some(name))
        })
    });
    match name.await? {
        Some(name) => {
            tracing::info!(worker = name, "left the farm");
            farm.activations.barred.notify_one();
            Ok(StatusCode::OK)
        }
        // It is forgotten, which is what was asked for.
        None => Ok(StatusCode::OK),
    }
}

/// The newest toolchain build of a platform that fits the machine. All of it is public: recipes and repositories.
pub async fn rehearsal(
    State(farm): State<Farm>,
    Json(facts): Json<WorkerFacts>,
) -> Result<Json<Plan>, Refusal> {
    let mut snapshot = farm.store.snapshot().await?;
    let mut read = snapshot.read();
    let platforms = read.platforms().await?;
    let fitting = platforms_of(&facts, &platforms);
    if fitting.is_empty() {
        let labels: Vec<&str> = platforms.iter().map(|(_, label)| label.as_str()).collect();
        let why = format!("no platform of this farm fits this machine; the farm has {}", labels.join(", "));
        return Err(Refusal(StatusCode::CONFLICT, why));
    }
    for platform in fitting {
        if let Some(build) = read.newest_toolchain_build(platform).await? {
            return Ok(Json(read.plan(build).await?));
        }
    }
    Err(Refusal(StatusCode::CONFLICT, "this farm has built nothing on this machine's platform yet".into()))
}

fn bad(why: &str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, why.to_string())
}

fn check_protocol(theirs: u32) -> Result<(), Refusal> {
    let ours = protocol::VERSION;
    match theirs == ours {
        true => Ok(()),
        false => Err(bad(&format!("this farm speaks protocol {ours}, the worker {theirs}"))),
    }
}

/// The key that signed the request.
fn verify(request: &SignedRequest) -> Result<[u8; 32], Refusal> {
    check_protocol(request.protocol)?;
    let (at, asked) = (now(), Timestamp(request.at_ms));
    if at.since(asked) > CLOCKS || asked.since(at) > CLOCKS {
        let minutes = CLOCKS.as_secs() / 60;
        return Err(bad(&format!(
            "the request was signed more than {minutes} minutes before or after the farm's time; set the machine's clock"
        )));
    }
    let bytes: [u8; 32] =
        parse_hex(&request.key).ok_or_else(|| bad("the key is not 64 hexadecimal digits"))?;
    let signature: [u8; 64] =
        parse_hex(&request.signature).ok_or_else(|| bad("the signature is not 128 hexadecimal digits"))?;
    let key = VerifyingKey::from_bytes(&bytes).map_err(|_| bad("the key is not an Ed25519 public key"))?;
    key.verify_strict(request.text().as_bytes(), &Signature::from_bytes(&signature))
        .map_err(|_| Refusal(StatusCode::UNAUTHORIZED, "the signature is not this key's".to_string()))?;
    Ok(bytes)
}
