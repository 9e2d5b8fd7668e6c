//! What the farm is to test, and how far it gets: for its self-diagnostics.

use std::collections::BTreeMap;

use domain::health::production::{BranchPlatform, InfraProject, SuiteNeeds};
use domain::words::ids::Timestamp;

use crate::db::number::from_row;
use crate::db::transaction::Read;
use crate::error::{Error, Result};

/// A branch is searched for its newest verdict no further back than this.
const MAX_CHANGES_BACK: i64 = 1000;

impl Read<'_> {
    /// Each watched branch on each of its platforms, in each variant. Of a branch that is gone no change waits.
    pub async fn branch_platforms(&mut self) -> Result<Vec<BranchPlatform>> {
        let rows = sqlx::query!(
            r#"select r.branch_id, r.platform_id, r.variant, r.variant_name, t.name as trunk, b.name as branch, b.state, pl.label,
                 p.name as "project?", p.wants as "wants?"
             from builder r join branch b on b.id = r.branch_id join trunk t on t.id = b.trunk_id
                 join platform pl on pl.id = r.platform_id left join project p on p.id = r.project_id
             where r.state = 'active' and b.state <> 'retired' order by t.id, b.id, pl.label, p.name"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut columns: BTreeMap<(i64, i64, String), (bool, BranchPlatform)> = BTreeMap::new();
        for row in rows {
            let is_gone = row.state == "gone";
            let column = columns.entry((row.branch_id, row.platform_id, row.variant)).or_insert_with(|| {
                let column = BranchPlatform {
                    trunk: row.trunk,
                    branch: row.branch,
                    platform: row.label,
                    variant: row.variant_name,
                    suites: Vec::new(),
                    waits_since: None,
                    tip: None,
                };
                (is_gone, column)
            });
            if let (Some(project), Some(wants)) = (row.project, row.wants) {
                let wants = serde_json::from_str(&wants).map_err(|e| Error::Row(format!("wants: {e}")))?;
                column.1.suites.push(SuiteNeeds { project, wants });
            }
        }
        let mut found = Vec::with_capacity(columns.len());
        for ((branch, platform, variant), (is_gone, mut column)) in columns {
            if !is_gone {
                let has_suites = !column.suites.is_empty();
                let tested = self.newest_tested(branch, Some((platform, &variant)), has_suites).await?;
                let waits =
                    self.first_change_after(branch, tested.map_or(i64::MIN, |(position, _)| position));
                (column.waits_since, column.tip) = waits.await?;
            }
            found.push(column);
        }
        Ok(found)
    }

    /// The newest change of a branch with a verdict, on one platform in one variant or on any, and its position. Where the branch has
    /// suites, a toolchain's verdict counts only if it failed: then no suite can run.
    pub(crate) async fn newest_tested(
        &mut self,
        branch: i64,
        target: Option<(i64, &str)>,
        has_suites: bool,
    ) -> Result<Option<(i64, i64)>> {
        let (platform, variant) = target.unzip();
        let row = sqlx::query!(
            r#"select n.position as "position!: i64", n.change_id as "change!: i64"
             from (select position, change_id from branch_change
                 where branch_id = ? and gone_at_ms is null order by position desc limit ?) n
             where exists (select 1 from build b indexed by build_by_change cross join builder r on r.id = b.builder_id
                 where b.change_id = n.change_id and r.branch_id = ? and r.platform_id = coalesce(?, r.platform_id)
                     and r.variant = coalesce(?, r.variant)
                     and r.state = 'active' and b.makes_history and b.is_verdict
                     and (r.kind = 'suite' or not ? or b.outcome = 'failed'))
             order by n.position desc limit 1"#,
            branch,
            MAX_CHANGES_BACK,
            branch,
            platform,
            variant,
            has_suites
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(row.map(|row| (row.position, row.change)))
    }

    /// When the first change after a position was found, and the newest change, short.
    async fn first_change_after(
        &mut self,
        branch: i64,
        position: i64,
    ) -> Result<(Option<Timestamp>, Option<String>)> {
        let row = sqlx::query!(
            r#"select (select c.found_at_ms from branch_change n join change c on c.id = n.change_id
                     where n.branch_id = ?1 and n.position > ?2 and n.gone_at_ms is null
                     order by n.position limit 1) as "found: i64",
                 (select substr(c.sha, 1, 7) from branch_change n join change c on c.id = n.change_id
                     where n.branch_id = ?1 and n.gone_at_ms is null
                     order by n.position desc limit 1) as "tip: String""#,
            branch,
            position
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok((row.found.map(Timestamp), row.tip))
    }

    /// Projects of whose last builds none has a verdict, because the workers failed. A few of each builder are considered.
    pub async fn infra_projects(&mut self) -> Result<Vec<InfraProject>> {
        let rows = sqlx::query!(
            r#"select p.name as "project!", count(*) as "builds!: i64", max(b.finished_at_ms) as "last!: i64"
             from project p cross join builder r on r.project_id = p.id and r.state = 'active'
                 cross join build b on b.id in (select x.id from build x indexed by build_by_cell
                     where x.builder_id = r.id and x.state = 'finished' order by x.change_id desc, x.id desc limit 3)
             where p.state = 'registered' group by p.id having sum(b.outcome <> 'infra') = 0 order by p.name"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let failing = match rows.is_empty() {
            true => Vec::new(),
            false => self.failing_fetches().await?,
        };
        let mut projects = Vec::with_capacity(rows.len());
        for row in rows {
            projects.push(InfraProject {
                fetch: failing.iter().find(|one| one.name == row.project).map(|one| one.failure.clause()),
                project: row.project,
                builds: from_row(row.builds)?,
                last: Timestamp(row.last),
            });
        }
        Ok(projects)
    }

    /// When a build last finished.
    pub async fn last_finished(&mut self) -> Result<Option<Timestamp>> {
        let last = sqlx::query_scalar!(
            r#"select max(finished_at_ms) as "last: i64" from build where state = 'finished'"#
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(last.map(Timestamp))
    }
}
