//! What the operator decides about a worker that was approved: whether it may work, its name, and that it is forgotten.

use domain::words::ids::{Timestamp, WorkerId};
use domain::words::states::Standing;

use crate::db::journal::Topic;
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, word};

impl Read<'_> {
    /// The workers that may not work though they were approved.
    pub async fn barred_workers(&mut self) -> Result<Vec<(WorkerId, Standing)>> {
        let rows = sqlx::query!(r#"select id as "id!", standing from worker where standing <> 'active'"#)
            .fetch_all(&mut *self.connection)
            .await?;
        rows.into_iter().map(|row| Ok((WorkerId(row.id), word(&row.standing, Standing::parse)?))).collect()
    }

    /// Whether a worker may work, as far as the operator's later word goes.
    pub async fn standing(&mut self, worker: WorkerId) -> Result<Standing> {
        let standing = sqlx::query_scalar!("select standing from worker where id = ?", worker.0)
            .fetch_optional(&mut *self.connection)
            .await?
            .ok_or(Error::NotFound("worker"))?;
        word(&standing, Standing::parse)
    }
}

impl Write<'_> {
    /// Keeps a worker from working. Its running attempts are taken back by the master.
    pub async fn disable_worker(&mut self, name: &str, now: Timestamp) -> Result<()> {
        match self.state_of(name).await?.1.as_str() {
            "active" => {}
            "disabled" => return Err(Error::Conflict("this worker is disabled already")),
            "pending" => {
                return Err(Error::Conflict(
                    "this machine is not approved yet; `worker refuse` turns it away",
                ));
            }
            _ => return Err(Error::Conflict("this machine was refused, so it does not work")),
        }
        self.set_standing(name, Standing::Disabled, now).await
    }

    /// Lets a disabled worker work again; a machine that was refused waits for approval again.
    pub async fn enable_worker(&mut self, name: &str, now: Timestamp) -> Result<()> {
        let (id, state) = self.state_of(name).await?;
        match state.as_str() {
            "disabled" => self.set_standing(name, Standing::Active, now).await,
            "refused" => {
                sqlx::query!(
                    "update worker set state = 'pending', asked_at_ms = ? where id = ?",
                    now.0,
                    id.0
                )
                .execute(&mut *self.connection)
                .await?;
                self.journal(Topic::Worker, id.0, now);
                Ok(())
            }
            "pending" => {
                Err(Error::Conflict("this machine waits for approval: `worker approve CODE --owner NAME`"))
            }
            _ => Err(Error::Conflict("this worker is enabled already")),
        }
    }

    /// Forgets a machine: its key, its owner's address and what it asked for. Where it has built anything, its name stays for
    /// the history, and no other machine gets it.
    pub async fn remove_worker(&mut self, name: &str, now: Timestamp) -> Result<()> {
        let (id, state) = self.state_of(name).await?;
        if matches!(state.as_str(), "pending" | "refused") {
            sqlx::query!("delete from worker where id = ?", id.0).execute(&mut *self.connection).await?;
        } else {
            sqlx::query!(
                "update worker set key = randomblob(32), next_key = null, mail = null, terms = null, pause_reason = null,
                     pause_until_ms = null
                 where id = ?",
                id.0
            )
            .execute(&mut *self.connection)
            .await?;
            sqlx::query!("delete from owner_notice where worker_id = ? and state = 'waiting'", id.0)
                .execute(&mut *self.connection)
                .await?;
            self.set_standing(name, Standing::Removed, now).await?;
        }
        self.journal(Topic::Worker, id.0, now);
        Ok(())
    }

    /// Gives a worker another name, also in the history.
    pub async fn rename_worker(&mut self, name: &str, to: &str, now: Timestamp) -> Result<()> {
        let (id, _) = self.state_of(name).await?;
        let taken = sqlx::query_scalar!("select standing from worker where name = ? and id <> ?", to, id.0)
            .fetch_optional(&mut *self.connection)
            .await?;
        match taken.as_deref() {
            None => {}
            Some("removed") => {
                return Err(Error::Conflict(
                    "a machine that was removed has this name, and the history keeps it; choose another",
                ));
            }
            Some(_) => return Err(Error::Conflict("another worker has this name; choose another")),
        }
        sqlx::query!("update worker set name = ? where id = ?", to, id.0)
            .execute(&mut *self.connection)
            .await?;
        self.journal(Topic::Worker, id.0, now);
        Ok(())
    }

    /// A worker's id, with its standing where it is approved, and its state otherwise.
    async fn state_of(&mut self, name: &str) -> Result<(WorkerId, String)> {
        let row = sqlx::query!(
            r#"select id as "id!", iif(state = 'approved', standing, state) as "state!: String" from worker
             where name = ? and standing <> 'removed'"#,
            name
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("worker"))?;
        Ok((WorkerId(row.id), row.state))
    }

    async fn set_standing(&mut self, name: &str, standing: Standing, now: Timestamp) -> Result<()> {
        let word = standing.as_str();
        let id = sqlx::query_scalar!(
            r#"update worker set standing = ? where name = ? and state = 'approved' and standing <> 'removed'
             returning id as "id!""#,
            word,
            name
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("worker"))?;
        self.journal(Topic::Worker, id, now);
        Ok(())
    }
}
