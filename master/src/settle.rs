//! An attempt's last word becomes facts, in one transaction: outcome, cases, transitions, breakages, notices.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::breakage::{self, Action, Stored};
use domain::ids::{BuildId, CaseId, Timestamp, WorkerId};
use domain::outcome::{self, Judged, Outcome};
use domain::results::{self, CaseList, Results};
use domain::words::{BreakageState, BuilderKind, Reason};
use protocol::{Made, Trouble};
use store::{Attempt, Build, Builder, Column, Finish, Opened, Write};

use crate::dispatch;

/// What an attempt ended with, its objects read and checked.
pub struct Told {
    pub results: Option<(CaseList, Results)>,
    pub artifact: Option<Made>,
    pub trouble: Option<Trouble>,
    /// Whether its worker has no sandbox, so that its toolchains are true on its own paths only.
    pub bare: bool,
}

/// How long a case that was proven flaky opens no breakage.
const FLAKY_FOR: Duration = Duration::from_secs(45 * 24 * 3600);

/// What else is due after an attempt was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The build waits for another attempt.
    Again,
    Decided(BuilderKind),
}

pub async fn attempt(tx: &mut Write<'_>, attempt: &Attempt, told: Told, at: Timestamp) -> store::Result<Due> {
    let build = tx.build(attempt.build).await?;
    let steps = tx.step_runs(attempt.id).await?;
    let tries = tx.spent_attempts(build.id).await? + 1;
    let builder = tx.builder(build.builder).await?;
    let Told { results, artifact, mut trouble, bare } = told;
    let mut judged = outcome::judge(&steps, trouble.as_ref(), tries);
    if judged.outcome == Outcome::Passed {
        let wanted = tx.recipe(build.recipe).await?.steps.len();
        if let Some(detail) = lacks(builder.kind, steps.len(), wanted, artifact) {
            trouble = Some(Trouble::Worker { detail: detail.to_string() });
            judged = outcome::judge(&steps, trouble.as_ref(), tries);
        }
    }
    let trouble = trouble.map(|trouble| serde_json::json!(trouble).to_string());
    tx.end_attempt(attempt.id, "ended", trouble.as_deref(), at).await?;

    if judged.outcome == Outcome::Infra {
        let cause = judged.cause.unwrap_or(outcome::Cause::Worker);
        dispatch::again(tx, build.id, attempt.id, cause, at).await?;
        return Ok(Due::Again);
    }
    // Nobody else's toolchain is overwritten, and none that broke is tested with.
    let made =
        artifact.filter(|_| builder.kind == BuilderKind::Toolchain && judged.outcome == Outcome::Passed);
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
    if !is_verdict(&judged) {
        return Ok(Due::Decided(builder.kind));
    }
    let (list, results) = results.unwrap_or_else(|| results::of_steps(&steps));
    tx.put_results(build.id, &list, &results).await?;
    cover_or_evidence(tx, &builder, &build, Some(attempt.worker), at).await?;
    Ok(Due::Decided(builder.kind))
}

/// What a build that its worker calls good lacks to be so.
fn lacks(kind: BuilderKind, steps: usize, wanted: usize, made: Option<Made>) -> Option<&'static str> {
    match (kind, made) {
        (BuilderKind::Toolchain | BuilderKind::Suite, _) if steps < wanted => {
            Some("it ended before the last step of its recipe")
        }
        (BuilderKind::Toolchain, None) => Some("it made no toolchain"),
        (BuilderKind::Toolchain, Some(_)) | (BuilderKind::Suite, _) => None,
    }
}

fn is_verdict(judged: &Judged) -> bool {
    match judged.outcome {
        Outcome::Passed | Outcome::Failed => true,
        Outcome::Infra | Outcome::Cancelled | Outcome::Blocked => false,
    }
}

async fn cover_or_evidence(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    if build.reason.covers() {
        return cover(tx, builder, build.id, worker, at).await;
    }
    let column = tx.column(build.id).await?;
    let cases = tx.cases_in_question(builder.id).await?;
    tx.put_evidence(build.id, &cases, &column).await?;
    match build.reason {
        Reason::Null => null_run(tx, builder, build, worker, &column, &cases, at).await,
        Reason::Probe | Reason::Force | Reason::Tip | Reason::Backfill | Reason::Seam => Ok(()),
    }
}

