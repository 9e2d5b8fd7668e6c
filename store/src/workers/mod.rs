//! Workers: who they are, and whether they are connected.

pub mod attempts;
pub mod joins;
pub mod owners;
pub mod probation;
pub mod standing;

use domain::words::Trust;
use domain::words::ids::{Timestamp, WorkerId};
use domain::words::states::WorkerState;
use protocol::WorkerFacts;

use crate::db::journal::Topic;
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, json, one_row, word};

/// A machine that has asked to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// Whether it may work.
    pub state: WorkerState,
    /// Whose machine it is, as the operator typed it; none before it is approved.
    pub owner: Option<String>,
    /// How far its results count; none before it is approved.
    pub trust: Option<Trust>,
    /// What it reported about itself.
    pub facts: WorkerFacts,
    /// When it last sent something.
    pub seen_at: Option<Timestamp>,
    /// Whether it has an open session.
    pub connected: bool,
}

/// How many machines may wait for the operator's approval at once.
const MAX_PENDING: i64 = 200;

/// With fewer digits, a typing error of the operator could let in a stranger.
const CODE_DIGITS: usize = 8;

macro_rules! worker {
    ($row:expr) => {
        Worker {
            id: WorkerId($row.id),
            name: $row.name,
            state: word(&$row.state, WorkerState::parse)?,
            owner: $row.owner,
            trust: $row.trust.as_deref().map(|t| word(t, Trust::parse)).transpose()?,
            facts: serde_json::from_str(&$row.facts).map_err(|e| Error::Row(format!("facts: {e}")))?,
            seen_at: $row.seen_at_ms.map(Timestamp),
            connected: $row.connected != 0,
        }
    };
}

impl Read<'_> {
    /// All workers that are not removed, by name.
    pub async fn workers(&mut self) -> Result<Vec<Worker>> {
        let rows = sqlx::query!(
            "select id, name, state, owner, trust, facts, seen_at_ms, connected from worker
             where standing <> 'removed' order by name"
        )
        .fetch_all(&mut *self.connection)
        .await?;
        rows.into_iter().map(|row| Ok(worker!(row))).collect()
    }

    /// One worker. `NotFound` if there is none.
    pub async fn worker(&mut self, worker: WorkerId) -> Result<Worker> {
        let row = sqlx::query!(
            "select id, name, state, owner, trust, facts, seen_at_ms, connected from worker where id = ?",
            worker.0
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("worker"))?;
        Ok(worker!(row))
    }

    /// Those of these workers that may work, by their ids.
    pub async fn active_workers_of(&mut self, workers: &[WorkerId]) -> Result<Vec<Worker>> {
        let wanted = json(workers)?;
        let rows = sqlx::query!(
            r#"select w.id, w.name, w.state, w.owner, w.trust, w.facts, w.seen_at_ms, w.connected
             from json_each(?) wanted cross join worker w on w.id = wanted.value
             where w.standing = 'active' order by w.id"#,
            wanted
        )
        .fetch_all(&mut *self.connection)
        .await?;
        rows.into_iter().map(|row| Ok(worker!(row))).collect()
    }

    /// Workers whose results do not count yet.
    pub async fn workers_on_probation(&mut self) -> Result<Vec<Worker>> {
        let rows = sqlx::query!(
            "select id, name, state, owner, trust, facts, seen_at_ms, connected from worker
             where trust = 'probation' and standing = 'active' order by id"
        )
        .fetch_all(&mut *self.connection)
        .await?;
        rows.into_iter().map(|row| Ok(worker!(row))).collect()
    }

    /// The worker with this public key, if there is one.
    pub async fn worker_by_key(&mut self, key: &[u8; 32]) -> Result<Option<Worker>> {
        let key = key.as_slice();
        let row = sqlx::query!(
            "select id, name, state, owner, trust, facts, seen_at_ms, connected from worker where key = ?",
            key
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(match row {
            Some(row) => Some(worker!(row)),
            None => None,
        })
    }
}

