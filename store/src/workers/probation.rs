//! Machines on probation: how often their results agreed with those of others.

use domain::words::ids::{Timestamp, WorkerId};

use crate::db::journal::Topic;
use crate::db::number::from_row;
use crate::db::transaction::{Read, Write};
use crate::error::Result;

impl Read<'_> {
    /// Whether a build waits for this worker alone, or is with it.
    pub async fn is_worker_bound(&mut self, worker: WorkerId) -> Result<bool> {
        let found = sqlx::query_scalar!(
            r#"select 1 as "found!: i64" from build where state <> 'finished' and only_worker_id = ? limit 1"#,
            worker.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(found.is_some())
    }
}

impl Write<'_> {
    /// Counts a result that agreed with those of others; one that did not resets the count. Returns the count.
    pub async fn record_agreement(&mut self, worker: WorkerId, agreed: bool, now: Timestamp) -> Result<u32> {
        let agreements = sqlx::query_scalar!(
            "update worker set agreements = case when ? then agreements + 1 else 0 end where id = ?
             returning agreements as \"agreements!\"",
            agreed,
            worker.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        self.journal(Topic::Worker, worker.0, now);
        from_row(agreements)
    }

    /// Lets a worker's results count. A worker that is not on probation stays as it is.
    pub async fn end_probation(&mut self, worker: WorkerId, now: Timestamp) -> Result<()> {
        sqlx::query!("update worker set trust = 'counted' where id = ? and trust = 'probation'", worker.0)
            .execute(&mut *self.connection)
            .await?;
        self.journal(Topic::Worker, worker.0, now);
        Ok(())
    }
}
