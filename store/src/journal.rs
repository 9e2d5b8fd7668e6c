//! Numbered live events, so that a browser that was away hears what it missed.

use domain::ids::Timestamp;

use crate::error::Result;
use crate::open::{Read, Write};

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: i64,
    pub topic: String,
    pub subject: i64,
}

impl Read<'_> {
    /// Events behind the given one, at most `limit`.
    pub async fn journal_after(&mut self, id: i64, limit: i64) -> Result<Vec<Entry>> {
        Ok(sqlx::query_as!(
            Entry,
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

impl Write<'_> {
    pub async fn journal(&mut self, topic: Topic, subject: i64, now: Timestamp) -> Result<()> {
        let topic = topic.as_str();
        let id = sqlx::query!(
            "insert into journal (at_ms, topic, subject) values (?, ?, ?)",
            now.0,
            topic,
            subject
        )
        .execute(&mut *self.connection)
        .await?
        .last_insert_rowid();
        // Swept now and then, not each time.
        if id % 1000 == 0 {
            let before = id - KEPT;
            sqlx::query!("delete from journal where id < ?", before).execute(&mut *self.connection).await?;
        }
        Ok(())
    }
}
