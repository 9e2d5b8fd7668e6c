//! Builds: as cells and marks, as a page of their own, and as what waits.

use domain::breakage::mark::FailureNews;
use domain::outcome::{Cause, Outcome};
use domain::words::ids::{BuildId, Timestamp};
use domain::words::states::AttemptState;
use domain::words::{BuildState, BuilderKind, Reason};
use protocol::Verdict;

use super::changes::change_row;
use super::{BuilderRow, ChangeRow};
use crate::builds::steps::StepRecord;
use crate::cases::verdicts::verdict;
use crate::db::transaction::Read;
use crate::error::{Error, Result, sha256, word};

/// A build as a cell, a mark or a line shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRow {
    /// Its id.
    pub id: i64,
    /// Its builder.
    pub builder: i64,
    /// Its change.
    pub change: i64,
    /// Whether it makes a toolchain or runs a suite.
    pub kind: BuilderKind,
    /// Why the build exists.
    pub reason: Reason,
    /// Whether it makes history. A baseline makes none while its project inputs are not in use.
    pub is_history: bool,
    /// Its state.
    pub state: BuildState,
    /// How it ended; none before that.
    pub outcome: Option<Outcome>,
    /// The cause of the outcome, if it has one.
    pub cause: Option<Cause>,
    /// The step that decided.
    pub step: Option<String>,
    /// How many cases passed.
    pub passes: Option<i64>,
    /// How many cases failed or broke.
    pub bads: Option<i64>,
    /// The build with equal inputs that stands for this one.
    pub same_as: Option<i64>,
    /// The change of the build that stands for this one.
    pub same_sha: Option<String>,
    /// How long the deciding attempt took.
    pub took_ms: Option<i64>,
    /// Cases that were good in the history build before and are bad. Cases that are known to be flaky are not
    /// counted.
    pub worse: i64,
    /// Cases that were good and are skipped or missing.
    pub not_run: i64,
    /// Cases that were bad and are good.
    pub better: i64,
    /// What its failures are to a reader who knows what is flaky and marked: see [`Read::judge_failures`].
    pub news: FailureNews,
}

/// What a build's own page shows, without its cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildPage {
    /// What its line shows.
    pub row: BuildRow,
    /// Its builder.
    pub builder: BuilderRow,
    /// Its change.
    pub change: ChangeRow,
    /// The project's revision; none of a toolchain's.
    pub revision: Option<String>,
    /// In hexadecimal.
    pub artifact: Option<String>,
    /// The hash of all inputs, in hexadecimal.
    pub inputs: Option<String>,
    /// How many cases were skipped.
    pub skips: Option<i64>,
    /// The breakage whose search asked for it.
    pub breakage: Option<i64>,
    /// The attempt that decided; otherwise the one that runs, or the last.
    pub attempt: Option<i64>,
    /// When it was put into the queue.
    pub queued_at: Timestamp,
    /// When it finished; none before that.
    pub finished_at: Option<Timestamp>,
    /// Builds of the same builder.
    pub older: Option<i64>,
    /// The next build of the same builder.
    pub newer: Option<i64>,
}

/// An attempt of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// Its id.
    pub id: i64,
    /// Its number within the build, from 1.
    pub number: i64,
    /// The name of the worker that holds or held it.
    pub worker: String,
    /// Its state.
    pub state: AttemptState,
    /// Why it was declined, lost or without a verdict: a sentence, or a worker's `InfraFailure` in JSON.
    pub end_reason: Option<String>,
    /// Its result, if that was reported after the attempt was taken from its worker.
    pub late: Option<Outcome>,
    /// When the worker accepted it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How far it has fetched what it needs; none once its first step has started.
    pub progress: Option<String>,
}

/// A case that did something else in the history build before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseRow {
    /// The case's name.
    pub name: String,
    /// What it did before.
    pub was: Option<Verdict>,
    /// What it does in this build.
    pub became: Verdict,
    /// What it printed.
    pub text: Option<String>,
}

/// The log of a build's step: of the attempt that decided or, without one, of the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepLog {
    /// The attempt.
    pub attempt: i64,
    /// The step, with how much of its log is committed.
    pub step: StepRecord,
}

