//! The socket in the worker's folder through which its other commands talk to the one that runs: one line of JSON each way.
//! Only the worker's user can open it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::activity::{ActivityBoard, WorkerStatus};

const MAX_REQUEST_BYTES: u64 = 4096;
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Commands that are answered at the same time.
const MAX_CONNECTIONS: usize = 8;

/// What another command of the same user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    Status,
    /// Look at the folder again: a pause was written or removed.
    Look,
    /// Finish what runs, and end.
    Drain,
    /// Hand back what runs, and end.
    Stop,
}

/// What a running worker can be told.
#[derive(Clone)]
pub struct Control {
    pub activity: Arc<ActivityBoard>,
    pub wake: Arc<Notify>,
    pub stop: CancellationToken,
    pub kill_builds: CancellationToken,
}

impl Control {
    /// Answers until the worker stops and its builds have ended.
    pub async fn serve(self, path: &Path) -> anyhow::Result<()> {
        // The lock of the folder is held, so that a socket which is there is of a process that has died.
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).with_context(|| {
            format!("cannot open {}, so `farm-worker status` cannot reach this worker", path.display())
        })?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .context("protecting the control socket")?;
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await?;
            let Ok((stream, _)) = listener.accept().await else { continue };
            let control = self.clone();
            tokio::spawn(async move {
                let _place = place;
                // A command that does not end its line is not waited for.
                let _ = tokio::time::timeout(ANSWER_TIME, control.answer(stream)).await;
            });
        }
    }

    async fn answer(&self, mut stream: tokio::net::UnixStream) -> std::io::Result<()> {
        let (reader, mut writer) = stream.split();
        let mut line = String::new();
        tokio::io::BufReader::new(reader.take(MAX_REQUEST_BYTES)).read_line(&mut line).await?;
        let Ok(request) = serde_json::from_str::<Request>(&line) else {
            return writer.write_all(b"\n").await;
        };
        match request {
            Request::Status => {}
            Request::Look => self.wake.notify_one(),
            Request::Drain => {
                self.activity.update(|status| status.draining = true);
                self.stop.cancel();
            }
            Request::Stop => {
                self.stop.cancel();
                self.kill_builds.cancel();
            }
        }
        let answer = serde_json::to_string(&self.activity.status())? + "\n";
        writer.write_all(answer.as_bytes()).await
    }
}

/// Asks the worker that runs in a folder; none if none runs there. Blocks.
pub fn ask(socket: &Path, request: Request) -> anyhow::Result<Option<WorkerStatus>> {
    let Ok(mut stream) = UnixStream::connect(socket) else { return Ok(None) };
    stream.set_read_timeout(Some(ANSWER_TIME)).context("talking to the running worker")?;
    stream
        .write_all((serde_json::to_string(&request)? + "\n").as_bytes())
        .context("talking to the running worker")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).context("the running worker does not answer")?;
    let status =
        serde_json::from_str(&line).context("the running worker is of another version: start it again")?;
    Ok(Some(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FarmUrl;

    #[tokio::test(flavor = "multi_thread")]
    async fn only_its_user_talks_to_a_worker_and_nonsense_is_not_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        assert_eq!(ask(&path, Request::Status).unwrap(), None, "nobody listens");
        let url = FarmUrl::try_from("http://farm".to_string()).unwrap();
        let control = Control {
            activity: Arc::new(ActivityBoard::new(url, "attic", 2)),
            wake: Arc::default(),
            stop: CancellationToken::new(),
            kill_builds: CancellationToken::new(),
        };
        let (served, at) = (control.clone(), path.clone());
        let server = tokio::spawn(async move { served.serve(&at).await });
        let asked = |request| {
            let path = path.clone();
            tokio::task::spawn_blocking(move || ask(&path, request))
        };
        let status = loop {
            if let Some(status) = asked(Request::Status).await.unwrap().unwrap() {
                break status;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!((status.name.as_str(), status.slots, status.running), ("attic", 2, true));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mut nonsense = UnixStream::connect(&path).unwrap();
        nonsense.write_all(b"{{{{\n").unwrap();
        let mut answer = String::new();
        let answer = tokio::task::spawn_blocking(move || {
            BufReader::new(nonsense).read_line(&mut answer).unwrap();
            answer
        });
        assert_eq!(answer.await.unwrap(), "\n");
        assert!(asked(Request::Drain).await.unwrap().unwrap().is_some_and(|status| status.draining));
        assert!(control.stop.is_cancelled() && !control.kill_builds.is_cancelled());
        asked(Request::Stop).await.unwrap().unwrap();
        assert!(control.kill_builds.is_cancelled());
        server.abort();
    }
}
