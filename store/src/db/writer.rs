//! The one connection that writes: all writes that wait share one commit, and so one sync of the disk.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::db::transaction::Write;
use crate::error::{Error, Result};

/// How many writes may wait in the queue; a caller beyond that waits for room in it.
const QUEUE: usize = 256;
/// How many writes share a commit at most, so that the first does not wait long for the last.
const GROUP: usize = 64;

/// Sends a job's result to its caller after the commit.
type Answer = Box<dyn FnOnce(Result<()>) + Send>;
/// Runs in the transaction. Returns none if it failed and must be rolled back; its caller has the error then.
type Job = Box<dyn for<'t> FnOnce(&'t mut Write<'_>) -> BoxFuture<'t, Option<Answer>> + Send>;

/// The handle of the thread that writes. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    commits: watch::Receiver<u64>,
    closing: Arc<Notify>,
}

impl Writer {
    /// Starts the writer on a thread of its own, which waits for SQLite's thread only: a job of many queries is woken
    /// many times, and among the tasks of a shared runtime each wake-up costs more than the query.
    pub fn start(connection: SqliteConnection) -> std::io::Result<Writer> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let (committed, commits) = watch::channel(0);
        let closing = Arc::new(Notify::new());
        let serving = serve(connection, waiting, committed, closing.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new().name("writer".into()).spawn(move || runtime.block_on(serving))?;
        Ok(Writer { jobs, commits, closing })
    }

    /// Counts commits.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    /// Runs a job in the next commit and returns after it.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl for<'t> FnOnce(&'t mut Write<'_>) -> BoxFuture<'t, Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (sender, result) = oneshot::channel::<Result<T>>();
        // A caller that was dropped meanwhile does not need its result: a closed channel is no error.
        let job: Job = Box::new(move |write| {
            Box::pin(async move {
                let done = match job(write).await {
                    Ok(value) => write.put_journal().await.map(|()| value),
                    Err(error) => Err(error),
                };
                match done {
                    Ok(value) => Some(Box::new(move |committed: Result<()>| {
                        let _ = sender.send(committed.map(|()| value));
                    }) as Answer),
                    Err(error) => {
                        let _ = sender.send(Err(error));
                        None
                    }
                }
            })
        });
        self.jobs.send(job).await.map_err(|_| Error::Conflict("the store is closed"))?;
        result.await.map_err(|_| Error::Conflict("the write was aborted; the farm's log has the reason"))?
    }

    /// Lets the writer finish what waits, and returns when it has. Later writes are refused.
    pub async fn stop(self) {
        let Writer { closing, mut commits, .. } = self;
        closing.notify_one();
        while commits.changed().await.is_ok() {}
    }
}

async fn serve(
    mut connection: SqliteConnection,
    mut waiting: mpsc::Receiver<Job>,
    committed: watch::Sender<u64>,
    closing: Arc<Notify>,
) {
    let mut group = Vec::with_capacity(GROUP);
    loop {
        tokio::select! {
            some = waiting.recv_many(&mut group, GROUP) => if some == 0 { break },
            // Jobs that were sent before are still received.
            () = closing.notified() => {
                waiting.close();
                continue;
            }
        }
        let mut answers = Vec::with_capacity(group.len());
        match commit(&mut connection, group.drain(..), &mut answers).await {
            Ok(()) => {
                committed.send_modify(|count| *count += 1);
                answers.into_iter().for_each(|answer| answer(Ok(())));
            }
            Err(error) => {
                tracing::error!(%error, "a group of writes could not be committed");
                // When the disk is full there may be no transaction left to roll back.
                let _ = sqlx::query("rollback").execute(&mut connection).await;
                for answer in answers {
                    answer(Err(Error::Io(std::io::Error::other(error.to_string()))));
                }
            }
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "closing the database");
    }
}

async fn commit(
    connection: &mut SqliteConnection,
    jobs: impl ExactSizeIterator<Item = Job>,
    answers: &mut Vec<Answer>,
) -> Result<(), sqlx::Error> {
    // Nearly always a job has the commit to itself: then rolling back the transaction is enough.
    let is_alone = jobs.len() == 1;
    sqlx::query("begin immediate").execute(&mut *connection).await?;
    for job in jobs {
        if !is_alone {
            sqlx::query("savepoint job").execute(&mut *connection).await?;
        }
        let mut write = Write::new(&mut *connection);
        // A bug in one job must not stop the only writer.
        match AssertUnwindSafe(job(&mut write)).catch_unwind().await {
            Ok(Some(answer)) => answers.push(answer),
            failed @ (Ok(None) | Err(_)) => {
                if failed.is_err() {
                    tracing::error!("a write panicked and was rolled back");
                }
                if is_alone {
                    sqlx::query("rollback").execute(&mut *connection).await?;
                    return Ok(());
                }
                sqlx::query("rollback to job").execute(&mut *connection).await?;
            }
        }
        if !is_alone {
            sqlx::query("release job").execute(&mut *connection).await?;
        }
    }
    sqlx::query("commit").execute(&mut *connection).await?;
    Ok(())
}
