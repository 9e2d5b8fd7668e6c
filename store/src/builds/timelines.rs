//! What a round of the scheduler reads of many builders at once: on an old farm, one query for each would be too many.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::breakage;
use domain::outcome::Outcome;
use domain::project_inputs::InputsId;
use domain::project_inputs::{self, TimelineBuild};
use domain::words::ids::{BranchId, BuildId, BuilderId, ChangeId, PinId, Timestamp, ToolchainInputsId};
use domain::words::{BuildState, Reason};

use crate::builds::{HistoryCell, inputs_id};
use crate::db::number::from_row;
use crate::db::transaction::Read;
use crate::error::{Error, Result, json, word};

/// A builder's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderTimeline {
    /// The branch's changes, first to last.
    pub(crate) order: Vec<ChangeId>,
    /// In order.
    pub(crate) history_builds: Vec<TimelineBuild>,
    /// What the rules of breakages read of each of these builds, and of builds that no longer make history.
    pub(crate) facts: HashMap<BuildId, breakage::HistoryBuild>,
}

/// What a suite's builder has done recently, and what is queued for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuiteTimeline {
    /// As [`Read::history_cells`] returns them; a suite makes no artifact.
    pub cells: Vec<HistoryCell>,
    /// As [`Read::history`] returns it.
    pub history: Vec<TimelineBuild>,
}

