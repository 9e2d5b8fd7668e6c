//! Against a real HTTP server in this process, which keeps objects in memory and fails on demand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::{HeaderMap, Method, StatusCode as Status};
use axum::response::{IntoResponse, Response as Answer};
use axum::routing::any;

use super::*;

/// How the master treats the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behavior {
    Normal,
    /// It answers 503.
    Busy,
    /// It sends or accepts this many bytes, and no more.
    Cut(usize),
    /// It answers 401: it does not know the token any more.
    Unauthorized,
    /// It answers 413.
    Strict,
}

#[derive(Default)]
pub struct MasterState {
    pub complete: HashMap<String, Vec<u8>>,
    pub partial: HashMap<String, Vec<u8>>,
    /// For the next calls; after these it behaves normally.
    pub behaviors: Vec<Behavior>,
    /// `GET artifact/...`, with its range or offset.
    pub calls: Vec<String>,
}

#[derive(Clone, Default)]
pub struct Master(pub Arc<Mutex<MasterState>>);

const TOKEN: &str = "token-1";

impl Master {
    pub async fn serve(&self) -> FarmUrl {
        let route = format!("{}/{{kind}}/{{sha}}", protocol::path::OBJECT);
        let router = Router::new().route(&route, any(answer)).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        FarmUrl::try_from(format!("http://{address}")).unwrap()
    }

    /// A worker's client, and the channel that sends it its token.
    pub async fn objects(&self) -> (ObjectClient, watch::Sender<Option<String>>) {
        let (token, token_receiver) = watch::channel(Some(TOKEN.to_string()));
        let limits = RetryLimits {
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(2),
            total_time: Duration::from_millis(300),
        };
        (
            ObjectClient::new(
                self.serve().await,
                TrustedAuthorities::load(None).unwrap(),
                token_receiver,
                limits,
            ),
            token,
        )
    }

    pub fn with_state<T>(&self, access: impl FnOnce(&mut MasterState) -> T) -> T {
        access(&mut self.0.lock().unwrap())
    }

    pub fn store(&self, kind: &str, bytes: &[u8]) -> Sha256 {
        let sha256 = sha256_of(bytes);
        self.with_state(|state| state.complete.insert(format!("{kind}/{sha256}"), bytes.to_vec()));
        sha256
    }

    fn behaviors(&self, behaviors: &[Behavior]) {
        self.with_state(|state| state.behaviors = behaviors.to_vec());
    }

    fn calls(&self) -> Vec<String> {
        self.with_state(|state| state.calls.clone())
    }
}

pub fn sha256_of(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

async fn answer(
    State(master): State<Master>,
    method: Method,
    UrlPath((kind, sha)): UrlPath<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: HttpBody,
) -> Answer {
    let name = format!("{kind}/{sha}");
    let authorized = headers.get("authorization").is_some_and(|v| v == &format!("Bearer {TOKEN}"));
    let range = headers.get("range").and_then(|v| v.to_str().ok()).map(str::to_string);
    let offset = query.get("from").cloned().or(range.clone()).unwrap_or_default();
    let behavior = master.with_state(|state| {
        state.calls.push(format!("{method} {kind} {offset}").trim().to_string());
        if state.behaviors.is_empty() { Behavior::Normal } else { state.behaviors.remove(0) }
    });
    match behavior {
        Behavior::Busy => return (Status::SERVICE_UNAVAILABLE, "busy").into_response(),
        Behavior::Unauthorized => return Status::UNAUTHORIZED.into_response(),
        Behavior::Strict => return (Status::PAYLOAD_TOO_LARGE, "at most 2 GiB").into_response(),
        Behavior::Normal | Behavior::Cut(_) if !authorized => return Status::UNAUTHORIZED.into_response(),
        Behavior::Normal | Behavior::Cut(_) => {}
    }
    match method {
        Method::GET => get(&master, &name, range.as_deref(), behavior),
        Method::HEAD => master.with_state(|state| match state.complete.contains_key(&name) {
            true => Status::OK.into_response(),
            false => {
                let have = state.partial.get(&name).map_or(0, Vec::len);
                (Status::NOT_FOUND, [(HAVE_HEADER, have.to_string())]).into_response()
            }
        }),
        _ => {
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            put(&master, name, offset.parse().unwrap(), &bytes, behavior)
        }
    }
}

fn get(master: &Master, name: &str, range: Option<&str>, behavior: Behavior) -> Answer {
    let Some(bytes) = master.with_state(|state| state.complete.get(name).cloned()) else {
        return Status::NOT_FOUND.into_response();
    };
    let from = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()).unwrap_or(0);
    let rest = match behavior {
        Behavior::Cut(most) => &bytes[from..bytes.len().min(from + most)],
        Behavior::Normal | Behavior::Busy | Behavior::Unauthorized | Behavior::Strict => &bytes[from..],
    };
    let content_range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
    let rest = Bytes::copy_from_slice(rest);
    (Status::PARTIAL_CONTENT, [("content-range", content_range)], rest).into_response()
}

