//! Workers as their page shows them, and what they run.

use domain::words::Trust;
use domain::words::ids::Timestamp;
use domain::words::states::WorkerState;
use protocol::WorkerFacts;

use crate::db::transaction::Read;
use crate::error::{Error, Result, word};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    pub id: i64,
    pub name: String,
    /// Never refused.
    pub state: WorkerState,
    pub owner: Option<String>,
    pub trust: Option<Trust>,
    pub facts: WorkerFacts,
    pub slots: i64,
    pub version: String,
    /// The first eight digits of its key, which the operator approves.
    pub code: String,
    pub seen_at: Option<Timestamp>,
    pub connected: bool,
}

/// An attempt that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningRow {
    pub worker: i64,
    pub build: i64,
    /// The project, or none of a toolchain's.
    pub project: Option<String>,
}

const MAX_WORKERS: i64 = 20_000;

impl Read<'_> {
    /// All but the refused, by name.
    pub async fn worker_rows(&mut self) -> Result<Vec<WorkerRow>> {
        let rows = sqlx::query!(
            r#"select id as "id!", name, state, owner, trust, facts, slots, version,
                 lower(substr(hex(key), 1, 8)) as "code!: String", seen_at_ms, connected
             from worker where state <> 'refused' order by state = 'pending', name limit ?"#,
            MAX_WORKERS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut workers = Vec::with_capacity(rows.len());
        for row in rows {
            workers.push(WorkerRow {
                id: row.id,
                name: row.name,
                state: word(&row.state, WorkerState::parse)?,
                owner: row.owner,
                trust: row.trust.as_deref().map(|t| word(t, Trust::parse)).transpose()?,
                facts: serde_json::from_str(&row.facts).map_err(|e| Error::Row(format!("facts: {e}")))?,
                slots: row.slots,
                version: row.version,
                code: row.code,
                seen_at: row.seen_at_ms.map(Timestamp),
                connected: row.connected != 0,
            });
        }
        Ok(workers)
    }

    /// The attempts that workers hold now.
    pub async fn running_rows(&mut self) -> Result<Vec<RunningRow>> {
        Ok(sqlx::query_as!(
            RunningRow,
            r#"select a.worker_id as worker, a.build_id as build, p.name as "project?"
             from attempt a join build bu on bu.id = a.build_id join builder br on br.id = bu.builder_id
                 left join project p on p.id = br.project_id
             where a.ended_at_ms is null order by a.id limit ?"#,
            MAX_WORKERS
        )
        .fetch_all(&mut *self.connection)
        .await?)
    }
}
