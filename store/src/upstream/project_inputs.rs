//! A builder's history over its project sides, and what its baselines said.

use std::collections::{BTreeSet, HashMap};

use domain::breakage;
use domain::project_inputs::{self, TimelineBuild};
use domain::words::ids::{BranchId, BuildId, BuilderId, CaseId, ChangeId, PinId, Timestamp};

use crate::builds::Build;
use crate::cases::verdicts::CaseVerdicts;
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, json};

/// A builder's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderTimeline {
    /// The branch's changes, first to last.
    pub(crate) order: Vec<ChangeId>,
    /// In order.
    pub(crate) history_builds: Vec<TimelineBuild>,
    /// What the rules of breakages read of each of them, and of builds that are history no more.
    pub(crate) told: HashMap<BuildId, breakage::HistoryBuild>,
}

impl Read<'_> {
    /// The covers that make a builder's history. Those of rewound changes are left out, and baselines of sides that are not
    /// in use.
    pub async fn history(&mut self, builder: BuilderId) -> Result<Vec<TimelineBuild>> {
        let branch = self.builder(builder).await?.branch;
        Ok(self.builder_timeline(builder, branch).await?.history_builds)
    }

    /// The same with all that is read of it. It is asked for at each build, so it comes in one piece.
    pub(crate) async fn builder_timeline(
        &mut self,
        builder: BuilderId,
        branch: BranchId,
    ) -> Result<BuilderTimeline> {
        let positions = self.positions(branch).await?;
        let rows = sqlx::query_scalar!(
            r#"select json_group_array(json_array(b.id, b.change_id, b.pin_id, b.reason = 'baseline',
                 coalesce(same.complete, b.complete), b.same_as_id is null, b.outcome = 'passed',
                 case when b.same_as_id is null then coalesce(b.passes + b.bads, 0)
                     else coalesce(same.passes + same.bads, 0) end)) as "rows!: String"
             from builder_history b left join pin p on p.id = b.pin_id left join build same on same.id = b.same_as_id
             where b.builder_id = ? and (p.id is null or p.state in ('current', 'past'))"#,
            builder.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        type Row = (BuildId, ChangeId, Option<PinId>, u8, Option<u8>, u8, u8, u32);
        let rows: Vec<Row> = serde_json::from_str(&rows).map_err(|e| Error::Row(e.to_string()))?;
        let places: HashMap<ChangeId, i64> = positions.iter().map(|&(at, change)| (change, at)).collect();
        let mut past = BuilderTimeline {
            order: positions.into_iter().map(|(_, change)| change).collect(),
            history_builds: Vec::with_capacity(rows.len()),
            told: HashMap::with_capacity(rows.len()),
        };
        for (build, change, pin, baseline, complete, own, green, ran) in rows {
            let Some(&position) = places.get(&change) else { continue };
            let complete = complete == Some(1);
            past.history_builds.push(TimelineBuild {
                build,
                change,
                position,
                pin,
                is_baseline: baseline == 1,
                complete,
            });
            past.told.insert(build, breakage::HistoryBuild { change, own: own == 1, ran, green: green == 1 });
        }
        past.history_builds = project_inputs::history(&past.history_builds);
        Ok(past)
    }

    /// The project side of what a builder's history says of a change: at a baseline the old one's.
    pub async fn project_inputs_of(&mut self, builder: BuilderId, change: ChangeId) -> Result<Option<PinId>> {
        let history = self.history(builder).await?;
        Ok(history
            .iter()
            .find(|history_build| history_build.change == change)
            .and_then(|history_build| history_build.pin))
    }

    /// Whether a cover build of the builder waits or runs.
    pub async fn is_making_history(&mut self, builder: BuilderId) -> Result<bool> {
        let found = sqlx::query_scalar!(
            "select 1 from build where builder_id = ? and state <> 'finished' and makes_history
             limit 1",
            builder.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(found.is_some())
    }

    /// The last build by which a builder repeated a change with this side.
    pub async fn last_baseline(&mut self, builder: BuilderId, pin: PinId) -> Result<Option<Build>> {
        let id = sqlx::query_scalar!(
            r#"select max(id) as "id: i64" from build where pin_id = ? and builder_id = ? and reason = 'baseline'"#,
            pin.0,
            builder.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        match id {
            Some(id) => Ok(Some(self.build(BuildId(id)).await?)),
            None => Ok(None),
        }
    }

    /// What a build's cases did, those that it did not reach as in the history before it.
    pub async fn case_verdicts_in_history(
        &mut self,
        builder: BuilderId,
        build: BuildId,
    ) -> Result<CaseVerdicts> {
        let history_builds = self.history_builds(builder).await?;
        match history_builds.iter().position(|(_, id)| *id == build) {
            Some(at) => self.effective_verdicts(&history_builds, at).await,
            None => self.case_verdicts(build).await,
        }
    }

    /// The null runs of a baseline's change with this side that were asked for behind it, oldest first. They confirm it.
    pub async fn null_runs_behind(&mut self, baseline: BuildId, pin: PinId) -> Result<Vec<Build>> {
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

    /// The cases that a baseline was judged to have made worse, none of them or some; and when that was.
    pub async fn judgement(
        &mut self,
        builder: BuilderId,
        pin: PinId,
    ) -> Result<Option<(BTreeSet<CaseId>, Timestamp)>> {
        let judged_at = sqlx::query_scalar!(
            "select judged_at_ms from baseline where pin_id = ? and builder_id = ?",
            pin.0,
            builder.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let Some(judged_at) = judged_at else { return Ok(None) };
        let cases = sqlx::query_scalar!(
            "select case_id from baseline_case where pin_id = ? and builder_id = ?",
            pin.0,
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(Some((cases.into_iter().map(CaseId).collect(), Timestamp(judged_at))))
    }

    /// Builders whose baseline to the side in use was not judged yet.
    pub async fn baselines_to_judge(&mut self) -> Result<Vec<(BuilderId, PinId)>> {
        let rows = sqlx::query!(
            r#"select distinct b.builder_id as "builder_id!", b.pin_id as "pin_id!" from pin p
                 join build b on b.pin_id = p.id join builder br on br.id = b.builder_id
             where p.state = 'current' and br.state = 'active' and b.reason = 'baseline'
                 and b.is_verdict
                 and not exists (select 1 from baseline s where s.pin_id = p.id and s.builder_id = b.builder_id)"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(rows.into_iter().map(|row| (BuilderId(row.builder_id), PinId(row.pin_id))).collect())
    }

    /// Cases of a builder that its project's contacts were told got worse, by this side or by one before it that did not
    /// come into use.
    pub async fn cases_announced(&mut self, builder: BuilderId, pin: PinId) -> Result<BTreeSet<CaseId>> {
        let cases = sqlx::query_scalar!(
            "select distinct c.case_id from baseline_case c join pin p on p.id = c.pin_id
             where c.builder_id = ? and (p.id = ? or p.state = 'dropped') and p.id > coalesce((select max(u.id) from pin u
                 where u.project_id = p.project_id and u.branch_id = p.branch_id and u.state = 'current' and u.id < ?), 0)",
            builder.0,
            pin.0,
            pin.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(cases.into_iter().map(CaseId).collect())
    }
}

impl Write<'_> {
    /// Keeps what a baseline said: which cases got worse, if any did.
    pub async fn judge_baseline(
        &mut self,
        builder: BuilderId,
        pin: PinId,
        worse: &BTreeSet<CaseId>,
        now: Timestamp,
    ) -> Result<()> {
        let state = if worse.is_empty() { "no-worse" } else { "worse" };
        sqlx::query!("delete from baseline_case where pin_id = ? and builder_id = ?", pin.0, builder.0)
            .execute(&mut *self.connection)
            .await?;
        sqlx::query!(
            "insert into baseline (pin_id, builder_id, state, judged_at_ms) values (?, ?, ?, ?)
             on conflict (pin_id, builder_id) do update set state = excluded.state, judged_at_ms = excluded.judged_at_ms",
            pin.0,
            builder.0,
            state,
            now.0
        )
        .execute(&mut *self.connection)
        .await?;
        let cases = json(worse)?;
        sqlx::query!(
            "insert into baseline_case (pin_id, builder_id, case_id) select ?, ?, value from json_each(?)",
            pin.0,
            builder.0,
            cases
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
