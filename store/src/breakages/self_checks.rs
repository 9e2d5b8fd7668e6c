//! Self-checks: answers that may be repeated, the null runs that repeat them, and what these showed.

use std::collections::BTreeSet;

use domain::project_inputs::InputsId;
use domain::self_check::{CheckKind, CheckResult, SHARE_OF};
use domain::words::BreakageState;
use domain::words::ids::{BreakageId, BuildId, BuilderId, ChangeId, Timestamp, WorkerId};

use crate::builds::Build;
use crate::db::number::from_row;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, word};

/// How many answers of each kind are considered at once.
const MAX_ANSWERS: i64 = 50;

/// An answer of a search of suites that may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenAnswer {
    /// Its breakage.
    pub breakage: BreakageId,
    /// What it says now: named, flaky or fixed.
    pub state: BreakageState,
    /// When it was given.
    pub found_at: Timestamp,
}

/// A repetition that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelfCheck {
    /// The breakage whose answer it repeats.
    pub breakage: BreakageId,
    /// Which part of the answer.
    pub kind: CheckKind,
}

/// How many checks of a kind ended with a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckCount {
    /// The kind.
    pub kind: CheckKind,
    /// The result.
    pub result: CheckResult,
    /// How many.
    pub checks: u64,
}

/// How often a part of an answer was repeated since it was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChecksOf {
    /// How often.
    pub checks: u32,
    /// What the last repetition showed.
    pub last: Option<CheckResult>,
}

