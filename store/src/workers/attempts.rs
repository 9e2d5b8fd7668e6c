//! Attempts: the tries of builds that workers hold.

use domain::words::ids::{AttemptId, BuildId, Timestamp, WorkerId};
use domain::words::states::AttemptState;
use protocol::{Environment, Sha256};

use crate::db::journal::Topic;
use crate::db::number::{from_row, to_row};
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, one_row, word};

/// One try of a build on one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// The build.
    pub build: BuildId,
    /// Its number within the build, from 1.
    pub number: u32,
    /// The worker that holds or held it.
    pub worker: WorkerId,
    /// How far it is.
    pub state: AttemptState,
    /// The number of the last event that is stored.
    pub sequence: u64,
    /// The hash of the worker's environment, once it reported that.
    pub environment: Option<Sha256>,
    /// When the worker accepted it; none before that.
    pub started_at: Option<Timestamp>,
    /// Until when the worker keeps it without sending anything.
    pub lease_until: Timestamp,
}

macro_rules! attempt {
    ($row:expr) => {
        Attempt {
            id: AttemptId($row.id),
            build: BuildId($row.build_id),
            number: from_row($row.number)?,
            worker: WorkerId($row.worker_id),
            state: word(&$row.state, AttemptState::parse)?,
            sequence: from_row($row.sequence)?,
            environment: $row.environment_sha256.as_deref().map(crate::error::sha256).transpose()?,
            started_at: $row.started_at_ms.map(Timestamp),
            lease_until: Timestamp($row.lease_until_ms),
        }
    };
}

impl Read<'_> {
    /// One attempt, if there is one.
    pub async fn attempt(&mut self, attempt: AttemptId) -> Result<Option<Attempt>> {
        let row = sqlx::query!(
            "select id, build_id, number, worker_id, state, sequence, environment_sha256, started_at_ms,
                 lease_until_ms
             from attempt where id = ?",
            attempt.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(match row {
            Some(row) => Some(attempt!(row)),
            None => None,
        })
    }

    /// Attempts that a worker holds now.
    pub async fn live_attempts(&mut self) -> Result<Vec<Attempt>> {
        let rows = sqlx::query!(
            "select id, build_id, number, worker_id, state, sequence, environment_sha256, started_at_ms,
                 lease_until_ms
             from attempt where ended_at_ms is null order by worker_id, id"
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut attempts = Vec::with_capacity(rows.len());
        for row in rows {
            attempts.push(attempt!(row));
        }
        Ok(attempts)
    }

    /// How many attempts of a build a worker accepted without a result for the build.
    pub async fn spent_attempts(&mut self, build: BuildId) -> Result<u32> {
        let spent = sqlx::query_scalar!(
            "select count(*) from attempt where build_id = ?
                 and (state = 'ended' or (state = 'lost' and started_at_ms is not null))",
            build.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        from_row(spent)
    }

    /// The workers of a build's earlier attempts.
    pub async fn workers_to_avoid(&mut self, build: BuildId) -> Result<Vec<WorkerId>> {
        let ids = sqlx::query_scalar!(
            "select worker_id from attempt where build_id = ? and ended_at_ms is not null",
            build.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(WorkerId).collect())
    }
}

impl Write<'_> {
    /// Records how far an attempt of this worker has fetched what it needs. Of any other attempt nothing is recorded.
    pub async fn put_attempt_progress(
        &mut self,
        attempt: AttemptId,
        worker: WorkerId,
        progress: &str,
        now: Timestamp,
    ) -> Result<()> {
        let build = sqlx::query_scalar!(
            "update attempt set progress = ? where id = ? and worker_id = ? and state = 'running' returning build_id",
            progress,
            attempt.0,
            worker.0
        );
        if let Some(build) = build.fetch_optional(&mut *self.connection).await? {
            self.journal(Topic::Build, build, now);
        }
        Ok(())
    }

    /// Records that a worker accepts an offer. Returns the attempt's number within its build, from 1; none if the
    /// attempt is not offered to this worker.
    pub async fn accept_attempt(
        &mut self,
        attempt: AttemptId,
        worker: WorkerId,
        now: Timestamp,
    ) -> Result<Option<u32>> {
        let number = sqlx::query_scalar!(
            "update attempt set state = 'running', started_at_ms = ?
             where id = ? and worker_id = ? and state = 'offered' returning number",
            now.0,
            attempt.0,
            worker.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        number.map(from_row).transpose()
    }

    /// Ends an attempt in one of the states `ended`, `declined` and `lost`. `Conflict` if it has ended already.
    pub async fn end_attempt(
        &mut self,
        attempt: AttemptId,
        state: AttemptState,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let state = state.as_str();
        let ended = sqlx::query!(
            "update attempt set state = ?, ended_at_ms = ?, end_reason = ? where id = ? and ended_at_ms is null",
            state,
            now.0,
            reason,
            attempt.0
        );
        one_row(ended.execute(&mut *self.connection).await?, "the attempt has ended already")
    }

    /// Records that all events up to `sequence` are stored, after those up to `before`. A worker that reports
    /// events has accepted, even if its Accept was lost. Returns the attempt's number within its build, from 1.
    /// `Conflict` if other events were stored meanwhile, or the attempt has ended.
    pub async fn acknowledge(
        &mut self,
        attempt: AttemptId,
        before: u64,
        sequence: u64,
        now: Timestamp,
    ) -> Result<u32> {
        let (before, sequence) = (to_row(before), to_row(sequence));
        let number = sqlx::query_scalar!(
            "update attempt set sequence = ?1, state = 'running', started_at_ms = coalesce(started_at_ms, ?2)
             where id = ?3 and sequence = ?4 and ?1 > ?4 and ended_at_ms is null returning number",
            sequence,
            now.0,
            attempt.0,
            before
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        from_row(number.ok_or(Error::Conflict("the event is out of its sequence"))?)
    }

    /// Records the environment in which an attempt runs.
    pub async fn put_environment(&mut self, attempt: AttemptId, environment: &Environment) -> Result<()> {
        let (sha, properties) = (environment.sha256.0.as_slice(), environment.properties.join("\n"));
        sqlx::query!("insert or ignore into environment (sha256, properties) values (?, ?)", sha, properties)
            .execute(&mut *self.connection)
            .await?;
        sqlx::query!(
            "update worker set environment_sha256 = ? where id = (select worker_id from attempt where id = ?)",
            sha,
            attempt.0
        )
        .execute(&mut *self.connection)
        .await?;
        let set = sqlx::query!("update attempt set environment_sha256 = ? where id = ?", sha, attempt.0);
        one_row(set.execute(&mut *self.connection).await?, "there is no such attempt")
    }
}
