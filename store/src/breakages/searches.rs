//! What searches know besides the evidence, and what they believe.

use std::collections::BTreeMap;

use domain::culprit::Purpose;
use domain::search::suspicion::{ClassRecord, SuspicionClass};
use domain::search::{Belief, PastSearches, PauseReason};
use domain::words::BreakageState;
use domain::words::ids::{BranchId, BreakageId, BuildId, BuilderId, ChangeId, Timestamp, WorkerId};

use crate::db::number::{from_row, len_to_row};
use crate::db::transaction::{Read, Write};
use crate::error::{Result, json, word};

/// What a search has cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SearchCost {
    /// Probes with a verdict.
    pub probes: u32,
    /// Worker time that all its builds took. An attempt that the master's clock was set back in took none.
    pub time_ms: i64,
}

/// How many of a builder's last verdicts had a toolchain, and how long a run took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BuilderPace {
    /// Runs that had, or made, a toolchain.
    pub built: u32,
    /// Runs without one.
    pub unbuilt: u32,
    /// None before the first.
    pub mean_ms: Option<i64>,
}

/// An answer that new evidence may contradict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredSearch {
    /// The breakage.
    pub breakage: BreakageId,
    /// The answer.
    pub found: BreakageState,
    /// How often an answer was withdrawn before.
    pub reopened: u32,
}

/// How many of a builder's last runs its pace is computed from.
const PACED: i64 = 50;
/// How many records of a trunk's last culprits suspicion is learnt from: those of 200 culprits at least.
const LEARNT_FROM: i64 = 1_000;
/// How many suspects a page shows.
const MAX_SUSPECTS: usize = 200;
/// A change that is less likely than this is no suspect.
const NEGLIGIBLE: f64 = 1e-4;
/// How many paths of a change are read.
const MAX_PATHS: i64 = 100;

