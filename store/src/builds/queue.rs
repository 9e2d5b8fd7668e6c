//! The queue: builds that wait for a worker, and those that run.

use domain::words::ids::{BuildId, PinId, PlatformId, ProjectId, Timestamp, WorkerId};
use domain::words::{BuilderKind, Reason};
use protocol::Sha256;

use crate::db::number::from_row;
use crate::db::transaction::Read;
use crate::error::{Result, sha256, word};

/// How many waiting builds one dispatch round reads.
const WAITING: i64 = 5_000;

/// A build that no worker has yet, with what dispatching needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingBuild {
    /// Its id.
    pub id: BuildId,
    /// Whether it makes a toolchain or runs a suite.
    pub kind: BuilderKind,
    /// Its platform.
    pub platform: PlatformId,
    /// Its project; none of a toolchain's.
    pub project: Option<ProjectId>,
    /// The name of its project; none of a toolchain's.
    pub project_name: Option<String>,
    /// Its project inputs, if they have neither a lock nor a verdict yet.
    pub untried: Option<PinId>,
    /// What counts of the environment in which a toolchain is to be made; none of a suite's.
    pub environment: Option<Vec<String>>,
    /// Why the build exists.
    pub reason: Reason,
    /// Whether its change is the newest of its branch.
    pub newest: bool,
    /// The only worker that may run it; none if any may.
    pub only_worker: Option<WorkerId>,
    /// The toolchain that it uses.
    pub artifact: Option<Sha256>,
    /// How often it was tried and decided nothing.
    pub attempts: u32,
    /// When it was put into the queue.
    pub queued_at: Timestamp,
}

/// A build that a worker has, with what dispatching counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningBuild {
    /// The worker that holds it.
    pub worker: WorkerId,
    /// Its platform.
    pub platform: PlatformId,
    /// Its project; none of a toolchain's.
    pub project: Option<ProjectId>,
    /// The project inputs; none of a toolchain's.
    pub pin: Option<PinId>,
    /// Why the build exists.
    pub reason: Reason,
}

macro_rules! waiting_builds {
    ($self:ident, $where:literal, $($argument:expr),*) => {{
        let rows = sqlx::query!(
            r#"select b.id, br.kind, br.platform_id, br.project_id, p.name as "project?", b.reason,
                 b.only_worker_id, b.artifact_sha256, b.attempts, b.queued_at_ms,
                 b.change_id = (select bc.change_id from branch_change bc
                     where bc.branch_id = br.branch_id and bc.gone_at_ms is null
                     order by bc.position desc limit 1) as "newest!: bool",
                 case when inputs.lock_sha256 is null and b.makes_history
                     and not exists (select 1 from build o where o.pin_id = inputs.id
                         and o.makes_history and o.is_verdict)
                     then inputs.id end as "untried: i64",
                 case when br.kind = 'toolchain' then ti.environment end as "environment: String"
             from build b join builder br on br.id = b.builder_id left join project p on p.id = br.project_id
                 left join pin inputs on inputs.id = b.pin_id
                 left join toolchain_inputs ti on ti.id = b.toolchain_inputs_id "#
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
                untried: row.untried.map(PinId),
                environment: row.environment.map(|text| text.lines().map(str::to_string).collect()),
                reason: word(&row.reason, Reason::parse)?,
                newest: row.newest,
                only_worker: row.only_worker_id.map(WorkerId),
                artifact: row.artifact_sha256.as_deref().map(sha256).transpose()?,
                attempts: from_row(row.attempts)?,
                queued_at: Timestamp(row.queued_at_ms),
            });
        }
        waiting
    }};
}

impl Read<'_> {
    /// Builds that may be dispatched now: tips first, null runs last, the oldest first in each group. If the queue is
    /// longer than one round can dispatch, the rest is not read.
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
            "select a.worker_id, br.platform_id, br.project_id, b.pin_id, b.reason
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
                pin: row.pin_id.map(PinId),
                reason: word(&row.reason, Reason::parse)?,
            });
        }
        Ok(running)
    }

    /// When the next build that is held back may be dispatched.
    pub async fn next_waiting(&mut self, now: Timestamp) -> Result<Option<Timestamp>> {
        let next = sqlx::query_scalar!(
            r#"select min(not_before_ms) as "next: i64" from build where state = 'queued' and not_before_ms > ?"#,
            now.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(next.map(Timestamp))
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
}
