//! Projects whose repository cannot be polled.

use domain::notice::first_result::BuildEnd;
use domain::words::ids::{BuildId, Timestamp};

use crate::db::transaction::Read;
use crate::error::Result;

/// A project whose repository cannot be polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingProjectRow {
    /// Its name.
    pub project: String,
    /// Since when.
    pub since: Timestamp,
    /// How many polls in a row have failed.
    pub failures: i64,
    /// Why the last poll failed.
    pub failure: String,
}

/// If more fail at once, they have one cause, and nobody reads the list.
const MAX_FAILING_PROJECTS: i64 = 100;

impl Read<'_> {
    /// The projects whose polls fail, those that fail longest first.
    pub async fn failing_projects(&mut self) -> Result<Vec<FailingProjectRow>> {
        let rows = sqlx::query!(
            r#"select name, failing_since_ms as "since!", failures, failure as "failure!" from project
             where state = 'registered' and failing_since_ms is not null order by failing_since_ms, id limit ?"#,
            MAX_FAILING_PROJECTS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let rows = rows.into_iter().map(|row| FailingProjectRow {
            project: row.name,
            since: Timestamp(row.since),
            failures: row.failures,
            failure: row.failure,
        });
        Ok(rows.collect())
    }
}

/// A project that has never worked on a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeverWorkedRow {
    /// Its name.
    pub project: String,
    /// Its trunk's name.
    pub trunk: String,
    /// The branch's name.
    pub branch: String,
    /// When its first build ended.
    pub since: Timestamp,
    /// Its newest build that ended with a result.
    pub build: BuildId,
    /// How that ended.
    pub end: BuildEnd,
}

impl Read<'_> {
    /// The projects that have never worked on a branch, the longest first. A canary does what it must, and is not among them.
    pub async fn never_worked(&mut self) -> Result<Vec<NeverWorkedRow>> {
        let rows = sqlx::query!(
            r#"select p.name as project, t.name as trunk, br.name as branch, s.ended_at_ms,
                 (select max(b.id) from builder r cross join build b on b.id in (select x.id
                         from build x indexed by build_by_cell where x.builder_id = r.id and x.makes_history
                             and x.outcome in ('passed', 'failed', 'infra')
                         order by x.change_id desc, x.id desc limit 1)
                     where r.project_id = s.project_id and r.branch_id = s.branch_id
                         and r.state = 'active') as "build: i64"
             from project_start s join project p on p.id = s.project_id join branch br on br.id = s.branch_id
                 join trunk t on t.id = br.trunk_id
             where s.worked_at_ms is null and p.state = 'registered' and p.canary is null and br.state <> 'retired'
             order by s.ended_at_ms limit ?"#,
            MAX_FAILING_PROJECTS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(build) = row.build.map(BuildId) else { continue };
            found.push(NeverWorkedRow {
                project: row.project,
                trunk: row.trunk,
                branch: row.branch,
                since: Timestamp(row.ended_at_ms),
                end: self.build_end(build).await?,
                build,
            });
        }
        Ok(found)
    }
}
