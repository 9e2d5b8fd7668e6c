//! The logs of the steps that one connection reports: written and synced on threads of their own before their rows are
//! committed, and packed well once their steps have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use domain::words::ids::AttemptId;
use store::LogExtentRow;
use store::files::log::{self, LogExtent, LogWriter};

use crate::connection::fault::{Contradiction, ProtocolViolation, Reconnect};
use crate::farm::Farm;
use crate::farm::log_threads::LogClaim;

/// How many logs of one attempt may be open at once.
const MAX_OPEN: usize = 128;
/// How much a worker may keep in excess of its recipe's limit: it truncates by pieces, not by bytes.
const SLACK_BYTES: u64 = 64 << 10;
/// A log that takes no more space on disk is small enough as it is, and is read in one piece.
const SMALL_BYTES: u64 = 16 << 10;

pub struct LogFiles {
    farm: Farm,
    open: BTreeMap<(AttemptId, u16), OpenLog>,
    /// To be sealed once the end of their step is committed.
    ended: Vec<EndedLog>,
}

struct OpenLog {
    claim: LogClaim,
    /// None before the first write.
    writer: Option<LogWriter>,
    /// What is written and synced.
    row: LogExtentRow,
    /// What the next write appends; it is bounded by a batch.
    pending: Vec<LogPiece>,
    /// Bytes of text with all that is pending.
    bytes: u64,
    /// A worker that keeps more than its recipe asks for is broken or hostile, and the disk is the farm's.
    max_bytes: u64,
    has_ended: bool,
}

enum LogPiece {
    Text(Vec<u8>),
    /// The worker left out this much.
    Omission {
        bytes: u64,
        lines: u64,
    },
}

struct EndedLog {
    attempt: AttemptId,
    step: u16,
    row: LogExtentRow,
    /// Until the end of the step is committed, nobody else may open the log.
    _claim: LogClaim,
}

impl LogFiles {
    pub fn new(farm: Farm) -> LogFiles {
        LogFiles { farm, open: BTreeMap::new(), ended: Vec::new() }
    }

    /// Appends a piece of text with the next [`LogFiles::write`].
    pub async fn append(&mut self, attempt: AttemptId, step: u16, text: Vec<u8>) -> Result<()> {
        let log = self.open(attempt, step).await?;
        let added = u64::try_from(text.len()).expect("a length in memory fits into 64 bits");
        if log.bytes + added > log.max_bytes {
            bail!(Contradiction(format!("the log of step {step} is longer than its recipe's limit")));
        }
        log.bytes += added;
        log.pending.push(LogPiece::Text(text));
        Ok(())
    }

    /// Notes with the next [`LogFiles::write`] that the worker left this much out.
    pub async fn omit(&mut self, attempt: AttemptId, step: u16, bytes: u64, lines: u64) -> Result<()> {
        self.open(attempt, step).await?.pending.push(LogPiece::Omission { bytes, lines });
        Ok(())
    }

    /// The step has ended, and prints nothing more.
    pub fn end(&mut self, attempt: AttemptId, step: u16) {
        if let Some(log) = self.open.get_mut(&(attempt, step)) {
            log.has_ended = true;
        }
    }

    /// Closes all logs of an attempt. What is pending is dropped.
    pub fn close(&mut self, attempt: AttemptId) {
        self.open.retain(|(of, _), _| *of != attempt);
    }

    /// Writes and syncs what is pending. Returns the rows of the logs that have grown; they may be committed now.
    pub async fn write(&mut self) -> Result<BTreeMap<(AttemptId, u16), LogExtentRow>> {
        let grown = self.open.iter().filter(|(_, log)| !log.pending.is_empty()).map(|(&key, _)| key);
        let grown: Vec<(AttemptId, u16)> = grown.collect();
        let mut rows = BTreeMap::new();
        if !grown.is_empty() {
            let mut logs = Vec::with_capacity(grown.len());
            for key @ (attempt, step) in grown {
                let log = self.open.remove(&key).context("a log that has grown is open")?;
                logs.push((key, path(&self.farm, attempt, step), log));
            }
            let write = move || {
                logs.iter_mut().try_for_each(|(_, path, log)| log.write(path))?;
                anyhow::Ok(logs)
            };
            for (key, _, log) in self.farm.log_threads.run(write).await?? {
                rows.insert(key, log.row);
                self.open.insert(key, log);
            }
        }
        self.set_ended_apart();
        Ok(rows)
    }

    fn set_ended_apart(&mut self) {
        let ended: Vec<_> = self.open.iter().filter(|(_, log)| log.has_ended).map(|(&key, _)| key).collect();
        for (attempt, step) in ended {
            if let Some(OpenLog { row, claim, .. }) = self.open.remove(&(attempt, step)) {
                self.ended.push(EndedLog { attempt, step, row, _claim: claim });
            }
        }
    }

