//! Removes what retention no longer keeps: old logs, toolchains over their limit, entries of the journal, abandoned
//! uploads. It works in small batches, so that other writers hardly wait. Files are read and removed on threads that may block.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use domain::retention::{Retention, least_valued};
use domain::words::ids::{AttemptId, Timestamp};
use store::ObjectKind;
use store::OldLog;
use store::files::log;

use crate::farm::{Farm, now};

/// Rows that are read, and changed, at once.
const BATCH: u32 = 200;
/// Browsers that reconnect after this time reload the page.
const JOURNAL: Duration = Duration::from_secs(30 * 24 * 3600);
/// An upload that received nothing for this long is not resumed, and results were read long ago. Until then a worker that
/// was away may still report what it has uploaded.
const UPLOAD: Duration = Duration::from_secs(7 * 24 * 3600);

pub async fn prune(farm: &Farm) -> Result<()> {
    let retention = farm.config().retention;
    let logs = prune_logs(farm, &retention).await.context("pruning logs")?;
    let toolchains = prune_toolchains(farm, &retention).await.context("pruning toolchains")?;
    let entries = prune_journal(farm).await.context("pruning the journal")?;
    let folder = farm.store.data().join("objects");
    let files = tokio::task::spawn_blocking(move || remove_old_uploads(&folder)).await?;
    let files = files.context("removing old uploads")?;
    if logs + toolchains + files > 0 {
        tracing::info!(logs, toolchains, entries, files, "pruned");
    }
    Ok(())
}

async fn prune_logs(farm: &Farm, retention: &Retention) -> Result<usize> {
    let at = now();
    let before = before(at, retention.green_logs.min(retention.red_logs));
    let folder = farm.store.data().join("logs");
    let (mut after, mut pruned) = ((AttemptId(0), 0), 0);
    while !farm.stop.is_cancelled() {
        let mut snapshot = farm.store.snapshot().await?;
        let old = snapshot.read().old_logs(after, before, i64::from(BATCH)).await?;
        drop(snapshot);
        let Some(last) = old.last() else { break };
        after = (last.attempt, last.position);
        let is_past = |log: &OldLog| retention.is_past(log.outcome, log.ended_at, log.is_needed, at);
        let past: Vec<OldLog> = old.into_iter().filter(is_past).collect();
        pruned += past.len();
        let (folder, files) = (folder.clone(), past.clone());
        // If the master dies before the rows are marked, the next run selects them again.
        tokio::task::spawn_blocking(move || {
            files.iter().try_for_each(|old| remove(&log::path(&folder, old.attempt.0, old.position)))
        })
        .await??;
        farm.store
            .write(move |tx| {
                Box::pin(async move {
                    for old in past {
                        tx.mark_log_pruned(old.attempt, old.position, at).await?;
                    }
                    Ok(())
                })
            })
            .await?;
    }
    Ok(pruned)
}

async fn prune_toolchains(farm: &Farm, retention: &Retention) -> Result<usize> {
    let mut snapshot = farm.store.snapshot().await?;
    let stored = snapshot.read().kept_toolchains().await?;
    drop(snapshot);
    let mut pruned = 0;
    for toolchain in least_valued(stored, retention.artifacts_bytes) {
        let at = now();
        // The row first: no worker may be sent to a file that is gone. If the master dies here, `farm-master doctor` names the
        // file that stays.
        let is_pruned = farm
            .store
            .write(move |tx| Box::pin(async move { tx.prune_toolchain(toolchain, at).await }))
            .await?;
        if is_pruned {
            let path = farm.objects.path(ObjectKind::Artifact, &toolchain);
            tokio::task::spawn_blocking(move || remove(&path)).await??;
            pruned += 1;
        }
    }
    Ok(pruned)
}

async fn prune_journal(farm: &Farm) -> Result<u64> {
    let before = before(now(), JOURNAL);
    let mut pruned = 0;
    loop {
        let batch = farm
            .store
            .write(move |tx| Box::pin(async move { tx.prune_journal(before, i64::from(BATCH)).await }))
            .await?;
        pruned += batch;
        if batch < u64::from(BATCH) || farm.stop.is_cancelled() {
            return Ok(pruned);
        }
    }
}

/// The moment that lies this long before another.
fn before(at: Timestamp, age: Duration) -> Timestamp {
    let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp(at.0.saturating_sub(age_ms))
}

/// Removes parts of abandoned uploads, and results: the rows hold what was in them. It blocks.
#[expect(clippy::disallowed_methods, reason = "runs on a blocking thread")]
fn remove_old_uploads(objects: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for kind in [ObjectKind::Artifact, ObjectKind::Results, ObjectKind::Cases] {
        for path in files(&objects.join(kind.as_str()))? {
            let is_part = path.extension().is_some_and(|extension| extension == "part");
            let is_old = std::fs::metadata(&path)
                .and_then(|about| about.modified())
                .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > UPLOAD));
            if is_old && (is_part || kind == ObjectKind::Results) {
                remove(&path)?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

#[expect(clippy::disallowed_methods, reason = "runs on a blocking thread")]
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[expect(clippy::disallowed_methods, reason = "runs on a blocking thread")]
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
