//! The logs that one connection's steps print into: appended to, synced before their rows are committed, and packed
//! well once their steps have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use domain::words::ids::AttemptId;
use store::LogExtentRow;
use store::files::log::{self, LogExtent, LogWriter};

use crate::connection::apply::Contradiction;
use crate::connection::intake::ProtocolViolation;
use crate::farm::Farm;

/// How many logs of one attempt are open at once.
const MAX_OPEN: usize = 128;
/// What a worker may keep beside what its recipe says: it cuts at pieces, not at bytes.
const SLACK_BYTES: u64 = 64 << 10;
/// A log that takes no more on disk is small enough as it is, and read in one piece.
const SMALL_BYTES: u64 = 16 << 10;

pub struct LogFiles {
    farm: Farm,
    open: BTreeMap<(AttemptId, u16), OpenLog>,
    /// To be sealed once the end of their step is committed.
    ended: Vec<(AttemptId, u16, LogExtentRow)>,
}

struct OpenLog {
    writer: LogWriter,
    row: LogExtentRow,
    /// A worker that keeps more than its recipe wants is broken or hostile, and the disk is ours.
    most_bytes: u64,
}

impl LogFiles {
    pub fn new(farm: Farm) -> LogFiles {
        LogFiles { farm, open: BTreeMap::new(), ended: Vec::new() }
    }

    pub async fn append(&mut self, attempt: AttemptId, step: u16, text: &[u8]) -> Result<()> {
        let log = self.log(attempt, step).await?;
        if log.row.bytes + text.len() as u64 > log.most_bytes {
            bail!(Contradiction(format!("step {step} tells more of its log than its recipe keeps")));
        }
        let extent = log.writer.append(text).context("writing a log")?;
        log.row = row(extent, log.row.cut_bytes);
        Ok(())
    }

    /// Says that these were left out.
    pub async fn cut(&mut self, attempt: AttemptId, step: u16, bytes: u64, lines: u64) -> Result<()> {
        let log = self.log(attempt, step).await?;
        let extent = log.writer.cut(bytes, lines).context("writing a log")?;
        log.row = row(extent, log.row.cut_bytes.saturating_add(bytes));
        Ok(())
    }

    /// Syncs a log that has grown; its row may be committed now.
    pub fn synced(&mut self, attempt: AttemptId, step: u16) -> Result<Option<LogExtentRow>> {
        let Some(log) = self.open.get_mut(&(attempt, step)) else { return Ok(None) };
        log.writer.sync().context("syncing a log")?;
        Ok(Some(log.row))
    }

    /// The step prints no more.
    pub fn end(&mut self, attempt: AttemptId, step: u16) {
        if let Some(log) = self.open.remove(&(attempt, step)) {
            self.ended.push((attempt, step, log.row));
        }
    }

    /// The attempt tells no more.
    pub fn forget(&mut self, attempt: AttemptId) {
        self.open.retain(|(of, _), _| *of != attempt);
    }

    /// To be called once the ends of steps are committed, but for those of these attempts, which were taken back.
    pub fn seal_ended(&mut self, taken_back: &BTreeSet<AttemptId>) {
        for (attempt, step, log) in self.ended.drain(..) {
            if log.stored_bytes > SMALL_BYTES && !taken_back.contains(&attempt) {
                seal_later(self.farm.clone(), attempt, step, log);
            }
        }
    }

    async fn log(&mut self, attempt: AttemptId, step: u16) -> Result<&mut OpenLog> {
        if !self.open.contains_key(&(attempt, step)) {
            let mut glance = self.farm.store.glance().await?;
            let steps = glance.read().steps(attempt).await?;
            let known = steps.into_iter().find(|row| row.position == step);
            if known.as_ref().is_some_and(|row| row.ended_at.is_some()) {
                bail!(Contradiction(format!("step {step} has ended, and goes on printing")));
            }
            let before = known.map(|row| row.log).unwrap_or_default();
            let most_bytes =
                glance.read().recipe_of(attempt).await?.limits.log_bytes.saturating_add(SLACK_BYTES);
            drop(glance);
            if self.open.range((attempt, 0)..=(attempt, u16::MAX)).count() >= MAX_OPEN {
                bail!(ProtocolViolation(format!("more than {MAX_OPEN} logs of one attempt at once")));
            }
            let path = path(&self.farm, attempt, step);
            let writer = LogWriter::open(&path, extent(before))
                .with_context(|| format!("opening the log {path:?}"))?;
            self.open.insert((attempt, step), OpenLog { writer, row: before, most_bytes });
        }
        self.open.get_mut(&(attempt, step)).context("a log that was just opened")
    }
}

fn path(farm: &Farm, attempt: AttemptId, step: u16) -> PathBuf {
    log::path(&farm.store.data().join("logs"), attempt.0, step)
}

fn row(extent: LogExtent, cut_bytes: u64) -> LogExtentRow {
    LogExtentRow {
        bytes: extent.raw_bytes,
        lines: extent.lines,
        stored_bytes: extent.stored_bytes,
        cut_bytes,
        sealed: false,
    }
}

fn extent(row: LogExtentRow) -> LogExtent {
    LogExtent { raw_bytes: row.bytes, lines: row.lines, stored_bytes: row.stored_bytes }
}

/// Packs the log of a step that ended, beside everything else: readers open either form.
fn seal_later(farm: Farm, attempt: AttemptId, step: u16, before: LogExtentRow) {
    farm.sessions.clone().spawn(async move {
        let path = path(&farm, attempt, step);
        let sealed = tokio::task::spawn_blocking(move || log::seal(&path, extent(before))).await;
        let sealed = match sealed {
            Ok(Ok(sealed)) => LogExtentRow { sealed: true, ..row(sealed, before.cut_bytes) },
            Ok(Err(error)) => return tracing::warn!(%attempt, step, %error, "sealing a log"),
            Err(error) => return tracing::warn!(%attempt, step, %error, "sealing a log"),
        };
        let commit =
            farm.store.write(move |tx| Box::pin(async move { tx.commit_log(attempt, step, sealed).await }));
        if let Err(error) = commit.await {
            tracing::warn!(%attempt, step, %error, "noting a sealed log");
        }
    });
}
