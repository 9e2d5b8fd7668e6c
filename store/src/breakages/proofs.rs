//! The runs that stood behind the answer of a search, as it counted them when it ended.

use domain::culprit::Tally;
use domain::search::WorkerProof;
use domain::sentences::{RunCount, WorkerRuns};
use domain::words::ids::BreakageId;

use crate::db::number::from_row;
use crate::db::transaction::{Read, Write};
use crate::error::Result;

impl Read<'_> {
    /// The runs behind a breakage's answer, by the names of their workers. None for an answer that blames no change.
    pub async fn proof(&mut self, breakage: BreakageId) -> Result<Vec<WorkerRuns>> {
        let rows = sqlx::query!(
            "select w.name, p.passes_before, p.failures_before, p.passes_with, p.failures_with
             from proof p join breakage k on k.id = p.breakage_id join worker w on w.id = p.worker_id
             where p.breakage_id = ? and k.found in ('named', 'one-of-k') order by w.name, p.worker_id",
            breakage.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let count =
            |good, bad| -> Result<RunCount> { Ok(RunCount { good: from_row(good)?, bad: from_row(bad)? }) };
        rows.into_iter()
            .map(|row| {
                Ok(WorkerRuns {
                    worker: row.name,
                    before: count(row.passes_before, row.failures_before)?,
                    with: count(row.passes_with, row.failures_with)?,
                })
            })
            .collect()
    }
}

impl Write<'_> {
    /// Stores the runs behind an answer, in place of those of an earlier one.
    pub async fn put_proof(&mut self, breakage: BreakageId, proof: &[WorkerProof]) -> Result<()> {
        sqlx::query!("delete from proof where breakage_id = ?", breakage.0)
            .execute(&mut *self.connection)
            .await?;
        for WorkerProof { worker, before, with } in proof {
            let (Tally { passes: passes_before, fails: failures_before }, Tally { passes, fails }) =
                (*before, *with);
            sqlx::query!(
                "insert into proof (breakage_id, worker_id, passes_before, failures_before, passes_with, failures_with)
                 values (?, ?, ?, ?, ?, ?)",
                breakage.0,
                worker.0,
                passes_before,
                failures_before,
                passes,
                fails
            )
            .execute(&mut *self.connection)
            .await?;
        }
        Ok(())
    }
}