impl Read<'_> {
    /// Answers about suites that were given since then: named changes that are not over and flaky cases, and repairs; the
    /// oldest of each.
    pub async fn answers_to_check(&mut self, since: Timestamp) -> Result<Vec<GivenAnswer>> {
        let rows = sqlx::query!(
            r#"select * from (select k.id as "id!: i64", k.state as "state!: String", k.found_at_ms as "found_at!: i64"
                 from breakage k indexed by breakage_open join builder br on br.id = k.builder_id
                 where k.ended_at_ms is null and k.state in ('named', 'flaky') and k.found_at_ms >= ?1
                     and br.kind = 'suite' and br.state = 'active' order by k.found_at_ms, k.id limit ?2)
             union all
             select * from (select k.id, k.state, k.ended_at_ms
                 from breakage k indexed by breakage_repaired join builder br on br.id = k.builder_id
                 where k.state = 'fixed' and k.ended_at_ms >= ?1 and br.kind = 'suite' and br.state = 'active'
                 order by k.ended_at_ms limit ?2)"#,
            since.0,
            MAX_ANSWERS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(GivenAnswer {
                    breakage: BreakageId(row.id),
                    state: word(&row.state, BreakageState::parse)?,
                    found_at: Timestamp(row.found_at),
                })
            })
            .collect()
    }

    /// How often a part of an answer was repeated since then.
    pub async fn checks_of(
        &mut self,
        breakage: BreakageId,
        kind: CheckKind,
        since: Timestamp,
    ) -> Result<ChecksOf> {
        let kind = kind.as_str();
        let results = sqlx::query_scalar!(
            "select result from self_check where breakage_id = ? and kind = ? and asked_at_ms >= ? order by build_id",
            breakage.0,
            kind,
            since.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let last = results.last().and_then(|last| last.as_deref());
        Ok(ChecksOf {
            checks: from_row(i64::try_from(results.len()).unwrap_or(i64::MAX))?,
            last: last.map(|last| word(last, CheckResult::parse)).transpose()?,
        })
    }

    /// The run of a change that a self-check repeats, with the worker that made it: the newest one with these inputs on a
    /// trusted worker. None if there is none, or if its toolchain or its revision can no longer be had.
    pub async fn run_to_check(
        &mut self,
        builder: BuilderId,
        change: ChangeId,
        with: InputsId,
    ) -> Result<Option<(Build, WorkerId)>> {
        let (toolchain, pin) = (with.toolchain.map(|inputs| inputs.0), with.pin.map(|pin| pin.0));
        let row = sqlx::query!(
            r#"select b.id as "id!", a.worker_id as "worker_id!"
             from build b join attempt a on a.id = b.attempt_id join worker w on w.id = a.worker_id
                 left join pin p on p.id = b.pin_id left join artifact t on t.sha256 = b.artifact_sha256
             where b.builder_id = ? and b.change_id = ? and b.is_verdict and b.inputs_sha256 is not null
                 and b.pin_id is ? and b.toolchain_inputs_id is ? and w.trust in ('counted', 'maker')
                 and t.pruned_at_ms is null and p.missing_since_ms is null
                 and exists (select 1 from builder br join branch bn on bn.id = br.branch_id
                     join branch_change bc on bc.branch_id = bn.id
                     where br.id = b.builder_id and bn.state = 'watched' and bc.change_id = b.change_id
                         and bc.gone_at_ms is null)
             order by b.id desc limit 1"#,
            builder.0,
            change.0,
            pin,
            toolchain
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        match row {
            Some(row) => Ok(Some((self.build(BuildId(row.id)).await?, WorkerId(row.worker_id)))),
            None => Ok(None),
        }
    }

    /// Of the builds that ended last, how many idle workers made, and how many self-checks are among them; those that have
    /// not ended are counted, too.
    pub async fn idle_work(&mut self) -> Result<(u32, u32)> {
        let row = sqlx::query!(
            r#"select coalesce(sum(last.reason in ('backfill', 'null')), 0) as "builds!: i64",
                 coalesce(sum(s.build_id is not null), 0) as "checks!: i64"
             from (select id, reason from build indexed by build_by_finish where state = 'finished'
                 order by finished_at_ms desc limit ?) last left join self_check s on s.build_id = last.id"#,
            SHARE_OF
        )
        .fetch_one(&mut *self.connection)
        .await?;
        let running = self.running_self_checks().await?;
        let running = u32::try_from(running.len()).unwrap_or(u32::MAX);
        Ok((from_row::<u32>(row.builds)? + running, from_row::<u32>(row.checks)? + running))
    }

    /// The self-checks that wait or run.
    pub async fn running_self_checks(&mut self) -> Result<Vec<BuildId>> {
        let ids = sqlx::query_scalar!(
            "select s.build_id from self_check s indexed by self_check_running cross join build b on b.id = s.build_id
             where s.result is null and b.state <> 'finished'"
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(BuildId).collect())
    }

    /// The self-check that a build makes, if it has no result yet.
    pub async fn self_check(&mut self, build: BuildId) -> Result<Option<SelfCheck>> {
        let row = sqlx::query!(
            "select breakage_id, kind from self_check where build_id = ? and result is null",
            build.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let check = |row: (i64, String)| {
            Ok(SelfCheck { breakage: BreakageId(row.0), kind: word(&row.1, CheckKind::parse)? })
        };
        row.map(|row| check((row.breakage_id, row.kind))).transpose()
    }

    /// The breakages of a builder of whose repairs a self-check has fallen.
    pub(crate) async fn fallen_repairs(&mut self, builder: BuilderId) -> Result<BTreeSet<BreakageId>> {
        let ids = sqlx::query_scalar!(
            "select distinct s.breakage_id from self_check s indexed by self_check_fallen_repair
                 cross join breakage k on k.id = s.breakage_id
             where s.kind = 'repair' and s.result = 'fell' and k.builder_id = ?",
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(BreakageId).collect())
    }

    /// The builds that have repeated a part of an answer and have ended, up to this one.
    pub async fn repetitions(&mut self, check: SelfCheck, build: BuildId) -> Result<Vec<BuildId>> {
        let kind = check.kind.as_str();
        let ids = sqlx::query_scalar!(
            "select s.build_id from self_check s join breakage k on k.id = s.breakage_id
             where s.breakage_id = ? and s.kind = ? and s.build_id <= ? and s.asked_at_ms >= k.found_at_ms
             order by s.build_id",
            check.breakage.0,
            kind,
            build.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(BuildId).collect())
    }

    /// How many self-checks ended with each result since then.
    pub async fn self_checks_since(&mut self, since: Timestamp) -> Result<Vec<CheckCount>> {
        let rows = sqlx::query!(
            r#"select kind, result as "result!", count(*) as "checks!: i64" from self_check indexed by self_check_ended
             where ended_at_ms >= ? group by kind, result order by kind, result"#,
            since.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        rows.into_iter().map(|row| check_count(&row.kind, &row.result, row.checks)).collect()
    }

    /// How many self-checks ever ended with each result.
    pub async fn self_checks_ever(&mut self) -> Result<Vec<CheckCount>> {
        let rows = sqlx::query!("select kind, result, checks from self_check_count order by kind, result")
            .fetch_all(&mut *self.connection)
            .await?;
        rows.into_iter().map(|row| check_count(&row.kind, &row.result, row.checks)).collect()
    }
}

fn check_count(kind: &str, result: &str, checks: i64) -> Result<CheckCount> {
    Ok(CheckCount {
        kind: word(kind, CheckKind::parse)?,
        result: word(result, CheckResult::parse)?,
        checks: from_row(checks)?,
    })
}

impl Write<'_> {
    /// Records that a null run repeats an answer.
    pub async fn put_self_check(&mut self, build: BuildId, check: SelfCheck, at: Timestamp) -> Result<()> {
        let kind = check.kind.as_str();
        sqlx::query!(
            "insert into self_check (build_id, breakage_id, kind, asked_at_ms) values (?, ?, ?, ?)",
            build.0,
            check.breakage.0,
            kind,
            at.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Records what a self-check showed. `Conflict` if it has a result.
    pub async fn end_self_check(&mut self, build: BuildId, result: CheckResult, at: Timestamp) -> Result<()> {
        let word = result.as_str();
        let ended = sqlx::query!(
            "update self_check set result = ?, ended_at_ms = ? where build_id = ? and result is null",
            word,
            at.0,
            build.0
        );
        crate::error::one_row(ended.execute(&mut *self.connection).await?, "the self-check has a result")?;
        sqlx::query!(
            "insert into self_check_count (kind, result, checks) select kind, result, 1 from self_check where build_id = ?
             on conflict (kind, result) do update set checks = checks + 1",
            build.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Ends the self-checks whose builds ended without a verdict: they showed nothing.
    pub async fn end_mute_self_checks(&mut self, at: Timestamp) -> Result<()> {
        let ids = sqlx::query_scalar!(
            "select s.build_id from self_check s indexed by self_check_running cross join build b on b.id = s.build_id
             where s.result is null and b.state = 'finished'"
        )
        .fetch_all(&mut *self.connection)
        .await?;
        for build in ids {
            self.end_self_check(BuildId(build), CheckResult::None, at).await?;
        }
        Ok(())
    }
}
