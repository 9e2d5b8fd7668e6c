//! Branches and tags that the configuration names and that their remotes do not have.

use domain::health::missing_ref::{MissingRef, RefKind, RefOwner};
use domain::words::ids::{ProjectId, Timestamp, TrunkId};

use crate::db::number::{from_row, to_row};
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, json, word};

/// What a poll did not find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMissingRef {
    /// What is missing.
    pub kind: RefKind,
    /// Its name as it is configured.
    pub name: String,
    /// The branch that the remote's HEAD names.
    pub head: Option<String>,
    /// A few names that the remote has.
    pub present: Vec<String>,
    /// How many more it has.
    pub more: u64,
}

/// If more are missing at once, they have one cause, and nobody reads the list.
const MAX_MISSING: i64 = 200;

impl Read<'_> {
    /// What is missing of all trunks and projects, the longest first.
    pub async fn missing_refs(&mut self) -> Result<Vec<MissingRef>> {
        let rows = sqlx::query!(
            r#"select t.name as trunk, p.name as "project?", m.kind, m.name, m.since_ms, m.head, m.present, m.more
             from missing_ref m join trunk t on t.id = m.trunk_id left join project p on p.id = m.project_id
             order by m.id limit ?"#,
            MAX_MISSING
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut missing = Vec::with_capacity(rows.len());
        for row in rows {
            missing.push(MissingRef {
                owner: match row.project {
                    Some(project) => RefOwner::Project(project),
                    None => RefOwner::Trunk(row.trunk),
                },
                kind: word(&row.kind, RefKind::parse)?,
                name: row.name,
                since: Timestamp(row.since_ms),
                head: row.head,
                present: serde_json::from_str(&row.present)
                    .map_err(|e| Error::Row(format!("present: {e}")))?,
                more: from_row(row.more)?,
            });
        }
        Ok(missing)
    }

    /// What is missing of a trunk, or of one of its projects, by kind and name.
    pub async fn missing_refs_of(
        &mut self,
        trunk: TrunkId,
        project: Option<ProjectId>,
    ) -> Result<Vec<NewMissingRef>> {
        let project = project.map_or(0, |project| project.0);
        let rows = sqlx::query!(
            "select kind, name, head, present, more from missing_ref
             where trunk_id = ? and coalesce(project_id, 0) = ? order by kind, name",
            trunk.0,
            project
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut missing = Vec::with_capacity(rows.len());
        for row in rows {
            missing.push(NewMissingRef {
                kind: word(&row.kind, RefKind::parse)?,
                name: row.name,
                head: row.head,
                present: serde_json::from_str(&row.present)
                    .map_err(|e| Error::Row(format!("present: {e}")))?,
                more: from_row(row.more)?,
            });
        }
        Ok(missing)
    }
}

impl Write<'_> {
    /// Records all that is missing of a trunk, or of one of its projects, and forgets what no longer is. What was missing
    /// before keeps its time.
    pub async fn put_missing_refs(
        &mut self,
        trunk: TrunkId,
        project: Option<ProjectId>,
        missing: &[NewMissingRef],
        now: Timestamp,
    ) -> Result<()> {
        let project = project.map(|project| project.0);
        let keys: Vec<(&str, &str)> =
            missing.iter().map(|one| (one.kind.as_str(), one.name.as_str())).collect();
        let keys = json(&keys)?;
        sqlx::query!(
            "delete from missing_ref where trunk_id = ? and coalesce(project_id, 0) = coalesce(?, 0)
                 and not exists (select 1 from json_each(?) wanted
                     where wanted.value ->> 0 = missing_ref.kind and wanted.value ->> 1 = missing_ref.name)",
            trunk.0,
            project,
            keys
        )
        .execute(&mut *self.connection)
        .await?;
        for one in missing {
            let (kind, present, more) = (one.kind.as_str(), json(&one.present)?, to_row(one.more));
            sqlx::query!(
                "insert into missing_ref (trunk_id, project_id, kind, name, since_ms, head, present, more)
                 values (?, ?, ?, ?, ?, ?, ?, ?)
                 on conflict (trunk_id, coalesce(project_id, 0), kind, name)
                 do update set head = excluded.head, present = excluded.present, more = excluded.more",
                trunk.0,
                project,
                kind,
                one.name,
                now.0,
                one.head,
                present,
                more
            )
            .execute(&mut *self.connection)
            .await?;
        }
        Ok(())
    }

    /// Forgets what the configuration no longer names: branches and projects that are retired.
    pub async fn forget_retired_refs(&mut self) -> Result<()> {
        sqlx::query!(
            "delete from missing_ref where case when project_id is null
                 then not exists (select 1 from branch b where b.trunk_id = missing_ref.trunk_id
                     and b.name = missing_ref.name and b.state <> 'retired')
                 else not exists (select 1 from project p where p.id = missing_ref.project_id
                     and p.trunk_id = missing_ref.trunk_id and p.state = 'registered') end"
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Forgets what a project no longer follows: all but this.
    pub async fn forget_refs_but(
        &mut self,
        project: ProjectId,
        followed: Option<(RefKind, &str)>,
    ) -> Result<()> {
        let (kind, name) = followed.map_or(("", ""), |(kind, name)| (kind.as_str(), name));
        sqlx::query!(
            "delete from missing_ref where project_id = ? and not (kind = ? and name = ?)",
            project.0,
            kind,
            name
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
