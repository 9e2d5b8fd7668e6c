//! Lets go what need not be kept: old logs, toolchains past their bound, entries of the journal, cut uploads.
//! It goes in small parts, so that whoever writes meanwhile hardly waits.

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

/// Rows that are looked at, and changed, at once.
const PART: i64 = 200;
/// Browsers that come back after this time load the page anew.
const JOURNAL: Duration = Duration::from_secs(30 * 24 * 3600);
/// An upload of which nothing came for so long is not gone on with, and a result was read long ago: a worker that was
/// away may still have to tell what it has uploaded.
const UPLOAD: Duration = Duration::from_secs(7 * 24 * 3600);

pub async fn prune(farm: &Farm) -> Result<()> {
    let keep = farm.config().keep;
    let logs = logs(farm, &keep).await.context("pruning logs")?;
    let toolchains = toolchains(farm, &keep).await.context("pruning toolchains")?;
    let entries = journal(farm).await.context("pruning the journal")?;
    let folder = farm.store.data().join("objects");
    let files = tokio::task::spawn_blocking(move || sweep(&folder)).await?.context("sweeping uploads")?;
    if logs + toolchains + files > 0 {
        tracing::info!(logs, toolchains, entries, files, "pruned");
    }
    Ok(())
}

async fn logs(farm: &Farm, keep: &Retention) -> Result<usize> {
    let at = now();
    let before = Timestamp(at.0 - keep.green_logs.min(keep.red_logs).as_millis() as i64);
    let folder = farm.store.data().join("logs");
    let (mut behind, mut pruned) = ((AttemptId(0), 0), 0);
    while !farm.stop.is_cancelled() {
        let mut snapshot = farm.store.snapshot().await?;
        let old = snapshot.read().old_logs(behind, before, PART).await?;
        drop(snapshot);
        let Some(last) = old.last() else { break };
        behind = (last.attempt, last.position);
        let past = |log: &OldLog| keep.is_past(log.outcome, log.ended_at, log.is_needed, at);
        let past: Vec<OldLog> = old.into_iter().filter(past).collect();
        pruned += past.len();
        let (folder, files) = (folder.clone(), past.clone());
        // A file that goes before its row says so is found again by the next round.
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

async fn toolchains(farm: &Farm, keep: &Retention) -> Result<usize> {
    let mut snapshot = farm.store.snapshot().await?;
    let kept = snapshot.read().kept_toolchains().await?;
    drop(snapshot);
    let mut pruned = 0;
    for toolchain in least_valued(kept, keep.artifacts_bytes) {
        let at = now();
        // The row first: nobody must be sent to a file that is gone. A file that stays is swept later.
        let gone = farm
            .store
            .write(move |tx| Box::pin(async move { tx.prune_toolchain(toolchain, at).await }))
            .await?;
        if gone {
            let path = farm.objects.path(ObjectKind::Artifact, &toolchain);
            tokio::task::spawn_blocking(move || remove(&path)).await??;
            pruned += 1;
        }
    }
    Ok(pruned)
}

async fn journal(farm: &Farm) -> Result<u64> {
    let before = Timestamp(now().0 - JOURNAL.as_millis() as i64);
    let mut pruned = 0;
    loop {
        let part =
            farm.store.write(move |tx| Box::pin(async move { tx.prune_journal(before, PART).await })).await?;
        pruned += part;
        if part < PART as u64 || farm.stop.is_cancelled() {
            return Ok(pruned);
        }
    }
}

/// Removes parts of uploads that nobody goes on with, and results: the rows have what they said.
fn sweep(objects: &Path) -> io::Result<usize> {
    let mut swept = 0;
    for kind in [ObjectKind::Artifact, ObjectKind::Results, ObjectKind::Cases] {
        for path in files(&objects.join(kind.as_str()))? {
            let is_part = path.extension().is_some_and(|extension| extension == "part");
            let is_old = std::fs::metadata(&path)
                .and_then(|about| about.modified())
                .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > UPLOAD));
            if is_old && (is_part || kind == ObjectKind::Results) {
                remove(&path)?;
                swept += 1;
            }
        }
    }
    Ok(swept)
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
