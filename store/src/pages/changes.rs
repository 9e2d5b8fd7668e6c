//! Changes, as a line and as a page of their own.

use domain::words::ids::Timestamp;

use crate::db::transaction::Read;
use crate::error::{Error, Result};

/// A change as a line shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRow {
    /// Its id.
    pub id: i64,
    /// The commit's id, 40 hexadecimal digits.
    pub sha: String,
    /// The first line of its message.
    pub title: String,
    /// Its author's name.
    pub author: String,
    /// The committer's time.
    pub committed_at: Timestamp,
}

/// A change with all that its page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePage {
    /// What its line shows.
    pub row: ChangeRow,
    /// Its trunk's name.
    pub trunk: String,
    /// The whole message.
    pub message: String,
    /// The first of the paths that it touches.
    pub paths: Vec<String>,
    /// How many paths it touches.
    pub paths_count: i64,
    /// Where it stands on branches, gone places last.
    pub places: Vec<BranchPositionRow>,
}

/// Where a change stands on a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchPositionRow {
    /// The branch.
    pub branch: i64,
    /// The branch's name.
    pub name: String,
    /// The position on the branch.
    pub position: i64,
    /// Whether it was rewound from the branch.
    pub gone: bool,
    /// Whether it broke so many suites at once that the failures say more about the change than about each suite.
    pub sick: bool,
    /// The commit id of the change before it on the branch.
    pub older: Option<String>,
    /// The commit id of the next change.
    pub newer: Option<String>,
}

/// How many paths a page shows.
const MAX_PATHS: i64 = 100;
const MAX_PLACES: i64 = 50;

macro_rules! change_row {
    ($row:expr) => {
        $crate::pages::ChangeRow {
            id: $row.change_id,
            sha: $row.sha.clone(),
            title: $row.title.clone(),
            author: $row.author.clone(),
            committed_at: domain::words::ids::Timestamp($row.committed_at_ms),
        }
    };
}
pub(super) use change_row;

impl Read<'_> {
    /// One change. `NotFound` if there is none.
    pub async fn change_row(&mut self, change: i64) -> Result<ChangeRow> {
        let row = sqlx::query!(
            "select id as change_id, sha, title, author, committed_at_ms from change where id = ?",
            change
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("change"))?;
        Ok(change_row!(row))
    }

    /// The change whose commit id begins with this prefix; the first one if there are several.
    pub async fn change_page(&mut self, prefix: &str) -> Result<ChangePage> {
        // This sorts after every id with the prefix, since ids are hexadecimal.
        let end = format!("{prefix}g");
        let row = sqlx::query!(
            r#"select c.id as "change_id!", c.sha as "sha!", c.title as "title!", c.author as "author!",
                 c.committed_at_ms as "committed_at_ms!", c.message as "message!", c.paths as "paths!",
                 t.name as trunk
             from trunk t cross join change c on c.trunk_id = t.id and c.sha >= ? and c.sha < ?
             order by c.id limit 1"#,
            prefix,
            end
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("change"))?;
        let change = row.change_id;
        let paths = sqlx::query_scalar!(
            "select path from change_path where change_id = ? order by path limit ?",
            change,
            MAX_PATHS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let places = self.places_of(change).await?;
        Ok(ChangePage {
            row: change_row!(row),
            trunk: row.trunk,
            message: row.message,
            paths,
            paths_count: row.paths,
            places,
        })
    }

    async fn places_of(&mut self, change: i64) -> Result<Vec<BranchPositionRow>> {
        let rows = sqlx::query!(
            r#"select bc.branch_id as "branch_id!", b.name, bc.position as "position!", bc.gone_at_ms, bc.sick_at_ms,
                 (select c.sha from branch_change o join change c on c.id = o.change_id
                     where o.branch_id = bc.branch_id and o.position < bc.position and o.gone_at_ms is null
                     order by o.position desc limit 1) as "older: String",
                 (select c.sha from branch_change n join change c on c.id = n.change_id
                     where n.branch_id = bc.branch_id and n.position > bc.position and n.gone_at_ms is null
                     order by n.position limit 1) as "newer: String"
             from branch_change bc join branch b on b.id = bc.branch_id
             where bc.change_id = ? order by bc.gone_at_ms is not null, bc.branch_id limit ?"#,
            change,
            MAX_PLACES
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let places = rows.into_iter().map(|row| BranchPositionRow {
            branch: row.branch_id,
            name: row.name,
            position: row.position,
            gone: row.gone_at_ms.is_some(),
            sick: row.sick_at_ms.is_some(),
            older: row.older,
            newer: row.newer,
        });
        Ok(places.collect())
    }
}
