//! The worker API: the endpoint of the WebSocket, join requests, and the transfer of objects.

use std::io::SeekFrom;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use protocol::{Sha256, path};
use serde::Deserialize;
use store::{ObjectKind, StoredObject};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;

use crate::connection::refusal::Refusal;
use crate::connection::session;
use crate::connection::signed;
use crate::connection::socket::MAX_FRAME_BYTES;
use crate::farm::failpoint::failpoint;
use crate::farm::{Farm, poke_token};

/// How much is read from a worker's socket at once.
const READ_BUFFER_BYTES: usize = 8 << 10;
/// A request of a stranger has at most this much.
const MAX_JOIN_BYTES: usize = 64 << 10;

pub fn router(farm: Farm) -> axum::Router {
    let object = format!("{}/{{kind}}/{{sha256}}", path::OBJECT);
    let small = || DefaultBodyLimit::max(MAX_JOIN_BYTES);
    axum::Router::new()
        .route(path::SESSION, get(open))
        .route(path::JOIN, post(signed::join).layer(small()))
        .route(path::REKEY, post(signed::rekey).layer(small()))
        .route(path::LEAVE, post(signed::leave).layer(small()))
        .route(path::REHEARSAL, post(signed::rehearsal).layer(small()))
        .route(&object, get(download).head(describe).put(upload).layer(DefaultBodyLimit::disable()))
        .route("/poke/{trunk}", post(poke))
        .with_state(farm)
}

async fn open(State(farm): State<Farm>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        // Most workers send little most of the time, and with many of them the default of 128 KiB each costs too much memory.
        .read_buffer_size(READ_BUFFER_BYTES)
        .on_upgrade(move |socket| farm.sessions.clone().track_future(session::run(farm, socket)))
}

