//! What workers call by HTTP: the WebSocket's door, joining, and objects up and down.

use std::io::SeekFrom;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use protocol::{Join, Sha256, path};
use serde::Deserialize;
use store::{ObjectKind, StoredObject};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;

use crate::connection::handshake;
use crate::connection::session;
use crate::farm::failpoint::failpoint;
use crate::farm::{Farm, now};

/// What is read from a worker's socket at once, in bytes.
const READ_BUFFER: usize = 8 << 10;
/// What a request for a place may say of its machine.
const MAX_JOIN: usize = 64 << 10;

pub fn router(farm: Farm) -> axum::Router {
    let object = format!("{}/{{kind}}/{{sha256}}", path::OBJECT);
    axum::Router::new()
        .route(path::SESSION, get(open))
        .route(path::JOIN, post(join).layer(DefaultBodyLimit::max(MAX_JOIN)))
        .route(&object, get(fetch).head(have).put(put).layer(DefaultBodyLimit::disable()))
        .route("/poke/{trunk}", post(poke))
        .with_state(farm)
}

async fn open(State(farm): State<Farm>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .max_message_size(session::MAX_FRAME)
        .max_frame_size(session::MAX_FRAME)
        // Most workers say little most of the time; the default of 128 KiB each is what a crowd would cost.
        .read_buffer_size(READ_BUFFER)
        .on_upgrade(move |socket| farm.sessions.clone().track_future(session::session(farm, socket)))
}