/// The newest toolchain of a builder, if an infra failure kept it from being built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnbuiltToolchain {
    /// The trunk's name.
    pub trunk: String,
    /// The branch's name.
    pub branch: String,
    /// The platform's label.
    pub platform: String,
    /// What its variant is called; none where its trunk has the default build only.
    pub variant: Option<String>,
    /// Of the change.
    pub title: String,
    /// What kept it from being built.
    pub cause: Option<Cause>,
    /// How often it was leased to a worker.
    pub attempts: i64,
}

/// A build that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRow {
    /// Its id.
    pub id: i64,
    /// Its builder.
    pub builder: BuilderRow,
    /// Its change.
    pub change: ChangeRow,
    /// Why the build exists.
    pub reason: Reason,
    /// Its state.
    pub state: BuildState,
    /// How often it was leased to a worker.
    pub attempts: i64,
    /// The name of the worker that holds it.
    pub worker: Option<String>,
    /// What its project requires of a worker.
    pub wants: Vec<String>,
    /// The name of the only worker that may run it.
    pub only_worker: Option<String>,
    /// What counts of the environment in which a toolchain is to be made; none of a suite's.
    pub environment: Option<Vec<String>>,
    /// When it was put into the queue.
    pub queued_at: Timestamp,
    /// It is not offered before this time.
    pub not_before: Timestamp,
}

const MAX_CELLS: i64 = 20_000;
const MAX_ATTEMPTS: i64 = 50;

macro_rules! build_rows {
    ($self:ident, $where:literal, $($argument:expr),*) => {{
        let rows = sqlx::query!(
            r#"select bu.id as "id!", bu.builder_id as "builder_id!", bu.change_id as "change_id!",
                 br.kind as "kind!", bu.reason as "reason!", bu.state as "state!",
                 (bu.makes_history and not exists (select 1 from pin where pin.id = bu.pin_id
                     and bu.reason = 'baseline' and pin.state in ('proposed', 'dropped'))) as "is_history!: bool",
                 bu.outcome, bu.cause, bu.cause_step, bu.passes, bu.bads, bu.same_as_id,
                 (select c.sha from build s join change c on c.id = s.change_id
                     where s.id = bu.same_as_id) as "same_sha?: String",
                 (select a.ended_at_ms - a.started_at_ms from attempt a where a.id = bu.attempt_id) as "took_ms?: i64",
                 (select count(*) from transition t where t.build_id = bu.id
                     and t.became in ('F', 'E') and t.was in ('P', 'x', 'X')
                     and (select k.found from breakage k join breakage_case kc on kc.breakage_id = k.id
                         where kc.case_id = t.case_id and k.builder_id = bu.builder_id
                         order by k.id desc limit 1) is not 'flaky') as "worse!: i64",
                 (select count(*) from transition t where t.build_id = bu.id
                     and t.became in ('M', 'S') and t.was = 'P') as "not_run!: i64",
                 (select count(*) from transition t where t.build_id = bu.id
                     and t.became in ('P', 'x') and t.was in ('F', 'E')
                     and (select k.found from breakage k join breakage_case kc on kc.breakage_id = k.id
                         where kc.case_id = t.case_id and k.builder_id = bu.builder_id
                         order by k.id desc limit 1) is not 'flaky') as "better!: i64"
             from build bu join builder br on br.id = bu.builder_id "# + $where,
            $($argument),*
        )
        .fetch_all(&mut *$self.connection)
        .await?;
        let mut builds = Vec::with_capacity(rows.len());
        for row in rows {
            builds.push(BuildRow {
                id: row.id,
                builder: row.builder_id,
                change: row.change_id,
                kind: word(&row.kind, BuilderKind::parse)?,
                reason: word(&row.reason, Reason::parse)?,
                is_history: row.is_history,
                state: word(&row.state, BuildState::parse)?,
                outcome: row.outcome.as_deref().map(|o| word(o, Outcome::parse)).transpose()?,
                cause: row.cause.as_deref().map(|c| word(c, Cause::parse)).transpose()?,
                step: row.cause_step,
                passes: row.passes,
                bads: row.bads,
                same_as: row.same_as_id,
                same_sha: row.same_sha,
                took_ms: row.took_ms,
                worse: row.worse,
                not_run: row.not_run,
                better: row.better,
                news: FailureNews::News,
            });
        }
        builds
    }};
}

