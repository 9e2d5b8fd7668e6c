//! Builds that repeat another one: which to repeat next, and which repeats there are.

use domain::words::ids::{
    BuildId, BuilderId, ChangeId, PinId, PlatformId, Timestamp, ToolchainInputsId, WorkerId,
};

use crate::builds::Build;
use crate::db::transaction::Read;
use crate::error::{Result, json};

/// How many runs of others are examined to find one that a machine can repeat.
const CHOICE: i64 = 20;

impl Read<'_> {
    /// The build that a null run repeats, with the worker that ran it: the newest build with the inputs in use that made
    /// history by a run of its own on a trusted worker, of a change that its branch still has; one that passed is
    /// preferred. None while a null run of the builder waits or runs, or if one ended without a verdict since then.
    pub async fn build_to_repeat(
        &mut self,
        builder: BuilderId,
        since: Timestamp,
    ) -> Result<Option<(Build, WorkerId)>> {
        let row = sqlx::query!(
            r#"select b.id as "id!", a.worker_id as "worker_id!" from build b join attempt a on a.id = b.attempt_id
                 join worker w on w.id = a.worker_id left join pin p on p.id = b.pin_id
                 left join toolchain_inputs ti on ti.id = b.toolchain_inputs_id
             where b.builder_id = ?1 and b.is_verdict and w.trust is not 'probation'
                 and exists (select 1 from branch_change bc join builder br on br.branch_id = bc.branch_id
                     where bc.change_id = b.change_id and br.id = b.builder_id and bc.gone_at_ms is null)
                 and b.makes_history and (p.id is null or p.state = 'current')
                 and (ti.id is null or ti.state = 'current')
                 and (b.artifact_sha256 is null
                     or not exists (select 1 from artifact t
                         where t.sha256 = b.artifact_sha256 and t.pruned_at_ms is not null))
                 and not exists (select 1 from build n
                     where n.builder_id = ?1 and n.reason = 'null' and (n.state <> 'finished'
                         or (not n.is_verdict and n.finished_at_ms > ?2)))
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

    /// The newest null runs of a builder that came to a verdict, newest first.
    pub async fn null_runs(&mut self, builder: BuilderId, most: u32) -> Result<Vec<Build>> {
        let ids = sqlx::query_scalar!(
            r#"select id as "id!" from build
             where builder_id = ? and reason = 'null' and is_verdict order by id desc limit ?"#,
            builder.0,
            most
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut builds = Vec::with_capacity(ids.len());
        for id in ids {
            builds.push(self.build(BuildId(id)).await?);
        }
        Ok(builds)
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

    /// Whether a null run of a change has ended with a verdict.
    pub async fn is_repeated(&mut self, builder: BuilderId, change: ChangeId) -> Result<bool> {
        let found = sqlx::query_scalar!(
            r#"select 1 as "found!: i64" from build
             where builder_id = ? and change_id = ? and reason = 'null' and is_verdict limit 1"#,
            builder.0,
            change.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(found.is_some())
    }

    /// The build that made history of a change, to be repeated. None while a repetition waits or runs, or if
    /// `most` of them were made since then.
    pub async fn history_build_to_repeat(
        &mut self,
        builder: BuilderId,
        change: ChangeId,
        since: Timestamp,
        most: u32,
    ) -> Result<Option<Build>> {
        let id = sqlx::query_scalar!(
            r#"select b.id as "id!" from build b left join pin p on p.id = b.pin_id
             where b.builder_id = ?1 and b.change_id = ?2 and b.is_verdict
                 and b.makes_history and (p.id is null or p.state in ('current', 'past'))
                 and (b.artifact_sha256 is null
                     or not exists (select 1 from artifact t
                         where t.sha256 = b.artifact_sha256 and t.pruned_at_ms is not null))
                 and not exists (select 1 from build n where n.builder_id = ?1 and n.change_id = ?2
                     and n.reason = 'null' and n.state <> 'finished')
                 -- At a baseline, a rerun with the old inputs is no run of the new ones.
                 and (select count(*) from build n where n.builder_id = ?1 and n.change_id = ?2
                     and n.pin_id is b.pin_id and n.toolchain_inputs_id is b.toolchain_inputs_id and n.reason = 'null' and n.finished_at_ms > ?3) < ?4
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

    /// Complete suite runs on these platforms by workers whose results count, with their projects' names: of builders
    /// first that this worker has repeated least, the newest first.
    pub async fn runs_of_others(
        &mut self,
        worker: WorkerId,
        platforms: &[PlatformId],
    ) -> Result<Vec<(Build, String)>> {
        let platforms = json(platforms)?;
        let rows = sqlx::query!(
            r#"select max(b.id) as "id!: i64", p.name as "project!: String"
             from build b join builder br on br.id = b.builder_id join project p on p.id = br.project_id
                 join attempt a on a.id = b.attempt_id join worker w on w.id = a.worker_id
                 left join artifact t on t.sha256 = b.artifact_sha256
                 join branch bn on bn.id = br.branch_id
             where br.state = 'active' and bn.state = 'watched' and br.platform_id in (select value from json_each(?2))
                 and b.makes_history and b.is_verdict and b.complete = 1
                 and w.trust in ('counted', 'maker') and t.only_worker_id is null
                 and t.pruned_at_ms is null
                 and exists (select 1 from branch_change bc where bc.change_id = b.change_id
                     and bc.branch_id = br.branch_id and bc.gone_at_ms is null)
             group by br.id
             order by (select count(*) from build n join attempt na on na.build_id = n.id
                 where n.builder_id = br.id and n.reason = 'null' and na.worker_id = ?1), 1 desc
             limit ?3"#,
            worker.0,
            platforms,
            CHOICE
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut runs = Vec::with_capacity(rows.len());
        for row in rows {
            runs.push((self.build(BuildId(row.id)).await?, row.project));
        }
        Ok(runs)
    }

    /// The last build by which a builder repeated a change with these project inputs and these toolchain inputs: what it
    /// did with others says nothing about these.
    pub async fn last_baseline(
        &mut self,
        builder: BuilderId,
        pin: PinId,
        toolchain: Option<ToolchainInputsId>,
    ) -> Result<Option<Build>> {
        let toolchain = toolchain.map(|inputs| inputs.0);
        let id = sqlx::query_scalar!(
            r#"select max(id) as "id: i64" from build
             where pin_id = ? and builder_id = ? and reason = 'baseline' and toolchain_inputs_id is ?"#,
            pin.0,
            builder.0,
            toolchain
        )
        .fetch_one(&mut *self.connection)
        .await?;
        match id {
            Some(id) => Ok(Some(self.build(BuildId(id)).await?)),
            None => Ok(None),
        }
    }

    /// The null runs that were queued after a baseline to confirm it, oldest first: of the same change and project
    /// inputs.
    pub async fn null_runs_after(&mut self, baseline: BuildId, pin: PinId) -> Result<Vec<Build>> {
        let ids = sqlx::query_scalar!(
            r#"select b.id as "id!" from build b join build s on s.id = ?
             where b.builder_id = s.builder_id and b.change_id = s.change_id and b.pin_id = ? and b.reason = 'null'
                 and b.id > s.id
             order by b.id"#,
            baseline.0,
            pin.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut builds = Vec::with_capacity(ids.len());
        for id in ids {
            builds.push(self.build(BuildId(id)).await?);
        }
        Ok(builds)
    }
}
