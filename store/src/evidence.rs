//! What every run said of the cases of breakages: case, change, artifact, worker, environment, verdict.

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::{AttemptId, BreakageId, BuildId, BuilderId, CaseId, ChangeId, PinId, WorkerId};
use domain::words::Reason;
use protocol::{Sha256, Verdict};

use crate::error::{Result, json, sha256, word};
use crate::open::{Read, Write};
use crate::verdicts::parse_verdict;

/// One run, and what it said of the cases in question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub build: BuildId,
    pub change: ChangeId,
    /// The project side that it ran with; none of a toolchain's.
    pub pin: Option<PinId>,
    pub worker: WorkerId,
    pub reason: Reason,
    pub environment: Option<Sha256>,
    pub verdicts: BTreeMap<CaseId, Verdict>,
}

/// Breakages of more cases are not watched once they are answered: each run would add so many rows.
const MAX_WATCHED: i64 = 200;
/// Of a builder's reports that came too late, the last so many are weighed.
const MAX_LATE: i64 = 64;

impl Read<'_> {
    /// What the runs of a builder said of these cases, in the order in which they were made.
    pub async fn evidence(&mut self, builder: BuilderId, cases: &BTreeSet<CaseId>) -> Result<Vec<Evidence>> {
        let mut runs: BTreeMap<BuildId, Evidence> = BTreeMap::new();
        for case in cases {
            let rows = sqlx::query!(
                r#"select e.build_id as "build_id!", e.change_id, e.worker_id, e.environment_sha256, e.verdict,
                     b.reason, b.pin_id
                 from evidence e join build b on b.id = e.build_id
                 where e.case_id = ? and b.builder_id = ?"#,
                case.0,
                builder.0
            )
            .fetch_all(&mut *self.connection)
            .await?;
            for row in rows {
                let build = BuildId(row.build_id);
                let reason = word(&row.reason, Reason::parse)?;
                let verdict = word(&row.verdict, parse_verdict)?;
                let environment = row.environment_sha256.as_deref().map(sha256).transpose()?;
                runs.entry(build)
                    .or_insert_with(|| Evidence {
                        build,
                        change: ChangeId(row.change_id),
                        pin: row.pin_id.map(PinId),
                        worker: WorkerId(row.worker_id),
                        reason,
                        environment,
                        verdicts: BTreeMap::new(),
                    })
                    .verdicts
                    .insert(*case, verdict);
            }
        }
        Ok(runs.into_values().collect())
    }

    /// What trusted machines told of a builder's attempts that had been given to another by then: runs like all others.
    pub async fn late_evidence(
        &mut self,
        builder: BuilderId,
        cases: &BTreeSet<CaseId>,
    ) -> Result<Vec<Evidence>> {
        let rows = sqlx::query!(
            r#"select a.id as "attempt!", b.id as "build!", b.change_id, b.pin_id, b.reason, a.worker_id,
                 a.environment_sha256
             from late_report l join attempt a on a.id = l.attempt_id join build b on b.id = a.build_id
                 join worker w on w.id = a.worker_id
             where b.builder_id = ? and l.outcome in ('passed', 'failed') and w.trust in ('counted', 'maker')
             order by a.id desc limit ?"#,
            builder.0,
            MAX_LATE
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut late = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(verdicts) = self.said_late(AttemptId(row.attempt), cases).await? else { continue };
            late.push(Evidence {
                build: BuildId(row.build),
                change: ChangeId(row.change_id),
                pin: row.pin_id.map(PinId),
                worker: WorkerId(row.worker_id),
                reason: word(&row.reason, Reason::parse)?,
                environment: row.environment_sha256.as_deref().map(sha256).transpose()?,
                verdicts,
            });
        }
        Ok(late)
    }

    /// The builds of a builder's history, from a breakage's good end on, that are not evidence yet of all its cases; builds
    /// that were not run are none.
    pub async fn covers_to_tell(&mut self, breakage: BreakageId) -> Result<Vec<BuildId>> {
        let builds = sqlx::query_scalar!(
            r#"select distinct b.id as "id!" from breakage k join builder br on br.id = k.builder_id
                 join branch_change bc on bc.branch_id = br.branch_id and bc.gone_at_ms is null
                     and bc.position >= (select max(g.position) from branch_change g
                         where g.change_id = k.good_change_id and g.branch_id = br.branch_id)
                 join build b on b.builder_id = k.builder_id and b.change_id = bc.change_id
             where k.id = ? and b.outcome in ('passed', 'failed') and b.reason in ('tip', 'backfill', 'seam')
                 and b.attempt_id is not null
                 and exists (select 1 from breakage_case kc where kc.breakage_id = k.id and not exists (
                     select 1 from evidence e where e.build_id = b.id and e.case_id = kc.case_id))
             order by b.id"#,
            breakage.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(builds.into_iter().map(BuildId).collect())
    }

    /// A builder's breakages whose cases are in question.
    pub async fn breakages_in_question(&mut self, builder: BuilderId) -> Result<Vec<BreakageId>> {
        let ids = sqlx::query_scalar!(
            "select b.id from breakage b where b.builder_id = ? and b.ended_at_ms is null and (b.found is null
                 or (select count(*) from breakage_case c where c.breakage_id = b.id) <= ?)",
            builder.0,
            MAX_WATCHED
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(BreakageId).collect())
    }

    /// Cases of a builder's breakages that are searched, or that are open and answered, if they are not too many: what
    /// its runs say of these is evidence, for or against.
    pub async fn cases_in_question(&mut self, builder: BuilderId) -> Result<BTreeSet<CaseId>> {
        let ids = sqlx::query_scalar!(
            "select distinct bc.case_id from breakage_case bc join breakage b on b.id = bc.breakage_id
             where b.builder_id = ? and b.ended_at_ms is null and (b.found is null
                 or (select count(*) from breakage_case c where c.breakage_id = b.id) <= ?)",
            builder.0,
            MAX_WATCHED
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(CaseId).collect())
    }
}

impl Write<'_> {
    /// Keeps what a build's own run said of these cases; what it does not tell of is missing there, or, where the run
    /// broke off, was not reached.
    pub async fn put_evidence(&mut self, build: BuildId, cases: &BTreeSet<CaseId>) -> Result<()> {
        let said = self.said_of(build, cases).await?;
        let rows: Vec<(CaseId, &str)> =
            said.iter().map(|(case, verdict)| (*case, verdict.as_str())).collect();
        let rows = json(&rows)?;
        sqlx::query!(
            "insert or ignore into evidence
                 (build_id, case_id, verdict, change_id, artifact_sha256, worker_id, environment_sha256)
             select b.id, told.value ->> 0, told.value ->> 1, b.change_id, b.artifact_sha256, a.worker_id,
                 a.environment_sha256
             from build b join attempt a on a.id = b.attempt_id join json_each(?) told where b.id = ?",
            rows,
            build.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
