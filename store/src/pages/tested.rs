//! How much of a branch is tested: what a page says beside "nothing is known to be broken".

use std::collections::BTreeSet;

use crate::db::transaction::Read;
use crate::error::Result;

/// What has a verdict at the newest change of a branch that has any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestedRow {
    /// The change; none if the branch has no verdict yet.
    pub sha: Option<String>,
    /// How many newer changes the branch has.
    pub newer: i64,
    /// The suites that the branch has.
    pub suites: BTreeSet<TestedSuite>,
    /// Those of them with a verdict at the change.
    pub tested: BTreeSet<TestedSuite>,
    /// The platforms, and the variants by their names, whose toolchain has a verdict there.
    pub toolchains: BTreeSet<(String, Option<String>)>,
}

/// A suite on a branch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestedSuite {
    /// Its project.
    pub project: String,
    /// Its platform's label.
    pub platform: String,
    /// What its variant is called; none where its trunk has the default build only.
    pub variant: Option<String>,
}

impl Read<'_> {
    /// How much of a branch is tested.
    pub async fn tested(&mut self, branch: i64) -> Result<TestedRow> {
        let suites = sqlx::query!(
            "select p.name as project, pl.label as platform, r.variant_name as variant from builder r join project p on p.id = r.project_id
                 join platform pl on pl.id = r.platform_id where r.branch_id = ? and r.state = 'active'",
            branch
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut row = TestedRow {
            suites: suites
                .into_iter()
                .map(|row| TestedSuite { project: row.project, platform: row.platform, variant: row.variant })
                .collect(),
            ..TestedRow::default()
        };
        let Some((position, change)) = self.newest_tested(branch, None, !row.suites.is_empty()).await? else {
            return Ok(row);
        };
        let verdicts = sqlx::query!(
            r#"select p.name as "project?", pl.label as platform, r.variant_name as variant from build b indexed by build_by_change
                 cross join builder r on r.id = b.builder_id join platform pl on pl.id = r.platform_id
                 left join project p on p.id = r.project_id
             where b.change_id = ? and r.branch_id = ? and r.state = 'active' and b.makes_history and b.is_verdict"#,
            change,
            branch
        )
        .fetch_all(&mut *self.connection)
        .await?;
        for verdict in verdicts {
            match verdict.project {
                Some(project) => row.tested.insert(TestedSuite {
                    project,
                    platform: verdict.platform,
                    variant: verdict.variant,
                }),
                None => row.toolchains.insert((verdict.platform, verdict.variant)),
            };
        }
        row.sha = Some(
            sqlx::query_scalar!("select sha from change where id = ?", change)
                .fetch_one(&mut *self.connection)
                .await?,
        );
        row.newer = sqlx::query_scalar!(
            "select count(*) from branch_change where branch_id = ? and position > ? and gone_at_ms is null",
            branch,
            position
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(row)
    }
}
