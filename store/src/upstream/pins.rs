//! Pins: project inputs that are proposed or in use, or were.

use domain::project_inputs::ProjectInputs;
use domain::words::ids::{BranchId, PinId, ProjectId, Timestamp};
use protocol::Sha256;

use crate::db::number::{from_row, to_row};
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, json, one_row, sha256, word};

/// The inputs of a project on a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Its id.
    pub id: PinId,
    /// Its project; none of a toolchain's.
    pub project: ProjectId,
    /// Its branch.
    pub branch: BranchId,
    /// Whether they are in use.
    pub state: PinState,
    /// Revision, recipe and needs.
    pub project_inputs: ProjectInputs,
    /// The dependencies that the first run chose.
    pub lock: Option<PinLock>,
    /// Since when they, and the proposals before them, wait because cases got worse.
    pub worse_since: Option<Timestamp>,
}

/// The exact dependencies that project inputs are installed with; the file is the object of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinLock {
    /// The hash of the file.
    pub sha256: Sha256,
    /// The size of the file.
    pub bytes: u64,
    /// When the first run reported it.
    pub written_at: Timestamp,
}

impl PinLock {
    /// Reads a row's three columns, which are set together.
    pub(crate) fn from_columns(
        sha: Option<Vec<u8>>,
        bytes: Option<i64>,
        at_ms: Option<i64>,
    ) -> Result<Option<PinLock>> {
        let (Some(sha), Some(bytes), Some(at_ms)) = (sha, bytes, at_ms) else { return Ok(None) };
        Ok(Some(PinLock { sha256: sha256(&sha)?, bytes: from_row(bytes)?, written_at: Timestamp(at_ms) }))
    }
}

/// Whether project inputs are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinState {
    /// Their baseline is not judged yet.
    Proposed,
    /// In use.
    Current,
    /// In use before.
    Past,
    /// Others were proposed before these were taken into use.
    Dropped,
}

