//! Builds: asked for, handed out, finished.

use domain::ids::{
    AttemptId, BreakageId, BuildId, BuilderId, ChangeId, PinId, PlatformId, ProjectId, Timestamp, WorkerId,
};
use domain::outcome::{Cause, Judged, Outcome};
use domain::words::{BuildState, BuilderKind, Reason};
use protocol::Sha256;

use crate::error::{Error, Result, one_row, sha256, word};
use crate::journal::Topic;
use crate::open::{Read, Write};

/// How many waiting builds one round of dispatching looks at.
const WAITING: i64 = 5_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    pub id: BuildId,
    pub builder: BuilderId,
    pub change: ChangeId,
    pub pin: Option<PinId>,
    pub recipe: Sha256,
    pub reason: Reason,
    pub breakage: Option<BreakageId>,
    pub only_worker: Option<WorkerId>,
    pub inputs: Option<Sha256>,
    pub artifact: Option<Sha256>,
    pub state: BuildState,
    pub attempts: u32,
    pub queued_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub outcome: Option<Outcome>,
    pub same_as: Option<BuildId>,
    pub attempt: Option<AttemptId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBuild {
    pub builder: BuilderId,
    pub change: ChangeId,
    pub pin: Option<PinId>,
    pub recipe: Sha256,
    pub reason: Reason,
    pub breakage: Option<BreakageId>,
    pub only_worker: Option<WorkerId>,
    pub inputs: Sha256,
    pub artifact: Option<Sha256>,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    pub judged: Judged,
    pub attempt: Option<AttemptId>,
    pub artifact: Option<Sha256>,
    pub same_as: Option<BuildId>,
}

/// A build that no worker has yet, with what dispatching needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingBuild {
    pub id: BuildId,
    pub kind: BuilderKind,
    pub platform: PlatformId,
    pub project: Option<ProjectId>,
    pub project_name: Option<String>,
    pub reason: Reason,
    pub newest: bool,
    pub only_worker: Option<WorkerId>,
    pub artifact: Option<Sha256>,
    /// How often it was tried and decided nothing.
    pub attempts: u32,
    pub queued_at: Timestamp,
}

/// A build that a worker has, with what dispatching counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningBuild {
    pub worker: WorkerId,
    pub platform: PlatformId,
    pub project: Option<ProjectId>,
    pub reason: Reason,
}

/// The newest build of each change and project side that a builder was asked to cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoverCell {
    pub change: ChangeId,
    /// None of a toolchain's.
    pub pin: Option<PinId>,
    pub build: BuildId,
    pub state: BuildState,
    pub outcome: Option<Outcome>,
    pub attempts: u32,
    pub artifact: Option<Sha256>,
    pub reason: Reason,
}

macro_rules! build {
    ($row:expr) => {
        Build {
            id: BuildId($row.id),
            builder: BuilderId($row.builder_id),
            change: ChangeId($row.change_id),
            pin: $row.pin_id.map(PinId),
            recipe: sha256(&$row.recipe_sha256)?,
            reason: word(&$row.reason, Reason::parse)?,
            breakage: $row.breakage_id.map(BreakageId),
            only_worker: $row.only_worker_id.map(WorkerId),
            inputs: $row.inputs_sha256.as_deref().map(sha256).transpose()?,
            artifact: $row.artifact_sha256.as_deref().map(sha256).transpose()?,
            state: word(&$row.state, BuildState::parse)?,
            attempts: $row.attempts as u32,
            queued_at: Timestamp($row.queued_at_ms),
            finished_at: $row.finished_at_ms.map(Timestamp),
            outcome: $row.outcome.as_deref().map(|o| word(o, Outcome::parse)).transpose()?,
            same_as: $row.same_as_id.map(BuildId),
            attempt: $row.attempt_id.map(AttemptId),
        }
    };
}

