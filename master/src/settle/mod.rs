//! The end of an attempt becomes facts in one transaction: outcome, cases, transitions, breakages.
//!
//! Each function here loads the facts, lets `domain::settle` decide, and performs its actions in order.

pub mod breakages;
mod caches;
pub mod late_report;
pub mod latest;
mod new_failures;
pub mod null_runs;
mod probation;
mod probes;
pub mod report;
mod self_checks;
mod start;
mod toolchain_inputs;

use domain::outcome::{BuildResult, Cause, Outcome, StepRun};
use domain::readers::CaseRun;
use domain::results::{self, CaseList, Results};
use domain::sentences::FetchFailure;
use domain::settle::fetch::{failed_fetch, tries};
use domain::settle::{AttemptEnding, OtherFetch, ReportedEnd, SettleAction, SettleInputs, settle};
use domain::words::ids::{AttemptId, BuildId, Timestamp, WorkerId};
use domain::words::{BuildState, BuilderKind, Reason, Trust};
use protocol::{InfraFailure, Sha256, Verdict};
use store::{Attempt, Build, Builder, Finish, Write};

use crate::queue::enqueue_rerun;
use report::{AttemptReport, load_context};

/// What else is due after an attempt was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowUp {
    /// The build decided nothing: it waits for another attempt, or was given up.
    Undecided,
    Decided(BuilderKind),
}

/// Settles an attempt whose worker reported its end.
pub async fn settle_report(
    tx: &mut Write<'_>,
    attempt: &Attempt,
    report: AttemptReport,
    at: Timestamp,
) -> store::Result<FollowUp> {
    if let Some(InfraFailure::HandedBack { detail }) = &report.infra_failure {
        // Its owner needs the machine: no try is spent, and nobody is to blame.
        return settle_decline(tx, attempt, detail.chars().take(1000).collect(), at).await;
    }
    let steps = tx.step_runs(attempt.id).await?;
    let mut settled = SettledBuild::load(tx, attempt.build, Some(attempt)).await?;
    let AttemptReport { mut results, artifact, infra_failure, bare } = report;
    let number = settled.inputs.spent + 1;
    let reported = results.as_ref().map(|(list, _)| list);
    let context = load_context(tx, &settled.build, attempt, &steps, reported, number).await?;
    if failed_fetch(&steps).is_some() {
        settled.load_fetch(tx, number).await?;
    }
    let is_on_probation = settled.build.reason == Reason::Null
        && tx.worker(attempt.worker).await?.trust == Some(Trust::Probation);
    let recipe_steps = tx.recipe(settled.build.recipe).await?.steps.len();
    settled.bare = bare;
    settled.missing = match &infra_failure {
        Some(InfraFailure::Checkout { missing, .. }) => missing.clone(),
        Some(_) | None => None,
    };
    let message = results.as_ref().and_then(|(list, results)| failure_message(&steps, list, results));
    settled.is_selected = report::keep_selected(tx, &settled.build, &mut results).await?;
    settled.results = Some(results.unwrap_or_else(|| results::of_steps(&steps)));
    let reported =
        ReportedEnd { steps, recipe_steps, infra_failure, artifact, context, is_on_probation, message };
    settled.settle(tx, AttemptEnding::Reported(reported), at).await
}

/// Settles an attempt that its worker declined.
pub async fn settle_decline(
    tx: &mut Write<'_>,
    attempt: &Attempt,
    reason: String,
    at: Timestamp,
) -> store::Result<FollowUp> {
    let settled = SettledBuild::load(tx, attempt.build, Some(attempt)).await?;
    settled.settle(tx, AttemptEnding::Declined { reason }, at).await
}

/// Settles an attempt whose worker is lost.
pub async fn settle_loss(
    tx: &mut Write<'_>,
    attempt: AttemptId,
    reason: &'static str,
    at: Timestamp,
) -> store::Result<FollowUp> {
    let row = tx.attempt(attempt).await?.ok_or(store::Error::NotFound("attempt"))?;
    let settled = SettledBuild::load(tx, row.build, Some(&row)).await?;
    settled.settle(tx, AttemptEnding::Lost { reason, was_started: row.started_at.is_some() }, at).await
}

