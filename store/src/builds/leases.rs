//! Builds of silent workers: offered to another worker, kept by the first, or taken over; and reports that arrive
//! after that.

use domain::outcome::{BuildResult, Cause};
use domain::results::{CaseList, Results};
use domain::words::ids::{AttemptId, BuildId, Timestamp, WorkerId};

use crate::db::number::to_row;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, one_row};

impl Read<'_> {
    /// Whether an attempt that was taken from its worker has sent its last report nevertheless.
    pub async fn has_late_report(&mut self, attempt: AttemptId) -> Result<bool> {
        let reported = sqlx::query_scalar!(
            r#"select exists(select 1 from late_report where attempt_id = ?) as "reported!: bool""#,
            attempt.0
        );
        Ok(reported.fetch_one(&mut *self.connection).await?)
    }

    /// Whether another attempt of the same build is with a worker.
    pub async fn has_rival(&mut self, attempt: AttemptId) -> Result<bool> {
        let rival = sqlx::query_scalar!(
            r#"select exists(select 1 from attempt a join attempt r on r.build_id = a.build_id and r.id <> a.id
                 where a.id = ? and r.ended_at_ms is null) as "rival!: bool""#,
            attempt.0
        );
        Ok(rival.fetch_one(&mut *self.connection).await?)
    }
}

impl Write<'_> {
    /// Offers a build of a silent worker to another one. The first keeps it until the second accepts.
    pub async fn offer_to_another_worker(
        &mut self,
        build: BuildId,
        worker: WorkerId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<AttemptId> {
        let spare = sqlx::query!(
            "update build set attempts = attempts + 1 where id = ?1 and state = 'leased'
                 and not exists (select 1 from attempt where build_id = ?1 and state = 'offered')",
            build.0
        );
        one_row(
            spare.execute(&mut *self.connection).await?,
            "the build is offered already, or no worker holds it",
        )?;
        self.put_offer(build, worker, until, now).await
    }

    /// Withdraws the offers of a worker's builds to others, since the worker has sent something again.
    /// Returns the withdrawn attempts and their workers.
    pub async fn withdraw_offers(
        &mut self,
        holder: WorkerId,
        now: Timestamp,
    ) -> Result<Vec<(AttemptId, WorkerId)>> {
        let withdrawn = sqlx::query!(
            r#"update attempt set state = 'declined', ended_at_ms = ?, end_reason = 'its first worker responded again'
             where state = 'offered' and build_id in (select h.build_id from attempt h
                 where h.worker_id = ? and h.state = 'running' and h.ended_at_ms is null)
             returning id as "id!", worker_id as "worker_id!""#,
            now.0,
            holder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(withdrawn.into_iter().map(|row| (AttemptId(row.id), WorkerId(row.worker_id))).collect())
    }

    /// Takes the build of an accepted attempt from the workers that held it before. Returns the lost attempts and
    /// their workers.
    pub async fn take_over(
        &mut self,
        attempt: AttemptId,
        now: Timestamp,
    ) -> Result<Vec<(AttemptId, WorkerId)>> {
        let lost = sqlx::query!(
            r#"update attempt set state = 'lost', ended_at_ms = ?1,
                 end_reason = 'its worker was silent, and another worker took over the build'
             where build_id = (select build_id from attempt where id = ?2) and id <> ?2 and ended_at_ms is null
             returning id as "id!", worker_id as "worker_id!""#,
            now.0,
            attempt.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(lost.into_iter().map(|row| (AttemptId(row.id), WorkerId(row.worker_id))).collect())
    }

    /// As [`Write::acknowledge`], of an attempt that was taken from its worker.
    pub async fn acknowledge_late(&mut self, attempt: AttemptId, before: u64, sequence: u64) -> Result<()> {
        let (before, sequence) = (to_row(before), to_row(sequence));
        let stored = sqlx::query!(
            "update attempt set sequence = ?1 where id = ?2 and sequence = ?3 and ?1 > ?3 and state = 'lost'",
            sequence,
            attempt.0,
            before
        );
        one_row(stored.execute(&mut *self.connection).await?, "the event is out of its sequence")
    }

    /// Stores the last report of an attempt that was taken from its worker before that report arrived. `Conflict`
    /// if the attempt was not taken away.
    pub async fn put_late_report(
        &mut self,
        attempt: AttemptId,
        judged: &BuildResult,
        results: Option<&(CaseList, Results)>,
        now: Timestamp,
    ) -> Result<()> {
        let (outcome, cause) = (judged.outcome.as_str(), judged.cause.map(Cause::as_str));
        let (mut list, mut verdicts, mut complete) = (None, None, None);
        if let Some((cases, results)) = results {
            list = Some(self.put_case_list(cases).await?.0);
            verdicts = Some(zstd::bulk::compress(results.verdicts.as_letters().as_bytes(), 3)?);
            complete = Some(results.complete);
        }
        let stored = sqlx::query!(
            "insert into late_report
                 (attempt_id, reported_at_ms, outcome, cause, cause_step, case_list_id, verdicts, complete)
             select id, ?, ?, ?, ?, ?, ?, ? from attempt where id = ? and state = 'lost'",
            now.0,
            outcome,
            cause,
            judged.step,
            list,
            verdicts,
            complete,
            attempt.0
        );
        one_row(stored.execute(&mut *self.connection).await?, "the attempt was not taken from its worker")
    }
}
