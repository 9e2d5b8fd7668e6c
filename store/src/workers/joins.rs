//! Machines that wait for the operator: how many there may be, and how they are turned away.

use domain::words::ids::{Timestamp, WorkerId};

use crate::db::journal::Topic;
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, json};

/// How many machines may wait from one address.
pub const MAX_PENDING_OF_ADDRESS: i64 = 20;
/// How much all that wait may say about themselves together.
const MAX_PENDING_BYTES: i64 = 1 << 20;
/// How much one of them may say.
const MAX_FACTS_BYTES: usize = 16 << 10;

/// A machine that waits for approval, or a worker that asks for a new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRequest {
    /// Its name.
    pub name: String,
    /// The code that the operator approves.
    pub code: String,
    /// Whether it is a worker that asks for a new key.
    pub is_rekey: bool,
    /// From where it asked, as far as the farm knows.
    pub address: Option<String>,
    /// When it asked.
    pub asked_at: Timestamp,
}

impl Read<'_> {
    /// What waits for the operator, oldest first.
    pub async fn pending_requests(&mut self) -> Result<Vec<PendingRequest>> {
        let rows = sqlx::query!(
            r#"select name, lower(substr(hex(coalesce(next_key, key)), 1, 8)) as "code!: String",
                 next_key is not null as "is_rekey!: bool", join_address, asked_at_ms
             from worker where state = 'pending' or next_key is not null order by asked_at_ms, id"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let request = rows.into_iter().map(|row| PendingRequest {
            name: row.name,
            code: row.code,
            is_rekey: row.is_rekey,
            address: row.join_address,
            asked_at: Timestamp(row.asked_at_ms),
        });
        Ok(request.collect())
    }
}

