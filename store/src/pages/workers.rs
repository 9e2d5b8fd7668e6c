//! Workers as their page shows them, and what they run.

use domain::words::Trust;
use domain::words::ids::Timestamp;
use domain::words::states::{Standing, WorkerState};
use protocol::{WorkerFacts, WorkerTerms};

use crate::db::transaction::Read;
use crate::error::{Error, Result, word};

/// A worker as its page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Never refused.
    pub state: WorkerState,
    /// Whose machine it is, as the operator typed it; none before it is approved.
    pub owner: Option<String>,
    /// How far its results count; none before it is approved.
    pub trust: Option<Trust>,
    /// What it reported about itself.
    pub facts: WorkerFacts,
    /// How many builds it runs at once.
    pub slots: i64,
    /// The version of its program.
    pub version: String,
    /// Whether the operator lets it work. Never removed.
    pub standing: Standing,
    /// Why its owner has paused it, and until when, if that is known.
    pub pause: Option<(String, Option<Timestamp>)>,
    /// What its owner allows.
    pub terms: WorkerTerms,
    /// How many results in a row agreed with those of others, while it is on probation.
    pub agreements: i64,
    /// When it last sent something.
    pub seen_at: Option<Timestamp>,
    /// Whether it has an open session.
    pub connected: bool,
}

/// An attempt that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningRow {
    /// The worker.
    pub worker: i64,
    /// The build.
    pub build: i64,
    /// The project, or none of a toolchain's.
    pub project: Option<String>,
}

const MAX_WORKERS: i64 = 20_000;

macro_rules! worker_rows {
    ($self:ident, $where:literal, $($argument:expr),*) => {{
        let rows = sqlx::query!(
            r#"select id as "id!", name as "name!", state as "state!", owner, trust, facts as "facts!", slots as "slots!",
                 version as "version!", standing as "standing!", pause_reason, pause_until_ms, terms,
                 agreements as "agreements!", seen_at_ms, connected as "connected!"
             from worker where "# + $where,
            $($argument),*
        )
        .fetch_all(&mut *$self.connection)
        .await?;
        let mut workers = Vec::with_capacity(rows.len());
        for row in rows {
            let until = row.pause_until_ms.map(Timestamp);
            workers.push(WorkerRow {
                id: row.id,
                name: row.name,
                state: word(&row.state, WorkerState::parse)?,
                owner: row.owner,
                trust: row.trust.as_deref().map(|t| word(t, Trust::parse)).transpose()?,
                facts: serde_json::from_str(&row.facts).map_err(|e| Error::Row(format!("facts: {e}")))?,
                slots: row.slots,
                version: row.version,
                standing: word(&row.standing, Standing::parse)?,
                pause: row.pause_reason.map(|reason| (reason, until)),
                terms: match row.terms {
                    Some(terms) => serde_json::from_str(&terms).map_err(|e| Error::Row(format!("terms: {e}")))?,
                    None => WorkerTerms::default(),
                },
                agreements: row.agreements,
                seen_at: row.seen_at_ms.map(Timestamp),
                connected: row.connected != 0,
            });
        }
        workers
    }};
}

impl Read<'_> {
    /// All but the refused and the removed, by name.
    pub async fn worker_rows(&mut self) -> Result<Vec<WorkerRow>> {
        Ok(worker_rows!(
            self,
            "state <> 'refused' and standing <> 'removed' order by state = 'pending', name limit ?",
            MAX_WORKERS
        ))
    }

    /// One of them.
    pub async fn worker_row(&mut self, name: &str) -> Result<Option<WorkerRow>> {
        let found: Vec<WorkerRow> =
            worker_rows!(self, "name = ? and state <> 'refused' and standing <> 'removed'", name);
        Ok(found.into_iter().next())
    }

    /// The attempts that workers hold now.
    pub async fn running_rows(&mut self) -> Result<Vec<RunningRow>> {
        Ok(sqlx::query_as!(
            RunningRow,
            r#"select a.worker_id as worker, a.build_id as build, p.name as "project?"
             from attempt a join build bu on bu.id = a.build_id join builder br on br.id = bu.builder_id
                 left join project p on p.id = br.project_id
             where a.ended_at_ms is null order by +a.id limit ?"#,
            MAX_WORKERS
        )
        .fetch_all(&mut *self.connection)
        .await?)
    }
}
