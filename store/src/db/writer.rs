//! One connection that writes for everybody: the writes that wait share one commit, and so one sync of the disk.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::db::open::{Write, close};
use crate::error::{Error, Result};

/// How many writes may wait; a writer past that waits to be let in.
const QUEUE: usize = 256;
/// How many writes share a commit at the most, so that the first does not wait long for the last.
const GROUP: usize = 64;

/// Told to its caller after the commit.
type Answer = Box<dyn FnOnce(Result<()>) + Send>;
/// Runs in the transaction; none when it failed, has said so, and must be rolled back.
type Job = Box<dyn for<'t> FnOnce(&'t mut Write<'_>) -> BoxFuture<'t, Option<Answer>> + Send>;

#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    commits: watch::Receiver<u64>,
    closing: Arc<Notify>,
}

impl Writer {
    /// On a thread of its own, which has nothing to wait for but SQLite's: a job of many questions is woken many times,
    /// and among the tasks of a runtime each of these costs more than the answer.
    pub fn start(connection: SqliteConnection) -> std::io::Result<Writer> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let (committed, commits) = watch::channel(0);
        let closing = Arc::new(Notify::new());
        let serving = serve(connection, waiting, committed, closing.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new().name("writer".into()).spawn(move || runtime.block_on(serving))?;
        Ok(Writer { jobs, commits, closing })
    }

    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    pub async fn run<T: Send + 'static>(
        &self,
        job: impl for<'t> FnOnce(&'t mut Write<'_>) -> BoxFuture<'t, Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (tell, told) = oneshot::channel::<Result<T>>();
        // A caller that went away meanwhile does not need its answer: a closed channel is no error.
        let job: Job = Box::new(move |write| {
            Box::pin(async move {
                let done = match job(write).await {
                    Ok(value) => write.put_journal().await.map(|()| value),
                    Err(error) => Err(error),
                };
                match done {
                    Ok(value) => Some(Box::new(move |committed: Result<()>| {
                        let _ = tell.send(committed.map(|()| value));
                    }) as Answer),
                    Err(error) => {
                        let _ = tell.send(Err(error));
                        None
                    }
                }
            })
        });
        self.jobs.send(job).await.map_err(|_| Error::Conflict("the store is closed"))?;
        told.await.map_err(|_| Error::Conflict("the write was given up; the log of the farm says why"))?
    }

    /// Lets the writer finish what waits, and returns when it has. Whoever still holds the store may write no more.
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
            // What was sent before is still received.
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
    close(connection).await;
}

async fn commit(
    connection: &mut SqliteConnection,
    jobs: impl ExactSizeIterator<Item = Job>,
    answers: &mut Vec<Answer>,
) -> Result<(), sqlx::Error> {
    // Nearly always a job has the commit to itself: then the transaction is all that is to be rolled back.
    let is_alone = jobs.len() == 1;
    sqlx::query("begin immediate").execute(&mut *connection).await?;
    for job in jobs {
        if !is_alone {
            sqlx::query("savepoint job").execute(&mut *connection).await?;
        }
        let mut write = Write::on(&mut *connection);
        // A mistake in one job must not take the only writer from everybody.
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
