//! Branches, their changes, and the order of these.

use domain::history::mend::{DatedPosition, MendedPositions};
use domain::words::ids::{BranchId, ChangeId, Timestamp, TrunkId};

use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, one_row};

/// A watched branch of a trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its id.
    pub id: BranchId,
    /// Its trunk.
    pub trunk: TrunkId,
    /// Its name.
    pub name: String,
    /// Deleted upstream; its history stays.
    pub gone: bool,
}

/// A commit as the mirror read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChange {
    /// The commit's id, 40 hexadecimal digits.
    pub sha: String,
    /// Its author's name.
    pub author: String,
    /// Its author's address.
    pub author_mail: String,
    /// The committer's time.
    pub committed_at: Timestamp,
    /// The first line of its message.
    pub title: String,
    /// The whole message.
    pub message: String,
    /// How many paths it touches, and the first thousand of them.
    pub path_count: u32,
    /// The paths themselves.
    pub paths: Vec<String>,
}

/// A change of a trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its id.
    pub id: ChangeId,
    /// Its trunk.
    pub trunk: TrunkId,
    /// The commit's id, 40 hexadecimal digits.
    pub sha: String,
    /// Its author's name.
    pub author: String,
    /// The first line of its message.
    pub title: String,
    /// The committer's time.
    pub committed_at: Timestamp,
    /// When a poll found it.
    pub found_at: Timestamp,
}

/// A position of a branch, rewound or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchPosition {
    /// The position on the branch.
    pub position: i64,
    /// The change.
    pub change: ChangeId,
    /// The commit's id, 40 hexadecimal digits.
    pub sha: String,
    /// Whether it was rewound from the branch.
    pub gone: bool,
}

impl Read<'_> {
    /// The branches of the configuration, those deleted upstream among them.
    pub async fn branches(&mut self) -> Result<Vec<Branch>> {
        let rows =
            sqlx::query!("select id, trunk_id, name, state from branch where state <> 'retired' order by id")
                .fetch_all(&mut *self.connection)
                .await?;
        Ok(rows
            .into_iter()
            .map(|row| Branch {
                id: BranchId(row.id),
                trunk: TrunkId(row.trunk_id),
                name: row.name,
                gone: row.state == "gone",
            })
            .collect())
    }

    /// One branch. `NotFound` if there is none.
    pub async fn branch(&mut self, branch: BranchId) -> Result<Branch> {
        let row = sqlx::query!("select id, trunk_id, name, state from branch where id = ?", branch.0)
            .fetch_optional(&mut *self.connection)
            .await?
            .ok_or(Error::NotFound("branch"))?;
        Ok(Branch {
            id: BranchId(row.id),
            trunk: TrunkId(row.trunk_id),
            name: row.name,
            gone: row.state == "gone",
        })
    }

    /// Every position ever given on a branch, in order.
    pub async fn branch_positions(&mut self, branch: BranchId) -> Result<Vec<BranchPosition>> {
        let rows = sqlx::query!(
            "select bc.position, bc.change_id, c.sha, bc.gone_at_ms
             from branch_change bc join change c on c.id = bc.change_id
             where bc.branch_id = ? order by bc.position",
            branch.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| BranchPosition {
                position: row.position,
                change: ChangeId(row.change_id),
                sha: row.sha,
                gone: row.gone_at_ms.is_some(),
            })
            .collect())
    }

    /// The watched branches of a trunk on which an older version may have taken changes for rewound.
    pub async fn branches_to_mend(&mut self, trunk: TrunkId) -> Result<Vec<BranchId>> {
        let ids = sqlx::query_scalar!(
            "select id from branch where trunk_id = ? and state = 'watched' and rewinds_checked = 0",
            trunk.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(BranchId).collect())
    }

    /// Every position ever given on a branch, in order, with the polls that gave it and took it off.
    pub async fn dated_positions(&mut self, branch: BranchId) -> Result<Vec<DatedPosition<String>>> {
        let rows = sqlx::query!(
            "select bc.position, c.sha, c.found_at_ms, bc.gone_at_ms
             from branch_change bc join change c on c.id = bc.change_id
             where bc.branch_id = ? order by bc.position",
            branch.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| DatedPosition {
                number: row.position,
                commit: row.sha,
                found_at: row.found_at_ms,
                gone_at: row.gone_at_ms,
            })
            .collect())
    }

    /// A branch's changes in order, without those that were rewound.
    pub async fn order(&mut self, branch: BranchId) -> Result<Vec<ChangeId>> {
        Ok(self.positions(branch).await?.into_iter().map(|(_, change)| change).collect())
    }

    /// The changes of a branch with their positions, first to last. It is read very often, so it comes as one JSON
    /// value.
    pub async fn positions(&mut self, branch: BranchId) -> Result<Vec<(i64, ChangeId)>> {
        let rows = sqlx::query_scalar!(
            r#"select json_group_array(json_array(position, change_id)) as "rows!: String" from (
                 select position, change_id from branch_change where branch_id = ? and gone_at_ms is null
                 order by position)"#,
            branch.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        serde_json::from_str(&rows).map_err(|e| Error::Row(e.to_string()))
    }

    /// One change. `NotFound` if there is none.
    pub async fn change(&mut self, change: ChangeId) -> Result<Change> {
        let row = sqlx::query!(
            "select id, trunk_id, sha, author, title, committed_at_ms, found_at_ms from change where id = ?",
            change.0
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("change"))?;
        Ok(Change {
            id: ChangeId(row.id),
            trunk: TrunkId(row.trunk_id),
            sha: row.sha,
            author: row.author,
            title: row.title,
            committed_at: Timestamp(row.committed_at_ms),
            found_at: Timestamp(row.found_at_ms),
        })
    }
}

