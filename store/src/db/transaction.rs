//! What a query runs on: a snapshot, the latest committed state, or the one transaction that may write.

use domain::words::ids::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Sqlite, Transaction};

use crate::error::Result;

/// A consistent view of one moment, for as long as it is held.
pub struct Snapshot {
    transaction: Transaction<'static, Sqlite>,
}

impl Snapshot {
    pub(crate) fn new(transaction: Transaction<'static, Sqlite>) -> Snapshot {
        Snapshot { transaction }
    }

    /// The queries, run on this moment.
    pub fn read(&mut self) -> Read<'_> {
        Read { connection: &mut self.transaction }
    }
}

/// The latest committed state, read again by each query.
pub struct LatestView {
    connection: PoolConnection<Sqlite>,
}

impl LatestView {
    pub(crate) fn new(connection: PoolConnection<Sqlite>) -> LatestView {
        LatestView { connection }
    }

    /// The queries, each run on what is committed when it runs.
    pub fn read(&mut self) -> Read<'_> {
        Read { connection: &mut self.connection }
    }
}

/// All queries.
pub struct Read<'c> {
    pub(crate) connection: &'c mut SqliteConnection,
}

/// All queries and all changes, inside one transaction.
pub struct Write<'c> {
    read: Read<'c>,
    pub(crate) events: Vec<PendingEvent>,
    /// How many events are older than the savepoint that was begun last.
    events_before_savepoint: usize,
}

/// A live event of a transaction that is not committed yet.
pub(crate) struct PendingEvent {
    pub topic: &'static str,
    pub subject: i64,
    pub at: Timestamp,
}

impl<'c> Write<'c> {
    pub(crate) fn new(connection: &'c mut SqliteConnection) -> Write<'c> {
        Write { read: Read { connection }, events: Vec::new(), events_before_savepoint: 0 }
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
    /// Begins a part of the transaction that can be rolled back alone. Parts do not nest.
    pub async fn begin_savepoint(&mut self) -> Result<()> {
        sqlx::query("savepoint part").execute(&mut *self.connection).await?;
        self.events_before_savepoint = self.events.len();
        Ok(())
    }

    /// Ends the part that was begun last, with what it changed.
    pub async fn release_savepoint(&mut self) -> Result<()> {
        sqlx::query("release part").execute(&mut *self.connection).await?;
        Ok(())
    }

    /// Ends the part that was begun last and undoes its changes and its events.
    pub async fn roll_back_savepoint(&mut self) -> Result<()> {
        sqlx::query("rollback to part").execute(&mut *self.connection).await?;
        self.events.truncate(self.events_before_savepoint);
        self.release_savepoint().await
    }
}
