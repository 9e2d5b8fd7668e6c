//! What every run said of the cases of breakages: case, change, artifact, worker, environment, verdict.

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::{BuildId, BuilderId, CaseId, ChangeId, PinId, WorkerId};
use domain::words::Reason;
use protocol::{Sha256, Verdict};

use crate::error::{Result, json, sha256, word};
use crate::open::{Read, Write};
use crate::verdicts::{Ran, parse_verdict};

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

    /// A builder's history that is not evidence yet of all its cases in question; builds that were not run have none.
    pub async fn covers_to_tell(&mut self, builder: BuilderId) -> Result<Vec<BuildId>> {
        let builds = sqlx::query_scalar!(
            r#"select distinct b.id as "id!" from build b join builder br on br.id = b.builder_id
                 join branch_change bc on bc.branch_id = br.branch_id and bc.change_id = b.change_id
             where b.builder_id = ? and b.outcome in ('passed', 'failed')
                 and b.reason in ('tip', 'backfill', 'seam') and b.attempt_id is not null and bc.gone_at_ms is null
                 and exists (select 1 from breakage k join breakage_case kc on kc.breakage_id = k.id
                     where k.builder_id = b.builder_id and k.ended_at_ms is null and (k.found is null
                             or (select count(*) from breakage_case c where c.breakage_id = k.id) <= ?)
                         and not exists (select 1 from evidence e
                             where e.build_id = b.id and e.case_id = kc.case_id))
             order by b.id"#,
            builder.0,
            MAX_WATCHED
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(builds.into_iter().map(BuildId).collect())
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
        let Ran { mut column, complete } = self.ran(build).await?;
        self.add_untold(build, &mut column, cases.iter().copied()).await?;
        let untold = if complete { Verdict::Missing } else { Verdict::Unreached };
        let verdict = |case: &CaseId| column.get(case).copied().unwrap_or(untold).as_str();
        let rows: Vec<(CaseId, &str)> = cases.iter().map(|case| (*case, verdict(case))).collect();
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
