//! What may be deleted, read in small parts so that other queries run in between, and the record that it was
//! deleted.

use domain::outcome::Outcome;
use domain::retention::StoredToolchain;
use domain::words::ids::{AttemptId, Timestamp};
use protocol::Sha256;

use crate::db::number::from_row;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, one_row, sha256, word};

/// The log of a step whose build has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldLog {
    /// The attempt.
    pub attempt: AttemptId,
    /// The step's number in it.
    pub position: u16,
    /// How its build ended.
    pub outcome: Outcome,
    /// When its build ended.
    pub ended_at: Timestamp,
    /// Whether an open breakage needs its build: as a probe, or as an end of its range.
    pub is_needed: bool,
}

impl Read<'_> {
    /// Logs of builds that ended before this time and are still kept: the first after the given one, in order.
    pub async fn old_logs(
        &mut self,
        (behind, position): (AttemptId, u16),
        before: Timestamp,
        limit: i64,
    ) -> Result<Vec<OldLog>> {
        let rows = sqlx::query!(
            r#"select s.attempt_id, s.position, b.outcome as "outcome!", b.finished_at_ms as "finished_at_ms!",
                 exists (select 1 from breakage o where o.ended_at_ms is null
                     and (o.id = b.breakage_id or (o.builder_id = b.builder_id
                         and b.change_id in (o.good_change_id, o.bad_change_id, o.culprit_id, o.parent_id))))
                     as "is_needed!: bool"
             from step s join attempt a on a.id = s.attempt_id join build b on b.id = a.build_id
             where s.log_pruned_at_ms is null and s.log_stored_bytes > 0
                 and (s.attempt_id, s.position) > (?, ?) and a.ended_at_ms < ? and b.finished_at_ms < ?
             order by s.attempt_id, s.position limit ?"#,
            behind.0,
            position,
            before.0,
            before.0,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut logs = Vec::with_capacity(rows.len());
        for row in rows {
            logs.push(OldLog {
                attempt: AttemptId(row.attempt_id),
                position: from_row(row.position)?,
                outcome: word(&row.outcome, Outcome::parse)?,
                ended_at: Timestamp(row.finished_at_ms),
                is_needed: row.is_needed,
            });
        }
        Ok(logs)
    }

    /// All packed toolchains on disk. A toolchain is needed if an unfinished build uses it, if it lies in the
    /// range of an open breakage, or if it is the oldest or the newest of its branch, platform and variant.
    pub async fn kept_toolchains(&mut self) -> Result<Vec<StoredToolchain>> {
        let rows = sqlx::query!(
            r#"with used as (
                 select b.artifact_sha256 as sha, b.state, b.queued_at_ms, br.branch_id, br.platform_id, br.variant, bc.position
                 from build b join builder br on br.id = b.builder_id left join branch_change bc
                     on bc.branch_id = br.branch_id and bc.change_id = b.change_id and bc.gone_at_ms is null
                 where b.artifact_sha256 is not null
             ), ends as (
                 select branch_id, platform_id, variant, min(position) as oldest, max(position) as newest
                 from used group by branch_id, platform_id, variant
             ), range as (
                 select br.branch_id, br.platform_id, br.variant, good.position as good, bad.position as bad
                 from breakage o join builder br on br.id = o.builder_id
                     join branch_change good on good.branch_id = br.branch_id and good.change_id = o.good_change_id
                     join branch_change bad on bad.branch_id = br.branch_id and bad.change_id = o.bad_change_id
                 where o.ended_at_ms is null
             )
             select a.sha256, a.bytes, a.only_worker_id,
                 coalesce(max(u.queued_at_ms), a.made_at_ms) as "used_at_ms!: i64",
                 coalesce(max(u.state <> 'finished' or u.position in (e.oldest, e.newest)
                     or exists (select 1 from range r where r.branch_id = u.branch_id
                         and r.platform_id = u.platform_id and r.variant = u.variant and u.position between r.good and r.bad)), 0)
                     as "is_needed!: bool"
             from artifact a left join used u on u.sha = a.sha256
                 left join ends e on e.branch_id = u.branch_id and e.platform_id = u.platform_id and e.variant = u.variant
             where a.pruned_at_ms is null group by a.sha256"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut kept = Vec::with_capacity(rows.len());
        for row in rows {
            kept.push(StoredToolchain {
                sha256: sha256(&row.sha256)?,
                bytes: from_row(row.bytes)?,
                is_needed: row.is_needed,
                is_bare: row.only_worker_id.is_some(),
                used_at: Timestamp(row.used_at_ms),
            });
        }
        Ok(kept)
    }

    /// Whether a toolchain's file should exist, according to its row.
    pub async fn is_kept(&mut self, toolchain: Sha256) -> Result<bool> {
        let sha = toolchain.0.as_slice();
        let kept =
            sqlx::query_scalar!("select 1 from artifact where sha256 = ? and pruned_at_ms is null", sha);
        Ok(kept.fetch_optional(&mut *self.connection).await?.is_some())
    }
}

impl Write<'_> {
    /// Records that the file of a step's log is no longer kept. `Conflict` if that is recorded already.
    pub async fn mark_log_pruned(&mut self, attempt: AttemptId, position: u16, now: Timestamp) -> Result<()> {
        let pruned = sqlx::query!(
            "update step set log_pruned_at_ms = ?
             where attempt_id = ? and position = ? and log_pruned_at_ms is null",
            now.0,
            attempt.0,
            position
        );
        one_row(pruned.execute(&mut *self.connection).await?, "the log is pruned already")
    }

    /// Marks a toolchain as pruned, unless a build has come to need it meanwhile. Returns whether it was marked.
    pub async fn prune_toolchain(&mut self, toolchain: Sha256, now: Timestamp) -> Result<bool> {
        let sha = toolchain.0.as_slice();
        let pruned = sqlx::query!(
            "update artifact set pruned_at_ms = ? where sha256 = ? and pruned_at_ms is null
                 and not exists (select 1 from build where state <> 'finished' and artifact_sha256 = sha256)",
            now.0,
            sha
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(pruned.rows_affected() == 1)
    }

    /// Deletes the oldest entries of the journal, at most `limit`, and returns how many it deleted. No browser
    /// needs them any more.
    pub async fn prune_journal(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        let pruned = sqlx::query!(
            "delete from journal where id in (select id from journal where at_ms < ? order by id limit ?)",
            before.0,
            limit
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(pruned.rows_affected())
    }
}