impl Write<'_> {
    /// Refuses a request that would make those that wait too many or too large. A key that is known already is let through.
    pub async fn check_join_room(
        &mut self,
        key: &[u8; 32],
        facts: &protocol::WorkerFacts,
        address: &str,
    ) -> Result<()> {
        let bytes = json(facts)?.len();
        if bytes > MAX_FACTS_BYTES {
            return Err(Error::Conflict("the machine describes itself at too great a length"));
        }
        let key = key.as_slice();
        let room = sqlx::query!(
            r#"select exists (select 1 from worker where key = ?) as "is_known!: bool",
                 (select count(*) from worker where state = 'pending' and join_address = ?) as "of_address!: i64",
                 (select coalesce(sum(length(facts)), 0) from worker where state = 'pending') as "bytes!: i64""#,
            key,
            address
        )
        .fetch_one(&mut *self.connection)
        .await?;
        if !room.is_known && room.of_address >= MAX_PENDING_OF_ADDRESS {
            return Err(Error::Conflict(
                "too many machines of this address wait for the operator's approval; try again when they are approved or refused",
            ));
        }
        if room.bytes.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX)) > MAX_PENDING_BYTES {
            return Err(Error::Conflict(
                "the machines that wait for the operator's approval describe themselves at too great a length; try again later",
            ));
        }
        Ok(())
    }

    /// Records from where a machine asked, and that it asked now.
    pub async fn put_join_address(&mut self, key: &[u8; 32], address: &str, now: Timestamp) -> Result<()> {
        let key = key.as_slice();
        sqlx::query!(
            "update worker set join_address = ?, asked_at_ms = ? where key = ? and state = 'pending'",
            address,
            now.0,
            key
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Deletes the requests that nobody has answered since then. Returns how many there were.
    pub async fn expire_joins(&mut self, asked_before: Timestamp, now: Timestamp) -> Result<u64> {
        let gone = sqlx::query_scalar!(
            r#"delete from worker where state = 'pending' and asked_at_ms < ? returning id as "id!""#,
            asked_before.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        gone.iter().for_each(|id| self.journal(Topic::Worker, *id, now));
        Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
    }

    /// Deletes all requests to join, and all for a new key. Returns how many there were.
    pub async fn clear_joins(&mut self, now: Timestamp) -> Result<u64> {
        let keys = sqlx::query!("update worker set next_key = null where next_key is not null")
            .execute(&mut *self.connection)
            .await?;
        Ok(self.expire_joins(Timestamp(i64::MAX), now).await? + keys.rows_affected())
    }

    /// Refuses a machine that waits, by its name or its code; or a worker's new key, by its code. Returns its name.
    pub async fn refuse_join(&mut self, which: &str, now: Timestamp) -> Result<String> {
        let code = format!("{which}%");
        let is_code = which.len() >= 8 && which.bytes().all(|b| b.is_ascii_hexdigit());
        let found = sqlx::query!(
            r#"select id as "id!", name, state, next_key is not null as "is_rekey!: bool" from worker
             where standing <> 'removed' and (name = ?1
                 or (?2 and (hex(key) like ?3 or hex(coalesce(next_key, key)) like ?3))) limit 2"#,
            which,
            is_code,
            code
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let row = match found.as_slice() {
            [] => return Err(Error::NotFound("worker")),
            [row] => row,
            _ => return Err(Error::Conflict("several machines have that code; type more of the key")),
        };
        match (row.state.as_str(), row.is_rekey) {
            ("pending", _) => {
                sqlx::query!("update worker set state = 'refused', join_address = null where id = ?", row.id)
                    .execute(&mut *self.connection)
                    .await?;
            }
            (_, true) => {
                sqlx::query!("update worker set next_key = null where id = ?", row.id)
                    .execute(&mut *self.connection)
                    .await?;
            }
            ("refused", false) => return Err(Error::Conflict("this machine is refused already")),
            _ => {
                return Err(Error::Conflict(
                    "this worker is approved; `worker disable` keeps it from working, and `worker remove` forgets it",
                ));
            }
        }
        self.journal(Topic::Worker, row.id, now);
        Ok(row.name.clone())
    }

    /// Records the key that a worker asks for in place of its own. `Conflict` if the worker may not work, or the key is known.
    pub async fn request_rekey(&mut self, key: &[u8; 32], next: &[u8; 32], now: Timestamp) -> Result<()> {
        let (key, next) = (key.as_slice(), next.as_slice());
        let is_taken = sqlx::query_scalar!(
            r#"select exists (select 1 from worker where key = ?1 or (next_key = ?1 and key <> ?2)) as "taken!: bool""#,
            next,
            key
        )
        .fetch_one(&mut *self.connection)
        .await?;
        if is_taken {
            return Err(Error::Conflict("another worker has this key"));
        }
        let id = sqlx::query_scalar!(
            r#"update worker set next_key = ? where key = ? and state = 'approved' and standing = 'active'
             returning id as "id!""#,
            next,
            key
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let id = id.ok_or(Error::Conflict(
            "this key is not that of a worker that may work; run `farm-worker join` to ask for admission",
        ))?;
        self.journal(Topic::Worker, id, now);
        Ok(())
    }

    /// Gives a worker the key that it asked for, if this is its code. Returns its name; none if no such request waits.
    pub async fn approve_rekey(&mut self, code: &str, now: Timestamp) -> Result<Option<String>> {
        let code = format!("{code}%");
        let found = sqlx::query!(
            r#"select id as "id!", name from worker where next_key is not null and hex(next_key) like ? limit 2"#,
            code
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let row = match found.as_slice() {
            [] => return Ok(None),
            [row] => row,
            _ => return Err(Error::Conflict("several workers have that code; type more of the key")),
        };
        sqlx::query!("update worker set key = next_key, next_key = null where id = ?", row.id)
            .execute(&mut *self.connection)
            .await?;
        self.journal(Topic::Worker, row.id, now);
        Ok(Some(row.name.clone()))
    }
}

/// A worker by its key, whatever state it is in, and whether it may be forgotten at its own wish.
impl Read<'_> {
    /// The name and the id of the worker with this key, unless the farm has forgotten it.
    pub async fn worker_name_by_key(&mut self, key: &[u8; 32]) -> Result<Option<(WorkerId, String)>> {
        let key = key.as_slice();
        let row = sqlx::query!("select id, name from worker where key = ? and standing <> 'removed'", key)
            .fetch_optional(&mut *self.connection)
            .await?;
        Ok(row.map(|row| (WorkerId(row.id), row.name)))
    }
}
