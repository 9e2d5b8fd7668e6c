//! What every run said of the cases of breakages: case, change, artifact, worker, environment, verdict.

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::{BuildId, BuilderId, CaseId, ChangeId, WorkerId};
use domain::words::Reason;
use protocol::Verdict;

use crate::error::{Result, word};
use crate::open::{Read, Write};
use crate::verdicts::{Column, parse_verdict};

/// One run, and what it said of the cases in question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub build: BuildId,
    pub change: ChangeId,
    pub worker: WorkerId,
    pub reason: Reason,
    pub verdicts: BTreeMap<CaseId, Verdict>,
}

impl Read<'_> {
    /// What the runs of a builder said of these cases, in the order in which they were made.
    pub async fn evidence(&mut self, builder: BuilderId, cases: &BTreeSet<CaseId>) -> Result<Vec<Evidence>> {
        let mut runs: BTreeMap<BuildId, Evidence> = BTreeMap::new();
        for case in cases {
            let rows = sqlx::query!(
                r#"select e.build_id as "build_id!", e.change_id, e.worker_id, e.verdict, b.reason
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
                runs.entry(build)
                    .or_insert_with(|| Evidence {
                        build,
                        change: ChangeId(row.change_id),
                        worker: WorkerId(row.worker_id),
                        reason,
                        verdicts: BTreeMap::new(),
                    })
                    .verdicts
                    .insert(*case, verdict);
            }
        }
        Ok(runs.into_values().collect())
    }

    /// Cases of a builder's breakages whose search is not over: what its runs say of these is evidence.
    pub async fn cases_in_question(&mut self, builder: BuilderId) -> Result<BTreeSet<CaseId>> {
        let ids = sqlx::query_scalar!(
            "select distinct bc.case_id from breakage_case bc join breakage b on b.id = bc.breakage_id
             where b.builder_id = ? and b.state in ('suspected', 'searching')",
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(CaseId).collect())
    }
}

impl Write<'_> {
    /// Keeps what a build's own run said of these cases; what it does not tell of is missing there.
    pub async fn put_evidence(
        &mut self,
        build: BuildId,
        cases: &BTreeSet<CaseId>,
        column: &Column,
    ) -> Result<()> {
        for case in cases {
            let verdict = column.get(case).copied().unwrap_or(Verdict::Missing).as_str();
            sqlx::query!(
                "insert or ignore into evidence
                     (build_id, case_id, verdict, change_id, artifact_sha256, worker_id, environment_sha256)
                 select b.id, ?, ?, b.change_id, b.artifact_sha256, a.worker_id, a.environment_sha256
                 from build b join attempt a on a.id = b.attempt_id where b.id = ?",
                case.0,
                verdict,
                build.0
            )
            .execute(&mut *self.connection)
            .await?;
        }
        Ok(())
    }
}
