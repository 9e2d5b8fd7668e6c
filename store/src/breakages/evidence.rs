//! What runs show about cases, read from the verdicts of each build, whatever the build was made for.

use std::collections::{BTreeMap, BTreeSet};

use domain::project_inputs::InputsId;
use domain::search::RunScope;
use domain::words::Reason;
use domain::words::ids::{AttemptId, BreakageId, BuildId, BuilderId, CaseId, ChangeId, WorkerId};
use protocol::{Sha256, Verdict};

use crate::breakages::Breakage;
use crate::breakages::selections::scope;
use crate::builds::inputs_id;
use crate::cases::selection::CaseSelection;
use crate::db::number::len_to_row;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, json, sha256, word};

/// One run, and what the cases in question did in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The build.
    pub build: BuildId,
    /// Its change.
    pub change: ChangeId,
    /// What it ran with.
    pub inputs: InputsId,
    /// The worker that ran it.
    pub worker: WorkerId,
    /// Why the run was made.
    pub reason: Reason,
    /// The hash of the worker's environment, if the worker reported one.
    pub environment: Option<Sha256>,
    /// How much of the suite it ran.
    pub scope: RunScope,
    /// What each of the cases did.
    pub verdicts: BTreeMap<CaseId, Verdict>,
}

/// How many of a builder's last late reports are weighed.
const MAX_LATE: i64 = 64;
/// How many changes after its bad end are still evidence for a breakage that is believed to be flaky, or whose
/// search was reopened.
pub const MAX_LATER: usize = 200;

impl Read<'_> {
    /// What a breakage's cases did in the runs on these changes, in the order of the builds: of the builder's
    /// history, and all runs since the alarm. Other earlier runs are left out, since they say nothing about the
    /// machines of today; so are history builds that point to an equal build, which were not run, and runs on a
    /// machine on probation. A case that was taken over at the bad end is expected to fail as it did before.
    pub async fn evidence(&mut self, breakage: &Breakage, changes: &[ChangeId]) -> Result<Vec<Evidence>> {
        let (changes, alarm) = (json(changes)?, self.alarm_at(breakage.id).await?);
        let rows = sqlx::query!(
            r#"select b.id as "build!", b.change_id as "change_id!", b.pin_id, b.toolchain_inputs_id, b.reason as "reason!",
                 a.worker_id as "worker_id!", a.environment_sha256, sel.ignored as "ignored?: i64"
             from json_each(?) wanted cross join build b on b.builder_id = ? and b.change_id = wanted.value
                 cross join attempt a on a.id = b.attempt_id cross join worker w on w.id = a.worker_id
                 left join selected_run sel on sel.build_id = b.id
             where b.is_verdict and b.reason <> 'latest' and w.trust is not 'probation'
                 and (b.makes_history or b.finished_at_ms >= ?)
             order by b.id"#,
            changes,
            breakage.builder.0,
            alarm
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let (mut evidence, mut selection) =
            (Vec::with_capacity(rows.len()), CaseSelection::new(&breakage.cases));
        let was = self.failures_before_takeover(breakage).await?;
        for row in rows {
            let mut verdicts = self.verdicts_of_cases(BuildId(row.build), &mut selection).await?;
            self.expect_failures_before_takeover(BuildId(row.build), &was, &mut verdicts).await?;
            evidence.push(Evidence {
                build: BuildId(row.build),
                change: ChangeId(row.change_id),
                inputs: inputs_id(row.toolchain_inputs_id, row.pin_id),
                worker: WorkerId(row.worker_id),
                reason: word(&row.reason, Reason::parse)?,
                environment: row.environment_sha256.as_deref().map(sha256).transpose()?,
                scope: scope(row.ignored),
                verdicts,
            });
        }
        Ok(evidence)
    }

    /// When a breakage, or the one that it was split from, was opened.
    pub(crate) async fn alarm_at(&mut self, breakage: BreakageId) -> Result<i64> {
        let at = sqlx::query_scalar!(
            r#"with recursive origin (id) as (
                 values (?)
                 union select b.split_from_id from origin o join breakage b on b.id = o.id
                     where b.split_from_id is not null)
             select min(b.opened_at_ms) as "at!: i64" from origin o join breakage b on b.id = o.id"#,
            breakage.0
        );
        Ok(at.fetch_one(&mut *self.connection).await?)
    }

    /// The late reports of trusted machines on a builder's attempts that were given to another worker: runs like
    /// all others.
    pub async fn late_evidence(
        &mut self,
        builder: BuilderId,
        cases: &BTreeSet<CaseId>,
    ) -> Result<Vec<Evidence>> {
        let rows = sqlx::query!(
            r#"select a.id as "attempt!", b.id as "build!", b.change_id, b.pin_id, b.toolchain_inputs_id, b.reason, a.worker_id,
                 a.environment_sha256, sel.ignored as "ignored?: i64"
             from late_report l join attempt a on a.id = l.attempt_id join build b on b.id = a.build_id
                 join worker w on w.id = a.worker_id left join selected_run sel on sel.build_id = b.id
             where b.builder_id = ? and l.is_verdict and w.trust in ('counted', 'maker')
             order by a.id desc limit ?"#,
            builder.0,
            MAX_LATE
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let (mut late, mut selection) = (Vec::with_capacity(rows.len()), CaseSelection::new(cases));
        for row in rows {
            let Some(verdicts) = self.late_verdicts(AttemptId(row.attempt), &mut selection).await? else {
                continue;
            };
            late.push(Evidence {
                build: BuildId(row.build),
                change: ChangeId(row.change_id),
                inputs: inputs_id(row.toolchain_inputs_id, row.pin_id),
                worker: WorkerId(row.worker_id),
                reason: word(&row.reason, Reason::parse)?,
                environment: row.environment_sha256.as_deref().map(sha256).transpose()?,
                scope: scope(row.ignored),
                verdicts,
            });
        }
        Ok(late)
    }
}

impl Write<'_> {
    /// Records that a run on a change has ended, so that the answers in whose range it lies are examined again.
    pub async fn mark_answers_for_review(&mut self, builder: BuilderId, change: ChangeId) -> Result<()> {
        let later = len_to_row(MAX_LATER);
        sqlx::query!(
            "update search set has_news = 1 where breakage_id in (
                 select k.id from breakage k join builder br on br.id = k.builder_id
                     join search s on s.breakage_id = k.id
                     join branch_change good on good.branch_id = br.branch_id and good.change_id = k.good_change_id
                     join branch_change bad on bad.branch_id = br.branch_id and bad.change_id = k.bad_change_id
                     join branch_change tested on tested.branch_id = br.branch_id and tested.change_id = ?
                 where k.builder_id = ? and k.ended_at_ms is null and k.found is not null
                     and tested.position between good.position
                         and bad.position + iif(k.found = 'flaky' or s.reopened > 0, ?, 0))",
            change.0,
            builder.0,
            later
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
