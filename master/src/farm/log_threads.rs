//! The threads that write log files. A disk that is slow to sync then stalls the sessions that wait for it, and neither the
//! runtime, on whose threads every page and every other session runs, nor its pool of blocking threads.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use domain::words::ids::AttemptId;
use tokio::sync::{mpsc, oneshot};

/// A session has one job at a time, so this many sessions may wait for a stuck disk before the next one waits, too.
const THREADS: usize = 16;
/// How many jobs may wait for a thread; a session past that waits until its job is accepted.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Clone)]
pub struct LogThreads {
    jobs: mpsc::Sender<Job>,
    claimed: Claimed,
}

/// The logs that a session writes, by attempt and step.
type Claimed = Arc<Mutex<BTreeSet<(AttemptId, u16)>>>;

impl LogThreads {
    pub fn start() -> std::io::Result<LogThreads> {
        let (jobs, waiting) = mpsc::channel::<Job>(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 1..=THREADS {
            let waiting = waiting.clone();
            std::thread::Builder::new().name(format!("logs-{number}")).spawn(move || run_jobs(&waiting))?;
        }
        Ok(LogThreads { jobs, claimed: Arc::default() })
    }

    /// Runs a job on one of the threads. Jobs that must run in order are awaited one after another.
    ///
    /// # Errors
    /// When the job panicked.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            // A session that has ended does not need its answer.
            let _ = answer.send(job());
        });
        // The threads live as long as this sender.
        self.jobs.send(job).await.ok().context("the threads that write logs have ended")?;
        answered.await.context("a job that wrote logs panicked")
    }

    /// Makes the caller the only session that writes this log; none if another one does, as the session of a connection
    /// that was replaced may still do. Claim a log before its committed extent is read: opening a log truncates it to
    /// that extent, and the earlier writer may be about to commit a longer one.
    pub fn claim(&self, attempt: AttemptId, step: u16) -> Option<LogClaim> {
        let log = (attempt, step);
        let is_new = self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(log);
        is_new.then(|| LogClaim { log, claimed: self.claimed.clone() })
    }
}

/// Held as long as its log is written, until its last extent is committed.
pub struct LogClaim {
    log: (AttemptId, u16),
    claimed: Claimed,
}

impl Drop for LogClaim {
    fn drop(&mut self) {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.log);
    }
}

/// Until the last [`LogThreads`] is dropped.
fn run_jobs(waiting: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // The thread that holds the lock waits for the next job, and releases the lock before it runs that job.
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = job else { return };
        // A panic ends its job only: the caller gets an error, and all other sessions need the thread.
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("a job that wrote logs panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_hangs_stalls_no_other_job() {
        let threads = LogThreads::start().unwrap();
        let (let_go, hangs) = std::sync::mpsc::sync_channel::<()>(1);
        let (begun, has_begun) = oneshot::channel();
        let hanging = tokio::spawn({
            let threads = threads.clone();
            async move {
                threads
                    .run(move || {
                        begun.send(()).unwrap();
                        hangs.recv().unwrap();
                    })
                    .await
            }
        });
        has_begun.await.unwrap();
        for number in 0..100 {
            assert_eq!(threads.run(move || number).await.unwrap(), number);
        }
        assert!(!hanging.is_finished());
        let_go.send(()).unwrap();
        hanging.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_job_that_panics_is_an_error_and_costs_no_thread() {
        let threads = LogThreads::start().unwrap();
        for _ in 0..2 * THREADS {
            assert!(threads.run(|| panic!("a mistake in one job")).await.is_err());
        }
        assert_eq!(threads.run(|| 1).await.unwrap(), 1);
    }

    #[test]
    fn a_log_has_one_writer_at_a_time() {
        let threads = LogThreads::start().unwrap();
        let claim = threads.claim(AttemptId(1), 0);
        assert!(claim.is_some());
        assert!(threads.claim(AttemptId(1), 0).is_none());
        assert!(threads.claim(AttemptId(1), 1).is_some());
        drop(claim);
        assert!(threads.claim(AttemptId(1), 0).is_some());
    }
}
