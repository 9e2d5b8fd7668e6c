//! Steps of an attempt, and how much of each one's log is committed.

use domain::outcome::StepRun;
use domain::words::ids::{AttemptId, BuildId, BuilderId, Timestamp, WorkerId};
use protocol::{StepEnd, StepKind};

use crate::db::journal::Topic;
use crate::db::number::{from_row, to_row};
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, one_row};

/// A step of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// Its number in the attempt, from 0.
    pub position: u16,
    /// Its name in the recipe.
    pub name: String,
    /// Its kind in the recipe.
    pub kind: StepKind,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended; none while it runs.
    pub ended_at: Option<Timestamp>,
    /// How it ended; none while it runs.
    pub end: Option<StepEnd>,
    /// How long it took by the worker's clock.
    pub duration_ms: Option<u64>,
    /// What was odd about its report, in sentences.
    pub warnings: Vec<String>,
    /// How much of its log is committed.
    pub log: LogExtentRow,
    /// Since when its log is no longer kept.
    pub log_pruned_at: Option<Timestamp>,
}

/// How far a step's log is committed; the file may hold more, which then never was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogExtentRow {
    /// Bytes of text.
    pub bytes: u64,
    /// Lines of text.
    pub lines: u64,
    /// Bytes of the file.
    pub stored_bytes: u64,
    /// Bytes of text that the worker left out.
    pub cut_bytes: u64,
    /// Whether the log has ended and its file was packed.
    pub sealed: bool,
}

/// How a step ended.
#[derive(Debug, Clone, Copy)]
pub struct StepResult<'r> {
    /// The exit code, the signal or what else ended it.
    pub end: &'r StepEnd,
    /// By the worker's clock.
    pub duration_ms: u64,
    /// What was odd about its report, in sentences.
    pub warnings: &'r [String],
}