impl Write<'_> {
    /// Registers a branch, or watches a retired one again.
    pub async fn put_branch(&mut self, trunk: TrunkId, name: &str) -> Result<BranchId> {
        let id = sqlx::query_scalar!(
            "insert into branch (trunk_id, name, state, rewinds_checked) values (?, ?, 'watched', 1)
             on conflict (trunk_id, name) do update set state = iif(state = 'retired', 'watched', state)
             returning id as \"id!\"",
            trunk.0,
            name
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(BranchId(id))
    }

    /// Stops watching a branch that the configuration no longer has.
    pub async fn retire_branch(&mut self, branch: BranchId) -> Result<()> {
        let retired = sqlx::query!("update branch set state = 'retired' where id = ?", branch.0);
        one_row(retired.execute(&mut *self.connection).await?, "the branch is not registered")
    }

    /// Records whether the branch exists upstream.
    pub async fn mark_branch_gone(&mut self, branch: BranchId, gone: bool) -> Result<()> {
        let state = if gone { "gone" } else { "watched" };
        let seen =
            sqlx::query!("update branch set state = ? where id = ? and state <> 'retired'", state, branch.0);
        one_row(seen.execute(&mut *self.connection).await?, "the branch is not watched")
    }

    /// Stores a change, unless it is known already.
    pub async fn put_change(
        &mut self,
        trunk: TrunkId,
        found: &NewChange,
        now: Timestamp,
    ) -> Result<ChangeId> {
        let known =
            sqlx::query_scalar!("select id from change where trunk_id = ? and sha = ?", trunk.0, found.sha)
                .fetch_optional(&mut *self.connection)
                .await?;
        if let Some(id) = known {
            return Ok(ChangeId(id));
        }
        let paths = i64::from(found.path_count);
        let id = sqlx::query_scalar!(
            "insert into change
                 (trunk_id, sha, author, author_mail, committed_at_ms, title, message, paths, found_at_ms)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?) returning id as \"id!\"",
            trunk.0,
            found.sha,
            found.author,
            found.author_mail,
            found.committed_at.0,
            found.title,
            found.message,
            paths,
            now.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        for path in &found.paths {
            sqlx::query!("insert or ignore into change_path (change_id, path) values (?, ?)", id, path)
                .execute(&mut *self.connection)
                .await?;
        }
        Ok(ChangeId(id))
    }

    /// Puts a change at a position of a branch, which must be new.
    pub async fn append_position(&mut self, branch: BranchId, position: i64, change: ChangeId) -> Result<()> {
        sqlx::query!(
            "insert into branch_change (branch_id, position, change_id) values (?, ?, ?)",
            branch.0,
            position,
            change.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Records that a position was rewound. `Conflict` if that is recorded already.
    pub async fn mark_position_gone(
        &mut self,
        branch: BranchId,
        position: i64,
        now: Timestamp,
    ) -> Result<()> {
        let gone = sqlx::query!(
            "update branch_change set gone_at_ms = ? where branch_id = ? and position = ? and gone_at_ms is null",
            now.0,
            branch.0,
            position
        );
        one_row(gone.execute(&mut *self.connection).await?, "the position is gone already")
    }

    /// Takes back the changes of a branch that an older version took for rewound. It is done once.
    pub async fn mend_branch(
        &mut self,
        branch: BranchId,
        mended: &MendedPositions,
        now: Timestamp,
    ) -> Result<()> {
        for position in &mended.restored {
            let restored = sqlx::query!(
                "update branch_change set gone_at_ms = null
                 where branch_id = ? and position = ? and gone_at_ms is not null",
                branch.0,
                position
            );
            one_row(restored.execute(&mut *self.connection).await?, "the position is not gone")?;
        }
        for position in &mended.gone {
            self.mark_position_gone(branch, *position, now).await?;
        }
        sqlx::query!("update branch set rewinds_checked = 1 where id = ?", branch.0)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }
}