fn put(master: &Master, name: String, from: usize, bytes: &[u8], behavior: Behavior) -> Answer {
    master.with_state(|state| {
        let mut have = state.partial.remove(&name).unwrap_or_default();
        if have.len() != from {
            return Status::CONFLICT.into_response();
        }
        if let Behavior::Cut(most) = behavior {
            have.extend(&bytes[..most]);
            state.partial.insert(name, have);
            return Status::INTERNAL_SERVER_ERROR.into_response();
        }
        have.extend(bytes);
        if name.starts_with("artifact/") && !name.ends_with(&sha256_of(&have).to_string()) {
            return (Status::BAD_REQUEST, "the bytes do not match the name").into_response();
        }
        state.complete.insert(name, have);
        Status::CREATED.into_response()
    })
}

fn text(error: anyhow::Error) -> String {
    format!("{error:#}")
}

const CONTENT: &[u8] = b"0123456789";

struct Setup {
    master: Master,
    objects: ObjectClient,
    _token: watch::Sender<Option<String>>,
    folder: tempfile::TempDir,
    stop: CancellationToken,
}

impl Setup {
    async fn new(behaviors: &[Behavior]) -> Setup {
        let master = Master::default();
        master.behaviors(behaviors);
        let (objects, token) = master.objects().await;
        let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        Setup { master, objects, _token: token, folder, stop }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    async fn download(&self, sha256: Sha256) -> Result<(), String> {
        let bytes = CONTENT.len() as u64;
        self.objects
            .download(UploadKind::Artifact, sha256, bytes, &self.file(), &self.stop)
            .await
            .map_err(text)
    }

    async fn upload(&self) -> Result<(), String> {
        fs::write(self.file(), CONTENT).unwrap();
        let sha256 = sha256_of(CONTENT);
        self.objects.upload(UploadKind::Artifact, sha256, &self.file(), &self.stop).await.map_err(text)
    }
}

#[tokio::test]
async fn a_download_resumes_where_it_was_interrupted() {
    let setup =
        Setup::new(&[Behavior::Cut(4), Behavior::Busy, Behavior::Unauthorized, Behavior::Cut(3)]).await;
    let sha256 = setup.master.store("artifact", CONTENT);
    setup.download(sha256).await.unwrap();
    assert_eq!(fs::read(setup.file()).unwrap(), CONTENT);
    let calls = setup.master.calls();
    assert_eq!(calls[0], "GET artifact bytes=0-");
    assert_eq!(calls.last().unwrap(), "GET artifact bytes=3-", "{calls:?}");
}

#[tokio::test]
async fn what_is_already_downloaded_is_not_requested() {
    let setup = Setup::new(&[]).await;
    fs::write(setup.file(), CONTENT).unwrap();
    setup.download(sha256_of(CONTENT)).await.unwrap();
    assert_eq!(setup.master.calls(), [""; 0]);
}

#[tokio::test]
async fn bytes_that_do_not_match_their_name_are_never_used() {
    let setup = Setup::new(&[]).await;
    let sha256 = sha256_of(CONTENT);
    let store_wrong = |bytes: &[u8]| {
        setup.master.with_state(|state| state.complete.insert(format!("artifact/{sha256}"), bytes.to_vec()));
    };
    for bytes in [&b"9876543210"[..], b"far more than was announced"] {
        store_wrong(bytes);
        let error = setup.download(sha256).await.unwrap_err();
        assert!(error.contains("which is not what we asked for"), "{error}");
        assert!(!setup.file().exists());
    }
    // An earlier process left wrong bytes: they are downloaded again.
    store_wrong(CONTENT);
    fs::write(setup.file(), "xxxx").unwrap();
    setup.download(sha256).await.unwrap();
    assert_eq!(fs::read(setup.file()).unwrap(), CONTENT);
}

#[tokio::test]
async fn a_download_fails_at_once_if_the_master_does_not_have_the_object() {
    let setup = Setup::new(&[]).await;
    assert!(
        setup
            .download(sha256_of(CONTENT))
            .await
            .unwrap_err()
            .contains("the master does not have it any more")
    );
    assert_eq!(setup.master.calls().len(), 1);
}

#[tokio::test]
async fn an_upload_resumes_where_it_was_interrupted() {
    let setup = Setup::new(&[Behavior::Busy, Behavior::Normal, Behavior::Cut(6)]).await;
    setup.upload().await.unwrap();
    let calls = ["HEAD artifact", "HEAD artifact", "PUT artifact 0", "HEAD artifact", "PUT artifact 6"];
    assert_eq!(setup.master.calls(), calls);
    let complete = setup.master.with_state(|state| state.complete.values().next().cloned());
    assert_eq!(complete.unwrap(), CONTENT);
}

#[tokio::test]
async fn an_upload_after_wrong_bytes_starts_again() {
    let setup = Setup::new(&[]).await;
    let name = format!("artifact/{}", sha256_of(CONTENT));
    setup.master.with_state(|state| state.partial.insert(name, b"xx".to_vec()));
    setup.upload().await.unwrap();
    assert_eq!(setup.master.calls(), ["HEAD artifact", "PUT artifact 2", "HEAD artifact", "PUT artifact 0"]);
}

#[tokio::test]
async fn what_the_master_has_is_not_uploaded_again() {
    let setup = Setup::new(&[]).await;
    setup.master.store("artifact", CONTENT);
    setup.upload().await.unwrap();
    assert_eq!(setup.master.calls(), ["HEAD artifact"]);
}

#[tokio::test]
async fn a_final_refusal_fails_at_once_with_the_masters_explanation() {
    let setup = Setup::new(&[Behavior::Normal, Behavior::Strict]).await;
    let error = setup.upload().await.unwrap_err();
    assert!(error.contains("413") && error.contains("at most 2 GiB"), "{error}");
    assert_eq!(setup.master.calls().len(), 2);
}

#[tokio::test]
async fn retries_come_to_an_end() {
    let setup = Setup::new(&[Behavior::Busy; 1000]).await;
    let error = setup.upload().await.unwrap_err();
    assert!(error.contains("503") && error.contains("giving up"), "{error}");
}

#[tokio::test]
async fn while_the_session_is_down_nothing_is_tried_and_a_stop_takes_effect() {
    let setup = Setup::new(&[]).await;
    let (_token, token_receiver) = watch::channel(None);
    let objects = ObjectClient { token: token_receiver, ..setup.objects.clone() };
    fs::write(setup.file(), CONTENT).unwrap();
    let stop = setup.stop.clone();
    let uploading = tokio::spawn(async move {
        let file = setup.file();
        let uploaded = objects.upload(UploadKind::Results, sha256_of(CONTENT), &file, &setup.stop).await;
        (uploaded.map_err(text), setup.master.calls())
    });
    stop.cancel();
    let (uploaded, calls) = uploading.await.unwrap();
    assert!(uploaded.unwrap_err().contains("stopped"));
    assert_eq!(calls, [""; 0]);
}

#[tokio::test]
async fn a_new_token_is_used() {
    let setup = Setup::new(&[]).await;
    let (token, token_receiver) = watch::channel(Some("an old one".to_string()));
    let limits = RetryLimits { total_time: Duration::from_secs(60), ..setup.objects.limits };
    let objects = ObjectClient { token: token_receiver, limits, ..setup.objects.clone() };
    fs::write(setup.file(), CONTENT).unwrap();
    let renewing = async {
        // Wait for the first call, with the old token.
        while setup.master.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        token.send_replace(Some(TOKEN.into()));
    };
    let file = setup.file();
    let uploading = objects.upload(UploadKind::Cases, sha256_of(CONTENT), &file, &setup.stop);
    let (uploaded, ()) = tokio::join!(uploading, renewing);
    uploaded.unwrap();
}
