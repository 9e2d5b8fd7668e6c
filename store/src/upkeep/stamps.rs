//! Times that are later than a farm can have written them: its clock was set back while its master did not run.

use domain::clock::LatestStamps;
use domain::words::ids::Timestamp;

use crate::db::transaction::Write;
use crate::error::Result;

impl Write<'_> {
    /// Brings every time that a rule compares with the present back to the latest that it can be. Nothing waits for a time
    /// of a clock that is no longer the farm's.
    pub async fn bound_stamps(&mut self, latest: &LatestStamps) -> Result<()> {
        self.bound_builds(latest).await?;
        self.bound_notices(latest).await?;
        self.bound_breakages(latest.past).await?;
        self.bound_inputs(latest.past).await?;
        self.bound_sources(latest.past).await
    }

    async fn bound_builds(&mut self, latest: &LatestStamps) -> Result<()> {
        let past = latest.past.0;
        sqlx::query!(
            "update attempt set offered_at_ms = min(offered_at_ms, ?), started_at_ms = min(started_at_ms, ?),
                 lease_until_ms = min(lease_until_ms, ?)
             where ended_at_ms is null",
            past,
            past,
            latest.lease.0
        )
        .execute(&mut *self.connection)
        .await?;
        sqlx::query!(
            "update build set queued_at_ms = min(queued_at_ms, ?), not_before_ms = min(not_before_ms, ?)
             where state <> 'finished'",
            past,
            latest.offer.0
        )
        .execute(&mut *self.connection)
        .await?;
        // When a toolchain was last used is when the last build of it was queued.
        sqlx::query!(
            "update build set finished_at_ms = ?, queued_at_ms = min(queued_at_ms, ?)
             where state = 'finished' and finished_at_ms > ?",
            past,
            past,
            past
        )
        .execute(&mut *self.connection)
        .await?;
        sqlx::query!("update artifact set made_at_ms = ? where made_at_ms > ?", past, past)
            .execute(&mut *self.connection)
            .await?;
        sqlx::query!("update step set ended_at_ms = ? where kind = 'fetch' and ended_at_ms > ?", past, past)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn bound_notices(&mut self, latest: &LatestStamps) -> Result<()> {
        sqlx::query!(
            "update notice set next_try_at_ms = ? where state = 'waiting' and next_try_at_ms > ?",
            latest.mail.0,
            latest.mail.0
        )
        .execute(&mut *self.connection)
        .await?;
        let past = latest.past.0;
        sqlx::query!("update notice set decided_at_ms = ? where decided_at_ms > ?", past, past)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn bound_breakages(&mut self, past: Timestamp) -> Result<()> {
        sqlx::query!(
            "update breakage set found_at_ms = ? where found_at_ms is not null and found_at_ms > ?",
            past.0,
            past.0
        )
        .execute(&mut *self.connection)
        .await?;
        sqlx::query!(
            "update breakage set ended_at_ms = ? where state = 'fixed' and ended_at_ms > ?",
            past.0,
            past.0
        )
        .execute(&mut *self.connection)
        .await?;
        sqlx::query!("update self_check set ended_at_ms = ? where ended_at_ms > ?", past.0, past.0)
            .execute(&mut *self.connection)
            .await?;
        sqlx::query!(
            "update breakage set opened_at_ms = ? where ended_at_ms is null and opened_at_ms > ?",
            past.0,
            past.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn bound_inputs(&mut self, past: Timestamp) -> Result<()> {
        let past = past.0;
        sqlx::query!(
            "update pin set proposed_at_ms = min(proposed_at_ms, ?), worse_since_ms = min(worse_since_ms, ?),
                 since_ms = min(since_ms, ?), missing_since_ms = min(missing_since_ms, ?),
                 locked_at_ms = min(locked_at_ms, ?)
             where state in ('proposed', 'current')",
            past,
            past,
            past,
            past,
            past
        )
        .execute(&mut *self.connection)
        .await?;
        sqlx::query!(
            "update toolchain_inputs set proposed_at_ms = min(proposed_at_ms, ?),
                 worse_since_ms = min(worse_since_ms, ?), since_ms = min(since_ms, ?)
             where state in ('proposed', 'current')",
            past,
            past,
            past
        )
        .execute(&mut *self.connection)
        .await?;
        sqlx::query!(
            "update baseline set judged_at_ms = ? where judged_at_ms > ?
                 and pin_id in (select id from pin where state in ('proposed', 'current'))",
            past,
            past
        )
        .execute(&mut *self.connection)
        .await?;
        sqlx::query!("update builder set since_ms = ? where since_ms > ?", past, past)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn bound_sources(&mut self, past: Timestamp) -> Result<()> {
        let past = past.0;
        sqlx::query!("update change set found_at_ms = ? where found_at_ms > ?", past, past)
            .execute(&mut *self.connection)
            .await?;
        sqlx::query!("update worker set seen_at_ms = ? where seen_at_ms > ?", past, past)
            .execute(&mut *self.connection)
            .await?;
        sqlx::query!(
            "update trunk set polled_at_ms = min(polled_at_ms, ?), failing_since_ms = min(failing_since_ms, ?)",
            past,
            past
        )
        .execute(&mut *self.connection)
        .await?;
        sqlx::query!(
            "update project set polled_at_ms = min(polled_at_ms, ?), failing_since_ms = min(failing_since_ms, ?)",
            past,
            past
        )
        .execute(&mut *self.connection)
        .await?;
        sqlx::query!("update missing_ref set since_ms = ? where since_ms > ?", past, past)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }
}