    /// Call this after the ends of steps are committed. Those of `rolled_back` attempts were not.
    pub fn seal_ended(&mut self, rolled_back: &BTreeSet<AttemptId>) {
        for EndedLog { attempt, step, row, .. } in self.ended.drain(..) {
            if row.stored_bytes > SMALL_BYTES && !rolled_back.contains(&attempt) {
                seal_later(self.farm.clone(), attempt, step, row);
            }
        }
    }

    /// The log of a step that may still print.
    async fn open(&mut self, attempt: AttemptId, step: u16) -> Result<&mut OpenLog> {
        let key = (attempt, step);
        if !self.open.contains_key(&key) {
            let log = self.load(attempt, step).await?;
            self.open.insert(key, log);
        }
        let log = self.open.get_mut(&key).context("the log was just opened")?;
        if log.has_ended {
            bail!(prints_after_its_end(step));
        }
        Ok(log)
    }

    async fn load(&self, attempt: AttemptId, step: u16) -> Result<OpenLog> {
        // Before the extent is read; see `LogThreads::claim`.
        let claim = self.farm.log_threads.claim(attempt, step).ok_or(Reconnect::LogBusy(attempt, step))?;
        let mut glance = self.farm.store.latest().await?;
        let steps = glance.read().steps(attempt).await?;
        let stored = steps.into_iter().find(|row| row.position == step);
        if stored.as_ref().is_some_and(|row| row.ended_at.is_some()) {
            bail!(prints_after_its_end(step));
        }
        let of_attempt = self.open.range((attempt, 0)..=(attempt, u16::MAX));
        if of_attempt.filter(|(_, log)| !log.has_ended).count() >= MAX_OPEN {
            bail!(ProtocolViolation(format!(
                "attempt {attempt} has more than {MAX_OPEN} steps that print at once"
            )));
        }
        let limits = glance.read().recipe_of(attempt).await?.limits;
        let row = stored.map(|row| row.log).unwrap_or_default();
        Ok(OpenLog {
            claim,
            writer: None,
            row,
            pending: Vec::new(),
            bytes: row.bytes,
            max_bytes: limits.log_bytes.saturating_add(SLACK_BYTES),
            has_ended: false,
        })
    }
}

impl OpenLog {
    /// Appends what is pending, and returns when all of it would survive a loss of power. It blocks.
    fn write(&mut self, path: &Path) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let opened = LogWriter::open(path, extent(self.row));
                self.writer.insert(opened.with_context(|| format!("opening the log {}", path.display()))?)
            }
        };
        for piece in self.pending.drain(..) {
            let (extent, omitted_bytes) = match piece {
                LogPiece::Text(text) => (writer.append(&text), 0),
                LogPiece::Omission { bytes, lines } => (writer.cut(bytes, lines), bytes),
            };
            let omitted_bytes = self.row.cut_bytes.saturating_add(omitted_bytes);
            self.row = row(extent.context("writing a log")?, omitted_bytes);
        }
        writer.sync().context("syncing a log")
    }
}

fn prints_after_its_end(step: u16) -> Contradiction {
    Contradiction(format!("step {step} has ended, but goes on printing"))
}

fn path(farm: &Farm, attempt: AttemptId, step: u16) -> PathBuf {
    log::path(&farm.store.data().join("logs"), attempt.0, step)
}

fn row(extent: LogExtent, omitted_bytes: u64) -> LogExtentRow {
    LogExtentRow {
        bytes: extent.raw_bytes,
        lines: extent.lines,
        stored_bytes: extent.stored_bytes,
        cut_bytes: omitted_bytes,
        sealed: false,
    }
}

fn extent(row: LogExtentRow) -> LogExtent {
    LogExtent { raw_bytes: row.bytes, lines: row.lines, stored_bytes: row.stored_bytes }
}

/// Packs the log of a step that has ended, in the background: readers open either form.
fn seal_later(farm: Farm, attempt: AttemptId, step: u16, before: LogExtentRow) {
    farm.sessions.clone().spawn(async move {
        let path = path(&farm, attempt, step);
        // Not on the threads that write logs: no session waits for it, and a large log takes seconds.
        let sealed = tokio::task::spawn_blocking(move || log::seal(&path, extent(before))).await;
        let sealed = match sealed {
            Ok(Ok(sealed)) => LogExtentRow { sealed: true, ..row(sealed, before.cut_bytes) },
            Ok(Err(error)) => return tracing::warn!(%attempt, step, %error, "cannot seal a log"),
            Err(error) => return tracing::warn!(%attempt, step, %error, "cannot seal a log"),
        };
        let commit =
            farm.store.write(move |tx| Box::pin(async move { tx.commit_log(attempt, step, sealed).await }));
        if let Err(error) = commit.await {
            tracing::warn!(%attempt, step, %error, "cannot record that a log is sealed");
        }
    });
}
