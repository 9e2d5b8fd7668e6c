//! Opening the farm's data folder: one writer, many readers, and no surprise.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Sqlite, Transaction};
use tokio::sync::watch;

use crate::db::journal::Journal;
use crate::db::writer::Writer;
use crate::error::Result;

pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");
const READERS: u32 = 8;
/// The writer prepares each of our statements once; sqlx's own measure is less than half of them.
const STATEMENTS: usize = 512;

/// The farm's memory. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    readers: SqlitePool,
    writer: Writer,
    data: PathBuf,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: cannot be written: {cause}; give the farm's user this folder", path.display())]
    NotWritable { path: PathBuf, cause: std::io::Error },
    #[error(
        "{}: the database was made by a newer farm-master (its schema {theirs}, ours {ours}); run that one",
        path.display()
    )]
    Newer { path: PathBuf, theirs: i64, ours: i64 },
    #[error("{}: {cause}", path.display())]
    Database { path: PathBuf, cause: sqlx::Error },
    #[error("{}: {cause}", path.display())]
    Migration { path: PathBuf, cause: sqlx::migrate::MigrateError },
    #[error(
        "{}: the table {table} names rows that are not there; go back to the last backup, or mend it with sqlite3",
        path.display()
    )]
    Orphans { path: PathBuf, table: String },
}

impl Store {
    /// Opens the data folder, makes it where there is none, and brings its schema up to date.
    pub async fn open(data: &Path) -> Result<Store, OpenError> {
        let path = data.join("farm.db");
        let refused = |cause| OpenError::NotWritable { path: data.to_path_buf(), cause };
        std::fs::create_dir_all(data).map_err(refused)?;
        tempfile_probe(data).map_err(refused)?;
        let failed = |cause| OpenError::Database { path: path.clone(), cause };

        let first = options(&path).foreign_keys(false).statement_cache_capacity(STATEMENTS);
        let mut connection = first.connect().await.map_err(failed)?;
        refuse_newer(&mut connection, &path).await?;
        migrate(&mut connection, &path).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            // A file does not hang up, so there is nothing to test.
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

    /// A view of one moment, for as long as it is held. Hold it shortly: the log of writes grows meanwhile.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot { transaction: self.readers.begin().await? })
    }

    /// For a single question, which is of one moment by itself and needs no transaction around it.
    pub async fn glance(&self) -> Result<LatestView> {
        Ok(LatestView { connection: self.readers.acquire().await? })
    }

    /// Runs a job in a transaction, together with others' that wait, and answers after they are all on disk.
    /// A job that fails is rolled back alone. It must wait for nothing but the store.
    pub async fn write<T: Send + 'static>(
        &self,
        job: impl for<'t> FnOnce(&'t mut Write<'_>) -> BoxFuture<'t, Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.writer.run(job).await
    }

    /// Counts commits, so that whoever shows something live can look again.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.writer.commits()
    }
}

pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // The command line writes beside a running master.
        .busy_timeout(Duration::from_secs(10))
        // Sorting a handful of rows needs no file.
        .pragma("temp_store", "memory")
}

/// SQLite reports a read-only folder late and in odd words; asking for a file says it now.
fn tempfile_probe(data: &Path) -> std::io::Result<()> {
    let probe = data.join(format!(".probe-{}", std::process::id()));
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(probe)
}

async fn refuse_newer(connection: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let failed = |cause| OpenError::Database { path: path.to_path_buf(), cause };
    let theirs = migrations_done(connection).await.map_err(failed)?.last().copied();
    let ours = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    match theirs {
        Some(theirs) if theirs > ours => Err(OpenError::Newer { path: path.to_path_buf(), theirs, ours }),
        _ => Ok(()),
    }
}

/// In order of their versions.
async fn migrations_done(connection: &mut SqliteConnection) -> Result<Vec<i64>, sqlx::Error> {
    let tables: i64 =
        sqlx::query_scalar("select count(*) from sqlite_schema where name = '_sqlx_migrations'")
            .fetch_one(&mut *connection)
            .await?;
    if tables == 0 {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("select version from _sqlx_migrations order by version").fetch_all(connection).await
}

/// A migration may rebuild a table that others name, so references are checked after all of them and not during:
/// see "Making Other Kinds Of Table Schema Changes" in SQLite's documentation of ALTER TABLE.
async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let failed = |cause| OpenError::Database { path: path.to_path_buf(), cause };
    let before = migrations_done(connection).await.map_err(failed)?;
    MIGRATIONS
        .run(&mut *connection)
        .await
        .map_err(|cause| OpenError::Migration { path: path.to_path_buf(), cause })?;
    if migrations_done(connection).await.map_err(failed)? != before {
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

/// A view of one moment.
pub struct Snapshot {
    transaction: Transaction<'static, Sqlite>,
}

impl Snapshot {
    pub fn read(&mut self) -> Read<'_> {
        Read { connection: &mut self.transaction }
    }
}

/// A look at the newest of moments, each time that it asks.
pub struct LatestView {
    connection: PoolConnection<Sqlite>,
}

impl LatestView {
    pub fn read(&mut self) -> Read<'_> {
        Read { connection: &mut self.connection }
    }
}

/// What can be asked.
pub struct Read<'c> {
    pub(crate) connection: &'c mut SqliteConnection,
}

/// What can be asked and changed, inside one transaction.
pub struct Write<'c> {
    read: Read<'c>,
    pub(crate) journal: Journal,
    /// How much of the journal is older than the part that was begun last.
    before_part: usize,
}

impl<'c> Write<'c> {
    pub(crate) fn on(connection: &'c mut SqliteConnection) -> Write<'c> {
        Write { read: Read { connection }, journal: Journal::default(), before_part: 0 }
    }
}

impl<'c> std::ops::Deref for Write<'c> {
    type Target = Read<'c>;

    fn deref(&self) -> &Read<'c> {
        &self.read
    }
}

impl std::ops::DerefMut for Write<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.read
    }
}

impl Write<'_> {
    /// Begins a part of the transaction that can be taken back alone. Parts do not nest.
    pub async fn begin_part(&mut self) -> Result<()> {
        sqlx::query("savepoint part").execute(&mut *self.connection).await?;
        self.before_part = self.journal.len();
        Ok(())
    }

    pub async fn keep_part(&mut self) -> Result<()> {
        sqlx::query("release part").execute(&mut *self.connection).await?;
        Ok(())
    }

    pub async fn take_back_part(&mut self) -> Result<()> {
        sqlx::query("rollback to part").execute(&mut *self.connection).await?;
        self.journal.truncate(self.before_part);
        self.keep_part().await
    }
}

impl Store {
    /// Lets the database look as if a program with this schema had made it, which none is: for tests of what is said then.
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

    /// Closes both sides. Writes that were accepted before are finished.
    pub async fn close(self) {
        self.readers.close().await;
        self.writer.stop().await;
    }
}

pub(crate) async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "closing the database");
    }
}
