//! Against a real server in this process, which keeps objects in memory and breaks as it is told to.

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
pub enum Mood {
    Well,
    /// It answers 503.
    Busy,
    /// It gives or takes so many bytes, and no more.
    Cut(usize),
    /// It does not know this token any more.
    Forgetful,
    Strict,
}

#[derive(Default)]
pub struct Inside {
    pub whole: HashMap<String, Vec<u8>>,
    pub partly: HashMap<String, Vec<u8>>,
    /// Of the next calls; after these it is well.
    pub moods: Vec<Mood>,
    /// `GET artifact/...`, with its range or offset.
    pub calls: Vec<String>,
}

#[derive(Clone, Default)]
pub struct Master(pub Arc<Mutex<Inside>>);

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

    /// A worker's end, and the hand that gives it its token.
    pub async fn objects(&self) -> (ObjectClient, watch::Sender<Option<String>>) {
        let (token, hear_token) = watch::channel(Some(TOKEN.to_string()));
        let patience = RetryLimits {
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(2),
            total: Duration::from_millis(300),
        };
        (ObjectClient::new(self.serve().await, hear_token, patience), token)
    }

    pub fn inside<T>(&self, look: impl FnOnce(&mut Inside) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    pub fn keep(&self, kind: &str, bytes: &[u8]) -> Sha256 {
        let sha256 = sha256_of(bytes);
        self.inside(|inside| inside.whole.insert(format!("{kind}/{sha256}"), bytes.to_vec()));
        sha256
    }

    fn moods(&self, moods: &[Mood]) {
        self.inside(|inside| inside.moods = moods.to_vec());
    }

    fn calls(&self) -> Vec<String> {
        self.inside(|inside| inside.calls.clone())
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
    let mood = master.inside(|inside| {
        inside.calls.push(format!("{method} {kind} {offset}").trim().to_string());
        if inside.moods.is_empty() { Mood::Well } else { inside.moods.remove(0) }
    });
    match mood {
        Mood::Busy => return (Status::SERVICE_UNAVAILABLE, "busy").into_response(),
        Mood::Forgetful => return Status::UNAUTHORIZED.into_response(),
        Mood::Strict => return (Status::PAYLOAD_TOO_LARGE, "2 GiB at the most").into_response(),
        Mood::Well | Mood::Cut(_) if !authorized => return Status::UNAUTHORIZED.into_response(),
        Mood::Well | Mood::Cut(_) => {}
    }
    match method {
        Method::GET => get(&master, &name, range.as_deref(), mood),
        Method::HEAD => master.inside(|inside| match inside.whole.contains_key(&name) {
            true => Status::OK.into_response(),
            false => {
                let have = inside.partly.get(&name).map_or(0, Vec::len);
                (Status::NOT_FOUND, [(HAVE, have.to_string())]).into_response()
            }
        }),
        _ => {
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            put(&master, name, offset.parse().unwrap(), &bytes, mood)
        }
    }
}

fn get(master: &Master, name: &str, range: Option<&str>, mood: Mood) -> Answer {
    let Some(bytes) = master.inside(|inside| inside.whole.get(name).cloned()) else {
        return Status::NOT_FOUND.into_response();
    };
    let from = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()).unwrap_or(0);
    let rest = match mood {
        Mood::Cut(most) => &bytes[from..bytes.len().min(from + most)],
        Mood::Well | Mood::Busy | Mood::Forgetful | Mood::Strict => &bytes[from..],
    };
    let content_range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
    let rest = Bytes::copy_from_slice(rest);
    (Status::PARTIAL_CONTENT, [("content-range", content_range)], rest).into_response()
}

fn put(master: &Master, name: String, from: usize, bytes: &[u8], mood: Mood) -> Answer {
    master.inside(|inside| {
        let mut have = inside.partly.remove(&name).unwrap_or_default();
        if have.len() != from {
            return Status::CONFLICT.into_response();
        }
        if let Mood::Cut(most) = mood {
            have.extend(&bytes[..most]);
            inside.partly.insert(name, have);
            return Status::INTERNAL_SERVER_ERROR.into_response();
        }
        have.extend(bytes);
        if name.starts_with("artifact/") && !name.ends_with(&sha256_of(&have).to_string()) {
            return (Status::BAD_REQUEST, "its bytes are not what they are called").into_response();
        }
        inside.whole.insert(name, have);
        Status::CREATED.into_response()
    })
}

fn text(error: anyhow::Error) -> String {
    format!("{error:#}")
}

const CONTENT: &[u8] = b"0123456789";

struct Bench {
    master: Master,
    objects: ObjectClient,
    _token: watch::Sender<Option<String>>,
    folder: tempfile::TempDir,
    stop: CancellationToken,
}

