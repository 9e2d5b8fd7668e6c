//! An attempt's last word becomes facts, in one transaction: outcome, cases, transitions, breakages, notices.

pub mod late_report;
pub mod null_runs;
use std::collections::BTreeSet;
use std::time::Duration;

use domain::breakage::sick::is_sick;
use domain::breakage::{self, BreakageAction, StoredBreakage};
use domain::outcome::{self, BuildResult, MAX_ATTEMPTS, Outcome, OutcomeContext, StepRun};
use domain::results::{self, CaseList, Results};
use domain::words::ids::{BranchId, BuildId, ChangeId, Timestamp, WorkerId};
use domain::words::states::AttemptState;
use domain::words::{BuilderKind, Reason};
use protocol::{InfraFailure, PackedToolchain, StepEnd};
use store::{
    Attempt, BreakageShare, BreakageUpdate, Build, Builder, Finish, HistoryNews, NewBreakage, Write,
};

use crate::dispatch;
use crate::schedule::latest;

/// What an attempt ended with, its objects read and checked.
pub struct AttemptReport {
    pub results: Option<(CaseList, Results)>,
    pub artifact: Option<PackedToolchain>,
    pub infra_failure: Option<InfraFailure>,
    /// Whether its worker has no sandbox, so that its toolchains are true on its own paths only.
    pub bare: bool,
}

/// How long a case that was proven flaky opens no breakage.
const FLAKY_FOR: Duration = Duration::from_secs(45 * 24 * 3600);

/// What else is due after an attempt was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowUp {
    /// The build waits for another attempt.
    Again,
    Decided(BuilderKind),
}

pub async fn attempt(
    tx: &mut Write<'_>,
    attempt: &Attempt,
    told: AttemptReport,
    at: Timestamp,
) -> store::Result<FollowUp> {
    let build = tx.build(attempt.build).await?;
    let steps = tx.step_runs(attempt.id).await?;
    let tries = tx.spent_attempts(build.id).await? + 1;
    let builder = tx.builder(build.builder).await?;
    let AttemptReport { results, artifact, mut infra_failure, bare } = told;
    let known = known(tx, &build, attempt, &steps, tries, results.is_some()).await?;
    let mut judged = outcome::judge(&steps, infra_failure.as_ref(), &known);
    if judged.outcome == Outcome::Passed {
        let wanted = tx.recipe(build.recipe).await?.steps.len();
        if let Some(detail) = lacks(builder.kind, steps.len(), wanted, artifact) {
            infra_failure = Some(InfraFailure::Worker { detail: detail.to_string() });
            judged = outcome::judge(&steps, infra_failure.as_ref(), &known);
        }
    }
    let infra_failure = infra_failure.map(|infra_failure| serde_json::json!(infra_failure).to_string());
    tx.end_attempt(attempt.id, AttemptState::Ended, infra_failure.as_deref(), at).await?;

    if judged.outcome == Outcome::Infra {
        let cause = judged.cause.unwrap_or(outcome::Cause::Worker);
        if cause == outcome::Cause::Fetch
            && tries >= MAX_ATTEMPTS
            && null_runs::ask_other_change(tx, &builder, &build, tries, at).await?
        {
            return Ok(FollowUp::Again);
        }
        dispatch::again(tx, build.id, attempt.id, cause, at).await?;
        return Ok(FollowUp::Again);
    }
    // Nobody else's toolchain is overwritten, and none that broke is tested with.
    let is_made = builder.kind == BuilderKind::Toolchain && is_verdict(&judged) && outcome::is_usable(&steps);
    let made = artifact.filter(|_| is_made);
    if let Some(made) = made {
        tx.put_artifact(made, attempt.worker, bare, at).await?;
    }
    let finish = Finish {
        judged: judged.clone(),
        attempt: Some(attempt.id),
        artifact: made.map(|made| made.sha256),
        same_as: None,
    };
    tx.finish_build(build.id, &finish, at).await?;
    if build.reason == Reason::Latest {
        latest::settle(tx, &build, &judged, at).await?;
        return Ok(FollowUp::Decided(builder.kind));
    }
    if !is_verdict(&judged) {
        return Ok(FollowUp::Decided(builder.kind));
    }
    let (list, results) = results.unwrap_or_else(|| results::of_steps(&steps));
    tx.put_results(build.id, &list, &results).await?;
    record_verdicts(tx, &builder, &build, Some(attempt.worker), at).await?;
    Ok(FollowUp::Decided(builder.kind))
}

