//! Builders that cannot fetch what they need, and what tells whose fault that is.

use domain::sentences::FetchFailure;
use domain::words::ids::{BuildId, BuilderId, PinId, ProjectId, Timestamp};

use crate::builds::Build;
use crate::db::transaction::{Read, Write};
use crate::error::Result;

/// If more fail at once, they have one cause.
const MAX_FAILING: i64 = 100;

/// A suite that cannot fetch what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingFetch {
    /// Its builder.
    pub builder: BuilderId,
    /// The builder's project.
    pub project: ProjectId,
    /// The project's name.
    pub name: String,
    /// The last build that could not fetch.
    pub build: BuildId,
    /// Since when.
    pub since: Timestamp,
    /// What is known of it.
    pub failure: FetchFailure,
    /// Whether the project's contacts know it, or need not be informed.
    pub is_notified: bool,
}

impl Read<'_> {
    /// The suites that cannot fetch what they need, those that fail longest first.
    pub async fn failing_fetches(&mut self) -> Result<Vec<FailingFetch>> {
        let rows = sqlx::query!(
            r#"select f.builder_id, r.project_id as "project_id!", p.name, f.build_id, f.since_ms, f.step as "step!: String", f.message,
                 f.is_checked, f.notified_at_ms is not null as "is_notified!: bool"
             from fetch_failure f cross join builder r on r.id = f.builder_id cross join project p on p.id = r.project_id
             where r.state = 'active' and p.state = 'registered' order by f.since_ms, f.builder_id limit ?"#,
            MAX_FAILING
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let rows = rows.into_iter().map(|row| FailingFetch {
            builder: BuilderId(row.builder_id),
            project: ProjectId(row.project_id),
            name: row.name,
            build: BuildId(row.build_id),
            since: Timestamp(row.since_ms),
            failure: FetchFailure { step: row.step, message: row.message, is_checked: row.is_checked != 0 },
            is_notified: row.is_notified,
        });
        Ok(rows.collect())
    }

    /// Whether a builder's last fetches failed with these project inputs, and none has succeeded since.
    pub async fn is_fetch_failing(&mut self, builder: BuilderId, pin: Option<PinId>) -> Result<bool> {
        let pin = pin.map(|pin| pin.0);
        let found = sqlx::query_scalar!(
            r#"select 1 as "found!: i64" from fetch_failure where builder_id = ? and pin_id is ?"#,
            builder.0,
            pin
        );
        Ok(found.fetch_optional(&mut *self.connection).await?.is_some())
    }

    /// When the first attempt of a build was begun; none before that.
    pub async fn first_attempt_at(&mut self, build: BuildId) -> Result<Option<Timestamp>> {
        let at = sqlx::query_scalar!(
            r#"select min(started_at_ms) as "at: i64" from attempt where build_id = ?"#,
            build.0
        );
        Ok(at.fetch_one(&mut *self.connection).await?.map(Timestamp))
    }

    /// Whether a null run of a builder has ended since then because its fetch failed.
    pub async fn has_failed_to_refetch(&mut self, builder: BuilderId, since: Timestamp) -> Result<bool> {
        let found = sqlx::query_scalar!(
            r#"select 1 as "found!: i64" from build indexed by build_by_finish
             where state = 'finished' and finished_at_ms >= ? and builder_id = ? and reason = 'null'
                 and outcome = 'infra' and cause = 'fetch' limit 1"#,
            since.0,
            builder.0
        );
        Ok(found.fetch_optional(&mut *self.connection).await?.is_some())
    }
}

impl Write<'_> {
    /// Records that a build could not fetch, and that no change is to blame. Of the same project inputs the contacts are
    /// informed once.
    pub async fn put_fetch_failure(
        &mut self,
        build: &Build,
        failure: &FetchFailure,
        now: Timestamp,
    ) -> Result<()> {
        let pin = build.pin.map(|pin| pin.0);
        sqlx::query!(
            "insert into fetch_failure (builder_id, build_id, pin_id, step, message, is_checked, since_ms)
             values (?, ?, ?, ?, ?, ?, ?)
             on conflict (builder_id) do update set build_id = excluded.build_id, step = excluded.step,
                 message = excluded.message, is_checked = excluded.is_checked, pin_id = excluded.pin_id,
                 since_ms = iif(pin_id is excluded.pin_id, since_ms, excluded.since_ms),
                 notified_at_ms = iif(pin_id is excluded.pin_id, notified_at_ms, null)",
            build.builder.0,
            build.id.0,
            pin,
            failure.step,
            failure.message,
            failure.is_checked,
            now.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Records that a builder can fetch.
    pub async fn forget_fetch_failure(&mut self, builder: BuilderId) -> Result<()> {
        sqlx::query!("delete from fetch_failure where builder_id = ?", builder.0)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// Records that a project's contacts were informed that a builder cannot fetch, or need not be.
    pub async fn mark_fetch_failure_notified(&mut self, builder: BuilderId, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "update fetch_failure set notified_at_ms = ? where builder_id = ? and notified_at_ms is null",
            now.0,
            builder.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Offers at once what waits for the fetch of another change on this builder.
    pub async fn end_wait_for_fetch(&mut self, builder: BuilderId, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "update build set not_before_ms = ? where builder_id = ? and state = 'queued' and not_before_ms > ?",
            now.0,
            builder.0,
            now.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