/// A null run says which cases are flaky by themselves, before any change is accused of it. Those of an open
/// breakage are left to its search.
async fn null_run(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    worker: Option<WorkerId>,
    column: &Column,
    in_question: &BTreeSet<CaseId>,
    at: Timestamp,
) -> store::Result<()> {
    let Some(inputs) = build.inputs else { return Ok(()) };
    let Some(repeated) = tx.equal_build(builder.id, inputs).await? else { return Ok(()) };
    if tx.worker_of_cover(builder.id, repeated.change).await? != worker {
        return Ok(());
    }
    let known = tx.flaky_cases(builder.id, flaky_since(at)).await?;
    let (mut before, mut column) = (tx.column(repeated.id).await?, column.clone());
    tx.add_untold(repeated.id, &mut before, column.keys().copied()).await?;
    tx.add_untold(build.id, &mut column, before.keys().copied()).await?;
    let differing = breakage::flaky(&before, &column);
    let news: BTreeSet<CaseId> =
        differing.into_iter().filter(|case| !known.contains(case) && !in_question.contains(case)).collect();
    if news.is_empty() {
        return Ok(());
    }
    let opened = Opened {
        builder: builder.id,
        good: build.change,
        bad: build.change,
        cases: news,
        fixed: None,
        search_worker: worker,
        split_from: None,
        again_of: None,
    };
    let id = tx.open_breakage(&opened, at).await?;
    tx.breakage_found(id, BreakageState::Flaky, None, None, at).await?;
    tracing::info!(breakage = %id, builder = builder.name, cases = opened.cases.len(), "found flaky by a null run");
    Ok(())
}

fn flaky_since(at: Timestamp) -> Timestamp {
    Timestamp(at.0 - FLAKY_FOR.as_millis() as i64)
}

/// A cover build makes history: its transitions, its successor's anew, and what they mean for breakages.
/// `worker` is the one that ran it, where it was not an equal build that did.
pub async fn cover(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: BuildId,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    tx.make_history(builder.id, build).await?;
    reconsider(tx, builder, worker, at).await
}

/// Brings a builder's breakages in line with its history. `worker` made the build that is news.
pub async fn reconsider(
    tx: &mut Write<'_>,
    builder: &Builder,
    worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<()> {
    let order = tx.order(builder.branch).await?;
    let strips = tx.strips(builder.id).await?;
    let known: Vec<Stored> = tx
        .breakages_of(builder.id)
        .await?
        .into_iter()
        .map(|row| Stored {
            id: row.id,
            good: row.good,
            bad: row.bad,
            state: row.state,
            culprit: row.culprit,
            cases: row.cases,
            fixed: row.fixed,
        })
        .collect();
    let flaky = tx.flaky_cases(builder.id, flaky_since(at)).await?;
    for action in breakage::settle(&order, &strips, &known, &flaky) {
        match action {
            Action::Open { good, bad, cases, fixed, split_from, again_of } => {
                let opened = Opened {
                    builder: builder.id,
                    good,
                    bad,
                    cases,
                    fixed,
                    // The search begins where the alarm was raised: there differing verdicts prove a flaky test.
                    search_worker: tx.worker_of_cover(builder.id, bad).await?.or(worker),
                    split_from,
                    again_of,
                };
                let id = tx.open_breakage(&opened, at).await?;
                tracing::info!(breakage = %id, builder = builder.name, cases = opened.cases.len(), "opened");
            }
            Action::Update { id, good, bad, cases, fixed } => {
                tx.update_breakage(id, good, bad, &cases, fixed, at).await?;
            }
            Action::Gone(id) => tx.breakage_is_gone(id, at).await?,
        }
    }
    // What the history says of the cases in question is evidence, each of its builds once.
    let cases = tx.cases_in_question(builder.id).await?;
    if !cases.is_empty() {
        for build in tx.covers_to_tell(builder.id).await? {
            let column = tx.column(build).await?;
            tx.put_evidence(build, &cases, &column).await?;
        }
    }
    Ok(())
}
