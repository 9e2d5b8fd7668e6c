//! Suites that name their failures differently in runs of identical inputs, and whether the contacts of their projects know.

use domain::words::ids::{BuilderId, CaseId, ProjectId, Timestamp};

use crate::db::transaction::{Read, Write};
use crate::error::Result;

/// A suite of which the contacts of its project are to be informed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnstableSuite {
    /// The project.
    pub project: ProjectId,
    /// Where it was seen first.
    pub builder: BuilderId,
    /// One of the names that differ.
    pub example: CaseId,
}

impl Read<'_> {
    /// The suites of which nobody was informed.
    pub async fn unmailed_unstable_suites(&mut self) -> Result<Vec<UnstableSuite>> {
        let rows = sqlx::query!(
            "select project_id, builder_id, case_id from unstable_suite indexed by unstable_suite_unnotified
             where notified_at_ms is null order by project_id"
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let suite = |project, builder, case| UnstableSuite {
            project: ProjectId(project),
            builder: BuilderId(builder),
            example: CaseId(case),
        };
        Ok(rows.into_iter().map(|row| suite(row.project_id, row.builder_id, row.case_id)).collect())
    }
}

impl Write<'_> {
    /// Records that a suite names its failures differently; once for each project.
    pub async fn put_unstable_suite(&mut self, suite: UnstableSuite, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "insert into unstable_suite (project_id, builder_id, case_id, seen_at_ms) values (?, ?, ?, ?)
             on conflict (project_id) do nothing",
            suite.project.0,
            suite.builder.0,
            suite.example.0,
            now.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Records that the contacts of a project were informed, or need not be.
    pub async fn mark_unstable_suite_notified(&mut self, project: ProjectId, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "update unstable_suite set notified_at_ms = ? where project_id = ? and notified_at_ms is null",
            now.0,
            project.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
