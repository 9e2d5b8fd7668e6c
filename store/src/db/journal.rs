//! Numbered live events, so that a browser that reconnects receives what it missed.

use std::collections::HashSet;

use domain::words::ids::Timestamp;

use crate::db::number::len_to_row;
use crate::db::transaction::{PendingEvent, Read, Write};
use crate::error::{Result, json, word};

/// What kind of thing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A change appeared on a branch, or was marked as sick.
    Change,
    /// A build, one of its attempts or one of its steps.
    Build,
    /// A breakage or its search.
    Breakage,
    /// A worker.
    Worker,
    /// A mail in the outbox.
    Notice,
    /// A trunk was polled.
    Trunk,
}

impl Topic {
    /// Every topic.
    pub const ALL: &[Topic] =
        &[Topic::Change, Topic::Build, Topic::Breakage, Topic::Worker, Topic::Notice, Topic::Trunk];

    /// The word that the database and the event stream use.
    pub fn as_str(self) -> &'static str {
        match self {
            Topic::Change => "change",
            Topic::Build => "build",
            Topic::Breakage => "breakage",
            Topic::Worker => "worker",
            Topic::Notice => "notice",
            Topic::Trunk => "trunk",
        }
    }

    /// The inverse of [`Topic::as_str`].
    pub fn parse(word: &str) -> Option<Topic> {
        Topic::ALL.iter().copied().find(|topic| topic.as_str() == word)
    }
}

/// How many events are kept for browsers that reconnect.
const RETAINED: i64 = 10_000;
/// The oldest events are deleted each time that this many were added.
const DELETE_EVERY: i64 = 1000;

/// One live event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Rises from event to event and is never used again.
    pub id: i64,
    /// What kind of thing has changed.
    pub topic: Topic,
    /// The id of the thing that has changed.
    pub subject: i64,
}

impl Read<'_> {
    /// The first events after the given id, at most `limit`.
    pub async fn journal_after(&mut self, id: i64, limit: i64) -> Result<Vec<JournalEntry>> {
        let rows = sqlx::query!(
            "select id, topic, subject from journal where id > ? order by id limit ?",
            id,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let entry =
            |id, topic: &str, subject| Ok(JournalEntry { id, topic: word(topic, Topic::parse)?, subject });
        rows.into_iter().map(|row| entry(row.id, &row.topic, row.subject)).collect()
    }

    /// The id of the newest event; 0 if there is none.
    pub async fn journal_end(&mut self) -> Result<i64> {
        let end = sqlx::query_scalar!(r#"select max(id) as "end: i64" from journal"#)
            .fetch_one(&mut *self.connection)
            .await?;
        Ok(end.unwrap_or(0))
    }
}

impl Write<'_> {
    /// Sends an event to browsers once this transaction is committed.
    pub fn journal(&mut self, topic: Topic, subject: i64, now: Timestamp) {
        self.events.push(PendingEvent { topic: topic.as_str(), subject, at: now });
    }

    /// Writes the transaction's events, as its last statement. A thing that changed several times is reported once.
    pub(crate) async fn put_journal(&mut self) -> Result<()> {
        let mut seen = HashSet::new();
        let mut events = std::mem::take(&mut self.events);
        events.retain(|event| seen.insert((event.topic, event.subject)));
        if events.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = events.iter().map(|event| (event.topic, event.subject, event.at.0)).collect();
        let rows = json(&rows)?;
        let put = sqlx::query!(
            "insert into journal (topic, subject, at_ms)
             select value ->> 0, value ->> 1, value ->> 2 from json_each(?) order by key",
            rows
        );
        let id = put.execute(&mut *self.connection).await?.last_insert_rowid();
        // Deleting at each commit would cost more than it saves.
        if id / DELETE_EVERY != (id - len_to_row(events.len())) / DELETE_EVERY {
            let before = id - RETAINED;
            sqlx::query!("delete from journal where id < ?", before).execute(&mut *self.connection).await?;
        }
        Ok(())
    }
}