macro_rules! waiting_builds {
    ($self:ident, $where:literal, $($argument:expr),*) => {{
        let rows = sqlx::query!(
            r#"select b.id, br.kind, br.platform_id, br.project_id, p.name as "project?", b.reason,
                 b.only_worker_id, b.artifact_sha256, b.attempts, b.queued_at_ms,
                 b.change_id = (select bc.change_id from branch_change bc
                     where bc.branch_id = br.branch_id and bc.gone_at_ms is null
                     order by bc.position desc limit 1) as "newest!: bool"
             from build b join builder br on br.id = b.builder_id left join project p on p.id = br.project_id "#
                + $where,
            $($argument),*
        )
        .fetch_all(&mut *$self.connection)
        .await?;
        let mut waiting = Vec::with_capacity(rows.len());
        for row in rows {
            waiting.push(WaitingBuild {
                id: BuildId(row.id),
                kind: word(&row.kind, BuilderKind::parse)?,
                platform: PlatformId(row.platform_id),
                project: row.project_id.map(ProjectId),
                project_name: row.project,
                reason: word(&row.reason, Reason::parse)?,
                newest: row.newest,
                only_worker: row.only_worker_id.map(WorkerId),
                artifact: row.artifact_sha256.as_deref().map(sha256).transpose()?,
                attempts: row.attempts as u32,
                queued_at: Timestamp(row.queued_at_ms),
            });
        }
        waiting
    }};
}