/// A refusal: its status, and a sentence for whoever reads the worker's log.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1 + "\n").into_response()
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Refusal {
        match error {
            store::Error::Conflict(why) => Refusal(StatusCode::CONFLICT, why.to_string()),
            store::Error::NotFound(what) => {
                Refusal(StatusCode::NOT_FOUND, format!("there is no such {what}"))
            }
            store::Error::Database(_) | store::Error::Row(_) | store::Error::Io(_) => {
                tracing::error!(%error, "answering a worker");
                Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the farm has trouble of its own".to_string())
            }
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Refusal {
        match error.kind() {
            std::io::ErrorKind::InvalidData => Refusal(StatusCode::BAD_REQUEST, error.to_string()),
            std::io::ErrorKind::InvalidInput => Refusal(StatusCode::CONFLICT, error.to_string()),
            std::io::ErrorKind::NotFound => {
                Refusal(StatusCode::NOT_FOUND, "there is no such object".to_string())
            }
            _ => {
                tracing::error!(%error, "an object's file");
                Refusal(StatusCode::INSUFFICIENT_STORAGE, "the farm cannot keep it now".to_string())
            }
        }
    }
}

async fn join(State(farm): State<Farm>, Json(join): Json<Join>) -> Result<StatusCode, Refusal> {
    let bad = |why: String| Refusal(StatusCode::BAD_REQUEST, why);
    if join.protocol != protocol::VERSION {
        let (ours, theirs) = (protocol::VERSION, join.protocol);
        return Err(bad(format!("this farm speaks protocol {ours}, the worker {theirs}")));
    }
    let key = handshake::hex(&join.key).ok_or_else(|| bad("the key is not 64 hexadecimal digits".into()))?;
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if join.name.is_empty() || join.name.len() > 64 || !join.name.chars().all(good) {
        return Err(bad("a worker's name has 1 to 64 letters, digits, dots, dashes".into()));
    }
    let at = now();
    farm.store
        .write(move |tx| Box::pin(async move { tx.ask_to_join(&key, &join.name, &join.facts, at).await }))
        .await?;
    Ok(StatusCode::ACCEPTED)
}

/// What an object's path and the session's token say.
fn named(
    farm: &Farm,
    headers: &HeaderMap,
    kind: &str,
    sha256: &str,
) -> Result<(ObjectKind, Sha256), Refusal> {
    let token = bearer(headers).unwrap_or_default();
    if farm.connections.bearer(token).is_none() {
        return Err(Refusal(StatusCode::UNAUTHORIZED, "the token is not of an open session".to_string()));
    }
    let kind = ObjectKind::parse(kind)
        .ok_or_else(|| Refusal(StatusCode::NOT_FOUND, "no such kind of object".into()))?;
    let sha256 = sha256.parse().map_err(|e| Refusal(StatusCode::BAD_REQUEST, format!("{e}")))?;
    Ok((kind, sha256))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

async fn have(
    State(farm): State<Farm>,
    headers: HeaderMap,
    Path((kind, sha256)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (kind, sha256) = named(&farm, &headers, &kind, &sha256)?;
    Ok(match farm.objects.stored(kind, &sha256) {
        StoredObject::Whole { bytes } => ([(header::CONTENT_LENGTH, bytes)], StatusCode::OK).into_response(),
        StoredObject::Part { bytes } => {
            (StatusCode::NOT_FOUND, [("farm-have", bytes.to_string())]).into_response()
        }
    })
}

async fn fetch(
    State(farm): State<Farm>,
    headers: HeaderMap,
    Path((kind, sha256)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (kind, sha256) = named(&farm, &headers, &kind, &sha256)?;
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
struct Behind {
    #[serde(default)]
    from: u64,
}

async fn put(
    State(farm): State<Farm>,
    headers: HeaderMap,
    Path((kind, sha256)): Path<(String, String)>,
    Query(Behind { from }): Query<Behind>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let (kind, sha256) = named(&farm, &headers, &kind, &sha256)?;
    if let StoredObject::Whole { .. } = farm.objects.stored(kind, &sha256) {
        return Ok(StatusCode::OK);
    }
    let file = farm.objects.append(kind, &sha256, from)?;
    let file =
        receive(file.into(), from, kind, body.into_data_stream(), farm.config().leases.silence).await?;
    let objects = farm.objects.clone();
    let finished = tokio::task::spawn_blocking(move || objects.finish(kind, &sha256, file)).await;
    finished.map_err(std::io::Error::other)??;
    failpoint("after-upload");
    Ok(StatusCode::CREATED)
}

/// An upload of which nothing comes for as long as a silence is over: its worker may be back on another connection, and
/// nobody else can write what it holds.
async fn receive(
    mut file: tokio::fs::File,
    from: u64,
    kind: ObjectKind,
    mut body: BodyDataStream,
    silence: Duration,
) -> Result<std::fs::File, Refusal> {
    let mut bytes = from;
    let late = |_| Refusal(StatusCode::REQUEST_TIMEOUT, format!("nothing came for {} s", silence.as_secs()));
    while let Some(piece) = tokio::time::timeout(silence, body.next()).await.map_err(late)? {
        // What came before a cut stays, and the upload goes on behind it.
        let piece =
            piece.map_err(|e| Refusal(StatusCode::BAD_REQUEST, format!("the upload was cut: {e}")))?;
        bytes += piece.len() as u64;
        if bytes > kind.bound() {
            let said = format!("an object of the kind {} may have {} bytes", kind.as_str(), kind.bound());
            return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, said));
        }
        file.write_all(&piece).await?;
        failpoint("in-upload");
    }
    file.flush().await?;
    Ok(file.into_std().await)
}

/// A git hook's call: look now. Nothing of what it says is believed.
async fn poke(
    State(farm): State<Farm>,
    headers: HeaderMap,
    Path(trunk): Path<String>,
) -> Result<StatusCode, Refusal> {
    let token = std::fs::read_to_string(crate::upkeep::poke::token_path(farm.store.data()))?;
    if bearer(&headers) != Some(token.trim()) {
        let said = "the token is not the one in data/poke.token".to_string();
        return Err(Refusal(StatusCode::UNAUTHORIZED, said));
    }
    if !farm.config().trunks.iter().any(|known| known.name == trunk) {
        return Err(Refusal(StatusCode::NOT_FOUND, "there is no such trunk".to_string()));
    }
    farm.activations.poll(&trunk).notify_one();
    Ok(StatusCode::ACCEPTED)
}
