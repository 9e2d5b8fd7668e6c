//! What the farm's self-diagnostics read, and counts for metrics.

use domain::health::FailingSince;
use domain::outcome::Outcome;
use domain::variant::target;
use domain::words::BreakageState;
use domain::words::ids::Timestamp;
use domain::words::states::NoticeState;

use crate::breakages::self_checks::CheckCount;
use crate::db::number::from_row;
use crate::db::transaction::Read;
use crate::error::{Result, word};
use crate::upstream::builders;

/// The approved workers, and their connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workforce {
    /// Workers that may work.
    pub approved: u64,
    /// Those of them with an open session.
    pub connected: u64,
    /// When the last of them sent something.
    pub last_seen: Option<Timestamp>,
}

/// Counts of what an operator watches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FarmCounts {
    /// Builds ever queued; the number only rises.
    pub builds_enqueued: u64,
    /// In the queue.
    pub builds_waiting: u64,
    /// With a worker.
    pub builds_running: u64,
    /// By outcome.
    pub finished_since: Vec<(Outcome, u64)>,
    /// Not ended, by state.
    pub breakages: Vec<(BreakageState, u64)>,
    /// By state.
    pub notices: Vec<(NoticeState, u64)>,
    /// How many self-checks ever ended with each result; the numbers only rise.
    pub self_checks: Vec<CheckCount>,
    /// Workers that may work.
    pub workers_approved: u64,
    /// Workers with an open session.
    pub workers_connected: u64,
    /// Machines that wait for the operator's approval.
    pub workers_pending: u64,
    /// Trunks and projects whose remote does not respond.
    pub polls_failing: u64,
    /// The size of the database file, without its write-ahead log.
    pub database_bytes: u64,
}

impl Read<'_> {
    /// Since when mail waits that no server accepted, and the last error.
    pub async fn mail_failing(&mut self) -> Result<Option<FailingSince>> {
        let row = sqlx::query!(
            r#"select decided_at_ms as "since!", failure as "why!" from notice
             where state = 'waiting' and tries > 0 and failure is not null order by decided_at_ms limit 1"#
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(row.map(|row| FailingSince { since: Timestamp(row.since), why: row.why }))
    }

    /// Trunks with a configured branch whose remote does not respond.
    pub async fn trunks_failing(&mut self) -> Result<Vec<(String, FailingSince)>> {
        let rows = sqlx::query!(
            r#"select name, failing_since_ms as "since!", failure as "why!" from trunk
             where failing_since_ms is not null
                 and id in (select trunk_id from branch where state <> 'retired') order by name"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let failing = |row: (i64, String)| FailingSince { since: Timestamp(row.0), why: row.1 };
        Ok(rows.into_iter().map(|row| (row.name, failing((row.since, row.why)))).collect())
    }

    /// Builders whose new toolchain inputs wait because nothing can be built with them, and since when.
    pub async fn waiting_toolchain_inputs(&mut self) -> Result<Vec<(String, Timestamp)>> {
        let rows = sqlx::query!(
            r#"select t.name as "trunk!", b.name as "branch!", pl.label as "label!", br.variant_name, ti.worse_since_ms as "since!"
             from toolchain_inputs ti join builder br on br.id = ti.builder_id join branch b on b.id = br.branch_id
                 join trunk t on t.id = b.trunk_id join platform pl on pl.id = br.platform_id
             where ti.state = 'proposed' and ti.worse_since_ms is not null and br.state = 'active' order by 1, 2, 3"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let waiting = rows.into_iter().map(|row| {
            (
                builders::name(
                    None,
                    &row.trunk,
                    &row.branch,
                    &target(&row.label, row.variant_name.as_deref()),
                ),
                Timestamp(row.since),
            )
        });
        Ok(waiting.collect())
    }

    /// The approved workers.
    pub async fn workforce(&mut self) -> Result<Workforce> {
        let row = sqlx::query!(
            r#"select count(*) as "approved!: i64", coalesce(sum(connected), 0) as "connected!: i64",
                 max(seen_at_ms) as "last_seen: i64" from worker
             where state = 'approved' and standing = 'active'"#
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(Workforce {
            approved: from_row(row.approved)?,
            connected: from_row(row.connected)?,
            last_seen: row.last_seen.map(Timestamp),
        })
    }

    /// The counts of now; finished builds are counted since the given time.
    pub async fn counts(&mut self, since: Timestamp) -> Result<FarmCounts> {
        let one = sqlx::query!(
            r#"select coalesce((select seq from sqlite_sequence where name = 'build'), 0) as "asked!: i64",
                 (select count(*) from build where state = 'queued') as "waiting!: i64",
                 (select count(*) from build where state <> 'finished' and state = 'leased') as "running!: i64",
                 (select count(*) from worker where state = 'approved') as "approved!: i64",
                 (select count(*) from worker where connected = 1) as "connected!: i64",
                 (select count(*) from worker where state = 'pending') as "pending!: i64",
                 (select count(*) from trunk where failing_since_ms is not null)
                     + (select count(*) from project where failing_since_ms is not null
                         and state = 'registered') as "failing!: i64""#
        )
        .fetch_one(&mut *self.connection)
        .await?;
        let finished = sqlx::query!(
            r#"select outcome as "word!", count(*) as "count!: i64" from build
             where state = 'finished' and finished_at_ms > ? group by outcome order by outcome"#,
            since.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let breakages = sqlx::query!(
            r#"select state as word, count(*) as "count!: i64" from breakage
             where ended_at_ms is null group by state order by state"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let notices = sqlx::query!(
            r#"select state as word, count(*) as "count!: i64" from notice group by state order by state"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let finished_since: Result<_> = finished
            .into_iter()
            .map(|row| Ok((word(&row.word, Outcome::parse)?, from_row(row.count)?)))
            .collect();
        let breakages: Result<_> = breakages
            .into_iter()
            .map(|row| Ok((word(&row.word, BreakageState::parse)?, from_row(row.count)?)))
            .collect();
        let notices: Result<_> = notices
            .into_iter()
            .map(|row| Ok((word(&row.word, NoticeState::parse)?, from_row(row.count)?)))
            .collect();
        let pages: i64 =
            sqlx::query_scalar("select page_count * page_size from pragma_page_count, pragma_page_size")
                .fetch_one(&mut *self.connection)
                .await?;
        Ok(FarmCounts {
            builds_enqueued: from_row(one.asked)?,
            builds_waiting: from_row(one.waiting)?,
            builds_running: from_row(one.running)?,
            finished_since: finished_since?,
            breakages: breakages?,
            notices: notices?,
            self_checks: self.self_checks_ever().await?,
            workers_approved: from_row(one.approved)?,
            workers_connected: from_row(one.connected)?,
            workers_pending: from_row(one.pending)?,
            polls_failing: from_row(one.failing)?,
            database_bytes: from_row(pages)?,
        })
    }
}
