//! Large things between worker and master, by HTTP: each is named by a SHA-256, goes on where it was cut off, and
//! is believed only when its bytes match its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use protocol::Sha256;
use sha2::Digest;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body, SendBody};

use crate::config::FarmUrl;

/// How many bytes of an upload the master has already.
const HAVE: &str = "farm-have";

#[derive(Clone)]
pub struct ObjectClient {
    /// The session's token, and the agent of that session alone: connections of one that broke may be dead, and look alive.
    agent: Arc<Mutex<(String, Agent)>>,
    url: FarmUrl,
    /// None while the session is down: then nothing is tried and no patience is used up.
    token: watch::Receiver<Option<String>>,
    patience: RetryLimits,
}

/// How long to go on trying while the session stands and nothing moves.
#[derive(Debug, Clone, Copy)]
pub struct RetryLimits {
    pub first_pause: Duration,
    pub longest_pause: Duration,
    pub total: Duration,
}

impl RetryLimits {
    pub const USUAL: RetryLimits = RetryLimits {
        first_pause: Duration::from_millis(250),
        longest_pause: Duration::from_secs(30),
        total: Duration::from_secs(600),
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadKind {
    Artifact,
    Results,
    Cases,
    Lock,
}

impl UploadKind {
    fn as_str(self) -> &'static str {
        match self {
            UploadKind::Artifact => "artifact",
            UploadKind::Results => "results",
            UploadKind::Cases => "cases",
            UploadKind::Lock => "lock",
        }
    }
}

/// Why one try did not succeed.
enum Failure {
    /// Worth another try. `at`: how many bytes had come over before it; a try that got further renews the patience.
    Again {
        why: String,
        at: u64,
    },
    Final(String),
}

impl ObjectClient {
    pub fn new(url: FarmUrl, token: watch::Receiver<Option<String>>, patience: RetryLimits) -> ObjectClient {
        let agent = Arc::new(Mutex::new((String::new(), agent())));
        ObjectClient { agent, url, token, patience }
    }

    fn agent_of(&self, token: &str) -> Agent {
        let mut known = self.agent.lock().expect("nobody panics while holding the agent");
        if known.0 != token {
            *known = (token.to_string(), agent());
        }
        known.1.clone()
    }

    /// Brings an object of this many bytes into `part`, going on with what is in it already.
    pub async fn bring(
        &self,
        kind: UploadKind,
        sha256: Sha256,
        bytes: u64,
        part: &Path,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let once = |token: String, stop: CancellationToken| {
            let agent = self.agent_of(&token);
            let try_it = Try { url: self.url.clone(), agent, kind, sha256, token, stop };
            let part = part.to_path_buf();
            move || try_it.bring(bytes, &part)
        };
        self.patiently(stop, once)
            .await
            .with_context(|| format!("bringing the {} {}", kind.as_str(), sha256.short()))
    }

    /// Makes sure that the master has this file under this name.
    pub async fn deliver(
        &self,
        kind: UploadKind,
        sha256: Sha256,
        file: &Path,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let once = |token: String, stop: CancellationToken| {
            let agent = self.agent_of(&token);
            let try_it = Try { url: self.url.clone(), agent, kind, sha256, token, stop };
            let file = file.to_path_buf();
            move || try_it.deliver(&file)
        };
        self.patiently(stop, once)
            .await
            .with_context(|| format!("uploading the {} {}", kind.as_str(), sha256.short()))
    }

