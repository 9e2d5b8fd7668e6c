//! Builds: what they are, and which there are of a builder.

pub mod artifacts;
pub mod caches;
pub mod environments;
pub mod fetches;
pub mod leases;
mod life;
pub mod plans;
pub mod queue;
pub mod reruns;
pub mod steps;
pub mod timelines;
mod toolchains;

use domain::outcome::{BuildResult, Outcome};
use domain::project_inputs::InputsId;
use domain::words::ids::{
    AttemptId, BreakageId, BuildId, BuilderId, ChangeId, PinId, ProjectId, Timestamp, ToolchainInputsId,
    WorkerId,
};
use domain::words::{BuildState, Reason};
use protocol::Sha256;

use crate::db::number::from_row;
use crate::db::transaction::Read;
use crate::error::{Error, Result, sha256, word};

/// A build: one builder on one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Its id.
    pub id: BuildId,
    /// Its builder.
    pub builder: BuilderId,
    /// Its change.
    pub change: ChangeId,
    /// The project inputs; none of a toolchain's.
    pub pin: Option<PinId>,
    /// The inputs of the toolchain that it makes or uses; none of a build that is older than they.
    pub toolchain_inputs: Option<ToolchainInputsId>,
    /// The hash of the recipe.
    pub recipe: Sha256,
    /// Why the build exists.
    pub reason: Reason,
    /// The breakage that it belongs to; none for most.
    pub breakage: Option<BreakageId>,
    /// The only worker that may run it; none if any may.
    pub only_worker: Option<WorkerId>,
    /// The hash of everything that goes into the build.
    pub inputs: Option<Sha256>,
    /// The toolchain that it makes or uses.
    pub artifact: Option<Sha256>,
    /// Its state.
    pub state: BuildState,
    /// How often it was leased to a worker.
    pub attempts: u32,
    /// When it was put into the queue.
    pub queued_at: Timestamp,
    /// When it finished; none before that.
    pub finished_at: Option<Timestamp>,
    /// How it ended; none before that.
    pub outcome: Option<Outcome>,
    /// The build with equal inputs that stands for this one.
    pub same_as: Option<BuildId>,
    /// The attempt that gave the outcome.
    pub attempt: Option<AttemptId>,
}

/// A build that is about to be put into the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBuild {
    /// Its builder.
    pub builder: BuilderId,
    /// Its change.
    pub change: ChangeId,
    /// The project inputs; none of a toolchain's.
    pub pin: Option<PinId>,
    /// The inputs of the toolchain that it makes or uses; none of a build that is older than they.
    pub toolchain_inputs: Option<ToolchainInputsId>,
    /// The hash of the recipe.
    pub recipe: Sha256,
    /// Why the build exists.
    pub reason: Reason,
    /// The breakage that it belongs to; none for most.
    pub breakage: Option<BreakageId>,
    /// The only worker that may run it; none if any may.
    pub only_worker: Option<WorkerId>,
    /// The hash of everything that goes into the build.
    pub inputs: Sha256,
    /// The toolchain that it uses.
    pub artifact: Option<Sha256>,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// The outcome, its cause and the step that decided.
    pub judged: BuildResult,
    /// The attempt that gave the outcome; none if no attempt did.
    pub attempt: Option<AttemptId>,
    /// The toolchain that was made.
    pub artifact: Option<Sha256>,
    /// The build with equal inputs that stands for this one.
    pub same_as: Option<BuildId>,
}

/// The newest history build of a builder on one change with one set of inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryCell {
    /// Its change.
    pub change: ChangeId,
    /// What it ran with.
    pub inputs: InputsId,
    /// The build.
    pub build: BuildId,
    /// Its state.
    pub state: BuildState,
    /// How it ended; none before that.
    pub outcome: Option<Outcome>,
    /// How often it was leased to a worker.
    pub attempts: u32,
    /// Whether it made a toolchain: one whose own tests failed may have.
    pub made: bool,
    /// The toolchain, if its file is still kept.
    pub artifact: Option<Sha256>,
    /// Why the build exists.
    pub reason: Reason,
}