impl Bench {
    async fn new(moods: &[Mood]) -> Bench {
        let master = Master::default();
        master.moods(moods);
        let (objects, token) = master.objects().await;
        let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        Bench { master, objects, _token: token, folder, stop }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    async fn bring(&self, sha256: Sha256) -> Result<(), String> {
        let bytes = CONTENT.len() as u64;
        self.objects.bring(UploadKind::Artifact, sha256, bytes, &self.file(), &self.stop).await.map_err(text)
    }

    async fn deliver(&self) -> Result<(), String> {
        fs::write(self.file(), CONTENT).unwrap();
        let sha256 = sha256_of(CONTENT);
        self.objects.deliver(UploadKind::Artifact, sha256, &self.file(), &self.stop).await.map_err(text)
    }
}

#[tokio::test]
async fn a_download_goes_on_where_it_was_cut_off() {
    let bench = Bench::new(&[Mood::Cut(4), Mood::Busy, Mood::Forgetful, Mood::Cut(3)]).await;
    let sha256 = bench.master.keep("artifact", CONTENT);
    bench.bring(sha256).await.unwrap();
    assert_eq!(fs::read(bench.file()).unwrap(), CONTENT);
    let calls = bench.master.calls();
    assert_eq!(calls[0], "GET artifact bytes=0-");
    assert_eq!(calls.last().unwrap(), "GET artifact bytes=3-", "{calls:?}");
}

#[tokio::test]
async fn what_is_there_already_is_not_asked_for() {
    let bench = Bench::new(&[]).await;
    fs::write(bench.file(), CONTENT).unwrap();
    bench.bring(sha256_of(CONTENT)).await.unwrap();
    assert_eq!(bench.master.calls(), [""; 0]);
}

#[tokio::test]
async fn bytes_that_do_not_match_their_name_are_never_used() {
    let bench = Bench::new(&[]).await;
    let sha256 = sha256_of(CONTENT);
    let lie = |bytes: &[u8]| {
        bench.master.inside(|inside| inside.whole.insert(format!("artifact/{sha256}"), bytes.to_vec()));
    };
    for bytes in [&b"9876543210"[..], b"far more than was promised"] {
        lie(bytes);
        let error = bench.bring(sha256).await.unwrap_err();
        assert!(error.contains("which is not what was asked for"), "{error}");
        assert!(!bench.file().exists());
    }
    // Left by an earlier process, and wrong: brought anew.
    lie(CONTENT);
    fs::write(bench.file(), "xxxx").unwrap();
    bench.bring(sha256).await.unwrap();
    assert_eq!(fs::read(bench.file()).unwrap(), CONTENT);
}

#[tokio::test]
async fn what_the_master_has_no_more_is_told_at_once() {
    let bench = Bench::new(&[]).await;
    assert!(bench.bring(sha256_of(CONTENT)).await.unwrap_err().contains("the master has it no more"));
    assert_eq!(bench.master.calls().len(), 1);
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was_cut_off() {
    let bench = Bench::new(&[Mood::Busy, Mood::Well, Mood::Cut(6)]).await;
    bench.deliver().await.unwrap();
    let calls = ["HEAD artifact", "HEAD artifact", "PUT artifact 0", "HEAD artifact", "PUT artifact 6"];
    assert_eq!(bench.master.calls(), calls);
    let whole = bench.master.inside(|inside| inside.whole.values().next().cloned());
    assert_eq!(whole.unwrap(), CONTENT);
}

#[tokio::test]
async fn an_upload_behind_somebodys_wrong_bytes_begins_anew() {
    let bench = Bench::new(&[]).await;
    let name = format!("artifact/{}", sha256_of(CONTENT));
    bench.master.inside(|inside| inside.partly.insert(name, b"xx".to_vec()));
    bench.deliver().await.unwrap();
    assert_eq!(bench.master.calls(), ["HEAD artifact", "PUT artifact 2", "HEAD artifact", "PUT artifact 0"]);
}

#[tokio::test]
async fn what_the_master_has_is_not_uploaded_again() {
    let bench = Bench::new(&[]).await;
    bench.master.keep("artifact", CONTENT);
    bench.deliver().await.unwrap();
    assert_eq!(bench.master.calls(), ["HEAD artifact"]);
}

#[tokio::test]
async fn a_refusal_for_good_is_told_at_once_in_the_masters_words() {
    let bench = Bench::new(&[Mood::Well, Mood::Strict]).await;
    let error = bench.deliver().await.unwrap_err();
    assert!(error.contains("413") && error.contains("2 GiB at the most"), "{error}");
    assert_eq!(bench.master.calls().len(), 2);
}

#[tokio::test]
async fn patience_has_an_end() {
    let bench = Bench::new(&[Mood::Busy; 1000]).await;
    let error = bench.deliver().await.unwrap_err();
    assert!(error.contains("503") && error.contains("given up"), "{error}");
}

#[tokio::test]
async fn while_the_session_is_down_nothing_is_tried_and_a_stop_is_heard() {
    let bench = Bench::new(&[]).await;
    let (_token, hear_token) = watch::channel(None);
    let objects = ObjectClient { token: hear_token, ..bench.objects.clone() };
    fs::write(bench.file(), CONTENT).unwrap();
    let stop = bench.stop.clone();
    let delivering = tokio::spawn(async move {
        let file = bench.file();
        let delivered = objects.deliver(UploadKind::Results, sha256_of(CONTENT), &file, &bench.stop).await;
        (delivered.map_err(text), bench.master.calls())
    });
    stop.cancel();
    let (delivered, calls) = delivering.await.unwrap();
    assert!(delivered.unwrap_err().contains("stopped"));
    assert_eq!(calls, [""; 0]);
}

#[tokio::test]
async fn a_new_token_is_taken_up() {
    let bench = Bench::new(&[]).await;
    let (token, hear_token) = watch::channel(Some("an old one".to_string()));
    let patience = RetryLimits { total: Duration::from_secs(60), ..bench.objects.patience };
    let objects = ObjectClient { token: hear_token, patience, ..bench.objects.clone() };
    fs::write(bench.file(), CONTENT).unwrap();
    let renewing = async {
        // Its first call with the old one.
        while bench.master.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        token.send_replace(Some(TOKEN.into()));
    };
    let file = bench.file();
    let delivering = objects.deliver(UploadKind::Cases, sha256_of(CONTENT), &file, &bench.stop);
    let (delivered, ()) = tokio::join!(delivering, renewing);
    delivered.unwrap();
}