/// What a try is judged by beside its steps.
pub async fn known(
    tx: &mut Write<'_>,
    build: &Build,
    attempt: &Attempt,
    steps: &[StepRun],
    tries: u32,
    told: bool,
) -> store::Result<OutcomeContext> {
    let Some(bad) = steps.iter().find(|step| step.end != (StepEnd::Exit { code: 0 })) else {
        return Ok(OutcomeContext { attempt: tries, told, ..OutcomeContext::default() });
    };
    Ok(OutcomeContext {
        attempt: tries,
        proven: tx.is_proven_step(build.builder, &bad.name, attempt.worker, attempt.id).await?,
        others_fetch: tx.has_fetched_since(build.builder, build.queued_at).await?,
        told,
    })
}

/// What a build that its worker calls good lacks to be so.
fn lacks(
    kind: BuilderKind,
    steps: usize,
    wanted: usize,
    made: Option<PackedToolchain>,
) -> Option<&'static str> {
    match (kind, made) {
        (BuilderKind::Toolchain | BuilderKind::Suite, _) if steps < wanted => {
            Some("it ended before the last step of its recipe")
        }
        (BuilderKind::Toolchain, None) => Some("it made no toolchain"),
        (BuilderKind::Toolchain, Some(_)) | (BuilderKind::Suite, _) => None,
    }
}

fn is_verdict(judged: &BuildResult) -> bool {
    match judged.outcome {
        Outcome::Passed | Outcome::Failed => true,
        Outcome::Infra | Outcome::Cancelled | Outcome::Blocked => false,
    }
}

async fn record_verdicts(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    tx.doubt_answers(builder.id, build.change).await?;
    match build.reason {
        Reason::Tip | Reason::Backfill | Reason::Baseline => {
            make_history(tx, builder, build.id, worker, at).await
        }
        Reason::Null => null_runs::hear(tx, builder, build, worker, at).await,
        Reason::Probe | Reason::Force | Reason::Latest => Ok(()),
    }
}

pub fn flaky_since(at: Timestamp) -> Timestamp {
    Timestamp(at.0 - FLAKY_FOR.as_millis() as i64)
}

/// A cover build makes history: its transitions, its successor's anew, and what they mean for breakages.
/// `worker` is the one that ran it, where it was not an equal build that did.
pub async fn make_history(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: BuildId,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    let turned = tx.make_history(builder.id, build).await?;
    let row = tx.build(build).await?;
    if builder.kind == BuilderKind::Suite && row.outcome == Some(Outcome::Failed) {
        record_breakage_share(tx, builder.branch, row.change, at).await?;
    }
    reconsider(tx, builder, HistoryNews::Build(turned), worker, at).await
}

/// A change that breaks many suites at once is sick. The next one that was thought to be may be so no more: what is
/// broken there was broken before.
async fn record_breakage_share(
    tx: &mut Write<'_>,
    branch: BranchId,
    change: ChangeId,
    at: Timestamp,
) -> store::Result<()> {
    let sick = tx.sick_changes(branch).await?;
    let order = if sick.is_empty() { Vec::new() } else { tx.order(branch).await? };
    let behind = order.iter().skip_while(|known| **known != change).skip(1);
    let next = behind.copied().find(|change| sick.contains(change));
    for change in [Some(change), next].into_iter().flatten() {
        let BreakageShare { were_good, failed } = tx.breakage_share(branch, change).await?;
        tx.set_change_sick(branch, change, is_sick(were_good, failed), at).await?;
    }
    Ok(())
}

/// Brings a builder's breakages in line with its history, as far as news may change them. `worker` made the build that
/// is news.
pub async fn reconsider(
    tx: &mut Write<'_>,
    builder: &Builder,
    news: HistoryNews,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    let look = tx.breakage_inputs(builder, &news, flaky_since(at), at).await?;
    let known: Vec<StoredBreakage> = look.breakages.iter().map(StoredBreakage::from).collect();
    let mut unsettled = BTreeSet::new();
    for action in breakage::settle(&look.history, &known) {
        unsettled.extend(action.unsettles(&known));
        match action {
            BreakageAction::Open { good, bad, cases, lost, fixed, split_from, again_of } => {
                let opened = NewBreakage {
                    builder: builder.id,
                    good,
                    bad,
                    cases,
                    not_run: lost,
                    fixed,
                    // The search begins where the alarm was raised: there differing verdicts prove a flaky test.
                    search_worker: tx.worker_of_history_build(builder.id, bad).await?.or(worker),
                    split_from,
                    again_of,
                };
                let id = tx.open_breakage(&opened, at).await?;
                tracing::info!(breakage = %id, builder = builder.name, cases = opened.cases.len(), "opened");
            }
            BreakageAction::Update { id, good, bad, cases, fixed } => {
                tx.update_breakage(id, &BreakageUpdate { good, bad, cases, fixed }, at).await?;
            }
            BreakageAction::Prove { id, at: change } => null_runs::prove(tx, builder, id, change, at).await?,
            BreakageAction::Gone(id) => tx.mark_breakage_gone(id, at).await?,
        }
    }
    tx.mark_builder_settled(builder.id, look.basis, &unsettled).await
}
