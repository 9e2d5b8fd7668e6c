//! Transfers of large objects between worker and master by HTTP. Each object is named by its SHA-256. A transfer resumes
//! where it was interrupted, and an object is accepted only if its bytes match its name.

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
use crate::tls::TrustedAuthorities;

/// The header with how many bytes of an upload the master already has.
const HAVE_HEADER: &str = "farm-have";

#[derive(Clone)]
pub struct ObjectClient {
    /// The session's token, and an agent for this session only: after a session that broke, its connections may be dead
    /// although they look open.
    agent: Arc<Mutex<(String, Agent)>>,
    url: FarmUrl,
    authorities: TrustedAuthorities,
    /// None while the session is down: then nothing is tried, and the time does not count.
    token: watch::Receiver<Option<String>>,
    limits: RetryLimits,
}

/// How long to retry while the session is up and the transfer makes no progress.
#[derive(Debug, Clone, Copy)]
pub struct RetryLimits {
    pub first_pause: Duration,
    pub longest_pause: Duration,
    pub total_time: Duration,
}

impl RetryLimits {
    pub const DEFAULT: RetryLimits = RetryLimits {
        first_pause: Duration::from_millis(250),
        longest_pause: Duration::from_secs(30),
        total_time: Duration::from_secs(600),
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

/// Why one attempt at a transfer failed.
enum TransferError {
    /// Worth another try. `done_bytes`: how much was transferred before it. Progress restarts the time that
    /// [`RetryLimits`] allows.
    Retry {
        why: String,
        done_bytes: u64,
    },
    Final(String),
}

impl ObjectClient {
    pub fn new(
        url: FarmUrl,
        authorities: TrustedAuthorities,
        token: watch::Receiver<Option<String>>,
        limits: RetryLimits,
    ) -> ObjectClient {
        let agent = Arc::new(Mutex::new((String::new(), agent(&authorities))));
        ObjectClient { agent, url, authorities, token, limits }
    }

    fn agent_of(&self, token: &str) -> Agent {
        let mut current = self.agent.lock().expect("nobody panics while holding the agent");
        if current.0 != token {
            *current = (token.to_string(), agent(&self.authorities));
        }
        current.1.clone()
    }

    /// Downloads an object of this size into the file `part`, and continues after what is already in it.
    pub async fn download(
        &self,
        kind: UploadKind,
        sha256: Sha256,
        bytes: u64,
        part: &Path,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let once = |token: String, stop: CancellationToken| {
            let agent = self.agent_of(&token);
            let transfer = Transfer { url: self.url.clone(), agent, kind, sha256, token, stop };
            let part = part.to_path_buf();
            move || transfer.download(bytes, &part)
        };
        self.retry(stop, once)
            .await
            .with_context(|| format!("downloading the {} {}", kind.as_str(), sha256.short()))
    }

    /// Makes sure that the master has this file under this name.
    pub async fn upload(
        &self,
        kind: UploadKind,
        sha256: Sha256,
        file: &Path,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let once = |token: String, stop: CancellationToken| {
            let agent = self.agent_of(&token);
            let transfer = Transfer { url: self.url.clone(), agent, kind, sha256, token, stop };
            let file = file.to_path_buf();
            move || transfer.upload(&file)
        };
        self.retry(stop, once)
            .await
            .with_context(|| format!("uploading the {} {}", kind.as_str(), sha256.short()))
    }

    async fn retry<T>(
        &self,
        stop: &CancellationToken,
        once: impl Fn(String, CancellationToken) -> T,
    ) -> anyhow::Result<()>
    where
        T: FnOnce() -> Result<(), TransferError> + Send + 'static,
    {
        let mut token = self.token.clone();
        let (mut pause, mut spent, mut furthest) = (self.limits.first_pause, Duration::ZERO, 0);
        loop {
            let current = tokio::select! {
                current = token.wait_for(Option::is_some) => current.context("the worker is stopping")?.clone(),
                () = stop.cancelled() => bail!("stopped"),
            };
            let begun = Instant::now();
            // Dropped at the end of this iteration: an abandoned thread then ends by itself at its next read, and writes
            // nothing.
            let attempt = stop.child_token().drop_guard();
            let trying =
                tokio::task::spawn_blocking(once(current.unwrap_or_default(), attempt.token().clone()));
            let tried = tokio::select! {
                tried = trying => tried.context("internal error: the transfer failed")?,
                () = stop.cancelled() => bail!("stopped"),
                // If the session is lost, the transfer's own connection is probably dead as well, so do not wait for it.
                _ = token.changed() => Err(TransferError::Retry { why: "the session was lost".into(), done_bytes: furthest }),
            };
            match tried {
                Ok(()) => return Ok(()),
                Err(TransferError::Final(why)) => bail!("{why}"),
                Err(TransferError::Retry { why, done_bytes }) => {
                    if done_bytes > furthest {
                        (furthest, spent, pause) = (done_bytes, Duration::ZERO, self.limits.first_pause);
                    }
                    spent += begun.elapsed() + pause;
                    if spent >= self.limits.total_time {
                        bail!(
                            "{why}; giving up after {} s without progress",
                            self.limits.total_time.as_secs()
                        );
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => bail!("stopped"),
                    }
                    pause = self.limits.longest_pause.min(pause * 2);
                }
            }
        }
    }
}

fn agent(authorities: &TrustedAuthorities) -> Agent {
    Agent::config_builder()
        .tls_config(authorities.http())
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("farm-worker/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .timeout_per_write(Some(Duration::from_secs(60)))
        // The master hashes the upload before it answers.
        .timeout_recv_response(Some(Duration::from_secs(120)))
        .build()
        .new_agent()
}

/// One attempt at a transfer. It blocks.
struct Transfer {
    url: FarmUrl,
    agent: Agent,
    kind: UploadKind,
    sha256: Sha256,
    token: String,
    stop: CancellationToken,
}

impl Transfer {
    fn url(&self) -> String {
        let path = format!("{}/{}/{}", protocol::path::OBJECT, self.kind.as_str(), self.sha256);
        self.url.http(&path)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    fn download(&self, bytes: u64, part: &Path) -> Result<(), TransferError> {
        let mut have = fs::metadata(part).map_or(0, |metadata| metadata.len());
        if have > bytes {
            fs::remove_file(part).map_err(|e| disk_error(part, &e))?;
            have = 0;
        }
        let again = |why: String| TransferError::Retry { why, done_bytes: have };
        if have < bytes {
            let range = format!("bytes={have}-");
            let request = self.agent.get(self.url()).header("authorization", self.bearer());
            let mut answer = request.header("range", range).call().map_err(|e| again(e.to_string()))?;
            let from = match answer.status() {
                StatusCode::PARTIAL_CONTENT if starts_at(&answer, have) => have,
                StatusCode::OK => 0,
                StatusCode::NOT_FOUND | StatusCode::GONE => {
                    return Err(TransferError::Final("the master does not have it any more".into()));
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
                .map_err(|e| disk_error(part, &e))?;
            // One byte more than announced is enough to see that it is something else.
            let body = answer.body_mut().with_config().limit(u64::MAX).reader().take(bytes + 1 - from);
            copy(body, &mut file, &self.stop).map_err(|e| match e {
                CopyError::Read(e) => again(e.to_string()),
                CopyError::Write(e) => disk_error(part, &e),
            })?;
        }
        match file_sha256(part).map_err(|e| disk_error(part, &e))? {
            sha256 if sha256 == self.sha256 => Ok(()),
            other => {
                let length = fs::metadata(part).map_or(0, |metadata| metadata.len());
                if length < bytes {
                    return Err(again(format!("the master sent {length} of {bytes} bytes")));
                }
                fs::remove_file(part).map_err(|e| disk_error(part, &e))?;
                let why = format!("the master sent {}, which is not what we asked for", other.short());
                // What an earlier process left may be wrong; a complete download is not.
                Err(if have == 0 {
                    TransferError::Final(why)
                } else {
                    TransferError::Retry { why, done_bytes: 0 }
                })
            }
        }
    }

    fn upload(&self, path: &Path) -> Result<(), TransferError> {
        let no_progress = |why: String| TransferError::Retry { why, done_bytes: 0 };
        let request = self.agent.head(self.url()).header("authorization", self.bearer());
        let mut answer = request.call().map_err(|e| no_progress(e.to_string()))?;
        let mut file = File::open(path).map_err(|e| disk_error(path, &e))?;
        let bytes = file.metadata().map_err(|e| disk_error(path, &e))?.len();
        let have = match answer.status() {
            status if status.is_success() => return Ok(()),
            StatusCode::NOT_FOUND => {
                header_number(&answer, HAVE_HEADER).filter(|have| *have <= bytes).unwrap_or(0)
            }
            status => return Err(no_progress(refusal(status, &mut answer))),
        };
        let again = |why: String| TransferError::Retry { why, done_bytes: have };
        file.seek(SeekFrom::Start(have)).map_err(|e| disk_error(path, &e))?;
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
            // What another upload had left there may be wrong, and the master has dropped it now; a complete upload is not.
            StatusCode::BAD_REQUEST if have > 0 => {
                Err(TransferError::Retry { why: refusal(answer.status(), &mut answer), done_bytes: 0 })
            }
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::PAYLOAD_TOO_LARGE => {
                Err(TransferError::Final(refusal(answer.status(), &mut answer)))
            }
            status => Err(again(refusal(status, &mut answer))),
        }
    }
}

/// Makes a read fail when nobody waits for the transfer any more.
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

enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

fn copy(from: impl Read, to: &mut impl Write, stop: &CancellationToken) -> Result<(), CopyError> {
    let mut from = Stoppable { inner: from, stop: stop.clone() };
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            // Another attempt may already be writing.
            Ok(_) if stop.is_cancelled() => return Err(CopyError::Read(io::Error::other("stopped"))),
            Ok(n) => to.write_all(&buffer[..n]).map_err(CopyError::Write)?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(CopyError::Read(e)),
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

fn header_number(answer: &Response<Body>, header: &str) -> Option<u64> {
    answer.headers().get(header)?.to_str().ok()?.parse().ok()
}

/// An answer that is an error, with the master's explanation if there is one.
pub fn refusal(status: StatusCode, answer: &mut Response<Body>) -> String {
    let mut text = Vec::new();
    // An incomplete body still explains something.
    let _ = answer.body_mut().as_reader().take(500).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).trim().replace(|c: char| c.is_control(), " ");
    format!("the master answered {status}{}{text}", if text.is_empty() { "" } else { ": " })
}

fn disk_error(path: &Path, error: &io::Error) -> TransferError {
    TransferError::Final(format!("{}: {error}", path.display()))
}

/// The file for an artifact that is not complete yet.
pub fn partial_path(folder: &Path, sha256: Sha256) -> PathBuf {
    folder.join(format!("{sha256}.part"))
}

#[cfg(test)]
pub mod tests;
