//! What may be wrong with a data folder: the database itself, and rows and files that do not match.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use domain::words::ids::Timestamp;
use futures_util::TryStreamExt;
use protocol::Sha256;

use crate::db::number::from_row;
use crate::db::transaction::Read;
use crate::error::{Result, sha256};
use crate::files::log::{self, LogExtent, LogReader};
use crate::files::objects::{ObjectKind, ObjectStore};

/// How many are named; the others are only counted.
const NAMED: usize = 5;
/// A file younger than this may not have its row yet.
const YOUNG: Duration = Duration::from_secs(600);

/// Things of one kind: how many, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrphanedFiles {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub named: Vec<String>,
}

impl OrphanedFiles {
    fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(name());
        }
    }
}

/// Rows without their file, and files without a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Logs that rows name and that are missing or too short.
    pub lost_logs: OrphanedFiles,
    /// Toolchains that rows name and that are missing or have another size.
    pub lost_toolchains: OrphanedFiles,
    /// Logs that no row names.
    pub stray_logs: OrphanedFiles,
    /// Toolchains that no row names.
    pub stray_toolchains: OrphanedFiles,
}

impl Read<'_> {
    /// What SQLite finds wrong with the file and between its tables; empty if nothing is. Reads the whole
    /// database.
    pub async fn integrity(&mut self) -> Result<Vec<String>> {
        let mut problems: Vec<String> =
            sqlx::query_scalar("pragma integrity_check(20)").fetch_all(&mut *self.connection).await?;
        problems.retain(|line| line != "ok");
        let broken: Vec<(String, Option<i64>, String, i64)> =
            sqlx::query_as("pragma foreign_key_check").fetch_all(&mut *self.connection).await?;
        problems.extend(broken.into_iter().take(20).map(|(table, row, parent, _)| match row {
            Some(row) => format!("row {row} of {table} points to a row of {parent} that is not there"),
            None => format!("a row of {table} points to a row of {parent} that is not there"),
        }));
        Ok(problems)
    }

    /// The newest time in the database, to detect a clock that was set back.
    pub async fn newest_moment(&mut self) -> Result<Option<Timestamp>> {
        let at = sqlx::query_scalar!(
            r#"select max(at) as "at: i64" from (
                 select max(at_ms) as at from journal where id > (select max(id) - 1000 from journal)
                 union all select max(seen_at_ms) from worker union all select max(polled_at_ms) from trunk)"#
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(at.map(Timestamp))
    }

    /// Compares rows with the files that they name, in both directions.
    pub async fn orphans(&mut self, data: &Path) -> Result<Orphans> {
        let mut orphans = Orphans::default();
        let logs = data.join("logs");
        let mut known = BTreeSet::new();
        let mut rows = sqlx::query!(
            "select attempt_id, position, log_bytes, log_lines, log_stored_bytes, log_pruned_at_ms from step"
        )
        .fetch(&mut *self.connection);
        while let Some(row) = rows.try_next().await? {
            let path = log::path(&logs, row.attempt_id, from_row(row.position)?);
            let committed = LogExtent {
                raw_bytes: from_row(row.log_bytes)?,
                lines: from_row(row.log_lines)?,
                stored_bytes: from_row(row.log_stored_bytes)?,
            };
            if row.log_pruned_at_ms.is_none() && committed.stored_bytes > 0 && !holds(&path, committed) {
                orphans.lost_logs.add(|| path.display().to_string());
            }
            known.insert(path);
        }
        drop(rows);
        for folder in folders(&logs)? {
            for path in old_files(&folder)?.into_iter().filter(|path| !known.contains(path)) {
                orphans.stray_logs.add(|| path.display().to_string());
            }
        }
        self.toolchain_orphans(data, &mut orphans).await?;
        Ok(orphans)
    }

    async fn toolchain_orphans(&mut self, data: &Path, orphans: &mut Orphans) -> Result<()> {
        let objects = ObjectStore::below(data);
        let mut known = BTreeSet::new();
        let rows = sqlx::query!("select sha256, bytes, pruned_at_ms from artifact")
            .fetch_all(&mut *self.connection)
            .await?;
        for row in rows.into_iter().filter(|row| row.pruned_at_ms.is_none()) {
            let path = objects.path(ObjectKind::Artifact, &sha256(&row.sha256)?);
            let bytes: u64 = from_row(row.bytes)?;
            if !fs::metadata(&path).is_ok_and(|about| about.len() == bytes) {
                orphans.lost_toolchains.add(|| path.display().to_string());
            }
            known.insert(path);
        }
        for path in old_files(&objects.folder(ObjectKind::Artifact))? {
            let is_whole =
                path.file_name().is_some_and(|name| name.to_string_lossy().parse::<Sha256>().is_ok());
            if is_whole && !known.contains(&path) {
                orphans.stray_toolchains.add(|| path.display().to_string());
            }
        }
        Ok(())
    }
}

/// Whether a log's file has what its row promises. If it was sealed after the row was read, it may be shorter.
fn holds(path: &Path, committed: LogExtent) -> bool {
    let bytes = fs::metadata(path).map_or(0, |about| about.len());
    bytes >= committed.stored_bytes || LogReader::open(path, committed).is_ok_and(|reader| reader.is_sealed())
}

fn folders(parent: &Path) -> std::io::Result<Vec<PathBuf>> {
    Ok(entries(parent)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn old_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut old = entries(folder)?;
    old.retain(|path| {
        let modified = fs::metadata(path).and_then(|about| about.modified());
        modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > YOUNG))
    });
    Ok(old)
}

fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