impl Read<'_> {
    /// The builds of a branch in a window of positions, oldest id first.
    pub async fn cell_rows(&mut self, branch: i64, oldest: i64, newest: i64) -> Result<Vec<BuildRow>> {
        Ok(build_rows!(
            self,
            "join branch_change bc on bc.change_id = bu.change_id and bc.branch_id = br.branch_id
             where bc.branch_id = ? and bc.position between ? and ? order by bu.id limit ?",
            branch,
            oldest,
            newest,
            MAX_CELLS
        ))
    }

    /// All builds of a change, oldest first.
    pub async fn build_rows_of_change(&mut self, change: i64) -> Result<Vec<BuildRow>> {
        Ok(build_rows!(self, "where bu.change_id = ? order by bu.id limit ?", change, MAX_CELLS))
    }

    /// The newest history builds of a builder in change order, newest first.
    pub async fn history_rows(&mut self, builder: i64, limit: i64) -> Result<Vec<BuildRow>> {
        Ok(build_rows!(
            self,
            "join branch_change bc on bc.change_id = bu.change_id and bc.branch_id = br.branch_id
             where bu.builder_id = ? and bc.gone_at_ms is null and bu.makes_history
                 and not exists (select 1 from pin where pin.id = bu.pin_id and bu.reason = 'baseline'
                     and pin.state in ('proposed', 'dropped'))
             order by bc.position desc, bu.id desc limit ?",
            builder,
            limit
        ))
    }

    /// One build. `NotFound` if there is none.
    pub async fn build_page(&mut self, build: i64) -> Result<BuildPage> {
        let row = build_rows!(self, "where bu.id = ?", build).pop().ok_or(Error::NotFound("build"))?;
        let more = sqlx::query!(
            r#"select br.id as "builder_id!", p.name as "project?", t.name as "trunk!", b.name as "branch!",
                 pl.label as "platform!", br.variant_name as "variant?", c.id as "change_id!", c.sha as "sha!", c.title as "title!",
                 c.author as "author!", c.committed_at_ms as "committed_at_ms!", pin.revision as "revision?",
                 bu.artifact_sha256, bu.inputs_sha256, bu.skips, bu.breakage_id, bu.queued_at_ms, bu.finished_at_ms,
                 coalesce(bu.attempt_id, (select a.id from attempt a where a.build_id = bu.id
                     order by a.state = 'running' desc, a.started_at_ms is null, a.id desc limit 1)) as "attempt: i64",
                 (select max(o.id) from build o where o.builder_id = bu.builder_id and o.id < bu.id) as "older: i64",
                 (select min(n.id) from build n where n.builder_id = bu.builder_id and n.id > bu.id) as "newer: i64"
             from build bu join builder br on br.id = bu.builder_id join branch b on b.id = br.branch_id
                 join trunk t on t.id = b.trunk_id join platform pl on pl.id = br.platform_id
                 join change c on c.id = bu.change_id left join project p on p.id = br.project_id
                 left join pin on pin.id = bu.pin_id
             where bu.id = ?"#,
            build
        )
        .fetch_one(&mut *self.connection)
        .await?;
        let hex = |bytes: &[u8]| sha256(bytes).map(|sha| sha.to_string());
        Ok(BuildPage {
            row,
            change: change_row!(more),
            builder: BuilderRow {
                id: more.builder_id,
                project: more.project,
                trunk: more.trunk,
                branch: more.branch,
                platform: more.platform,
                variant: more.variant,
            },
            revision: more.revision,
            artifact: more.artifact_sha256.as_deref().map(hex).transpose()?,
            inputs: more.inputs_sha256.as_deref().map(hex).transpose()?,
            skips: more.skips,
            breakage: more.breakage_id,
            attempt: more.attempt,
            queued_at: Timestamp(more.queued_at_ms),
            finished_at: more.finished_at_ms.map(Timestamp),
            older: more.older,
            newer: more.newer,
        })
    }

    /// The attempts of a build, first one first.
    pub async fn attempt_rows(&mut self, build: i64) -> Result<Vec<AttemptRow>> {
        let rows = sqlx::query!(
            r#"select a.id as "id!", a.number, w.name as worker, a.state, a.end_reason, l.outcome as "late?",
                 a.started_at_ms, a.ended_at_ms,
                 case when a.state = 'running' and not exists (select 1 from step s where s.attempt_id = a.id)
                     then a.progress end as "progress: String"
             from attempt a join worker w on w.id = a.worker_id left join late_report l on l.attempt_id = a.id
             where a.build_id = ? order by a.number limit ?"#,
            build,
            MAX_ATTEMPTS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut attempts = Vec::with_capacity(rows.len());
        for row in rows {
            attempts.push(AttemptRow {
                id: row.id,
                number: row.number,
                worker: row.worker,
                state: word(&row.state, AttemptState::parse)?,
                end_reason: row.end_reason,
                late: row.late.as_deref().map(|late| word(late, Outcome::parse)).transpose()?,
                started_at: row.started_at_ms.map(Timestamp),
                ended_at: row.ended_at_ms.map(Timestamp),
                progress: row.progress,
            });
        }
        Ok(attempts)
    }

    /// The cases of a build that differ from the history build before: the bad ones first. Texts are cut at 4,000
    /// characters; the log has all.
    pub async fn case_rows(&mut self, build: i64, limit: i64) -> Result<Vec<CaseRow>> {
        let rows = sqlx::query!(
            r#"select n.name as "name!", t.was, t.became as "became!", substr(x.text, 1, 4000) as "text: String"
             from transition t join named_case n on n.id = t.case_id
                 left join case_failure o on o.build_id = t.build_id and o.case_id = t.case_id
                 left join failure_message x on x.id = o.failure_message_id
             where t.build_id = ?
             order by case when t.became in ('F', 'E') then 0 when t.became in ('M', 'S') then 1
                 else 2 end, n.name limit ?"#,
            build,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut cases = Vec::with_capacity(rows.len());
        for row in rows {
            let was = row.was.as_deref().map(verdict).transpose()?;
            cases.push(CaseRow { name: row.name, was, became: verdict(&row.became)?, text: row.text });
        }
        Ok(cases)
    }

    /// The bad cases of a build, whether or not they were bad before, by name.
    pub async fn bad_cases(&mut self, build: i64, limit: usize) -> Result<Vec<CaseRow>> {
        let mut cases = Vec::new();
        for (case, verdict) in self.case_verdicts(BuildId(build)).await? {
            if !verdict.is_bad() {
                continue;
            }
            if cases.len() == limit {
                break;
            }
            let row = sqlx::query!(
                r#"select n.name as "name!: String", substr(x.text, 1, 4000) as "text?: String" from named_case n
                     left join build b on b.id = ? left join case_failure o on o.case_id = n.id
                         and o.build_id = coalesce(b.same_as_id, b.id)
                     left join failure_message x on x.id = o.failure_message_id
                 where n.id = ?"#,
                build,
                case.0
            )
            .fetch_one(&mut *self.connection)
            .await?;
            cases.push(CaseRow { name: row.name, was: Some(verdict), became: verdict, text: row.text });
        }
        cases.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(cases)
    }

    /// The log of a build's step. `NotFound` if the build has no attempt or no such step.
    pub async fn log_place(&mut self, build: i64, position: u16) -> Result<StepLog> {
        let attempt = sqlx::query_scalar!(
            r#"select coalesce(bu.attempt_id, (select a.id from attempt a where a.build_id = bu.id
                     order by a.state = 'running' desc, a.started_at_ms is null, a.id desc limit 1)) as "id: i64"
             from build bu where bu.id = ?"#,
            build
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .flatten()
        .ok_or(Error::NotFound("build with a log"))?;
        let steps = self.steps(domain::words::ids::AttemptId(attempt)).await?;
        let step = steps.into_iter().find(|step| step.position == position).ok_or(Error::NotFound("step"))?;
        Ok(StepLog { attempt, step })
    }

    /// The newest toolchain of each branch, platform and variant, where it ended as infra.
    pub async fn unbuilt_toolchains(&mut self) -> Result<Vec<UnbuiltToolchain>> {
        let rows = sqlx::query!(
            r#"select t.name as "trunk!", b.name as "branch!", pl.label as "platform!", br.variant_name as "variant?", c.title as "title!", bu.cause,
                 bu.attempts as "attempts!"
             from builder br join branch b on b.id = br.branch_id join trunk t on t.id = b.trunk_id
                 join platform pl on pl.id = br.platform_id
                 join build bu on bu.id = (select x.id from build x join branch_change bc
                         on bc.change_id = x.change_id and bc.branch_id = br.branch_id and bc.gone_at_ms is null
                     where x.builder_id = br.id and x.state = 'finished' and x.makes_history and x.reason <> 'baseline'
                     order by bc.position desc, x.id desc limit 1)
                 join change c on c.id = bu.change_id
             where br.kind = 'toolchain' and br.state = 'active' and bu.outcome = 'infra' order by br.id"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut unbuilt = Vec::with_capacity(rows.len());
        for row in rows {
            unbuilt.push(UnbuiltToolchain {
                trunk: row.trunk,
                branch: row.branch,
                platform: row.platform,
                variant: row.variant,
                title: row.title,
                cause: row.cause.as_deref().map(|cause| word(cause, Cause::parse)).transpose()?,
                attempts: row.attempts,
            });
        }
        Ok(unbuilt)
    }

    /// Builds that are not finished: those with a worker first, then in the order of the queue.
    pub async fn queue_rows(&mut self, limit: i64) -> Result<Vec<QueueRow>> {
        let rows = sqlx::query!(
            r#"select bu.id as "id!", br.id as "builder_id!", p.name as "project?", t.name as trunk,
                 b.name as branch, pl.label as platform, br.variant_name as "variant?", c.id as "change_id!", c.sha, c.title, c.author,
                 c.committed_at_ms, bu.reason, bu.state, bu.attempts, bu.queued_at_ms, bu.not_before_ms,
                 (select w.name from attempt a join worker w on w.id = a.worker_id
                     where a.build_id = bu.id and a.ended_at_ms is null
                     order by a.state = 'running' desc, a.id desc limit 1) as "worker: String",
                 ow.name as "only_worker?", p.wants as "wants?",
                 case when br.kind = 'toolchain' then ti.environment end as "environment: String"
             from build bu join builder br on br.id = bu.builder_id join branch b on b.id = br.branch_id
                 join trunk t on t.id = b.trunk_id join platform pl on pl.id = br.platform_id
                 join change c on c.id = bu.change_id left join project p on p.id = br.project_id
                 left join worker ow on ow.id = bu.only_worker_id
                 left join toolchain_inputs ti on ti.id = bu.toolchain_inputs_id
             where bu.state <> 'finished' order by bu.state, bu.queued_at_ms, bu.id limit ?"#,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut queue = Vec::with_capacity(rows.len());
        for row in rows {
            queue.push(QueueRow {
                id: row.id,
                change: change_row!(row),
                builder: BuilderRow {
                    id: row.builder_id,
                    project: row.project,
                    trunk: row.trunk,
                    branch: row.branch,
                    platform: row.platform,
                    variant: row.variant,
                },
                reason: word(&row.reason, Reason::parse)?,
                state: word(&row.state, BuildState::parse)?,
                attempts: row.attempts,
                worker: row.worker,
                wants: serde_json::from_str(row.wants.as_deref().unwrap_or("[]"))
                    .map_err(|e| Error::Row(format!("wants: {e}")))?,
                only_worker: row.only_worker,
                environment: row.environment.map(|text| text.lines().map(str::to_string).collect()),
                queued_at: Timestamp(row.queued_at_ms),
                not_before: Timestamp(row.not_before_ms),
            });
        }
        Ok(queue)
    }
}