impl Read<'_> {
    /// The builds that make a builder's history, in order. Builds of rewound changes are left out, and baselines
    /// of project inputs that are not in use.
    pub async fn history(&mut self, builder: BuilderId) -> Result<Vec<TimelineBuild>> {
        let branch = self.builder(builder).await?.branch;
        Ok(self.builder_timeline(builder, branch).await?.history_builds)
    }

    /// The history with all that is read of it. It is read at each build, so it comes as one JSON value.
    pub(crate) async fn builder_timeline(
        &mut self,
        builder: BuilderId,
        branch: BranchId,
    ) -> Result<BuilderTimeline> {
        let positions = self.positions(branch).await?;
        let rows = sqlx::query_scalar!(
            r#"select json_group_array(json_array(b.id, b.change_id, b.pin_id,
                 b.toolchain_inputs_id, b.reason = 'baseline',
                 coalesce(same.complete, b.complete), b.same_as_id is null, b.outcome = 'passed',
                 case when b.same_as_id is null then coalesce(b.passes + b.bads, 0)
                     else coalesce(same.passes + same.bads, 0) end)) as "rows!: String"
             from builder_history b left join pin p on p.id = b.pin_id left join build same on same.id = b.same_as_id
             where b.builder_id = ? and (p.id is null or p.state in ('current', 'past'))"#,
            builder.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        type Row = (BuildId, ChangeId, Option<PinId>, Option<ToolchainInputsId>, u8, Option<u8>, u8, u8, u32);
        let rows: Vec<Row> = serde_json::from_str(&rows).map_err(|e| Error::Row(e.to_string()))?;
        let position_of: HashMap<ChangeId, i64> =
            positions.iter().map(|&(at, change)| (change, at)).collect();
        let mut timeline = BuilderTimeline {
            order: positions.into_iter().map(|(_, change)| change).collect(),
            history_builds: Vec::with_capacity(rows.len()),
            facts: HashMap::with_capacity(rows.len()),
        };
        for (build, change, pin, toolchain, baseline, complete, own, green, cases_run) in rows {
            let Some(&position) = position_of.get(&change) else { continue };
            let complete = complete == Some(1);
            timeline.history_builds.push(TimelineBuild {
                build,
                change,
                position,
                inputs: InputsId { toolchain, pin },
                is_baseline: baseline == 1,
                complete,
            });
            timeline.facts.insert(
                build,
                breakage::HistoryBuild { change, own: own == 1, ran: cases_run, green: green == 1 },
            );
        }
        timeline.history_builds = project_inputs::history(&timeline.history_builds);
        Ok(timeline)
    }

    /// The inputs of a change in a builder's history: at a baseline, the old ones. None for a change without a build.
    pub async fn inputs_of(&mut self, builder: BuilderId, change: ChangeId) -> Result<Option<InputsId>> {
        let history = self.history(builder).await?;
        let build = history.iter().find(|history_build| history_build.change == change);
        Ok(build.map(|history_build| history_build.inputs))
    }

    /// Whether a change of the builder's branch has no history build that has finished.
    pub async fn has_gaps(&mut self, builder: BuilderId) -> Result<bool> {
        let gap = sqlx::query_scalar!(
            r#"select 1 as "gap!: i64" from builder br
                 cross join branch_change bc on bc.branch_id = br.branch_id and bc.gone_at_ms is null
             where br.id = ? and not exists (select 1 from build b where b.builder_id = br.id
                 and b.change_id = bc.change_id and b.makes_history and b.state = 'finished')
             limit 1"#,
            builder.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(gap.is_some())
    }

    /// Whether a history build of the builder waits or runs. One that waits for a worker which alone has its toolchain,
    /// and which has not been seen since then, may wait for ever and does not count.
    pub async fn is_making_history(&mut self, builder: BuilderId, since: Timestamp) -> Result<bool> {
        let unfinished = sqlx::query!(
            "select id, state from build where builder_id = ? and state <> 'finished' and makes_history",
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        for build in unfinished {
            if build.state != "queued" || !self.is_stranded(BuildId(build.id), since).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a build's toolchain works on one worker only, which is no longer approved or not seen since then.
    pub async fn is_stranded(&mut self, build: BuildId, since: Timestamp) -> Result<bool> {
        let stranded = sqlx::query_scalar!(
            r#"select exists(select 1 from build b join artifact t on t.sha256 = b.artifact_sha256
                 join worker w on w.id = t.only_worker_id
                 where b.id = ? and (w.state <> 'approved' or w.standing <> 'active'
                     or (w.connected = 0 and coalesce(w.seen_at_ms, 0) < ?))) as "stranded!: bool""#,
            build.0,
            since.0
        );
        Ok(stranded.fetch_one(&mut *self.connection).await?)
    }

    /// The timelines of builders of one branch, from this change on. A builder without builds has none.
    pub async fn suite_timelines(
        &mut self,
        builders: &BTreeSet<BuilderId>,
        from: ChangeId,
    ) -> Result<BTreeMap<BuilderId, SuiteTimeline>> {
        let builders = json(builders)?;
        // The joins go from a change of the branch to its builds by index, whatever SQLite would guess.
        let rows = sqlx::query!(
            r#"select b.id as "id!", b.builder_id as "builder_id!", b.change_id as "change_id!", b.pin_id,
                 b.toolchain_inputs_id, b.state as "state!", b.outcome, b.attempts as "attempts!", b.reason as "reason!",
                 coalesce(same.complete, b.complete) as "complete: bool", bc.position as "position!"
             from json_each(?1) wanted cross join builder br on br.id = wanted.value
                 cross join branch_change start on start.branch_id = br.branch_id and start.change_id = ?2
                     and start.gone_at_ms is null
                 cross join branch_change bc on bc.branch_id = br.branch_id and bc.position >= start.position
                     and bc.gone_at_ms is null
                 cross join build b on b.builder_id = br.id and b.change_id = bc.change_id
                 left join pin p on p.id = b.pin_id left join build same on same.id = b.same_as_id
             where b.makes_history
                 and (b.reason <> 'baseline' or p.state in ('current', 'past'))
             order by b.id"#,
            builders,
            from.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut cells: BTreeMap<BuilderId, BTreeMap<_, HistoryCell>> = BTreeMap::new();
        let mut history_builds: BTreeMap<BuilderId, Vec<TimelineBuild>> = BTreeMap::new();
        for row in rows {
            let builder = BuilderId(row.builder_id);
            let cell = HistoryCell {
                change: ChangeId(row.change_id),
                inputs: inputs_id(row.toolchain_inputs_id, row.pin_id),
                build: BuildId(row.id),
                state: word(&row.state, BuildState::parse)?,
                outcome: row.outcome.as_deref().map(|outcome| word(outcome, Outcome::parse)).transpose()?,
                attempts: from_row(row.attempts)?,
                made: false,
                artifact: None,
                reason: word(&row.reason, Reason::parse)?,
            };
            if matches!(cell.outcome, Some(Outcome::Passed | Outcome::Failed)) {
                history_builds.entry(builder).or_default().push(TimelineBuild {
                    build: cell.build,
                    change: cell.change,
                    position: row.position,
                    inputs: cell.inputs,
                    is_baseline: cell.reason == Reason::Baseline,
                    complete: row.complete == Some(true),
                });
            }
            cells.entry(builder).or_default().insert((cell.change, cell.inputs), cell);
        }
        Ok(cells
            .into_iter()
            .map(|(builder, cells)| {
                let history = history_builds
                    .get(&builder)
                    .map(|history_builds| project_inputs::history(history_builds))
                    .unwrap_or_default();
                (builder, SuiteTimeline { cells: cells.into_values().collect(), history })
            })
            .collect())
    }

    /// The active builders whose histories have reached the project inputs in use.
    pub async fn builders_with_current_inputs(&mut self) -> Result<BTreeSet<BuilderId>> {
        let ids = sqlx::query_scalar!(
            "select br.id from builder br
                 join pin p on p.project_id = br.project_id and p.branch_id = br.branch_id and p.state = 'current'
             where br.state = 'active' and exists (select 1 from build b where b.pin_id = p.id and b.builder_id = br.id
                 and b.is_verdict and b.makes_history)"
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(BuilderId).collect())
    }

    /// Active suites that have run to a verdict fewer times than this, for whatever reason.
    pub async fn rarely_run(&mut self, enough: u32) -> Result<BTreeSet<BuilderId>> {
        let ids = sqlx::query_scalar!(
            "select br.id from builder br where br.state = 'active' and br.kind = 'suite'
                 and ?1 > (select count(*) from (select 1 from build b where b.builder_id = br.id
                     and b.is_verdict and b.attempt_id is not null and b.reason <> 'latest'
                     limit ?1))",
            enough
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(BuilderId).collect())
    }
}
