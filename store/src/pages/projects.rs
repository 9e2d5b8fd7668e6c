//! Projects whose repository cannot be polled.

use domain::words::ids::Timestamp;

use crate::db::transaction::Read;
use crate::error::Result;

/// A project whose repository cannot be polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingProjectRow {
    /// Its name.
    pub project: String,
    /// Since when.
    pub since: Timestamp,
    /// How many polls in a row have failed.
    pub failures: i64,
    /// Why the last poll failed.
    pub failure: String,
}

/// If more fail at once, they have one cause, and nobody reads the list.
const MAX_FAILING_PROJECTS: i64 = 100;

impl Read<'_> {
    /// The projects whose polls fail, those that fail longest first.
    pub async fn failing_projects(&mut self) -> Result<Vec<FailingProjectRow>> {
        let rows = sqlx::query!(
            r#"select name, failing_since_ms as "since!", failures, failure as "failure!" from project
             where state = 'registered' and failing_since_ms is not null order by failing_since_ms, id limit ?"#,
            MAX_FAILING_PROJECTS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let rows = rows.into_iter().map(|row| FailingProjectRow {
            project: row.name,
            since: Timestamp(row.since),
            failures: row.failures,
            failure: row.failure,
        });
        Ok(rows.collect())
    }
}