    async fn patiently<T>(
        &self,
        stop: &CancellationToken,
        once: impl Fn(String, CancellationToken) -> T,
    ) -> anyhow::Result<()>
    where
        T: FnOnce() -> Result<(), Failure> + Send + 'static,
    {
        let mut token = self.token.clone();
        let (mut pause, mut spent, mut furthest) = (self.patience.first_pause, Duration::ZERO, 0);
        loop {
            let said = tokio::select! {
                said = token.wait_for(Option::is_some) => said.context("the worker is ending")?.clone(),
                () = stop.cancelled() => bail!("stopped"),
            };
            let begun = Instant::now();
            // Dropped with this turn: a thread that is left behind ends by itself at its next read, and writes nothing.
            let turn = stop.child_token().drop_guard();
            let trying = tokio::task::spawn_blocking(once(said.unwrap_or_default(), turn.token().clone()));
            let tried = tokio::select! {
                tried = trying => tried.context("the transfer failed inside")?,
                () = stop.cancelled() => bail!("stopped"),
                // With the session the transfer's own connection is likely to be dead, and would be waited for in vain.
                _ = token.changed() => Err(Failure::Again { why: "the session was lost".into(), at: furthest }),
            };
            match tried {
                Ok(()) => return Ok(()),
                Err(Failure::Final(why)) => bail!("{why}"),
                Err(Failure::Again { why, at }) => {
                    if at > furthest {
                        (furthest, spent, pause) = (at, Duration::ZERO, self.patience.first_pause);
                    }
                    spent += begun.elapsed() + pause;
                    if spent >= self.patience.total {
                        bail!("{why}; given up after {} s", self.patience.total.as_secs());
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => bail!("stopped"),
                    }
                    pause = self.patience.longest_pause.min(pause * 2);
                }
            }
        }
    }
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("farm-worker/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .timeout_per_write(Some(Duration::from_secs(60)))
        // The master hashes what it got before it answers.
        .timeout_recv_response(Some(Duration::from_secs(120)))
        .build()
        .new_agent()
}

/// One try, on a thread that may block.
struct Try {
    url: FarmUrl,
    agent: Agent,
    kind: UploadKind,
    sha256: Sha256,
    token: String,
    stop: CancellationToken,
}

impl Try {
    fn url(&self) -> String {
        let path = format!("{}/{}/{}", protocol::path::OBJECT, self.kind.as_str(), self.sha256);
        self.url.http(&path)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    fn bring(&self, bytes: u64, part: &Path) -> Result<(), Failure> {
        let mut have = fs::metadata(part).map_or(0, |metadata| metadata.len());
        if have > bytes {
            fs::remove_file(part).map_err(|e| on_disk(part, &e))?;
            have = 0;
        }
        let again = |why: String| Failure::Again { why, at: have };
        if have < bytes {
            let range = format!("bytes={have}-");
            let request = self.agent.get(self.url()).header("authorization", self.bearer());
            let mut answer = request.header("range", range).call().map_err(|e| again(e.to_string()))?;
            let from = match answer.status() {
                StatusCode::PARTIAL_CONTENT if starts_at(&answer, have) => have,
                StatusCode::OK => 0,
                StatusCode::NOT_FOUND | StatusCode::GONE => {
                    return Err(Failure::Final("the master has it no more".into()));
                }
                status => {
                    let _ = fs::remove_file(part);
                    return Err(again(refusal(status, &mut answer)));
                }
            };
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(part)
                .and_then(|mut file| file.set_len(from).and(file.seek(SeekFrom::End(0))).map(|_| file))
                .map_err(|e| on_disk(part, &e))?;
            // One byte more than promised is enough to know that it is something else.
            let body = answer.body_mut().with_config().limit(u64::MAX).reader().take(bytes + 1 - from);
            copy(body, &mut file, &self.stop).map_err(|e| match e {
                Cut::Reading(e) => again(e.to_string()),
                Cut::Writing(e) => on_disk(part, &e),
            })?;
        }
        match file_sha256(part).map_err(|e| on_disk(part, &e))? {
            sha256 if sha256 == self.sha256 => Ok(()),
            other => {
                let length = fs::metadata(part).map_or(0, |metadata| metadata.len());
                if length < bytes {
                    return Err(again(format!("the master sent {length} of {bytes} bytes")));
                }
                fs::remove_file(part).map_err(|e| on_disk(part, &e))?;
                let why = format!("what came is {}, which is not what was asked for", other.short());
                // What an earlier process left may be at fault; what came whole is not.
                Err(if have == 0 { Failure::Final(why) } else { Failure::Again { why, at: 0 } })
            }
        }
    }

    fn deliver(&self, path: &Path) -> Result<(), Failure> {
        let never = |why: String| Failure::Again { why, at: 0 };
        let request = self.agent.head(self.url()).header("authorization", self.bearer());
        let mut answer = request.call().map_err(|e| never(e.to_string()))?;
        let mut file = File::open(path).map_err(|e| on_disk(path, &e))?;
        let bytes = file.metadata().map_err(|e| on_disk(path, &e))?.len();
        let have = match answer.status() {
            status if status.is_success() => return Ok(()),
            StatusCode::NOT_FOUND => number(&answer, HAVE).filter(|have| *have <= bytes).unwrap_or(0),
            status => return Err(never(refusal(status, &mut answer))),
        };
        let again = |why: String| Failure::Again { why, at: have };
        file.seek(SeekFrom::Start(have)).map_err(|e| on_disk(path, &e))?;
        let mut body = Stoppable { inner: file.take(bytes - have), stop: self.stop.clone() };
        let mut answer = self
            .agent
            .put(format!("{}?from={have}", self.url()))
            .header("authorization", self.bearer())
            .header("content-length", (bytes - have).to_string())
            .header("content-type", "application/octet-stream")
            .send(SendBody::from_reader(&mut body))
            .map_err(|e| again(e.to_string()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            // What somebody else had left there may be at fault, and is dropped now; what went whole is not.
            StatusCode::BAD_REQUEST if have > 0 => {
                Err(Failure::Again { why: refusal(answer.status(), &mut answer), at: 0 })
            }
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Failure::Final(refusal(answer.status(), &mut answer)))
            }
            status => Err(again(refusal(status, &mut answer))),
        }
    }
}

/// Ends a transfer from within when nobody waits for it any more.
struct Stoppable<R> {
    inner: R,
    stop: CancellationToken,
}

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("stopped"));
        }
        self.inner.read(buffer)
    }
}