impl Read<'_> {
    /// The steps of an attempt, in order.
    pub async fn steps(&mut self, attempt: AttemptId) -> Result<Vec<StepRecord>> {
        let rows = sqlx::query!(
            "select position, name, kind, started_at_ms, ended_at_ms, ending, duration_ms, warnings,
                 log_bytes, log_lines, log_stored_bytes, log_cut_bytes, log_sealed, log_pruned_at_ms
             from step where attempt_id = ? order by position",
            attempt.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let json = |e: serde_json::Error| Error::Row(format!("step: {e}"));
        let mut steps = Vec::with_capacity(rows.len());
        for row in rows {
            steps.push(StepRecord {
                position: from_row(row.position)?,
                name: row.name,
                kind: serde_json::from_value(row.kind.into()).map_err(json)?,
                started_at: Timestamp(row.started_at_ms),
                ended_at: row.ended_at_ms.map(Timestamp),
                end: row.ending.as_deref().map(serde_json::from_str).transpose().map_err(json)?,
                duration_ms: row.duration_ms.map(from_row).transpose()?,
                warnings: serde_json::from_str(&row.warnings).map_err(json)?,
                log: LogExtentRow {
                    bytes: from_row(row.log_bytes)?,
                    lines: from_row(row.log_lines)?,
                    stored_bytes: from_row(row.log_stored_bytes)?,
                    cut_bytes: from_row(row.log_cut_bytes)?,
                    sealed: row.log_sealed != 0,
                },
                log_pruned_at: row.log_pruned_at_ms.map(Timestamp),
            });
        }
        Ok(steps)
    }

    /// The steps that ended, as the rules read them.
    pub async fn step_runs(&mut self, attempt: AttemptId) -> Result<Vec<StepRun>> {
        let steps = self.steps(attempt).await?;
        Ok(steps
            .into_iter()
            .filter_map(|step| Some(StepRun { name: step.name, kind: step.kind, end: step.end? }))
            .collect())
    }

    /// Whether a step of a builder ended by itself in another attempt on this worker, whatever its result: then
    /// the machine has what the step needs.
    pub async fn is_proven_step(
        &mut self,
        builder: BuilderId,
        step: &str,
        worker: WorkerId,
        but: AttemptId,
    ) -> Result<bool> {
        let found = sqlx::query_scalar!(
            r#"select 1 as "found!: i64" from build b join attempt a on a.build_id = b.id
                 join step s on s.attempt_id = a.id
             where b.builder_id = ? and s.name = ? and a.worker_id = ? and a.id <> ?
                 and s.ending ->> 'how' in ('exit', 'signal', 'no-tests', 'bad-report')
                 -- A run of a few cases does not show that the machine is fast enough for all.
                 and not exists (select 1 from selected_run sel where sel.build_id = b.id)
             limit 1"#,
            builder.0,
            step,
            worker.0,
            but.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(found.is_some())
    }

    /// Whether a step of a build has failed by itself in another attempt that reported its end.
    pub async fn has_failed_before(&mut self, build: BuildId, step: &str, but: AttemptId) -> Result<bool> {
        let failed = sqlx::query_scalar!(
            r#"select exists(select 1 from attempt a join step s on s.attempt_id = a.id
                 where a.build_id = ? and a.id <> ? and a.state = 'ended' and s.name = ?
                     and s.ending ->> 'how' in ('exit', 'signal', 'no-tests', 'bad-report')
                     and coalesce(s.ending ->> 'code', 1) <> 0) as "failed!: bool""#,
            build.0,
            but.0,
            step
        );
        Ok(failed.fetch_one(&mut *self.connection).await?)
    }

    /// Whether a fetch step of a builder succeeded since then.
    pub async fn has_fetched_since(&mut self, builder: BuilderId, since: Timestamp) -> Result<bool> {
        let found = sqlx::query_scalar!(
            r#"select 1 as "found!: i64" from step s cross join attempt a on a.id = s.attempt_id
                 cross join build b on b.id = a.build_id
             where s.kind = 'fetch' and s.ended_at_ms >= ? and b.builder_id = ?
                 and s.ending ->> 'how' = 'exit' and s.ending ->> 'code' = 0
             limit 1"#,
            since.0,
            builder.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(found.is_some())
    }
}

impl Write<'_> {
    /// Records that a step started. `Conflict` if it has started already.
    pub async fn start_step(
        &mut self,
        attempt: AttemptId,
        position: u16,
        name: &str,
        kind: StepKind,
        now: Timestamp,
    ) -> Result<()> {
        let kind = kind.as_str();
        let started = sqlx::query!(
            "insert into step (attempt_id, position, name, kind, state, started_at_ms)
             values (?, ?, ?, ?, 'running', ?) on conflict (attempt_id, position) do nothing",
            attempt.0,
            position,
            name,
            kind,
            now.0
        );
        one_row(started.execute(&mut *self.connection).await?, "the step has started already")?;
        self.journal_step(attempt, now).await
    }

    /// A build's page and cell show its steps as they come and go.
    async fn journal_step(&mut self, attempt: AttemptId, now: Timestamp) -> Result<()> {
        let build = sqlx::query_scalar!("select build_id from attempt where id = ?", attempt.0)
            .fetch_one(&mut *self.connection)
            .await?;
        self.journal(Topic::Build, build, now);
        Ok(())
    }

    /// Records how a step ended. `Conflict` if it is not running.
    pub async fn end_step(
        &mut self,
        attempt: AttemptId,
        position: u16,
        result: &StepResult<'_>,
        now: Timestamp,
    ) -> Result<()> {
        let json = |e: serde_json::Error| Error::Row(format!("step: {e}"));
        let ending = serde_json::to_string(result.end).map_err(json)?;
        let warnings = serde_json::to_string(result.warnings).map_err(json)?;
        let duration = to_row(result.duration_ms);
        let ended = sqlx::query_scalar!(
            r#"update step set state = 'ended', ended_at_ms = ?, ending = ?, duration_ms = ?, warnings = ?
             where attempt_id = ? and position = ? and state = 'running'
             returning (select a.build_id from attempt a where a.id = attempt_id) as "build!: i64""#,
            now.0,
            ending,
            duration,
            warnings,
            attempt.0,
            position
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let build = ended.ok_or(Error::Conflict("the step is not running"))?;
        self.journal(Topic::Build, build, now);
        Ok(())
    }

    /// Commits what was appended to a step's log and synced before.
    pub async fn commit_log(&mut self, attempt: AttemptId, position: u16, log: LogExtentRow) -> Result<()> {
        let (bytes, lines) = (to_row(log.bytes), to_row(log.lines));
        let (stored, cut) = (to_row(log.stored_bytes), to_row(log.cut_bytes));
        let committed = sqlx::query!(
            "update step set log_bytes = ?, log_lines = ?, log_stored_bytes = ?, log_cut_bytes = ?, log_sealed = ?
             where attempt_id = ? and position = ? and log_sealed = 0",
            bytes,
            lines,
            stored,
            cut,
            log.sealed,
            attempt.0,
            position
        );
        one_row(committed.execute(&mut *self.connection).await?, "the step has no log that is open")
    }
}