impl Read<'_> {
    /// How the searches on the branch's trunk have ended.
    pub async fn past_searches(&mut self, branch: BranchId) -> Result<PastSearches> {
        let row = sqlx::query!(
            r#"select count(*) as "ended!: i64", coalesce(sum(k.found = 'flaky'), 0) as "flaky!: i64",
                 coalesce(sum(k.found = 'environment'), 0) as "environment!: i64"
             from breakage k join builder br on br.id = k.builder_id join branch b on b.id = br.branch_id
             where b.trunk_id = (select trunk_id from branch where id = ?) and k.found is not null
                 and exists (select 1 from probe p where p.breakage_id = k.id)"#,
            branch.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(PastSearches {
            ended: from_row(row.ended)?,
            flaky: from_row(row.flaky)?,
            environment: from_row(row.environment)?,
        })
    }

    /// What the last culprits that were named on the branch's trunk, and still are, show about each class of suspicion.
    pub async fn suspicion_records(
        &mut self,
        branch: BranchId,
    ) -> Result<BTreeMap<SuspicionClass, ClassRecord>> {
        let rows = sqlx::query!(
            r#"select s.class, sum(s.culprits) as "culprits!: i64", sum(s.expected) as "expected!: f64"
             from (select breakage_id, class, culprits, expected from suspicion_record
                 where trunk_id = (select trunk_id from branch where id = ?)
                 order by breakage_id desc limit ?) s
             join breakage k on k.id = s.breakage_id where k.found = 'named' group by s.class"#,
            branch.0,
            LEARNT_FROM
        )
        .fetch_all(&mut *self.connection)
        .await?;
        rows.into_iter()
            .map(|row| {
                let record = ClassRecord { culprits: from_row(row.culprits)?, expected: row.expected };
                Ok((word(&row.class, SuspicionClass::parse)?, record))
            })
            .collect()
    }

    /// How a builder's last runs went.
    pub async fn builder_pace(&mut self, builder: BuilderId) -> Result<BuilderPace> {
        let row = sqlx::query!(
            r#"select coalesce(sum(artifact_sha256 is not null), 0) as "built!: i64",
                 coalesce(sum(artifact_sha256 is null), 0) as "unbuilt!: i64",
                 cast(avg(took) as integer) as "mean_ms: i64"
             from (select b.artifact_sha256, max(a.ended_at_ms - a.started_at_ms, 0) as took
                 from build b join attempt a on a.id = b.attempt_id
                 where b.builder_id = ? and b.is_verdict
                     and not exists (select 1 from selected_run sel where sel.build_id = b.id)
                 order by b.id desc limit ?)"#,
            builder.0,
            PACED
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(BuilderPace { built: from_row(row.built)?, unbuilt: from_row(row.unbuilt)?, mean_ms: row.mean_ms })
    }

    /// When other breakages left this one, oldest first; so many of them at most.
    pub async fn splits_of(&mut self, breakage: BreakageId, most: u32) -> Result<Vec<Timestamp>> {
        let splits = sqlx::query_scalar!(
            "select opened_at_ms from breakage where split_from_id = ? order by id limit ?",
            breakage.0,
            most
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(splits.into_iter().map(Timestamp).collect())
    }

    /// Probes with a verdict, and the worker time that all builds took that a search has asked for since then.
    pub async fn search_cost(&mut self, breakage: BreakageId, since: Timestamp) -> Result<SearchCost> {
        let row = sqlx::query!(
            r#"select count(distinct case when b.is_verdict then b.id end) as "probes!: i64",
                 coalesce(sum(max(a.ended_at_ms - a.started_at_ms, 0)), 0) as "time_ms!: i64"
             from build b left join attempt a on a.build_id = b.id where b.breakage_id = ? and b.queued_at_ms >= ?"#,
            breakage.0,
            since.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(SearchCost { probes: from_row(row.probes)?, time_ms: row.time_ms })
    }

    /// The changes and workers of a search's builds that are not finished.
    pub async fn probes_under_way(
        &mut self,
        breakage: BreakageId,
    ) -> Result<Vec<(ChangeId, Option<WorkerId>)>> {
        let rows = sqlx::query!(
            "select change_id, only_worker_id from build where breakage_id = ? and state <> 'finished' order by id",
            breakage.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(rows.into_iter().map(|row| (ChangeId(row.change_id), row.only_worker_id.map(WorkerId))).collect())
    }

    /// How many builds of a breakage's search are not finished.
    pub async fn running_probes(&mut self, breakage: BreakageId) -> Result<i64> {
        Ok(sqlx::query_scalar!(
            "select count(*) from build where breakage_id = ? and state <> 'finished'",
            breakage.0
        )
        .fetch_one(&mut *self.connection)
        .await?)
    }

    /// How many of a breakage's last builds in a row ended without a verdict, and when the last one ended.
    pub async fn fruitless_probes(&mut self, breakage: BreakageId) -> Result<(u32, Option<Timestamp>)> {
        let row = sqlx::query!(
            r#"select count(*) as "probes!: i64", max(finished_at_ms) as "last: i64" from build
             where breakage_id = ?1 and state = 'finished' and not is_verdict
                 and id > coalesce((select max(judged.id) from build judged
                     where judged.breakage_id = ?1 and judged.is_verdict), 0)"#,
            breakage.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok((from_row(row.probes)?, row.last.map(Timestamp)))
    }

    /// How many builds a worker holds, plus those in the queue that are bound to it.
    pub async fn load_of(&mut self, worker: WorkerId) -> Result<u32> {
        let load = sqlx::query_scalar!(
            r#"select (select count(*) from attempt where worker_id = ?1 and ended_at_ms is null)
                 + (select count(*) from build where only_worker_id = ?1 and state = 'queued') as "load!: i64""#,
            worker.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        from_row(load)
    }

    /// The first hundred paths that each of these changes touches.
    pub async fn paths_of(&mut self, changes: &[ChangeId]) -> Result<BTreeMap<ChangeId, Vec<String>>> {
        let ids = json(&changes)?;
        let rows = sqlx::query!(
            "select change_id, path from (select change_id, path,
                     row_number() over (partition by change_id order by path) as place
                 from change_path where change_id in (select value from json_each(?)))
             where place <= ?",
            ids,
            MAX_PATHS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut paths: BTreeMap<ChangeId, Vec<String>> = BTreeMap::new();
        for row in rows {
            paths.entry(ChangeId(row.change_id)).or_default().push(row.path);
        }
        Ok(paths)
    }

    /// Answers of breakages that are not over, in whose range a run has ended since the answer was given.
    pub async fn answers_with_news(&mut self) -> Result<Vec<AnsweredSearch>> {
        let rows = sqlx::query!(
            r#"select k.id as "id!", k.found as "found!", s.reopened as "reopened!"
             from search s cross join breakage k on k.id = s.breakage_id
             where s.has_news = 1 and k.ended_at_ms is null and k.found is not null order by s.breakage_id"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut answered = Vec::with_capacity(rows.len());
        for row in rows {
            answered.push(AnsweredSearch {
                breakage: BreakageId(row.id),
                found: word(&row.found, BreakageState::parse)?,
                reopened: from_row(row.reopened)?,
            });
        }
        Ok(answered)
    }

    /// How often a breakage's answer was withdrawn.
    pub async fn reopened(&mut self, breakage: BreakageId) -> Result<u32> {
        let reopened = sqlx::query_scalar!("select reopened from search where breakage_id = ?", breakage.0)
            .fetch_optional(&mut *self.connection)
            .await?;
        from_row(reopened.unwrap_or(0))
    }
}

impl Write<'_> {
    /// Stores what the search believes, in place of what it believed before.
    pub async fn put_belief(
        &mut self,
        breakage: BreakageId,
        changes: &[ChangeId],
        belief: &Belief,
        now: Timestamp,
    ) -> Result<()> {
        let left_out: Vec<(WorkerId, &str)> =
            belief.left_out.iter().map(|(worker, why)| (*worker, why.as_str())).collect();
        let (left_out, probes_left) = (json(&left_out)?, i64::from(belief.probes_left));
        // The good end is no suspect.
        let range = len_to_row(changes.len().saturating_sub(1));
        sqlx::query!(
            "insert into search (breakage_id, looked_at_ms, environment, flaky, intermittent, probes_left, left_out,
                 changes)
             values (?, ?, ?, ?, ?, ?, ?, ?)
             on conflict (breakage_id) do update set looked_at_ms = excluded.looked_at_ms,
                 environment = excluded.environment, flaky = excluded.flaky, intermittent = excluded.intermittent,
                 probes_left = excluded.probes_left, left_out = excluded.left_out,
                 changes = max(changes, excluded.changes), paused = null, has_news = 0",
            breakage.0,
            now.0,
            belief.environment,
            belief.flaky,
            belief.intermittent,
            probes_left,
            left_out,
            range
        )
        .execute(&mut *self.connection)
        .await?;
        let mut suspects: Vec<(f64, ChangeId)> =
            belief.changes.iter().copied().zip(changes.iter().copied()).collect();
        suspects.retain(|(posterior, _)| *posterior >= NEGLIGIBLE);
        suspects.sort_by(|one, other| other.0.total_cmp(&one.0));
        suspects.truncate(MAX_SUSPECTS);
        let rows = json(&suspects)?;
        sqlx::query!("delete from suspect where breakage_id = ?", breakage.0)
            .execute(&mut *self.connection)
            .await?;
        sqlx::query!(
            "insert or ignore into suspect (breakage_id, change_id, posterior)
             select ?, input.value ->> 1, input.value ->> 0 from json_each(?) input",
            breakage.0,
            rows
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Records why a search is paused.
    pub async fn pause_search(
        &mut self,
        breakage: BreakageId,
        why: PauseReason,
        now: Timestamp,
    ) -> Result<()> {
        let why = why.as_str();
        sqlx::query!(
            "insert into search (breakage_id, looked_at_ms, environment, flaky, intermittent, probes_left, left_out,
                 paused)
             values (?, ?, 0, 0, 0, 0, '[]', ?)
             on conflict (breakage_id) do update set paused = excluded.paused",
            breakage.0,
            now.0,
            why
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Records why a search asked for a build, and the bits of information that it expects.
    pub async fn put_probe(
        &mut self,
        build: BuildId,
        breakage: BreakageId,
        purpose: Purpose,
        bits: f64,
    ) -> Result<()> {
        let purpose = purpose.as_str();
        sqlx::query!(
            "insert into probe (build_id, breakage_id, purpose, bits) values (?, ?, ?, ?)",
            build.0,
            breakage.0,
            purpose,
            bits
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Stores what a named culprit shows about each class of suspicion, in place of what its breakage showed before.
    pub async fn put_suspicion_records(
        &mut self,
        breakage: BreakageId,
        records: &BTreeMap<SuspicionClass, ClassRecord>,
    ) -> Result<()> {
        sqlx::query!("delete from suspicion_record where breakage_id = ?", breakage.0)
            .execute(&mut *self.connection)
            .await?;
        for (class, record) in records {
            let class = class.as_str();
            sqlx::query!(
                "insert into suspicion_record (trunk_id, breakage_id, class, culprits, expected)
                 select b.trunk_id, k.id, ?, ?, ? from breakage k
                 join builder br on br.id = k.builder_id join branch b on b.id = br.branch_id where k.id = ?",
                class,
                record.culprits,
                record.expected,
                breakage.0
            )
            .execute(&mut *self.connection)
            .await?;
        }
        Ok(())
    }

    /// Withdraws an answer: the search continues. `Conflict` if the breakage has no answer or is over.
    pub async fn reopen_search(&mut self, breakage: BreakageId, now: Timestamp) -> Result<()> {
        let reopened = sqlx::query!(
            "update breakage set state = 'searching', found = null, found_at_ms = null, culprit_id = null,
                 parent_id = null
             where id = ? and found is not null and ended_at_ms is null",
            breakage.0
        );
        crate::error::one_row(
            reopened.execute(&mut *self.connection).await?,
            "the breakage is not answered",
        )?;
        sqlx::query!("update search set reopened = reopened + 1 where breakage_id = ?", breakage.0)
            .execute(&mut *self.connection)
            .await?;
        self.journal(crate::db::journal::Topic::Breakage, breakage.0, now);
        Ok(())
    }
}