enum Cut {
    Reading(io::Error),
    Writing(io::Error),
}

fn copy(from: impl Read, to: &mut impl Write, stop: &CancellationToken) -> Result<(), Cut> {
    let mut from = Stoppable { inner: from, stop: stop.clone() };
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            // Another try may write by now.
            Ok(_) if stop.is_cancelled() => return Err(Cut::Reading(io::Error::other("stopped"))),
            Ok(n) => to.write_all(&buffer[..n]).map_err(Cut::Writing)?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Cut::Reading(e)),
        }
    }
}

pub fn file_sha256(path: &Path) -> io::Result<Sha256> {
    let mut file = File::open(path)?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256(hasher.finalize().into())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn starts_at(answer: &Response<Body>, offset: u64) -> bool {
    let range = answer.headers().get("content-range").and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {offset}-")))
}

fn number(answer: &Response<Body>, header: &str) -> Option<u64> {
    answer.headers().get(header)?.to_str().ok()?.parse().ok()
}

/// The master's own words, if it has any.
pub fn refusal(status: StatusCode, answer: &mut Response<Body>) -> String {
    let mut text = Vec::new();
    // A body that breaks off has said enough.
    let _ = answer.body_mut().as_reader().take(500).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).trim().replace(|c: char| c.is_control(), " ");
    format!("the master answered {status}{}{text}", if text.is_empty() { "" } else { ": " })
}

fn on_disk(path: &Path, error: &io::Error) -> Failure {
    Failure::Final(format!("{}: {error}", path.display()))
}

/// Where the bytes of an artifact gather until they are whole.
pub fn part_of(folder: &Path, sha256: Sha256) -> PathBuf {
    folder.join(format!("{sha256}.part"))
}

#[cfg(test)]
pub mod tests;
