//! Machines on probation: what they may run again, and how often they agreed.

use domain::words::ids::{BuildId, PlatformId, Timestamp, WorkerId};

use crate::builds::Build;
use crate::db::journal::Topic;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, json};

/// So many runs of others are looked at for one that a machine can repeat.
const CHOICE: i64 = 20;

impl Read<'_> {
    /// Whether a build waits for this very worker, or is with it.
    pub async fn is_worker_bound(&mut self, worker: WorkerId) -> Result<bool> {
        let found = sqlx::query_scalar!(
            r#"select 1 as "found!: i64" from build where state <> 'finished' and only_worker_id = ? limit 1"#,
            worker.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(found.is_some())
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
             where br.state = 'active' and br.platform_id in (select value from json_each(?2))
                 and b.makes_history and b.is_verdict and b.complete = 1
                 and w.trust in ('counted', 'maker') and t.only_worker_id is null
                 and t.pruned_at_ms is null
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
}

impl Write<'_> {
    /// Counts a result that agreed; one that did not begins the count anew. The answer is the count.
    pub async fn record_agreement(&mut self, worker: WorkerId, agreed: bool, now: Timestamp) -> Result<u32> {
        let agreements = sqlx::query_scalar!(
            "update worker set agreements = case when ? then agreements + 1 else 0 end where id = ?
             returning agreements as \"agreements!\"",
            agreed,
            worker.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        self.journal(Topic::Worker, worker.0, now);
        Ok(agreements as u32)
    }

    pub async fn end_probation(&mut self, worker: WorkerId, now: Timestamp) -> Result<()> {
        sqlx::query!("update worker set trust = 'counted' where id = ? and trust = 'probation'", worker.0)
            .execute(&mut *self.connection)
            .await?;
        self.journal(Topic::Worker, worker.0, now);
        Ok(())
    }
}
