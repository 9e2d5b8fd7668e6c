//! Trunks and their branches, with the result of the last poll.

use domain::words::ids::Timestamp;

use crate::db::transaction::Read;
use crate::error::Result;

/// A branch of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchRow {
    /// Its id.
    pub id: i64,
    /// Its trunk's name.
    pub trunk: String,
    /// The branch's name.
    pub branch: String,
    /// The position of its newest change; none while it is empty.
    pub tip: Option<i64>,
    /// When it was last polled; none before the first time.
    pub polled_at: Option<Timestamp>,
    /// Since when polls fail; none while they succeed.
    pub failing_since: Option<Timestamp>,
    /// How many polls in a row have failed.
    pub failures: i64,
    /// Why the last poll failed.
    pub failure: Option<String>,
    /// How far the fetch of the trunk is that is under way.
    pub progress: Option<String>,
}

/// A farm with a few trunks has a dozen.
const MAX_BRANCHES: i64 = 200;

impl Read<'_> {
    /// The branches of the configuration, by trunk, in the order in which they were registered. Those that their remotes no
    /// longer have come last.
    pub async fn branch_rows(&mut self) -> Result<Vec<BranchRow>> {
        let rows = sqlx::query!(
            r#"select b.id, t.name as trunk, b.name as branch, t.polled_at_ms, t.failing_since_ms, t.failures,
                 t.failure, t.progress, (select max(position) from branch_change bc
                     where bc.branch_id = b.id and bc.gone_at_ms is null) as "tip: i64"
             from branch b join trunk t on t.id = b.trunk_id
             where b.state <> 'retired' order by b.state = 'gone', t.id, b.id limit ?"#,
            MAX_BRANCHES
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let rows = rows.into_iter().map(|row| BranchRow {
            id: row.id,
            trunk: row.trunk,
            branch: row.branch,
            tip: row.tip,
            polled_at: row.polled_at_ms.map(Timestamp),
            failing_since: row.failing_since_ms.map(Timestamp),
            failures: row.failures,
            failure: row.failure,
            progress: row.progress,
        });
        Ok(rows.collect())
    }
}