impl Read<'_> {
    pub async fn build(&mut self, build: BuildId) -> Result<Build> {
        let row = sqlx::query!(
            "select id, builder_id, change_id, pin_id, recipe_sha256, reason, breakage_id, only_worker_id,
                 inputs_sha256, artifact_sha256, state, attempts, queued_at_ms, finished_at_ms, outcome, same_as_id,
                 attempt_id
             from build where id = ?",
            build.0
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("build"))?;
        Ok(build!(row))
    }

    /// Builds that may be handed out now: tips first, null runs last, of each the oldest first. Of a queue that is
    /// longer than a round can hand out the rest waits unread.
    pub async fn waiting_builds(&mut self, now: Timestamp) -> Result<Vec<WaitingBuild>> {
        Ok(waiting_builds!(
            self,
            "where b.state = 'queued' and b.not_before_ms <= ?
             order by b.reason <> 'tip', b.reason = 'null', b.queued_at_ms limit ?",
            now.0,
            WAITING
        ))
    }

    /// A build that a silent worker has, if it may be offered to another now.
    pub async fn spare_build(&mut self, build: BuildId, now: Timestamp) -> Result<Option<WaitingBuild>> {
        let found: Vec<WaitingBuild> = waiting_builds!(
            self,
            "where b.id = ? and b.state = 'leased' and b.not_before_ms <= ?
                 and not exists (select 1 from attempt a where a.build_id = b.id and a.state = 'offered')",
            build.0,
            now.0
        );
        Ok(found.into_iter().next())
    }

    /// Builds that are with a worker now.
    pub async fn running_builds(&mut self) -> Result<Vec<RunningBuild>> {
        let rows = sqlx::query!(
            "select a.worker_id, br.platform_id, br.project_id, b.reason
             from attempt a join build b on b.id = a.build_id join builder br on br.id = b.builder_id
             where a.ended_at_ms is null"
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut running = Vec::with_capacity(rows.len());
        for row in rows {
            running.push(RunningBuild {
                worker: WorkerId(row.worker_id),
                platform: PlatformId(row.platform_id),
                project: row.project_id.map(ProjectId),
                reason: word(&row.reason, Reason::parse)?,
            });
        }
        Ok(running)
    }

    /// When the next build that is held back may be handed out.
    pub async fn next_waiting(&mut self, now: Timestamp) -> Result<Option<Timestamp>> {
        let next = sqlx::query_scalar!(
            r#"select min(not_before_ms) as "next: i64" from build where state = 'queued' and not_before_ms > ?"#,
            now.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(next.map(Timestamp))
    }

    /// A builder's cover builds; of several on one change with one project side the newest. Seams of sides that are not
    /// in use are left out: they cover nothing.
    pub async fn cover_cells(&mut self, builder: BuilderId) -> Result<Vec<CoverCell>> {
        let rows = sqlx::query!(
            r#"select b.id as "id!", b.change_id, b.pin_id, b.state, b.outcome, b.attempts, b.reason,
                 -- Of a toolchain that was pruned, the one that was made anew.
                 case when b.artifact_sha256 not in (select sha256 from artifact where pruned_at_ms is not null)
                     then b.artifact_sha256
                     else (select a.sha256 from build o join artifact a on a.sha256 = o.artifact_sha256
                         where o.builder_id = b.builder_id and o.change_id = b.change_id and o.outcome = 'passed'
                             and a.pruned_at_ms is null order by o.id desc limit 1) end as artifact_sha256
             from build b left join pin p on p.id = b.pin_id
             where b.builder_id = ? and b.reason in ('tip', 'backfill', 'seam')
                 and (b.reason <> 'seam' or p.state in ('current', 'past'))
             order by b.id"#,
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut cells = std::collections::BTreeMap::new();
        for row in rows {
            let cell = CoverCell {
                change: ChangeId(row.change_id),
                pin: row.pin_id.map(PinId),
                build: BuildId(row.id),
                state: word(&row.state, BuildState::parse)?,
                outcome: row.outcome.as_deref().map(|o| word(o, Outcome::parse)).transpose()?,
                attempts: row.attempts as u32,
                artifact: row.artifact_sha256.as_deref().map(sha256).transpose()?,
                reason: word(&row.reason, Reason::parse)?,
            };
            cells.insert((cell.change, cell.pin), cell);
        }
        Ok(cells.into_values().collect())
    }

    /// The newest build that somebody forced.
    pub async fn forced_build(&mut self, builder: BuilderId, change: ChangeId) -> Result<Option<Build>> {
        let id = sqlx::query_scalar!(
            r#"select max(id) as "id: i64" from build where builder_id = ? and change_id = ? and reason = 'force'"#,
            builder.0,
            change.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        match id {
            Some(id) => Ok(Some(self.build(BuildId(id)).await?)),
            None => Ok(None),
        }
    }

    /// A cover build of this builder with equal inputs: one that is under way, or whose verdicts are complete.
    pub async fn equal_build(&mut self, builder: BuilderId, inputs: Sha256) -> Result<Option<Build>> {
        let inputs = inputs.0.as_slice();
        let id = sqlx::query_scalar!(
            "select id from build
             where inputs_sha256 = ? and builder_id = ? and same_as_id is null
                 and (outcome is null or (outcome in ('passed', 'failed') and complete is not 0)) and reason in ('tip', 'backfill', 'seam')
             order by outcome is null, id limit 1",
            inputs,
            builder.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        match id {
            Some(id) => Ok(Some(self.build(BuildId(id)).await?)),
            None => Ok(None),
        }
    }

    /// Who ran the cover build of a change; of one that points to an equal build, who ran that one.
    pub async fn worker_of_cover(
        &mut self,
        builder: BuilderId,
        change: ChangeId,
    ) -> Result<Option<WorkerId>> {
        let id = sqlx::query_scalar!(
            "select a.worker_id from build asked join build b on b.id = coalesce(asked.same_as_id, asked.id)
                 join attempt a on a.id = b.attempt_id left join pin p on p.id = asked.pin_id
             where asked.builder_id = ? and asked.change_id = ? and asked.reason in ('tip', 'backfill', 'seam')
                 and (p.id is null or p.state in ('current', 'past'))
             order by asked.id desc limit 1",
            builder.0,
            change.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(id.map(WorkerId))
    }

    /// Who ran a build; of one that points to an equal build, who ran that one.
    pub async fn worker_of(&mut self, build: &Build) -> Result<Option<WorkerId>> {
        let run = build.same_as.unwrap_or(build.id);
        let id = sqlx::query_scalar!(
            "select a.worker_id from build b join attempt a on a.id = b.attempt_id where b.id = ?",
            run.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(id.map(WorkerId))
    }

    /// How often a builder has run to a verdict, for whatever reason.
    pub async fn runs(&mut self, builder: BuilderId) -> Result<u32> {
        let runs = sqlx::query_scalar!(
            "select count(*) from build where builder_id = ? and outcome in ('passed', 'failed')
                 and attempt_id is not null and reason <> 'latest'",
            builder.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(runs as u32)
    }

    /// The build that a null run repeats: the newest with the project side in use that made history by a run of its
    /// own, one that passed before others, with the worker that ran it. None while a null run of the builder waits or runs, or came to no verdict
    /// since then.
    pub async fn to_repeat(
        &mut self,
        builder: BuilderId,
        since: Timestamp,
    ) -> Result<Option<(Build, WorkerId)>> {
        let row = sqlx::query!(
            r#"select b.id as "id!", a.worker_id as "worker_id!" from build b join attempt a on a.id = b.attempt_id
                 left join pin p on p.id = b.pin_id
             where b.builder_id = ?1 and b.outcome in ('passed', 'failed')
                 and b.reason in ('tip', 'backfill', 'seam') and (p.id is null or p.state = 'current')
                 and (b.artifact_sha256 is null
                     or b.artifact_sha256 not in (select sha256 from artifact where pruned_at_ms is not null))
                 and not exists (select 1 from build n
                     where n.builder_id = ?1 and n.reason = 'null' and (n.state <> 'finished'
                         or (n.outcome not in ('passed', 'failed') and n.finished_at_ms > ?2)))
             order by b.outcome = 'passed' desc, b.id desc limit 1"#,
            builder.0,
            since.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        match row {
            Some(row) => Ok(Some((self.build(BuildId(row.id)).await?, WorkerId(row.worker_id)))),
            None => Ok(None),
        }
    }

    /// Whether a null run of a builder waits or is under way.
    pub async fn is_repeating(&mut self, builder: BuilderId) -> Result<bool> {
        let found = sqlx::query_scalar!(
            r#"select 1 as "found!: i64" from build
             where builder_id = ? and reason = 'null' and state <> 'finished' limit 1"#,
            builder.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(found.is_some())
    }

    /// The build that made history of a change, to be run once more. None while such a run waits or is under way, or
    /// where so many were made since then.
    pub async fn cover_to_repeat(
        &mut self,
        builder: BuilderId,
        change: ChangeId,
        since: Timestamp,
        most: u32,
    ) -> Result<Option<Build>> {
        let id = sqlx::query_scalar!(
            r#"select b.id as "id!" from build b left join pin p on p.id = b.pin_id
             where b.builder_id = ?1 and b.change_id = ?2 and b.outcome in ('passed', 'failed')
                 and b.reason in ('tip', 'backfill', 'seam') and (p.id is null or p.state in ('current', 'past'))
                 and (b.artifact_sha256 is null
                     or b.artifact_sha256 not in (select sha256 from artifact where pruned_at_ms is not null))
                 and not exists (select 1 from build n where n.builder_id = ?1 and n.change_id = ?2
                     and n.reason = 'null' and n.state <> 'finished')
                 -- At a seam, what was asked of the old side is no run of the new one.
                 and (select count(*) from build n where n.builder_id = ?1 and n.change_id = ?2
                     and n.pin_id is b.pin_id and n.reason = 'null' and n.finished_at_ms > ?3) < ?4
             order by b.id desc limit 1"#,
            builder.0,
            change.0,
            since.0,
            most
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        match id {
            Some(id) => Ok(Some(self.build(BuildId(id)).await?)),
            None => Ok(None),
        }
    }

    /// The last build that asked for the newest revision of a project.
    pub async fn last_latest(&mut self, project: ProjectId) -> Result<Option<Build>> {
        let id = sqlx::query_scalar!(
            r#"select max(b.id) as "id: i64" from builder br join build b on b.builder_id = br.id
             where br.project_id = ? and b.reason = 'latest'"#,
            project.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        match id {
            Some(id) => Ok(Some(self.build(BuildId(id)).await?)),
            None => Ok(None),
        }
    }

    /// Whether anything of a platform waits for a worker; null runs do not count, nor what is bound to a worker that is
    /// away: the others are idle all the same.
    pub async fn is_waited_for(&mut self, platform: PlatformId) -> Result<bool> {
        let found = sqlx::query_scalar!(
            "select 1 from build b join builder br on br.id = b.builder_id
             where b.state = 'queued' and br.platform_id = ? and b.reason <> 'null'
                 and (b.only_worker_id is null or b.only_worker_id in (select id from worker where connected = 1))
             limit 1",
            platform.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(found.is_some())
    }

    /// How many builds are not finished; what a demo or a drain waits for.
    pub async fn unfinished_builds(&mut self) -> Result<i64> {
        Ok(sqlx::query_scalar!("select count(*) from build where state <> 'finished'")
            .fetch_one(&mut *self.connection)
            .await?)
    }

    /// Builds under way for searches: of one breakage.
    pub async fn running_probes(&mut self, breakage: BreakageId) -> Result<i64> {
        Ok(sqlx::query_scalar!(
            "select count(*) from build where breakage_id = ? and state <> 'finished'",
            breakage.0
        )
        .fetch_one(&mut *self.connection)
        .await?)
    }
}

impl Read<'_> {
    /// How many of a breakage's last builds came to no verdict, one after the other, and when the last one ended.
    pub async fn probes_in_vain(&mut self, breakage: BreakageId) -> Result<(u32, Option<Timestamp>)> {
        let row = sqlx::query!(
            r#"select count(*) as "probes!: i64", max(finished_at_ms) as "last: i64" from build
             where breakage_id = ?1 and state = 'finished' and outcome not in ('passed', 'failed')
                 and id > coalesce((select max(told.id) from build told
                     where told.breakage_id = ?1 and told.outcome in ('passed', 'failed')), 0)"#,
            breakage.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok((row.probes as u32, row.last.map(Timestamp)))
    }
}

impl Write<'_> {
    pub async fn queue_build(&mut self, build: &NewBuild, now: Timestamp) -> Result<BuildId> {
        let (recipe, inputs) = (build.recipe.0.as_slice(), build.inputs.0.as_slice());
        let artifact = build.artifact.as_ref().map(|a| a.0.as_slice());
        let (pin, breakage) = (build.pin.map(|p| p.0), build.breakage.map(|b| b.0));
        let only_worker = build.only_worker.map(|w| w.0);
        let reason = build.reason.as_str();
        let id = sqlx::query_scalar!(
            "insert into build (builder_id, change_id, pin_id, recipe_sha256, reason, breakage_id, only_worker_id,
                 inputs_sha256, artifact_sha256, state, queued_at_ms)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?) returning id as \"id!\"",
            build.builder.0,
            build.change.0,
            pin,
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
        .map_err(second_cover)?;
        self.journal(Topic::Build, id, now);
        Ok(BuildId(id))
    }

    /// Takes a build off the queue because a newer change covers its own.
    pub async fn cover_build(&mut self, build: BuildId, now: Timestamp) -> Result<()> {
        let covered =
            sqlx::query!("delete from build where id = ? and state = 'queued' and attempts = 0", build.0);
        one_row(covered.execute(&mut *self.connection).await?, "the build is no longer queued")?;
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
    pub async fn hold_back(&mut self, build: BuildId, not_before: Timestamp) -> Result<()> {
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

    /// Lets builds that are bound to this worker go to another one, but for toolchains that are true on it alone.
    pub async fn unbind_builds(&mut self, away: WorkerId) -> Result<()> {
        sqlx::query!(
            "update build set only_worker_id = null
             where only_worker_id = ? and state = 'queued' and (artifact_sha256 is null
                 or artifact_sha256 not in (select sha256 from artifact where only_worker_id is not null))",
            away.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Drops what waits for builders that are no longer configured, and probes of searches that have ended. What was
    /// tried before is cancelled, so that its attempts can be read.
    pub async fn drop_unwanted_builds(&mut self, now: Timestamp) -> Result<usize> {
        let unwanted = sqlx::query!(
            "select id, attempts from build where state = 'queued'
                 and (builder_id in (select id from builder where state = 'retired')
                     or breakage_id in (select id from breakage where state not in ('suspected', 'searching')))"
        )
        .fetch_all(&mut *self.connection)
        .await?;
        for build in &unwanted {
            if build.attempts == 0 {
                sqlx::query!("delete from build where id = ?", build.id)
                    .execute(&mut *self.connection)
                    .await?;
                self.journal(Topic::Build, build.id, now);
                continue;
            }
            let judged = Judged { outcome: Outcome::Cancelled, cause: None, step: None };
            let finish = Finish { judged, attempt: None, artifact: None, same_as: None };
            self.finish_build(BuildId(build.id), &finish, now).await?;
        }
        Ok(unwanted.len())
    }
}

/// The only unique index that a new build can offend.
fn second_cover(error: sqlx::Error) -> Error {
    match error.as_database_error() {
        Some(refused) if refused.is_unique_violation() => {
            Error::Conflict("the change has a cover build of this builder already")
        }
        _ => Error::Database(error),
    }
}
