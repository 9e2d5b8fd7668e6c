//! Cases that are new and fail from their first run on, as pages show them.

use domain::words::ids::Timestamp;

use super::{BuilderRow, ChangeRow};
use crate::db::transaction::Read;
use crate::error::Result;

/// A page shows no more of them.
const MAX_NEW_FAILURES: i64 = 500;

/// A case that was never run before, and fails from its first run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFailureRow {
    /// Its builder.
    pub builder: BuilderRow,
    /// The change at which it was first run.
    pub since: ChangeRow,
    /// Whether other inputs begin there.
    pub with_inputs: bool,
    /// Its name.
    pub case: String,
}

impl Read<'_> {
    /// The new failures that are certain, of one project or of all, those of each builder and change together.
    pub async fn new_failure_rows(&mut self, project: Option<i64>) -> Result<Vec<NewFailureRow>> {
        let rows = sqlx::query!(
            r#"select f.with_inputs as "with_inputs!: bool", n.name as "case!", br.id as "builder_id!", p.name as "project!",
                 t.name as "trunk!", b.name as "branch!", pl.label as "platform!", br.variant_name as "variant?", c.id as "change_id!", c.sha as "sha!",
                 c.title as "title!", c.author as "author!", c.committed_at_ms as "committed_at_ms!"
             from new_failure f cross join builder br on br.id = f.builder_id and br.state = 'active'
                 cross join project p on p.id = br.project_id and p.canary is null
                 cross join branch b on b.id = br.branch_id cross join trunk t on t.id = b.trunk_id
                 cross join platform pl on pl.id = br.platform_id cross join change c on c.id = f.change_id
                 cross join named_case n on n.id = f.case_id
             where f.confirmed_at_ms is not null and f.ended_at_ms is null and (?1 is null or br.project_id = ?1)
             order by p.name, f.builder_id, f.change_id, n.name limit ?2"#,
            project,
            MAX_NEW_FAILURES
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let rows = rows.into_iter().map(|row| NewFailureRow {
            builder: BuilderRow {
                id: row.builder_id,
                project: Some(row.project),
                trunk: row.trunk,
                branch: row.branch,
                platform: row.platform,
                variant: row.variant,
            },
            since: ChangeRow {
                id: row.change_id,
                sha: row.sha,
                title: row.title,
                author: row.author,
                committed_at: Timestamp(row.committed_at_ms),
            },
            with_inputs: row.with_inputs,
            case: row.case,
        });
        Ok(rows.collect())
    }
}
