//! Trunks, and whether polling them works.

use domain::words::ids::{Timestamp, TrunkId};

use crate::db::journal::Topic;
use crate::db::number::from_row;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, one_row};

/// An upstream repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// Its id.
    pub id: TrunkId,
    /// Its name.
    pub name: String,
    /// The URL of its repository.
    pub git: String,
    /// How many polls in a row have failed.
    pub failures: u32,
    /// Since when polls fail; none while they succeed.
    pub failing_since: Option<Timestamp>,
    /// Why the last poll failed; none while polls succeed.
    pub failure: Option<String>,
    /// When it was last polled; none before the first time.
    pub polled_at: Option<Timestamp>,
}

impl Read<'_> {
    /// All trunks, by name.
    pub async fn trunks(&mut self) -> Result<Vec<Trunk>> {
        let rows = sqlx::query!(
            "select id, name, git, failures, failing_since_ms, failure, polled_at_ms from trunk order by name"
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut trunks = Vec::with_capacity(rows.len());
        for row in rows {
            trunks.push(Trunk {
                id: TrunkId(row.id),
                name: row.name,
                git: row.git,
                failures: from_row(row.failures)?,
                failing_since: row.failing_since_ms.map(Timestamp),
                failure: row.failure,
                polled_at: row.polled_at_ms.map(Timestamp),
            });
        }
        Ok(trunks)
    }
}

impl Write<'_> {
    /// Registers a trunk, or changes its repository.
    pub async fn put_trunk(&mut self, name: &str, git: &str) -> Result<TrunkId> {
        let id = sqlx::query_scalar!(
            "insert into trunk (name, git) values (?, ?)
             on conflict (name) do update set git = excluded.git
             returning id as \"id!\"",
            name,
            git
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(TrunkId(id))
    }

    /// Records a poll that succeeded.
    pub async fn record_trunk_poll(&mut self, trunk: TrunkId, now: Timestamp) -> Result<()> {
        let polled = sqlx::query!(
            "update trunk set polled_at_ms = ?, failing_since_ms = null, failures = 0, failure = null,
                 progress = null
             where id = ?",
            now.0,
            trunk.0
        );
        one_row(polled.execute(&mut *self.connection).await?, "the trunk is not registered")
    }

    /// Records how far the fetch of a trunk is that is under way.
    pub async fn put_trunk_progress(&mut self, trunk: TrunkId, progress: &str, now: Timestamp) -> Result<()> {
        let put = sqlx::query!("update trunk set progress = ? where id = ?", progress, trunk.0);
        one_row(put.execute(&mut *self.connection).await?, "the trunk is not registered")?;
        self.journal(Topic::Trunk, trunk.0, now);
        Ok(())
    }

    /// Records a poll that failed.
    pub async fn record_trunk_failure(
        &mut self,
        trunk: TrunkId,
        failure: &str,
        now: Timestamp,
    ) -> Result<()> {
        let failed = sqlx::query!(
            "update trunk set failing_since_ms = coalesce(failing_since_ms, ?), failures = failures + 1, failure = ?,
                 progress = null
             where id = ?",
            now.0,
            failure,
            trunk.0
        );
        one_row(failed.execute(&mut *self.connection).await?, "the trunk is not registered")
    }
}