impl Write<'_> {
    /// Registers a machine that asks to join. If its key has asked before, only its facts are updated, and not
    /// even these once it is approved: a public key is no secret, and a session signs for its facts.
    pub async fn register_join_request(
        &mut self,
        key: &[u8; 32],
        name: &str,
        facts: &WorkerFacts,
        now: Timestamp,
    ) -> Result<()> {
        let key = key.as_slice();
        let facts = serde_json::to_string(facts).map_err(|e| Error::Row(e.to_string()))?;
        let known = sqlx::query!(
            "update worker set facts = iif(state = 'pending', ?, facts) where key = ?",
            facts,
            key
        )
        .execute(&mut *self.connection)
        .await?;
        if known.rows_affected() == 1 {
            return Ok(());
        }
        let pending = sqlx::query_scalar!("select count(*) from worker where state = 'pending'")
            .fetch_one(&mut *self.connection)
            .await?;
        if pending >= MAX_PENDING {
            return Err(Error::Conflict(
                "too many machines wait for the operator's approval; try again later",
            ));
        }
        sqlx::query!(
            "insert into worker (key, name, state, facts, asked_at_ms) values (?, ?, 'pending', ?, ?)
             on conflict (name) do nothing",
            key,
            name,
            facts,
            now.0
        )
        .execute(&mut *self.connection)
        .await
        .map_err(Error::from)
        .and_then(|done| one_row(done, "another worker has this name; choose one with --name"))?;
        let id = sqlx::query_scalar!(r#"select id as "id!" from worker where key = ?"#, key)
            .fetch_one(&mut *self.connection)
            .await?;
        self.journal(Topic::Worker, id, now);
        Ok(())
    }

    /// Approves the machine whose key begins with these digits, or changes the owner and trust of one that is
    /// approved.
    pub async fn approve_worker(
        &mut self,
        code: &str,
        owner: &str,
        trust: Trust,
        now: Timestamp,
    ) -> Result<String> {
        if code.len() < CODE_DIGITS || !code.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Error::Conflict(
                "a code is at least the first eight hexadecimal digits of a worker's key",
            ));
        }
        let pattern = format!("{code}%");
        let found =
            sqlx::query!(r#"select id as "id!", name from worker where hex(key) like ? limit 2"#, pattern)
                .fetch_all(&mut *self.connection)
                .await?;
        let [worker] = found.as_slice() else {
            return Err(match found.is_empty() {
                true => Error::NotFound("worker with that code"),
                false => Error::Conflict("several workers have that code; type more of the key"),
            });
        };
        let trust = trust.as_str();
        sqlx::query!(
            "update worker set state = 'approved', owner = ?, trust = ?, approved_at_ms = ?, join_address = null
             where id = ?",
            owner,
            trust,
            now.0,
            worker.id
        )
        .execute(&mut *self.connection)
        .await?;
        self.journal(Topic::Worker, worker.id, now);
        Ok(worker.name.clone())
    }

    /// Records a new session. `Conflict` if the worker is not registered.
    pub async fn mark_worker_connected(
        &mut self,
        worker: WorkerId,
        facts: &WorkerFacts,
        version: &str,
        slots: u32,
        now: Timestamp,
    ) -> Result<()> {
        let facts = serde_json::to_string(facts).map_err(|e| Error::Row(e.to_string()))?;
        let connected = sqlx::query!(
            "update worker set connected = 1, facts = ?, version = ?, slots = ?, seen_at_ms = ? where id = ?",
            facts,
            version,
            slots,
            now.0,
            worker.0
        );
        one_row(connected.execute(&mut *self.connection).await?, "the worker is not registered")?;
        self.journal(Topic::Worker, worker.0, now);
        Ok(())
    }

    /// Records how many builds a worker runs at once from now on.
    pub async fn put_slots(&mut self, worker: WorkerId, slots: u32, now: Timestamp) -> Result<()> {
        let changed =
            sqlx::query!("update worker set slots = ?1 where id = ?2 and slots <> ?1", slots, worker.0)
                .execute(&mut *self.connection)
                .await?;
        if changed.rows_affected() > 0 {
            self.journal(Topic::Worker, worker.0, now);
        }
        Ok(())
    }

    /// Records that a session has ended.
    pub async fn mark_worker_left(&mut self, worker: WorkerId, now: Timestamp) -> Result<()> {
        sqlx::query!("update worker set connected = 0, seen_at_ms = ? where id = ?", now.0, worker.0)
            .execute(&mut *self.connection)
            .await?;
        self.journal(Topic::Worker, worker.0, now);
        Ok(())
    }

    /// Closes all sessions when the master starts, and prolongs all leases: no worker is to blame for its silence
    /// while the master was down.
    pub async fn mark_all_workers_left(&mut self, lease_until: Timestamp) -> Result<()> {
        sqlx::query!("update worker set connected = 0 where connected = 1")
            .execute(&mut *self.connection)
            .await?;
        sqlx::query!(
            "update attempt set lease_until_ms = max(lease_until_ms, ?) where ended_at_ms is null",
            lease_until.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Prolongs the leases of what a worker runs, since the worker has sent something. An offer that it may never
    /// have seen is not prolonged. Returns whether it runs anything.
    pub async fn heartbeat(
        &mut self,
        worker: WorkerId,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<bool> {
        sqlx::query!("update worker set seen_at_ms = ? where id = ?", now.0, worker.0)
            .execute(&mut *self.connection)
            .await?;
        let extended = sqlx::query!(
            "update attempt set lease_until_ms = max(lease_until_ms, ?)
             where worker_id = ? and state = 'running' and ended_at_ms is null",
            lease_until.0,
            worker.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(extended.rows_affected() > 0)
    }

    /// Records when workers last sent something, all at once. A worker that has disconnected meanwhile keeps the
    /// time of that.
    pub async fn record_workers_seen(&mut self, seen: &[(WorkerId, Timestamp)]) -> Result<()> {
        let seen = json(seen)?;
        sqlx::query!(
            "update worker set seen_at_ms = seen.value ->> 1 from json_each(?) seen
             where worker.id = seen.value ->> 0 and connected = 1",
            seen
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
