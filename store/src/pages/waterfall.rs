//! The table of changes and builders: its rows, its columns, and the steps that its cells show.

use domain::words::BuilderKind;
use domain::words::ids::Timestamp;
use protocol::StepEnd;

use super::changes::change_row;
use super::{BuilderRow, ChangeRow};
use crate::db::transaction::Read;
use crate::error::{Error, Result, word};

/// A change at its position on a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionRow {
    /// The position on the branch.
    pub position: i64,
    /// Its change.
    pub change: ChangeRow,
}

/// A builder as the head of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnRow {
    /// Its builder.
    pub builder: BuilderRow,
    /// Whether it makes toolchains or runs a suite.
    pub kind: BuilderKind,
    /// Whether it has history older than the window.
    pub goes_on: bool,
}

/// A step of the attempt that a cell shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRow {
    /// The build.
    pub build: i64,
    /// Its name.
    pub name: String,
    /// When it started.
    pub started_at: Timestamp,
    /// How it ended; none while it runs.
    pub end: Option<StepEnd>,
    /// How long it took by the worker's clock.
    pub duration_ms: Option<i64>,
}

const MAX_COLUMNS: i64 = 500;
const MAX_STEPS: i64 = 100_000;

/// What a branch has, however much of it a page shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BranchReach {
    /// Its builders.
    pub builders: i64,
    /// Those of suites.
    pub suites: i64,
    /// The suites that have a verdict of the change.
    pub tested: i64,
}

impl Read<'_> {
    /// The changes of a branch up to a position, newest first.
    pub async fn position_rows(&mut self, branch: i64, upto: i64, limit: i64) -> Result<Vec<PositionRow>> {
        let rows = sqlx::query!(
            r#"select bc.position as "position!", c.id as "change_id!", c.sha, c.title, c.author, c.committed_at_ms
             from branch_change bc join change c on c.id = bc.change_id
             where bc.branch_id = ? and bc.position <= ? and bc.gone_at_ms is null
             order by bc.position desc limit ?"#,
            branch,
            upto,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let row = |position, change| PositionRow { position, change };
        Ok(rows.into_iter().map(|found| row(found.position, change_row!(found))).collect())
    }

    /// How many builders a branch has, and how many of its suites were tested at a change.
    pub async fn branch_reach(&mut self, branch: i64, change: i64) -> Result<BranchReach> {
        let row = sqlx::query!(
            r#"select count(*) as builders, coalesce(sum(br.kind = 'suite'), 0) as "suites!: i64",
                 coalesce(sum(br.kind = 'suite' and exists (select 1 from build b where b.builder_id = br.id
                     and b.change_id = ? and b.makes_history and b.is_verdict)), 0) as "tested!: i64"
             from builder br where br.branch_id = ? and br.state = 'active'"#,
            change,
            branch
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(BranchReach { builders: row.builders, suites: row.suites, tested: row.tested })
    }

    /// The builders of a branch: toolchains first, then projects by name. `oldest` is the window's last position.
    pub async fn column_rows(&mut self, branch: i64, oldest: i64) -> Result<Vec<ColumnRow>> {
        let rows = sqlx::query!(
            r#"select br.id, br.kind, p.name as "project?", t.name as trunk, b.name as branch, pl.label as platform, br.variant_name as "variant?",
                 exists (select 1 from build bu join branch_change bc
                     on bc.change_id = bu.change_id and bc.branch_id = br.branch_id
                     where bu.builder_id = br.id and bu.makes_history
                         and bc.position < ?) as "goes_on!: bool"
             from builder br join branch b on b.id = br.branch_id join trunk t on t.id = b.trunk_id
                 join platform pl on pl.id = br.platform_id left join project p on p.id = br.project_id
             where br.branch_id = ? and br.state = 'active'
             order by p.name is not null, p.name, pl.label limit ?"#,
            oldest,
            branch,
            MAX_COLUMNS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut columns = Vec::with_capacity(rows.len());
        for row in rows {
            columns.push(ColumnRow {
                kind: word(&row.kind, BuilderKind::parse)?,
                goes_on: row.goes_on,
                builder: BuilderRow {
                    id: row.id,
                    project: row.project,
                    trunk: row.trunk,
                    branch: row.branch,
                    platform: row.platform,
                    variant: row.variant,
                },
            });
        }
        Ok(columns)
    }

    /// The steps of a branch's history builds in a window of positions: of the attempt that decided or, without
    /// one, of the last.
    pub async fn step_rows(&mut self, branch: i64, oldest: i64, newest: i64) -> Result<Vec<StepRow>> {
        let rows = sqlx::query!(
            r#"select bu.id as "build!", s.name as "name!", s.started_at_ms as "started_at_ms!", s.ending,
                 s.duration_ms
             from branch_change bc join build bu on bu.change_id = bc.change_id
                 join builder br on br.id = bu.builder_id and br.branch_id = bc.branch_id
                 join step s on s.attempt_id = coalesce(bu.attempt_id,
                     (select max(a.id) from attempt a where a.build_id = bu.id))
             where bc.branch_id = ? and bc.position between ? and ? and bu.makes_history
             order by bu.id, s.position limit ?"#,
            branch,
            oldest,
            newest,
            MAX_STEPS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut steps = Vec::with_capacity(rows.len());
        for row in rows {
            let ending = row.ending.as_deref().map(serde_json::from_str).transpose();
            steps.push(StepRow {
                build: row.build,
                name: row.name,
                started_at: Timestamp(row.started_at_ms),
                end: ending.map_err(|e| Error::Row(format!("step: {e}")))?,
                duration_ms: row.duration_ms,
            });
        }
        Ok(steps)
    }
}