/// Checks the session's token, and reads an object's path.
fn parse_object(
    farm: &Farm,
    headers: &HeaderMap,
    kind: &str,
    sha256: &str,
) -> Result<(ObjectKind, Sha256), Refusal> {
    let token = bearer(headers).unwrap_or_default();
    if farm.connections.worker_of_token(token).is_none() {
        return Err(Refusal(
            StatusCode::UNAUTHORIZED,
            "the token is not that of an open session".to_string(),
        ));
    }
    let kind = ObjectKind::parse(kind)
        .ok_or_else(|| Refusal(StatusCode::NOT_FOUND, "there is no such kind of object".into()))?;
    let sha256 = sha256.parse().map_err(|e| Refusal(StatusCode::BAD_REQUEST, format!("{e}")))?;
    Ok((kind, sha256))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

async fn describe(
    State(farm): State<Farm>,
    headers: HeaderMap,
    Path((kind, sha256)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (kind, sha256) = parse_object(&farm, &headers, &kind, &sha256)?;
    // On a thread that may block: the disk may be slow.
    let stored = tokio::task::spawn_blocking(move || farm.objects.stored(kind, &sha256)).await;
    Ok(match stored.map_err(std::io::Error::other)? {
        StoredObject::Whole { bytes } => ([(header::CONTENT_LENGTH, bytes)], StatusCode::OK).into_response(),
        StoredObject::Part { bytes } => {
            (StatusCode::NOT_FOUND, [("farm-have", bytes.to_string())]).into_response()
        }
    })
}

async fn download(
    State(farm): State<Farm>,
    headers: HeaderMap,
    Path((kind, sha256)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (kind, sha256) = parse_object(&farm, &headers, &kind, &sha256)?;
    let mut file = tokio::fs::File::open(farm.objects.path(kind, &sha256)).await?;
    let bytes = file.metadata().await?.len();
    let from = headers.get(header::RANGE).and_then(|range| start(range, bytes));
    let (status, from) = from.map_or((StatusCode::OK, 0), |from| (StatusCode::PARTIAL_CONTENT, from));
    file.seek(SeekFrom::Start(from)).await?;
    let body = Body::from_stream(ReaderStream::new(file.take(bytes - from)));
    let mut response = (status, [(header::CONTENT_LENGTH, bytes - from)], body).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {from}-{}/{bytes}", bytes.saturating_sub(1));
        let range = HeaderValue::from_str(&range).expect("digits are a header value");
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

/// The start of `bytes=START-`, the one range that a resumed download asks for.
fn start(range: &HeaderValue, bytes: u64) -> Option<u64> {
    let from: u64 = range.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?;
    (from < bytes).then_some(from)
}

#[derive(Deserialize)]
struct UploadRange {
    /// How many bytes are uploaded already.
    #[serde(default)]
    from: u64,
}

async fn upload(
    State(farm): State<Farm>,
    headers: HeaderMap,
    Path((kind, sha256)): Path<(String, String)>,
    Query(UploadRange { from }): Query<UploadRange>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let (kind, sha256) = parse_object(&farm, &headers, &kind, &sha256)?;
    let objects = farm.objects.clone();
    // On threads that may block, here and below: it makes folders, and hashes and syncs up to 2 GiB.
    let opened = tokio::task::spawn_blocking(move || match objects.stored(kind, &sha256) {
        StoredObject::Whole { .. } => Ok(None),
        StoredObject::Part { .. } => objects.append(kind, &sha256, from).map(Some),
    });
    let Some(file) = opened.await.map_err(std::io::Error::other)?? else { return Ok(StatusCode::OK) };
    let file =
        receive(file.into(), from, kind, body.into_data_stream(), farm.config().leases.silence).await?;
    let objects = farm.objects.clone();
    let finished = tokio::task::spawn_blocking(move || objects.finish(kind, &sha256, file)).await;
    finished.map_err(std::io::Error::other)??;
    failpoint("after-upload");
    Ok(StatusCode::CREATED)
}

/// Appends the body to the object's part. An upload that sends nothing for `silence` is over: its worker may be back on
/// another connection, and as long as this one is open, no other can write the part.
async fn receive(
    mut file: tokio::fs::File,
    from: u64,
    kind: ObjectKind,
    mut body: BodyDataStream,
    silence: Duration,
) -> Result<std::fs::File, Refusal> {
    let mut bytes = from;
    let late = |_| Refusal(StatusCode::REQUEST_TIMEOUT, format!("no bytes came for {} s", silence.as_secs()));
    while let Some(piece) = tokio::time::timeout(silence, body.next()).await.map_err(late)? {
        // What came before an interruption stays, and the upload resumes after it.
        let piece = piece
            .map_err(|e| Refusal(StatusCode::BAD_REQUEST, format!("the upload was interrupted: {e}")))?;
        bytes += u64::try_from(piece.len()).expect("a length in memory fits into 64 bits");
        if bytes > kind.bound() {
            let (kind, bound) = (kind.as_str(), kind.bound());
            let why = format!("an object of the kind {kind} may have at most {bound} bytes");
            return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        file.write_all(&piece).await?;
        failpoint("in-upload");
    }
    file.flush().await?;
    Ok(file.into_std().await)
}

/// A git hook's call: poll now. Nothing that it contains is trusted.
async fn poke(
    State(farm): State<Farm>,
    headers: HeaderMap,
    Path(trunk): Path<String>,
) -> Result<StatusCode, Refusal> {
    let token = tokio::fs::read_to_string(poke_token::path(farm.store.data())).await?;
    if bearer(&headers) != Some(token.trim()) {
        let why = "the token is not the one in data/poke.token".to_string();
        return Err(Refusal(StatusCode::UNAUTHORIZED, why));
    }
    if !farm.config().trunks.iter().any(|configured| configured.name == trunk) {
        return Err(Refusal(StatusCode::NOT_FOUND, "there is no such trunk".to_string()));
    }
    farm.activations.poll(&trunk).notify_one();
    Ok(StatusCode::ACCEPTED)
}
