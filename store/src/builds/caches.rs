//! Which runs had the caches that their recipe declares, and where runs without them showed something else.

use domain::health::CacheDisagreement;
use domain::words::Reason;
use domain::words::ids::{AttemptId, BuildId, BuilderId, Timestamp};
use protocol::Sha256;

use crate::db::number::from_row;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, one_row, word};

/// How many runs of identical inputs are compared at most; the newest ones.
const MAX_COMPARED: i64 = 12;
/// How many disagreements are shown.
const MAX_SHOWN: i64 = 5;

/// What decides about the caches of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheQuestion {
    /// Why the build exists.
    pub reason: Reason,
    /// The name of its trunk.
    pub trunk: String,
    /// The variant of its trunk, empty for the plain one.
    pub variant: String,
    /// The name of its project; none of a toolchain's.
    pub project: Option<String>,
    /// How many probes of its cell are older.
    pub earlier_probes: u32,
    /// The newest disagreement of its trunk or project, 0 if there is none.
    pub own_epoch: i64,
    /// The newest disagreement of anything on its trunk, 0 if there is none.
    pub trunk_epoch: i64,
}

/// A run that can be compared with others of identical inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComparableRun {
    /// Its build.
    pub build: BuildId,
    /// Whether it had caches.
    pub with_caches: bool,
}

impl Read<'_> {
    /// What decides about the caches of a build.
    pub async fn cache_question(&mut self, build: BuildId) -> Result<CacheQuestion> {
        let row = sqlx::query!(
            r#"select b.reason, t.name as trunk, br.variant, pr.name as "project?",
                 (select count(*) from build p where p.builder_id = b.builder_id and p.change_id = b.change_id
                     and p.reason = 'probe' and p.id < b.id) as "probes!: i64",
                 (select coalesce(max(id), 0) from cache_disagreement
                     where trunk_id = t.id and project_id is br.project_id) as "own!: i64",
                 (select coalesce(max(id), 0) from cache_disagreement where trunk_id = t.id) as "all!: i64"
             from build b join builder br on br.id = b.builder_id join branch on branch.id = br.branch_id
                 join trunk t on t.id = branch.trunk_id left join project pr on pr.id = br.project_id
             where b.id = ?"#,
            build.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(CacheQuestion {
            reason: word(&row.reason, Reason::parse)?,
            trunk: row.trunk,
            variant: row.variant,
            project: row.project,
            earlier_probes: from_row(row.probes)?,
            own_epoch: row.own,
            trunk_epoch: row.all,
        })
    }

    /// The runs of these inputs by the worker that ran this build, up to this build, the newest first. Runs with caches that
    /// were dropped since are left out.
    pub async fn comparable_runs(
        &mut self,
        builder: BuilderId,
        build: BuildId,
        inputs: Sha256,
    ) -> Result<Vec<ComparableRun>> {
        let inputs = inputs.0.as_slice();
        let rows = sqlx::query!(
            r#"select b.id as "id!", a.cache_epoch is not null as "with_caches!: bool"
             from build b indexed by build_by_inputs join attempt a on a.id = b.attempt_id
             where b.inputs_sha256 = ?1 and b.builder_id = ?2 and b.id <= ?3 and b.is_verdict and b.complete is not 0
                 and (a.worker_id, a.environment_sha256) is (select m.worker_id, m.environment_sha256
                     from build own join attempt m on m.id = own.attempt_id where own.id = ?3)
                 and (a.cache_epoch is null or a.cache_epoch >= (select coalesce(max(d.id), 0)
                     from builder br join branch on branch.id = br.branch_id
                         join cache_disagreement d on d.trunk_id = branch.trunk_id and d.project_id is br.project_id
                     where br.id = ?2))
             order by b.id desc limit ?4"#,
            inputs,
            builder.0,
            build.0,
            MAX_COMPARED
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let run = |id, with_caches| ComparableRun { build: BuildId(id), with_caches };
        Ok(rows.into_iter().map(|row| run(row.id, row.with_caches)).collect())
    }

    /// Whether the run that decided a build had caches.
    pub async fn had_caches(&mut self, build: BuildId) -> Result<bool> {
        let had = sqlx::query_scalar!(
            r#"select exists(select 1 from build b join attempt a on a.id = b.attempt_id
                 where b.id = ? and a.cache_epoch is not null) as "had!: bool""#,
            build.0
        );
        Ok(had.fetch_one(&mut *self.connection).await?)
    }

    /// The newest disagreements since a time.
    pub async fn cache_disagreements(&mut self, since: Timestamp) -> Result<Vec<CacheDisagreement>> {
        let rows = sqlx::query!(
            r#"select coalesce(p.name, t.name) as "owner!", c.sha as "change!", d.build_id as "build!",
                 d.found_at_ms as "found_at!", d.cases as "cases!", d.example as "example!"
             from cache_disagreement d join trunk t on t.id = d.trunk_id left join project p on p.id = d.project_id
                 join build b on b.id = d.build_id join change c on c.id = b.change_id
             where d.found_at_ms > ? order by d.found_at_ms desc limit ?"#,
            since.0,
            MAX_SHOWN
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let shown = rows.into_iter().map(|row| {
            Ok(CacheDisagreement {
                owner: row.owner,
                change: row.change,
                build: row.build,
                found_at: Timestamp(row.found_at),
                cases: from_row(row.cases)?,
                example: row.example,
            })
        });
        shown.collect()
    }
}

impl Write<'_> {
    /// Notes that an attempt was offered with its caches.
    pub async fn record_caches(&mut self, attempt: AttemptId, epoch: i64) -> Result<()> {
        let noted = sqlx::query!("update attempt set cache_epoch = ? where id = ?", epoch, attempt.0);
        one_row(noted.execute(&mut *self.connection).await?, "there is no such attempt")
    }

    /// Records that runs without caches showed something else than those with them, this build the last of them.
    pub async fn record_cache_disagreement(
        &mut self,
        build: BuildId,
        cases: u32,
        example: &str,
        now: Timestamp,
    ) -> Result<()> {
        let recorded = sqlx::query!(
            "insert into cache_disagreement (trunk_id, project_id, build_id, found_at_ms, cases, example)
             select branch.trunk_id, br.project_id, b.id, ?, ?, ? from build b
                 join builder br on br.id = b.builder_id join branch on branch.id = br.branch_id
             where b.id = ?",
            now.0,
            cases,
            example,
            build.0
        );
        one_row(recorded.execute(&mut *self.connection).await?, "there is no such build")
    }
}