/// Gives up a build for which no plan can be made. One that was superseded or leased meanwhile needs none.
pub async fn give_up(
    tx: &mut Write<'_>,
    build: BuildId,
    why: &store::Error,
    at: Timestamp,
) -> store::Result<()> {
    match SettledBuild::load(tx, build, None).await {
        Ok(settled) if settled.build.state == BuildState::Queued => {
            tracing::error!(%build, "no plan can be made for this build: {why}");
            settled.settle(tx, AttemptEnding::Unplannable, at).await.map(drop)
        }
        Ok(_) | Err(store::Error::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What the first step that failed printed last, if it says what went wrong.
fn failure_message(steps: &[StepRun], list: &CaseList, results: &Results) -> Option<String> {
    let failed = failed_fetch(steps)?;
    let case = list.index_of(&CaseRun::of_step(&failed.name, Verdict::Fail).name)?;
    results.failure_message(case).map(|message| message.text.clone()).filter(|text| !text.is_empty())
}

/// A build whose attempt has ended, with everything that the actions may need.
struct SettledBuild {
    build: Build,
    builder: Builder,
    attempt: Option<(AttemptId, WorkerId)>,
    inputs: SettleInputs,
    /// The build of another change that can be rerun, and the worker that ran it.
    other_change: Option<(Build, WorkerId)>,
    results: Option<(CaseList, Results)>,
    /// The revision that the worker could not find in its repository.
    missing: Option<String>,
    /// Whether the worker has no sandbox.
    bare: bool,
    /// Whether it was asked for some cases only.
    is_selected: bool,
}

impl SettledBuild {
    async fn load(
        tx: &mut Write<'_>,
        build: BuildId,
        attempt: Option<&Attempt>,
    ) -> store::Result<SettledBuild> {
        let build = tx.build(build).await?;
        let builder = tx.builder(build.builder).await?;
        let has_rival = match attempt {
            Some(attempt) => tx.has_rival(attempt.id).await?,
            None => false,
        };
        let inputs = SettleInputs {
            reason: build.reason,
            kind: builder.kind,
            spent: tx.spent_attempts(build.id).await?,
            offers: build.attempts,
            has_rival,
            other_fetch: OtherFetch::Unavailable,
            is_fetch_failing: false,
        };
        let attempt = attempt.map(|attempt| (attempt.id, attempt.worker));
        Ok(SettledBuild {
            build,
            builder,
            attempt,
            inputs,
            other_change: None,
            results: None,
            missing: None,
            bare: false,
            is_selected: false,
        })
    }

    /// Loads what tells whose fault a failed fetch is. The fetch of another change is not loaded before it may be needed.
    async fn load_fetch(&mut self, tx: &mut Write<'_>, number: u32) -> store::Result<()> {
        let (build, builder) = (&self.build, self.build.builder);
        self.inputs.is_fetch_failing = tx.is_fetch_failing(builder, build.pin).await?;
        if number < tries(self.inputs.is_fetch_failing) {
            return Ok(());
        }
        let since = tx.first_attempt_at(build.id).await?.unwrap_or(build.queued_at);
        if tx.has_failed_to_refetch(builder, since).await? {
            self.inputs.other_fetch = OtherFetch::Failed;
            return Ok(());
        }
        self.other_change = tx.build_to_repeat(builder, since).await?;
        self.inputs.other_fetch = match &self.other_change {
            Some((other, _)) if other.inputs.is_some() => OtherFetch::Available,
            Some(_) => OtherFetch::Unavailable,
            None if tx.is_repeating(builder).await? => OtherFetch::UnderWay,
            None => OtherFetch::Unavailable,
        };
        Ok(())
    }

    async fn settle(
        mut self,
        tx: &mut Write<'_>,
        ending: AttemptEnding,
        at: Timestamp,
    ) -> store::Result<FollowUp> {
        let mut follow_up = FollowUp::Undecided;
        let mut is_finished = false;
        for action in settle(&ending, &self.inputs, at) {
            if let SettleAction::Finish { result, .. } = &action
                && result.outcome != Outcome::Infra
            {
                follow_up = FollowUp::Decided(self.builder.kind);
            }
            is_finished |= matches!(action, SettleAction::Finish { .. });
            self.perform(tx, action, at).await?;
        }
        if is_finished {
            start::record(tx, &self.build, &self.builder, at).await?;
            if self.build.reason == Reason::Null {
                // It may be the fetch that other builds wait for.
                tx.end_wait_for_fetch(self.builder.id, at).await?;
            }
            if matches!(self.build.reason, Reason::Null | Reason::Probe | Reason::Force) {
                caches::compare(tx, &self.builder, &self.build, at).await?;
            }
        }
        Ok(follow_up)
    }

    /// The inputs of a toolchain are known only now: they include the environment of its maker.
    async fn record_environment(
        &mut self,
        tx: &mut Write<'_>,
        outcome: Outcome,
        at: Timestamp,
    ) -> store::Result<()> {
        let is_verdict = matches!(outcome, Outcome::Passed | Outcome::Failed);
        let Some(attempt) = self.attempt.filter(|_| is_verdict) else { return Ok(()) };
        if self.builder.kind == BuilderKind::Toolchain {
            toolchain_inputs::record_environment(tx, &self.builder, &self.build, attempt, at).await?;
            self.build = tx.build(self.build.id).await?;
        }
        Ok(())
    }

    async fn finish(
        &mut self,
        tx: &mut Write<'_>,
        judged: BuildResult,
        artifact: Option<Sha256>,
        at: Timestamp,
    ) -> store::Result<()> {
        self.record_environment(tx, judged.outcome, at).await?;
        // After so many tries no worker has the revision.
        if let (Some(revision), Some(pin)) = (&self.missing, self.build.pin)
            && judged.cause == Some(Cause::Checkout)
        {
            tx.mark_revision_missing(pin, revision, at).await?;
        }
        if let (Outcome::Passed | Outcome::Failed, Some(pin)) = (judged.outcome, self.build.pin) {
            tx.mark_revisions_available(pin).await?;
        }
        let attempt = self.attempt.map(|(attempt, _)| attempt);
        tx.finish_build(self.build.id, &Finish { judged, attempt, artifact, same_as: None }, at).await
    }

    async fn perform(
        &mut self,
        tx: &mut Write<'_>,
        action: SettleAction,
        at: Timestamp,
    ) -> store::Result<()> {
        let (build, builder) = (&self.build, &self.builder);
        let worker = self.attempt.map(|(_, worker)| worker);
        match action {
            SettleAction::EndAttempt { state, failure } => match self.attempt {
                Some((attempt, _)) => tx.end_attempt(attempt, state, failure.as_deref(), at).await,
                None => Ok(()),
            },
            SettleAction::Requeue { not_before } => tx.requeue_build(build.id, not_before, at).await,
            SettleAction::HoldBack { not_before } => tx.delay_next_offer(build.id, not_before).await,
            SettleAction::RerunOtherChange => match &self.other_change {
                Some((other, ran_by)) => enqueue_rerun(tx, other, Some(*ran_by), at).await.map(drop),
                None => Ok(()),
            },
            SettleAction::RecordFetchFailure { step, message, is_checked } => {
                tx.put_fetch_failure(build, &FetchFailure { step, message, is_checked }, at).await
            }
            SettleAction::ForgetFetchFailure => tx.forget_fetch_failure(builder.id).await,
            SettleAction::PutArtifact(toolchain) => match worker {
                Some(worker) => tx.put_artifact(toolchain, worker, self.bare, at).await,
                None => Ok(()),
            },
            SettleAction::Finish { result, artifact } => {
                self.finish(tx, result, artifact.map(|toolchain| toolchain.sha256), at).await
            }
            SettleAction::RecordLatestFailure(result) => latest::record_failure(tx, build, &result, at).await,
            SettleAction::VoidStep(step) => {
                let results = self.results.take();
                self.results = results.map(|(list, results)| {
                    let results = results::without_step(&list, results, &step);
                    (list, results)
                });
                Ok(())
            }
            SettleAction::PutResults => match self.results.take() {
                Some((list, results)) => tx.put_results(build.id, &list, &results).await,
                None => Ok(()),
            },
            SettleAction::DoubtAnswers => tx.mark_answers_for_review(builder.id, build.change).await,
            // A toolchain that was made in another environment makes no history.
            SettleAction::MakeHistory if !build.reason.makes_history() => Ok(()),
            SettleAction::MakeHistory => breakages::make_history(tx, builder, build.id, worker, at).await,
            SettleAction::CompareNullRun => null_runs::record(tx, builder, build, worker, at).await,
            // It says nothing about other cases.
            SettleAction::CompareProbe if self.is_selected => Ok(()),
            SettleAction::CompareProbe => probes::record(tx, builder, build, at).await,
            SettleAction::RecordAgreement => match worker {
                Some(worker) => probation::record(tx, builder, build, worker, at).await,
                None => Ok(()),
            },
        }
    }
}
