//! Opening the farm's data folder: one connection that writes, several that read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::ConnectOptions;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use tokio::sync::watch;

use crate::db::transaction::{LatestView, Snapshot, Write};
use crate::db::writer::Writer;
use crate::error::Result;

pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");
const READERS: u32 = 8;
/// The writer prepares each of our statements once; sqlx's default has room for less than half of them.
const STATEMENTS: usize = 512;

/// The farm's database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    readers: SqlitePool,
    writer: Writer,
    data: PathBuf,
}

/// Why a data folder cannot be used. Each message names the file or folder and, where it can, what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be created or written.
    #[error("{}: cannot be written: {cause}; give the farm's user this folder", path.display())]
    NotWritable {
        /// The data folder.
        path: PathBuf,
        /// What the file system reported.
        cause: std::io::Error,
    },
    /// The schema is newer than this program.
    #[error(
        "{}: the database was made by a newer farm-master (its schema {theirs}, ours {ours}); run that one",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// The number of the last migration that was applied to it.
        theirs: i64,
        /// The number of the last migration that this program has.
        ours: i64,
    },
    /// SQLite cannot open or read the file.
    #[error("{}: {cause}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite reported.
        cause: sqlx::Error,
    },
    /// A migration failed, or the database was made by another program's migrations.
    #[error("{}: {cause}", path.display())]
    Migration {
        /// The database.
        path: PathBuf,
        /// What the migration reported.
        cause: sqlx::migrate::MigrateError,
    },
    /// After the migrations, rows refer to others that do not exist.
    #[error(
        "{}: the table {table} refers to rows that do not exist; restore the last backup, or repair it with sqlite3",
        path.display()
    )]
    Orphans {
        /// The database.
        path: PathBuf,
        /// The table with such rows.
        table: String,
    },
}

impl Store {
    /// Opens the data folder, creates it if there is none, and brings its schema up to date.
    pub async fn open(data: &Path) -> Result<Store, OpenError> {
        let path = data.join("farm.db");
        let refused = |cause| OpenError::NotWritable { path: data.to_path_buf(), cause };
        std::fs::create_dir_all(data).map_err(refused)?;
        check_writable(data).map_err(refused)?;
        let failed = |cause| OpenError::Database { path: path.clone(), cause };

        let first = options(&path).foreign_keys(false).statement_cache_capacity(STATEMENTS);
        let mut connection = first.connect().await.map_err(failed)?;
        refuse_newer(&mut connection, &path).await?;
        migrate(&mut connection, &path).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            // A connection to a file cannot be lost, so there is nothing to test.
            .test_before_acquire(false)
            .connect_with(options(&path).read_only(true))
            .await
            .map_err(failed)?;
        let writer = Writer::start(connection).map_err(|cause| failed(sqlx::Error::Io(cause)))?;
        Ok(Store { readers, writer, data: data.to_path_buf() })
    }

    /// The folder that holds the database, logs, objects and mirrors.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A consistent view of one moment, for as long as it is held. Hold it briefly: SQLite's write-ahead log grows
    /// meanwhile.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(self.readers.begin().await?))
    }

    /// For single queries, each of which sees one moment by itself and needs no transaction around it.
    pub async fn latest(&self) -> Result<LatestView> {
        Ok(LatestView::new(self.readers.acquire().await?))
    }

    /// Runs a job in a transaction, together with other jobs that wait, and returns after all of them are on disk.
    /// A job that fails is rolled back alone. A job must not wait for anything but the store.
    pub async fn write<T: Send + 'static>(
        &self,
        job: impl for<'t> FnOnce(&'t mut Write<'_>) -> BoxFuture<'t, Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.writer.run(job).await
    }

    /// Counts commits, so that a live view knows when to read again.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.writer.commits()
    }

    /// Makes the database look as if a program with this schema version had written it, which no program has: for
    /// tests of the error message.
    #[doc(hidden)]
    pub async fn pretend_schema(&self, version: i64) -> Result<()> {
        self.write(move |tx| {
            Box::pin(async move {
                sqlx::query(
                    "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                     values (?, 'later', true, x'00', 0)",
                )
                .bind(version)
                .execute(&mut *tx.connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Closes all connections. Writes that were accepted before are finished.
    pub async fn close(self) {
        self.readers.close().await;
        self.writer.stop().await;
    }
}

pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // The command line writes beside a running master, which registers a thousand projects at once.
        .busy_timeout(Duration::from_secs(60))
        // Sorting a handful of rows needs no file.
        .pragma("temp_store", "memory")
}

/// SQLite reports a read-only folder late and in an unclear message; creating a file reports it now.
fn check_writable(data: &Path) -> std::io::Result<()> {
    let probe = data.join(format!(".probe-{}", std::process::id()));
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(probe)
}

async fn refuse_newer(connection: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let failed = |cause| OpenError::Database { path: path.to_path_buf(), cause };
    let theirs = applied_migrations(connection).await.map_err(failed)?.last().copied();
    let ours = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    match theirs {
        Some(theirs) if theirs > ours => Err(OpenError::Newer { path: path.to_path_buf(), theirs, ours }),
        _ => Ok(()),
    }
}

/// In order of their versions.
async fn applied_migrations(connection: &mut SqliteConnection) -> Result<Vec<i64>, sqlx::Error> {
    let tables: i64 =
        sqlx::query_scalar("select count(*) from sqlite_schema where name = '_sqlx_migrations'")
            .fetch_one(&mut *connection)
            .await?;
    if tables == 0 {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("select version from _sqlx_migrations order by version").fetch_all(connection).await
}

/// A migration may rebuild a table that others refer to, so references are checked after all migrations and not during
/// them: see "Making Other Kinds Of Table Schema Changes" in SQLite's documentation of ALTER TABLE.
async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let failed = |cause| OpenError::Database { path: path.to_path_buf(), cause };
    let before = applied_migrations(connection).await.map_err(failed)?;
    MIGRATIONS
        .run(&mut *connection)
        .await
        .map_err(|cause| OpenError::Migration { path: path.to_path_buf(), cause })?;
    if applied_migrations(connection).await.map_err(failed)? != before {
        let orphan: Option<String> = sqlx::query_scalar("select \"table\" from pragma_foreign_key_check")
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed)?;
        if let Some(table) = orphan {
            return Err(OpenError::Orphans { path: path.to_path_buf(), table });
        }
    }
    sqlx::query("pragma foreign_keys = on").execute(&mut *connection).await.map_err(failed)?;
    Ok(())
}