impl PinState {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            PinState::Proposed => "proposed",
            PinState::Current => "current",
            PinState::Past => "past",
            PinState::Dropped => "dropped",
        }
    }

    /// The inverse of [`PinState::as_str`].
    pub fn parse(word: &str) -> Option<PinState> {
        [PinState::Proposed, PinState::Current, PinState::Past, PinState::Dropped]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

macro_rules! pin {
    ($row:expr) => {
        Pin {
            id: PinId($row.id),
            project: ProjectId($row.project_id),
            branch: BranchId($row.branch_id),
            state: word(&$row.state, PinState::parse)?,
            project_inputs: ProjectInputs {
                revision: $row.revision,
                recipe: sha256(&$row.recipe_sha256)?,
                needs: serde_json::from_str(&$row.needs).map_err(|e| Error::Row(format!("needs: {e}")))?,
            },
            lock: PinLock::from_columns($row.lock_sha256, $row.lock_bytes, $row.locked_at_ms)?,
            worse_since: $row.worse_since_ms.map(Timestamp),
        }
    };
}

impl Read<'_> {
    /// The project inputs that are proposed or in use, for all projects and branches.
    pub async fn live_pins(&mut self) -> Result<Vec<Pin>> {
        let rows = sqlx::query!(
            r#"select id as "id!", project_id, branch_id, state, revision, recipe_sha256, needs, lock_sha256, lock_bytes,
                 locked_at_ms, worse_since_ms
             from pin where state in ('proposed', 'current') order by id"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut pins = Vec::with_capacity(rows.len());
        for row in rows {
            pins.push(pin!(row));
        }
        Ok(pins)
    }

    /// The project inputs in use on a branch; none before the first.
    pub async fn current_pin(&mut self, project: ProjectId, branch: BranchId) -> Result<Option<Pin>> {
        let row = sqlx::query!(
            r#"select id as "id!", project_id, branch_id, state, revision, recipe_sha256, needs, lock_sha256, lock_bytes,
                 locked_at_ms, worse_since_ms
             from pin where project_id = ? and branch_id = ? and state = 'current'"#,
            project.0,
            branch.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(match row {
            Some(row) => Some(pin!(row)),
            None => None,
        })
    }

    /// One pin. `NotFound` if there is none.
    pub async fn pin(&mut self, id: PinId) -> Result<Pin> {
        let row = sqlx::query!(
            r#"select id as "id!", project_id, branch_id, state, revision, recipe_sha256, needs, lock_sha256, lock_bytes,
                 locked_at_ms, worse_since_ms
             from pin where id = ?"#,
            id.0
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("pin"))?;
        Ok(pin!(row))
    }
}

impl Read<'_> {
    /// Since when the source of project inputs has been missing at its repository.
    pub async fn pin_missing_since(&mut self, pin: PinId) -> Result<Option<Timestamp>> {
        let since = sqlx::query_scalar!("select missing_since_ms from pin where id = ?", pin.0)
            .fetch_optional(&mut *self.connection)
            .await?;
        Ok(since.flatten().map(Timestamp))
    }

    /// The registered projects whose revision in use is missing, with that revision, and since when.
    pub async fn missing_revisions(&mut self) -> Result<Vec<(String, String, Timestamp)>> {
        let rows = sqlx::query!(
            r#"select p.name, pin.revision, pin.missing_since_ms as "since!" from pin
                 join project p on p.id = pin.project_id join branch b on b.id = pin.branch_id
             where pin.state = 'current' and pin.missing_since_ms is not null and p.state = 'registered'
                 and b.state <> 'retired'
             order by p.name, pin.id"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(rows.into_iter().map(|row| (row.name, row.revision, Timestamp(row.since))).collect())
    }
}

impl Write<'_> {
    /// Records that a revision is missing with which these project inputs were to be tested: their own, or that of a needed
    /// project, whose inputs in use are then missing, too.
    pub async fn mark_revision_missing(&mut self, pin: PinId, revision: &str, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "update pin set missing_since_ms = ?3 where missing_since_ms is null and state in ('proposed', 'current')
                 and exists (select 1 from pin tested where tested.id = ?1 and pin.branch_id = tested.branch_id
                     and (pin.id = tested.id or pin.revision = ?2)
                     and (tested.revision = ?2 or instr(tested.needs, json_quote(?2)) > 0))",
            pin.0,
            revision,
            now.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Records that a build has run with these project inputs: their revision can be had, and so can those of the needed
    /// projects, whose inputs in use are then no longer missing, either.
    pub async fn mark_revisions_available(&mut self, pin: PinId) -> Result<()> {
        sqlx::query!(
            "update pin set missing_since_ms = null where id = ? and missing_since_ms is not null",
            pin.0
        )
        .execute(&mut *self.connection)
        .await?;
        sqlx::query!(
            "update pin set missing_since_ms = null
             where state = 'current' and missing_since_ms is not null
                 and branch_id = (select branch_id from pin where id = ?1)
                 and project_id in (select p.id from pin tested join json_each(tested.needs) need
                     join project p on p.name = need.value ->> 0
                     where tested.id = ?1 and need.value ->> 1 = pin.revision)
                 and not exists (select 1 from json_each(pin.needs) own where own.value not in
                     (select need.value from pin tested join json_each(tested.needs) need where tested.id = ?1))",
            pin.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Proposes project inputs in place of those that were proposed before. If those waited because cases got
    /// worse, the new ones continue that wait.
    pub async fn propose_pin(
        &mut self,
        project: ProjectId,
        branch: BranchId,
        project_inputs: &ProjectInputs,
        now: Timestamp,
    ) -> Result<PinId> {
        let worse_since = sqlx::query_scalar!(
            r#"update pin set state = 'dropped' where project_id = ? and branch_id = ? and state = 'proposed'
             returning worse_since_ms as "since: i64""#,
            project.0,
            branch.0
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .flatten();
        let (recipe, needs) = (project_inputs.recipe.0.as_slice(), json(&project_inputs.needs)?);
        let id = sqlx::query_scalar!(
            "insert into pin (project_id, branch_id, state, revision, recipe_sha256, needs, proposed_at_ms, worse_since_ms)
             values (?, ?, 'proposed', ?, ?, ?, ?, ?) returning id as \"id!\"",
            project.0,
            branch.0,
            project_inputs.revision,
            recipe,
            needs,
            now.0,
            worse_since
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(PinId(id))
    }

    /// Drops proposed project inputs: those in use are wanted again. `Conflict` if they are not proposed.
    pub async fn drop_pin(&mut self, pin: PinId) -> Result<()> {
        let dropped =
            sqlx::query!("update pin set state = 'dropped' where id = ? and state = 'proposed'", pin.0);
        one_row(dropped.execute(&mut *self.connection).await?, "the project inputs are not proposed")
    }

    /// Takes proposed project inputs into use. Those in use before, if any, become past. `Conflict` if they are
    /// not proposed.
    pub async fn take_pin(&mut self, pin: PinId, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "update pin set state = 'past', until_ms = ? where state = 'current' and exists
                 (select 1 from pin next where next.id = ? and next.project_id = pin.project_id
                     and next.branch_id = pin.branch_id)",
            now.0,
            pin.0
        )
        .execute(&mut *self.connection)
        .await?;
        let taken = sqlx::query!(
            "update pin set state = 'current', since_ms = ?, worse_since_ms = null where id = ? and state = 'proposed'",
            now.0,
            pin.0
        );
        one_row(taken.execute(&mut *self.connection).await?, "the project inputs are not proposed")
    }

    /// Records that proposed project inputs wait because cases got worse, unless an earlier proposal waited
    /// already.
    pub async fn mark_pin_worse(&mut self, pin: PinId, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "update pin set worse_since_ms = coalesce(worse_since_ms, ?) where id = ? and state = 'proposed'",
            now.0,
            pin.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Stores the lock that the first run with these project inputs wrote. The locks of later runs are ignored.
    pub async fn lock_pin(&mut self, pin: PinId, lock: Sha256, bytes: u64, now: Timestamp) -> Result<()> {
        let (lock, bytes) = (lock.0.as_slice(), to_row(bytes));
        sqlx::query!(
            "update pin set lock_sha256 = ?, lock_bytes = ?, locked_at_ms = ? where id = ? and lock_sha256 is null",
            lock,
            bytes,
            now.0,
            pin.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