impl HistoryCell {
    /// Nothing can be tested with it.
    pub fn is_broken(&self) -> bool {
        self.outcome == Some(Outcome::Failed) && !self.made
    }

    /// Whether it was built once and its file was pruned: it can be built again.
    pub fn is_pruned(&self) -> bool {
        self.made && self.artifact.is_none()
    }
}

/// What a build ran with, from its row.
pub(crate) fn inputs_id(toolchain: Option<i64>, pin: Option<i64>) -> InputsId {
    InputsId { toolchain: toolchain.map(ToolchainInputsId), pin: pin.map(PinId) }
}

macro_rules! history_cell {
    ($row:expr, $inputs:expr) => {
        HistoryCell {
            change: ChangeId($row.change_id),
            inputs: $inputs,
            build: BuildId($row.id),
            state: word(&$row.state, BuildState::parse)?,
            outcome: $row.outcome.as_deref().map(|o| word(o, Outcome::parse)).transpose()?,
            attempts: from_row($row.attempts)?,
            made: $row.made,
            artifact: $row.artifact_sha256.as_deref().map(sha256).transpose()?,
            reason: word(&$row.reason, Reason::parse)?,
        }
    };
}
pub(crate) use history_cell;

macro_rules! build {
    ($row:expr) => {
        Build {
            id: BuildId($row.id),
            builder: BuilderId($row.builder_id),
            change: ChangeId($row.change_id),
            pin: $row.pin_id.map(PinId),
            toolchain_inputs: $row.toolchain_inputs_id.map(ToolchainInputsId),
            recipe: sha256(&$row.recipe_sha256)?,
            reason: word(&$row.reason, Reason::parse)?,
            breakage: $row.breakage_id.map(BreakageId),
            only_worker: $row.only_worker_id.map(WorkerId),
            inputs: $row.inputs_sha256.as_deref().map(sha256).transpose()?,
            artifact: $row.artifact_sha256.as_deref().map(sha256).transpose()?,
            state: word(&$row.state, BuildState::parse)?,
            attempts: from_row($row.attempts)?,
            queued_at: Timestamp($row.queued_at_ms),
            finished_at: $row.finished_at_ms.map(Timestamp),
            outcome: $row.outcome.as_deref().map(|o| word(o, Outcome::parse)).transpose()?,
            same_as: $row.same_as_id.map(BuildId),
            attempt: $row.attempt_id.map(AttemptId),
        }
    };
}

