//! What must hold for a farm at rest, whatever has happened to it.

use domain::outcome::Outcome;
use domain::words::ids::BuildId;

use crate::db::transaction::Read;
use crate::error::{Result, word};

/// Counts over the whole database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Builds to which two attempts reported a result: there must be none.
    pub ended_twice: Vec<BuildId>,
    /// Suite builds that were run to their end, each with its change's id.
    pub suites: Vec<(BuildId, String, Outcome)>,
    /// All attempts.
    pub attempts: i64,
    /// Attempts that a worker holds now.
    pub live: i64,
    /// Attempts whose report came too late.
    pub late: i64,
    /// All mails.
    pub notices: i64,
    /// Mails that no server has accepted.
    pub unsent: i64,
}

impl Read<'_> {
    /// Counts over the whole database, and what must not be there.
    pub async fn audit(&mut self) -> Result<Audit> {
        let ended_twice = sqlx::query_scalar!(
            "select build_id from attempt where state = 'ended' and end_reason is null
             group by build_id having count(*) > 1"
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let rows = sqlx::query!(
            r#"select b.id as "id!", c.sha as "sha!", b.outcome as "outcome!" from build b
                 join change c on c.id = b.change_id join builder r on r.id = b.builder_id
             where r.kind = 'suite' and b.same_as_id is null and b.state = 'finished' and b.outcome <> 'blocked'
                 -- A probe that was lost once is not run again when its search has ended meanwhile.
                 and not (b.reason = 'probe' and b.outcome = 'cancelled')"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut suites = Vec::with_capacity(rows.len());
        for row in rows {
            suites.push((BuildId(row.id), row.sha, word(&row.outcome, Outcome::parse)?));
        }
        let counts = sqlx::query!(
            r#"select (select count(*) from attempt) as "attempts!: i64",
                 (select count(*) from attempt where ended_at_ms is null) as "live!: i64",
                 (select count(*) from late_report) as "late!: i64",
                 (select count(*) from notice) as "notices!: i64",
                 (select count(*) from notice where state <> 'sent') as "unsent!: i64""#
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(Audit {
            ended_twice: ended_twice.into_iter().map(BuildId).collect(),
            suites,
            attempts: counts.attempts,
            live: counts.live,
            late: counts.late,
            notices: counts.notices,
            unsent: counts.unsent,
        })
    }
}
