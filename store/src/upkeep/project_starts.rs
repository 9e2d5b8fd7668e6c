//! How projects begin: their first build on a branch, and whether they have ever worked.

use domain::notice::first_result::{BuildEnd, ReadCounts};
use domain::outcome::{Cause, Outcome};
use domain::readers::is_fault;
use domain::words::ids::{AttemptId, BranchId, BuildId, ProjectId, Timestamp};

use crate::db::number::{from_row, len_to_row};
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, one_row, word};

/// Of a build with more bad cases, no faults are counted.
const MAX_BADS: i64 = 500;

/// How a project began on a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectStart {
    /// The project.
    pub project: ProjectId,
    /// The branch.
    pub branch: BranchId,
    /// Its first build there that ended with a result.
    pub build: BuildId,
    /// Since when it is known to work; none if it never has.
    pub worked_at: Option<Timestamp>,
}

impl Read<'_> {
    /// How a project began on a branch; none before its first result.
    pub async fn project_start(
        &mut self,
        project: ProjectId,
        branch: BranchId,
    ) -> Result<Option<ProjectStart>> {
        let row = sqlx::query!(
            "select build_id, worked_at_ms from project_start where project_id = ? and branch_id = ?",
            project.0,
            branch.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(row.map(|row| ProjectStart {
            project,
            branch,
            build: BuildId(row.build_id),
            worked_at: row.worked_at_ms.map(Timestamp),
        }))
    }

    /// Beginnings of which the contacts were not informed, the oldest first.
    pub async fn unnotified_starts(&mut self, limit: i64) -> Result<Vec<ProjectStart>> {
        let rows = sqlx::query!(
            r#"select project_id as "project!", branch_id as "branch!", build_id as "build!", worked_at_ms
             from project_start where notified_at_ms is null order by ended_at_ms limit ?"#,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let rows = rows.into_iter().map(|row| ProjectStart {
            project: ProjectId(row.project),
            branch: BranchId(row.branch),
            build: BuildId(row.build),
            worked_at: row.worked_at_ms.map(Timestamp),
        });
        Ok(rows.collect())
    }

    /// How many of a build's bad cases are faults: nothing that a runner reported as a test. Of a build with very many bad
    /// cases none is: it has no more faults than a reader takes.
    async fn faults_of(&mut self, build: BuildId, bads: i64) -> Result<i64> {
        if bads == 0 || bads > MAX_BADS {
            return Ok(0);
        }
        let own = sqlx::query_scalar!(
            r#"select coalesce(same_as_id, id) as "own!: i64" from build where id = ?"#,
            build.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        let verdicts = self.case_verdicts(BuildId(own)).await?;
        let bad =
            verdicts.into_iter().filter(|(_, verdict)| verdict.is_bad()).map(|(case, _)| case).collect();
        let names = self.names_of_cases(&bad).await?;
        Ok(len_to_row(names.values().filter(|name| is_fault(name)).count()))
    }

    /// How a finished suite build ended, and how many cases it reported without those of its steps and without faults.
    pub async fn build_end(&mut self, build: BuildId) -> Result<BuildEnd> {
        let row = sqlx::query!(
            r#"select b.outcome as "outcome!", b.cause, b.cause_step, own.attempt_id,
                 coalesce(own.passes, 0) as "passes!: i64", coalesce(own.bads, 0) as "bads!: i64",
                 coalesce(own.skips, 0) as "skips!: i64"
             from build b join build own on own.id = coalesce(b.same_as_id, b.id)
             where b.id = ? and b.outcome is not null"#,
            build.0
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("finished build"))?;
        let steps = match row.attempt_id {
            Some(attempt) => self.steps(AttemptId(attempt)).await?,
            None => Vec::new(),
        };
        let (mut good, mut bad, mut exit) = (0, self.faults_of(build, row.bads).await?, None);
        for step in steps {
            let code = match step.end {
                Some(protocol::StepEnd::Exit { code }) => Some(code),
                Some(_) | None => None,
            };
            match code {
                Some(0) => good += 1,
                _ => bad += 1,
            }
            if row.cause_step.as_ref() == Some(&step.name) {
                exit = code;
            }
        }
        // A build that reported nothing has no case of its steps either.
        let without = |all: i64, of_steps: i64| from_row((all - of_steps).max(0));
        Ok(BuildEnd {
            outcome: word(&row.outcome, Outcome::parse)?,
            cause: row.cause.as_deref().map(|cause| word(cause, Cause::parse)).transpose()?,
            step: row.cause_step,
            exit,
            counts: ReadCounts {
                passes: without(row.passes, good)?,
                failures: without(row.bads, bad)?,
                skips: from_row(row.skips)?,
            },
        })
    }
}

impl Write<'_> {
    /// Records a project's first result on a branch, unless there is one already.
    pub async fn start_project(
        &mut self,
        project: ProjectId,
        branch: BranchId,
        build: BuildId,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query!(
            "insert or ignore into project_start (project_id, branch_id, build_id, ended_at_ms) values (?, ?, ?, ?)",
            project.0,
            branch.0,
            build.0,
            now.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Records that a project works on a branch.
    pub async fn mark_project_worked(
        &mut self,
        project: ProjectId,
        branch: BranchId,
        now: Timestamp,
    ) -> Result<()> {
        let worked = sqlx::query!(
            "update project_start set worked_at_ms = ? where project_id = ? and branch_id = ? and worked_at_ms is null",
            now.0,
            project.0,
            branch.0
        );
        one_row(worked.execute(&mut *self.connection).await?, "the project is known to work")
    }

    /// Records that a project's contacts were informed of its first result. `Conflict` if they were before.
    pub async fn mark_start_notified(
        &mut self,
        project: ProjectId,
        branch: BranchId,
        now: Timestamp,
    ) -> Result<()> {
        let notified = sqlx::query!(
            "update project_start set notified_at_ms = ?
             where project_id = ? and branch_id = ? and notified_at_ms is null",
            now.0,
            project.0,
            branch.0
        );
        one_row(notified.execute(&mut *self.connection).await?, "the contacts were informed before")
    }
}