impl Read<'_> {
    /// One build. `NotFound` if there is none.
    pub async fn build(&mut self, build: BuildId) -> Result<Build> {
        let row = sqlx::query!(
            "select id, builder_id, change_id, pin_id, toolchain_inputs_id, recipe_sha256, reason, breakage_id, only_worker_id,
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

    /// A builder's history builds; of several on one change with the same inputs, the newest. Baselines of
    /// project inputs that are not in use are left out, since they make no history.
    pub async fn history_cells(&mut self, builder: BuilderId) -> Result<Vec<HistoryCell>> {
        let rows = sqlx::query!(
            r#"select b.id as "id!", b.change_id, b.pin_id, b.toolchain_inputs_id, b.state, b.outcome, b.attempts, b.reason,
                 b.artifact_sha256 is not null as "made!: bool",
                 -- If the toolchain was pruned, the one that was made again.
                 case when b.artifact_sha256 not in (select sha256 from artifact where pruned_at_ms is not null)
                     then b.artifact_sha256
                     else (select a.sha256 from build o join artifact a on a.sha256 = o.artifact_sha256
                         where o.builder_id = b.builder_id and o.change_id = b.change_id
                             and o.toolchain_inputs_id is b.toolchain_inputs_id and o.is_verdict
                             and a.pruned_at_ms is null order by o.id desc limit 1) end as artifact_sha256
             from build b left join pin p on p.id = b.pin_id
             where b.builder_id = ? and b.makes_history
                 and (b.reason <> 'baseline' or p.id is null or p.state in ('current', 'past'))
             order by b.id"#,
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut cells = std::collections::BTreeMap::new();
        for row in rows {
            let cell = history_cell!(row, inputs_id(row.toolchain_inputs_id, row.pin_id));
            cells.insert((cell.change, cell.inputs), cell);
        }
        Ok(cells.into_values().collect())
    }

    /// The newest forced build of a change with these toolchain inputs.
    pub async fn forced_build(
        &mut self,
        builder: BuilderId,
        change: ChangeId,
        inputs: Option<ToolchainInputsId>,
    ) -> Result<Option<Build>> {
        let inputs = inputs.map(|inputs| inputs.0);
        let id = sqlx::query_scalar!(
            r#"select max(id) as "id: i64" from build
             where builder_id = ? and change_id = ? and reason = 'force' and toolchain_inputs_id is ?"#,
            builder.0,
            change.0,
            inputs
        )
        .fetch_one(&mut *self.connection)
        .await?;
        match id {
            Some(id) => Ok(Some(self.build(BuildId(id)).await?)),
            None => Ok(None),
        }
    }

    /// A history build of this builder with equal inputs: one that is not finished, or whose verdicts are
    /// complete.
    pub async fn equal_build(&mut self, builder: BuilderId, inputs: Sha256) -> Result<Option<Build>> {
        let inputs = inputs.0.as_slice();
        let id = sqlx::query_scalar!(
            "select id from build indexed by build_by_inputs
             where inputs_sha256 = ? and builder_id = ? and same_as_id is null
                 and makes_history and (outcome is null or (is_verdict and complete is not 0))
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

    /// The worker that ran the history build of a change; for one that points to an equal build, the worker that
    /// ran that one.
    pub async fn worker_of_history_build(
        &mut self,
        builder: BuilderId,
        change: ChangeId,
    ) -> Result<Option<WorkerId>> {
        let id = sqlx::query_scalar!(
            "select a.worker_id from build own join build b on b.id = coalesce(own.same_as_id, own.id)
                 join attempt a on a.id = b.attempt_id left join pin p on p.id = own.pin_id
             where own.builder_id = ? and own.change_id = ? and own.makes_history
                 and (p.id is null or p.state in ('current', 'past'))
             order by own.id desc limit 1",
            builder.0,
            change.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(id.map(WorkerId))
    }

    /// The worker that ran a build; for one that points to an equal build, the worker that ran that one.
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

    /// Which machine ran a build, and what was installed on it then.
    pub async fn machine_of(&mut self, build: BuildId) -> Result<Option<(WorkerId, Option<Sha256>)>> {
        let row = sqlx::query!(
            "select a.worker_id, a.environment_sha256 from build b join attempt a on a.id = b.attempt_id
             where b.id = ?",
            build.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let machine = row.map(|row| {
            let environment = row.environment_sha256.as_deref().map(sha256).transpose()?;
            Ok((WorkerId(row.worker_id), environment))
        });
        machine.transpose()
    }

    /// How often a builder has run to a verdict, for whatever reason.
    pub async fn runs(&mut self, builder: BuilderId) -> Result<u32> {
        let runs = sqlx::query_scalar!(
            "select count(*) from build where builder_id = ? and is_verdict
                 and attempt_id is not null and reason <> 'latest'",
            builder.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        from_row(runs)
    }

    /// The last build that determined the newest revision of a project.
    pub async fn last_latest(&mut self, project: ProjectId) -> Result<Option<Build>> {
        let id = sqlx::query_scalar!(
            r#"select max(b.id) as "id: i64" from builder br
                 cross join build b indexed by build_latest on b.builder_id = br.id
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
}
