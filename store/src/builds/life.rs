//! The life of a build: it is queued, leased, requeued, finished or dropped.

use domain::outcome::{BuildResult, Cause, Outcome};
use domain::schedule::needed::ChangeStanding;
use domain::words::Reason;
use domain::words::ids::{AttemptId, BuildId, BuilderId, Timestamp, ToolchainInputsId, WorkerId};

use super::{Finish, NewBuild};
use crate::db::journal::Topic;
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, one_row, word};

impl Write<'_> {
    /// Puts a build into the queue. `Conflict` if its cell makes history already.
    pub async fn enqueue_build(&mut self, build: &NewBuild, now: Timestamp) -> Result<BuildId> {
        let (recipe, inputs) = (build.recipe.0.as_slice(), build.inputs.0.as_slice());
        let artifact = build.artifact.as_ref().map(|a| a.0.as_slice());
        let (pin, breakage) = (build.pin.map(|p| p.0), build.breakage.map(|b| b.0));
        let toolchain_inputs = build.toolchain_inputs.map(|inputs| inputs.0);
        let only_worker = build.only_worker.map(|w| w.0);
        let reason = build.reason.as_str();
        let id = sqlx::query_scalar!(
            "insert into build (builder_id, change_id, pin_id, toolchain_inputs_id, recipe_sha256, reason, breakage_id,
                 only_worker_id, inputs_sha256, artifact_sha256, state, queued_at_ms)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?) returning id as \"id!\"",
            build.builder.0,
            build.change.0,
            pin,
            toolchain_inputs,
            recipe,
            reason,
            breakage,
            only_worker,
            inputs,
            artifact,
            now.0
        )
        .fetch_one(&mut *self.connection)
        .await
        .map_err(second_history_build)?;
        sqlx::query!(
            "update builder set since_ms = ? where id = ? and since_ms is null",
            now.0,
            build.builder.0
        )
        .execute(&mut *self.connection)
        .await?;
        self.journal(Topic::Build, id, now);
        Ok(BuildId(id))
    }

    /// Deletes a queued build because a newer change supersedes its own.
    pub async fn supersede_build(&mut self, build: BuildId, now: Timestamp) -> Result<()> {
        let superseded =
            sqlx::query!("delete from build where id = ? and state = 'queued' and attempts = 0", build.0);
        one_row(superseded.execute(&mut *self.connection).await?, "the build is no longer queued")?;
        self.journal(Topic::Build, build.0, now);
        Ok(())
    }

    /// Hands a build to a worker as its next attempt.
    pub async fn lease_build(
        &mut self,
        build: BuildId,
        worker: WorkerId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<AttemptId> {
        let leased = sqlx::query!(
            "update build set state = 'leased', attempts = attempts + 1 where id = ? and state = 'queued'",
            build.0
        );
        one_row(leased.execute(&mut *self.connection).await?, "the build is no longer queued")?;
        self.put_offer(build, worker, until, now).await
    }

    /// The attempt that a build's row counts already.
    pub(crate) async fn put_offer(
        &mut self,
        build: BuildId,
        worker: WorkerId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<AttemptId> {
        let id = sqlx::query_scalar!(
            "insert into attempt (build_id, number, worker_id, state, offered_at_ms, lease_until_ms)
             select id, attempts, ?, 'offered', ?, ? from build where id = ? returning id as \"id!\"",
            worker.0,
            now.0,
            until.0,
            build.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        self.journal(Topic::Build, build.0, now);
        Ok(AttemptId(id))
    }

    /// Holds back the next offer of a build that a silent worker still has.
    pub async fn delay_next_offer(&mut self, build: BuildId, not_before: Timestamp) -> Result<()> {
        let held = sqlx::query!(
            "update build set not_before_ms = ? where id = ? and state = 'leased'",
            not_before.0,
            build.0
        );
        one_row(held.execute(&mut *self.connection).await?, "the build is not with a worker")
    }

    /// Puts a build back on the queue after an attempt that decided nothing.
    pub async fn requeue_build(
        &mut self,
        build: BuildId,
        not_before: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let queued = sqlx::query!(
            "update build set state = 'queued', not_before_ms = ? where id = ? and state = 'leased'",
            not_before.0,
            build.0
        );
        one_row(queued.execute(&mut *self.connection).await?, "the build is not with a worker")?;
        self.journal(Topic::Build, build.0, now);
        Ok(())
    }

    /// Ends a build. `Conflict` if it has ended already.
    pub async fn finish_build(&mut self, build: BuildId, finish: &Finish, now: Timestamp) -> Result<()> {
        let outcome = finish.judged.outcome.as_str();
        let cause = finish.judged.cause.map(Cause::as_str);
        let attempt = finish.attempt.map(|a| a.0);
        let artifact = finish.artifact.as_ref().map(|a| a.0.as_slice());
        let same_as = finish.same_as.map(|b| b.0);
        let finished = sqlx::query!(
            "update build set state = 'finished', outcome = ?, cause = ?, cause_step = ?, attempt_id = ?,
                 artifact_sha256 = coalesce(?, artifact_sha256), same_as_id = ?, finished_at_ms = ?
             where id = ? and state <> 'finished'",
            outcome,
            cause,
            finish.judged.step,
            attempt,
            artifact,
            same_as,
            now.0,
            build.0
        );
        one_row(finished.execute(&mut *self.connection).await?, "the build is finished already")?;
        self.journal(Topic::Build, build.0, now);
        Ok(())
    }

    /// Lets builds that are bound to this worker go to another one, unless their toolchain works on this worker only.
    pub async fn unbind_builds(&mut self, away: WorkerId) -> Result<()> {
        sqlx::query!(
            "update build set only_worker_id = null
             where only_worker_id = ? and state = 'queued' and (artifact_sha256 is null
                 or not exists (select 1 from artifact t
                     where t.sha256 = artifact_sha256 and t.only_worker_id is not null))",
            away.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Drops what waits for builders that are no longer configured or with toolchain inputs that were dropped, probes of
    /// searches that have ended, and baselines that wait for a worker which alone has their toolchain and has not been seen
    /// since then. What was tried before is cancelled, so that its attempts can be read.
    pub async fn drop_unwanted_builds(&mut self, since: Timestamp, now: Timestamp) -> Result<usize> {
        let unwanted = sqlx::query!(
            "select id, attempts from build where state = 'queued'
                 and (builder_id in (select id from builder where state = 'retired')
                     or toolchain_inputs_id in (select id from toolchain_inputs where state = 'dropped')
                     or exists (select 1 from breakage k
                         where k.id = build.breakage_id and k.state not in ('suspected', 'searching'))
                     or (reason = 'baseline' and exists (select 1 from artifact t
                         join worker w on w.id = t.only_worker_id where t.sha256 = build.artifact_sha256
                             and (w.state <> 'approved' or w.standing <> 'active'
                                 or (w.connected = 0 and coalesce(w.seen_at_ms, 0) < ?)))))",
            since.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        for build in &unwanted {
            self.drop_build(BuildId(build.id), build.attempts, now).await?;
        }
        Ok(unwanted.len())
    }

    /// Drops the queued history builds of a builder, but those with these toolchain inputs: they are made again with the
    /// new ones.
    pub async fn drop_queued_history(
        &mut self,
        builder: BuilderId,
        kept: Option<ToolchainInputsId>,
        now: Timestamp,
    ) -> Result<usize> {
        let kept = kept.map(|inputs| inputs.0);
        let queued = sqlx::query!(
            "select id, attempts from build where builder_id = ?1 and state = 'queued' and makes_history
                 and (?2 is null or toolchain_inputs_id is not ?2)",
            builder.0,
            kept
        )
        .fetch_all(&mut *self.connection)
        .await?;
        for build in &queued {
            self.drop_build(BuildId(build.id), build.attempts, now).await?;
        }
        Ok(queued.len())
    }

    /// Deletes a build in the queue, or ends it as cancelled if it was tried before.
    async fn drop_build(&mut self, build: BuildId, attempts: i64, now: Timestamp) -> Result<()> {
        if attempts == 0 {
            sqlx::query!("delete from build where id = ? and state = 'queued' and attempts = 0", build.0)
                .execute(&mut *self.connection)
                .await?;
            self.journal(Topic::Build, build.0, now);
            return Ok(());
        }
        let judged = BuildResult { outcome: Outcome::Cancelled, cause: None, step: None };
        let finish = Finish { judged, attempt: None, artifact: None, same_as: None };
        self.finish_build(build, &finish, now).await
    }

    /// Drops a build that is not finished, and takes it from the workers that have it. Returns their attempts.
    pub async fn cancel_build(
        &mut self,
        build: BuildId,
        why: &str,
        now: Timestamp,
    ) -> Result<Vec<(AttemptId, WorkerId)>> {
        let taken = sqlx::query!(
            r#"update attempt set state = iif(state = 'offered', 'declined', 'lost'), ended_at_ms = ?, end_reason = ?
             where build_id = ? and ended_at_ms is null returning id as "id!", worker_id as "worker_id!""#,
            now.0,
            why,
            build.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let attempts = sqlx::query_scalar!("select attempts from build where id = ?", build.0)
            .fetch_one(&mut *self.connection)
            .await?;
        self.drop_build(build, attempts, now).await?;
        Ok(taken.into_iter().map(|row| (AttemptId(row.id), WorkerId(row.worker_id))).collect())
    }
}

impl Read<'_> {
    /// The builds that are not finished and perhaps of no use any more, with their reasons and what became of their changes.
    pub async fn builds_in_doubt(&mut self) -> Result<Vec<(BuildId, Reason, ChangeStanding)>> {
        let rows = sqlx::query!(
            r#"select b.id, b.reason, bn.state = 'gone' as "is_deleted!: bool",
                 exists (select 1 from branch_change bc where bc.change_id = b.change_id
                     and bc.branch_id = br.branch_id and bc.gone_at_ms is null) as "is_on_branch!: bool",
                 exists (select 1 from breakage k indexed by breakage_open join builder kb on kb.id = k.builder_id
                     where k.state in ('suspected', 'searching') and k.ended_at_ms is null
                         and kb.branch_id = br.branch_id and kb.platform_id = br.platform_id) as "is_searched!: bool"
             from build b indexed by build_unfinished join builder br on br.id = b.builder_id
                 join branch bn on bn.id = br.branch_id
             where b.state <> 'finished' order by b.id"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut builds = Vec::new();
        for row in rows {
            let standing = match (row.is_on_branch, row.is_deleted) {
                (false, _) => ChangeStanding::Rewound,
                (true, true) => ChangeStanding::BranchDeleted { is_searched: row.is_searched },
                (true, false) => continue,
            };
            builds.push((BuildId(row.id), word(&row.reason, Reason::parse)?, standing));
        }
        Ok(builds)
    }
}

/// The only unique index that a new build can offend.
fn second_history_build(error: sqlx::Error) -> Error {
    match error.as_database_error() {
        Some(refused) if refused.is_unique_violation() => {
            Error::Conflict("the change has a history build of this builder already")
        }
        _ => Error::Database(error),
    }
}
