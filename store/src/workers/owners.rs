//! What the owner of a worker decides and hears: pauses, terms, and mails to that person alone.

use domain::words::ids::{Timestamp, WorkerId};

use crate::db::journal::Topic;
use crate::db::number::{from_row, to_row};
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, json};

/// A worker whose owner may have to hear something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedWorker {
    /// The worker.
    pub worker: WorkerId,
    /// Its name.
    pub name: String,
    /// The owner's address.
    pub mail: String,
    /// For how long it has been away while the master was up, in milliseconds.
    pub absent_ms: u64,
    /// How many mails said so.
    pub absence_mails: u32,
    /// The version of its program, once it has connected.
    pub version: String,
    /// The version that a mail called old.
    pub outdated_mailed: Option<String>,
}

/// A mail to an owner that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerNotice {
    /// Its id.
    pub id: i64,
    /// The owner's address.
    pub recipient: String,
    /// The subject.
    pub subject: String,
    /// The text.
    pub body: String,
    /// Its `Message-ID`, with the brackets.
    pub message_id: String,
    /// When it was decided on.
    pub decided_at: Timestamp,
    /// How often it was handed to a server without success.
    pub tries: u32,
}

impl Read<'_> {
    /// The workers that may work and whose owner has a mail address.
    pub async fn owned_workers(&mut self) -> Result<Vec<OwnedWorker>> {
        let rows = sqlx::query!(
            r#"select id as "id!", name, mail as "mail!", absent_ms, absence_mails, version, outdated_mailed from worker
             where state = 'approved' and standing = 'active' and mail is not null order by id"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let owned = rows.into_iter().map(|row| {
            Ok(OwnedWorker {
                worker: WorkerId(row.id),
                name: row.name,
                mail: row.mail,
                absent_ms: from_row(row.absent_ms)?,
                absence_mails: from_row(row.absence_mails)?,
                version: row.version,
                outdated_mailed: row.outdated_mailed,
            })
        });
        owned.collect()
    }

    /// When the next mail to an owner is to be handed over, if one waits.
    pub async fn next_owner_notice(&mut self) -> Result<Option<Timestamp>> {
        let next = sqlx::query_scalar!(
            r#"select min(next_try_at_ms) as "next: i64" from owner_notice where state = 'waiting'"#
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(next.map(Timestamp))
    }

    /// Mails to owners that are due, those that have waited longest first.
    pub async fn waiting_owner_notices(&mut self, now: Timestamp, limit: i64) -> Result<Vec<OwnerNotice>> {
        let rows = sqlx::query!(
            r#"select id as "id!", recipient, subject, body, message_id, decided_at_ms, tries from owner_notice
             where state = 'waiting' and next_try_at_ms <= ? order by next_try_at_ms, id limit ?"#,
            now.0,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let notice = rows.into_iter().map(|row| {
            Ok(OwnerNotice {
                id: row.id,
                recipient: row.recipient,
                subject: row.subject,
                body: row.body,
                message_id: row.message_id,
                decided_at: Timestamp(row.decided_at_ms),
                tries: from_row(row.tries)?,
            })
        });
        notice.collect()
    }
}

impl Write<'_> {
    /// Records why a worker is paused, and until when; or that it is not.
    pub async fn put_pause(
        &mut self,
        worker: WorkerId,
        pause: Option<(&str, Option<Timestamp>)>,
        now: Timestamp,
    ) -> Result<()> {
        let reason = pause.map(|(reason, _)| reason);
        let until = pause.and_then(|(_, until)| until).map(|until| until.0);
        sqlx::query!(
            "update worker set pause_reason = ?, pause_until_ms = ? where id = ?",
            reason,
            until,
            worker.0
        )
        .execute(&mut *self.connection)
        .await?;
        self.journal(Topic::Worker, worker.0, now);
        Ok(())
    }

    /// Records what a worker's owner allows; none where that is everything.
    pub async fn put_terms(
        &mut self,
        worker: WorkerId,
        terms: Option<&protocol::WorkerTerms>,
        now: Timestamp,
    ) -> Result<()> {
        let terms = terms.map(json).transpose()?;
        sqlx::query!("update worker set terms = ? where id = ?", terms, worker.0)
            .execute(&mut *self.connection)
            .await?;
        self.journal(Topic::Worker, worker.0, now);
        Ok(())
    }

    /// Sets or forgets the mail address of a worker's owner. `NotFound` if there is no such worker.
    pub async fn put_owner_mail(&mut self, name: &str, mail: Option<&str>) -> Result<()> {
        let done =
            sqlx::query!("update worker set mail = ? where name = ? and state = 'approved'", mail, name)
                .execute(&mut *self.connection)
                .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(Error::NotFound("worker")) }
    }

    /// Adds to the absence of all workers that are away, but for those that are paused: until a time that is known, or until
    /// their owner resumes.
    pub async fn add_absence(&mut self, ms: u64, owners_pause: &str, now: Timestamp) -> Result<()> {
        let ms = to_row(ms);
        sqlx::query!(
            "update worker set absent_ms = absent_ms + ?
             where state = 'approved' and standing = 'active' and connected = 0 and mail is not null
                 and not coalesce(pause_until_ms > ?, pause_reason = ?, 0)",
            ms,
            now.0,
            owners_pause
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// A worker is here again: its absence is over.
    pub async fn end_absence(&mut self, worker: WorkerId) -> Result<()> {
        sqlx::query!(
            "update worker set absent_ms = 0, absence_mails = 0 where id = ? and (absent_ms > 0 or absence_mails > 0)",
            worker.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Writes a mail to a worker's owner into the outbox, with how many mails about its absence that makes, or with the version
    /// that it calls old.
    pub async fn put_owner_notice(
        &mut self,
        worker: &OwnedWorker,
        (subject, body, message_id): (&str, &str, &str),
        (absence_mails, outdated): (u32, Option<&str>),
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query!(
            "insert into owner_notice
                 (worker_id, recipient, subject, body, message_id, state, decided_at_ms, next_try_at_ms)
             values (?1, ?2, ?3, ?4, ?5, 'waiting', ?6, ?6) on conflict (message_id) do nothing",
            worker.worker.0,
            worker.mail,
            subject,
            body,
            message_id,
            now.0
        )
        .execute(&mut *self.connection)
        .await?;
        sqlx::query!(
            "update worker set absence_mails = ?, outdated_mailed = coalesce(?, outdated_mailed) where id = ?",
            absence_mails,
            outdated,
            worker.worker.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// A server accepted a mail to an owner. It is deleted: nothing refers to it, and no page shows it.
    pub async fn delete_sent_owner_notice(&mut self, id: i64) -> Result<()> {
        sqlx::query!("delete from owner_notice where id = ?", id).execute(&mut *self.connection).await?;
        Ok(())
    }

    /// No server accepted it; it is tried again then, or never.
    pub async fn mark_owner_notice_failed(
        &mut self,
        id: i64,
        why: &str,
        again: Option<Timestamp>,
    ) -> Result<()> {
        let (state, again) = (if again.is_some() { "waiting" } else { "failed" }, again.map_or(0, |at| at.0));
        sqlx::query!(
            "update owner_notice set state = ?, failure = ?, tries = tries + 1, next_try_at_ms = ? where id = ?",
            state,
            why,
            again,
            id
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
