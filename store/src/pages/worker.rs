//! What one worker did lately, and what it found. Each query reads a bounded number of rows, however long its history is.

use domain::outcome::Outcome;
use domain::words::ids::{PlatformId, Timestamp};
use domain::words::states::AttemptState;

use crate::db::number::from_row;
use crate::db::transaction::Read;
use crate::error::{Result, word};

/// An attempt of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerAttemptRow {
    /// The build.
    pub build: i64,
    /// The project; none of a toolchain's.
    pub project: Option<String>,
    /// How far it is.
    pub state: AttemptState,
    /// Why it has no verdict about the change, or why it was declined or lost.
    pub end_reason: Option<String>,
    /// The outcome of the build, if this attempt gave it.
    pub outcome: Option<Outcome>,
    /// When the worker accepted it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A culprit that was found by a search which began on a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCulpritRow {
    /// The breakage.
    pub breakage: i64,
    /// The culprit.
    pub sha: String,
    /// Its title.
    pub title: String,
    /// Whose suite it broke; none of a toolchain's.
    pub project: Option<String>,
    /// When it was named.
    pub found_at: Timestamp,
}

impl Read<'_> {
    /// The newest attempts of a worker, newest first.
    pub async fn worker_attempts(&mut self, worker: i64, limit: i64) -> Result<Vec<WorkerAttemptRow>> {
        let rows = sqlx::query!(
            r#"select a.build_id, p.name as "project?", a.state, a.end_reason, a.started_at_ms, a.ended_at_ms,
                 iif(b.attempt_id = a.id, b.outcome, null) as "outcome: String"
             from attempt a indexed by attempt_by_worker join build b on b.id = a.build_id
                 join builder br on br.id = b.builder_id left join project p on p.id = br.project_id
             where a.worker_id = ? order by a.id desc limit ?"#,
            worker,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let attempt = rows.into_iter().map(|row| {
            Ok(WorkerAttemptRow {
                build: row.build_id,
                project: row.project,
                state: word(&row.state, AttemptState::parse)?,
                end_reason: row.end_reason,
                outcome: row.outcome.as_deref().map(|text| word(text, Outcome::parse)).transpose()?,
                started_at: row.started_at_ms.map(Timestamp),
                ended_at: row.ended_at_ms.map(Timestamp),
            })
        });
        attempt.collect()
    }

    /// The culprits that were named last by searches which began on a worker, newest first.
    pub async fn culprits_found_by(&mut self, worker: i64, limit: i64) -> Result<Vec<FoundCulpritRow>> {
        let rows = sqlx::query!(
            r#"select k.id as "id!", c.sha, c.title, p.name as "project?", k.found_at_ms as "found_at!"
             from breakage k indexed by breakage_found_by join change c on c.id = k.culprit_id
                 join builder br on br.id = k.builder_id left join project p on p.id = br.project_id
             where k.search_worker_id = ? and k.found = 'named' and k.state <> 'gone'
             order by k.found_at_ms desc limit ?"#,
            worker,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let found = rows.into_iter().map(|row| FoundCulpritRow {
            breakage: row.id,
            sha: row.sha,
            title: row.title,
            project: row.project,
            found_at: Timestamp(row.found_at),
        });
        Ok(found.collect())
    }

    /// How many builds wait on each platform, of the queue's oldest.
    pub async fn waiting_by_platform(&mut self) -> Result<Vec<(PlatformId, u64)>> {
        let rows = sqlx::query!(
            r#"select br.platform_id, count(*) as "waiting!: i64"
             from (select builder_id from build where state = 'queued' order by queued_at_ms limit 5000) b
                 join builder br on br.id = b.builder_id
             group by br.platform_id order by br.platform_id"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        rows.into_iter().map(|row| Ok((PlatformId(row.platform_id), from_row(row.waiting)?))).collect()
    }
}
