//! Numbered live events, so that a browser that was away hears what it missed.

use std::collections::HashSet;

use domain::words::ids::Timestamp;

use crate::db::open::{Read, Write};
use crate::error::{Result, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    Change,
    Build,
    Breakage,
    Worker,
    Notice,
    Trunk,
}

impl Topic {
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
}

/// How many events are kept for browsers that were away.
const KEPT: i64 = 10_000;
/// After so many new ones the oldest go.
const SWEPT: i64 = 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    pub id: i64,
    pub topic: String,
    pub subject: i64,
}

impl Read<'_> {
    /// Events behind the given one, at most `limit`.
    pub async fn journal_after(&mut self, id: i64, limit: i64) -> Result<Vec<JournalEntry>> {
        Ok(sqlx::query_as!(
            JournalEntry,
            "select id, topic, subject from journal where id > ? order by id limit ?",
            id,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?)
    }

    pub async fn journal_end(&mut self) -> Result<i64> {
        let end = sqlx::query_scalar!(r#"select max(id) as "end: i64" from journal"#)
            .fetch_one(&mut *self.connection)
            .await?;
        Ok(end.unwrap_or(0))
    }
}

/// What a transaction is to tell: the topic, its subject, and when in ms.
pub(crate) type Journal = Vec<(&'static str, i64, i64)>;

impl Write<'_> {
    /// Tells browsers, once this is committed, that something has changed.
    pub fn journal(&mut self, topic: Topic, subject: i64, now: Timestamp) {
        self.journal.push((topic.as_str(), subject, now.0));
    }

    /// The last deed of each transaction: tells each thing once, however often it changed.
    pub(crate) async fn put_journal(&mut self) -> Result<()> {
        let mut known = HashSet::new();
        let mut told = std::mem::take(&mut self.journal);
        told.retain(|&(topic, subject, _)| known.insert((topic, subject)));
        if told.is_empty() {
            return Ok(());
        }
        let rows = json(&told)?;
        let put = sqlx::query!(
            "insert into journal (topic, subject, at_ms)
             select value ->> 0, value ->> 1, value ->> 2 from json_each(?) order by key",
            rows
        );
        let id = put.execute(&mut *self.connection).await?.last_insert_rowid();
        // Swept now and then, not each time.
        if id / SWEPT != (id - told.len() as i64) / SWEPT {
            let before = id - KEPT;
            sqlx::query!("delete from journal where id < ?", before).execute(&mut *self.connection).await?;
        }
        Ok(())
    }
}
