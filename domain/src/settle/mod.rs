//! What happens to a build when an attempt of it ends: one function decides, and names everything that is to be done.
//!
//! [`settle`] takes the end of an attempt with the facts that bear on it, and returns the actions in the order in which
//! they are to be performed. What can be decided only once history is written is not here: `breakage::settle` decides it.

pub mod fetch;
#[cfg(test)]
mod tests;

use std::time::Duration;

use protocol::{InfraFailure, PackedToolchain, StepEnd};

use crate::outcome::{self, BuildResult, Cause, MAX_ATTEMPTS, Outcome, OutcomeContext, StepRun};
use crate::words::ids::Timestamp;
use crate::words::states::AttemptState;
use crate::words::{BuilderKind, Reason};
use fetch::AfterFetch;
pub use fetch::OtherFetch;

/// A build that was offered so often, and declined each time, suits no worker.
pub const MAX_OFFERS: u32 = 50;
/// How long a build that decided nothing waits before its next attempt: the machine or its disk may recover.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// The longest time for which a build is held back.
pub const MAX_OFFER_DELAY: Duration = fetch::CHECK_WAIT;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEnding {
    /// Its worker reported the end.
    Reported(ReportedEnd),
    /// Its worker declined the offer.
    Declined {
        /// Why, in the worker's words.
        reason: String,
    },
    /// Its worker was lost.
    Lost {
        /// How the farm noticed it.
        reason: &'static str,
        /// Whether the worker had accepted the build: one that never did has not spent a try.
        was_started: bool,
    },
    /// There is no attempt: no plan can be made for the build, so that no worker can be offered it.
    Unplannable,
}

/// What a worker reported at the end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedEnd {
    /// The steps that ended, in order.
    pub steps: Vec<StepRun>,
    /// How many steps the recipe has.
    pub recipe_steps: usize,
    /// What kept the worker from going on.
    pub infra_failure: Option<InfraFailure>,
    /// The toolchain that it uploaded.
    pub artifact: Option<PackedToolchain>,
    /// What the steps are judged by.
    pub context: OutcomeContext,
    /// Whether the worker is on probation.
    pub is_on_probation: bool,
    /// What the first step that failed printed last, as its failure message.
    pub message: Option<String>,
}

/// What is known of a build when an attempt of it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettleInputs {
    /// Why the build exists.
    pub reason: Reason,
    /// What the build makes.
    pub kind: BuilderKind,
    /// How many attempts were spent before this one: those that a worker accepted and that had no result.
    pub spent: u32,
    /// How often the build was offered, this time included.
    pub offers: u32,
    /// Whether another attempt of the build is with a worker.
    pub has_rival: bool,
    /// Whether the fetch of another change can tell the network's fault from the change's.
    pub other_fetch: OtherFetch,
    /// Whether the builder's last fetches failed, with the same project inputs, and none has succeeded since.
    pub is_fetch_failing: bool,
}

/// One thing to do when an attempt has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettleAction {
    /// End the attempt. `failure` says what went wrong with it, apart from its build.
    EndAttempt {
        /// The state that it ends in.
        state: AttemptState,
        /// What went wrong: a sentence, or a worker's infra failure as JSON.
        failure: Option<String>,
    },
    /// Put the build back into the queue.
    Requeue {
        /// When it may be offered again.
        not_before: Timestamp,
    },
    /// Leave the build with the other worker that has it, and offer it to no third one before then.
    HoldBack {
        /// When it may be offered again.
        not_before: Timestamp,
    },
    /// Run another change once more, to see whether its fetch works.
    RerunOtherChange,
    /// Record that the builder cannot fetch, and that no change is to blame for it.
    RecordFetchFailure {
        /// The step that failed.
        step: String,
        /// What it printed last.
        message: Option<String>,
        /// Whether a change that was fetched before cannot be fetched any more either.
        is_checked: bool,
    },
    /// Forget an earlier failure to fetch: it works again.
    ForgetFetchFailure,
    /// Record the toolchain that was made.
    PutArtifact(PackedToolchain),
    /// Finish the build.
    Finish {
        /// Its outcome.
        result: BuildResult,
        /// The toolchain that it made, if that is fit to be tested with.
        artifact: Option<PackedToolchain>,
    },
    /// Record that the command which asks for a project's newest revision failed.
    RecordLatestFailure(BuildResult),
    /// Leave out of the results what this step did: its machine may be to blame.
    VoidStep(String),
    /// Record what the cases did: those that were reported, or else the steps.
    PutResults,
    /// Let the searches look again at answers that this change bears on.
    DoubtAnswers,
    /// Make history of the build.
    MakeHistory,
    /// Compare the null run with the build that it repeated.
    CompareNullRun,
    /// Look for cases that the probe shows bad and that no breakage holds.
    CompareProbe,
    /// Record whether a machine on probation agrees with the build that it repeated.
    RecordAgreement,
}

/// Decides everything that follows from the end of an attempt.
///
/// The build is then in exactly one state: queued again, held by another worker, or finished.
pub fn settle(ending: &AttemptEnding, inputs: &SettleInputs, now: Timestamp) -> Vec<SettleAction> {
    let end = |state, failure| SettleAction::EndAttempt { state, failure };
    match ending {
        AttemptEnding::Reported(reported) => {
            let (mut result, infra_failure) = judge(reported, inputs.kind);
            let voided = overrun_at_last(&result, reported, inputs);
            if voided.is_some() {
                result.outcome = Outcome::Failed;
            }
            let failure = infra_failure.map(|failure| serde_json::json!(failure).to_string());
            let failure = failure.or_else(|| killed(&result, &reported.steps));
            let failure = failure.or_else(|| unfetched(&result, reported, inputs));
            let mut actions = vec![end(AttemptState::Ended, failure)];
            if fetch::can_fetch(&reported.steps) {
                actions.push(SettleAction::ForgetFetchFailure);
            }
            match (result.outcome, fetch::failed_fetch(&reported.steps)) {
                (Outcome::Infra, Some(step)) if result.cause == Some(Cause::Fetch) => {
                    actions.extend(fetch_again(step, reported, inputs, now));
                }
                (Outcome::Infra, _) => {
                    let cause = result.cause.unwrap_or(Cause::Worker);
                    actions.extend(try_again(cause, inputs.spent + 1, inputs, now));
                }
                (Outcome::Passed | Outcome::Failed | Outcome::Cancelled | Outcome::Blocked, _) => {
                    actions.extend(finish(result, voided, reported, inputs));
                }
            }
            actions
        }
        // No worker has worked on it, so no try is spent.
        AttemptEnding::Declined { reason } => {
            let mut actions = vec![end(AttemptState::Declined, Some(reason.clone()))];
            actions.extend(try_again(Cause::Worker, inputs.spent, inputs, now));
            actions
        }
        AttemptEnding::Lost { reason, was_started } => {
            let mut actions = vec![end(AttemptState::Lost, Some((*reason).to_string()))];
            let spent = inputs.spent + u32::from(*was_started);
            actions.extend(try_again(Cause::WorkerLost, spent, inputs, now));
            actions
        }
        AttemptEnding::Unplannable => {
            let result = BuildResult { outcome: Outcome::Infra, cause: Some(Cause::Toolchain), step: None };
            vec![SettleAction::Finish { result, artifact: None }]
        }
    }
}

/// The outcome of a reported attempt, and the infra failure that it is to be recorded with. An attempt that its worker
/// calls passed is not believed where something is missing.
fn judge(reported: &ReportedEnd, kind: BuilderKind) -> (BuildResult, Option<InfraFailure>) {
    let judge = |failure| outcome::judge(&reported.steps, failure, &reported.context);
    let result = judge(reported.infra_failure.as_ref());
    match missing(reported, kind) {
        Some(detail) if result.outcome == Outcome::Passed => {
            let failure = InfraFailure::Worker { detail: detail.to_string() };
            (judge(Some(&failure)), Some(failure))
        }
        Some(_) | None => (result, reported.infra_failure.clone()),
    }
}

/// What the build's page says of an attempt that may have been killed from outside.
fn killed(result: &BuildResult, steps: &[StepRun]) -> Option<String> {
    if result.outcome != Outcome::Infra || result.cause != Some(Cause::Signal) {
        return None;
    }
    let step = steps.iter().find(|step| Some(&step.name) == result.step.as_ref())?;
    let how = match step.end {
        StepEnd::Signal { signal } => format!("was killed by signal {signal}"),
        StepEnd::Exit { .. }
        | StepEnd::TimedOut
        | StepEnd::Silent
        | StepEnd::LogLimit
        | StepEnd::OutOfMemory
        | StepEnd::TooManyProcesses
        | StepEnd::DiskLimit
        | StepEnd::RefusedTree
        | StepEnd::NoTests
        | StepEnd::BadReport { .. }
        | StepEnd::Cancelled => "broke off in the middle of its report".to_string(),
    };
    Some(format!(
        "`{}` {how}, perhaps from outside: the build is run once more before that is believed",
        step.name
    ))
}

/// The test step that no machine brought to its end in the last try of a build. Its own verdicts would blame a change for a
/// slow machine, and are voided; what its neighbours showed counts, for history and for the searches that follow from it.
fn overrun_at_last(result: &BuildResult, reported: &ReportedEnd, inputs: &SettleInputs) -> Option<String> {
    let is_last = inputs.spent + 1 >= MAX_ATTEMPTS && !inputs.has_rival && inputs.reason != Reason::Latest;
    if result.outcome != Outcome::Infra || reported.infra_failure.is_some() || !is_last {
        return None;
    }
    outcome::overrun_test(&reported.steps, result).map(|step| step.name.clone())
}

/// What a passed build of this kind would have.
fn missing(reported: &ReportedEnd, kind: BuilderKind) -> Option<&'static str> {
    match (kind, reported.artifact) {
        (BuilderKind::Toolchain | BuilderKind::Suite, _) if reported.steps.len() < reported.recipe_steps => {
            Some("it ended before the last step of its recipe")
        }
        (BuilderKind::Toolchain, None) => Some("it made no toolchain"),
        (BuilderKind::Toolchain, Some(_)) | (BuilderKind::Suite, _) => None,
    }
}

/// What the build's page says of an attempt that could not fetch.
fn unfetched(result: &BuildResult, reported: &ReportedEnd, inputs: &SettleInputs) -> Option<String> {
    let step = fetch::failed_fetch(&reported.steps).filter(|_| result.cause == Some(Cause::Fetch))?;
    let is_checked = match after_fetch(inputs) {
        AfterFetch::GiveUp { is_checked } => is_checked,
        AfterFetch::Repeat | AfterFetch::Check | AfterFetch::Await => false,
    };
    Some(fetch::sentence(step, reported.message.as_deref(), is_checked))
}

fn after_fetch(inputs: &SettleInputs) -> AfterFetch {
    let may_check = inputs.reason != Reason::Null;
    fetch::after_failure(inputs.spent + 1, inputs.is_fetch_failing, inputs.other_fetch, may_check)
}

/// What follows from an attempt whose fetch step failed.
fn fetch_again(
    step: &StepRun,
    reported: &ReportedEnd,
    inputs: &SettleInputs,
    now: Timestamp,
) -> Vec<SettleAction> {
    let wait_for_other = SettleAction::Requeue { not_before: now + fetch::CHECK_WAIT };
    let hold_back = SettleAction::HoldBack { not_before: now + RETRY_DELAY };
    match after_fetch(inputs) {
        _ if inputs.has_rival => vec![hold_back],
        AfterFetch::Check => vec![SettleAction::RerunOtherChange, wait_for_other],
        AfterFetch::Await => vec![wait_for_other],
        AfterFetch::Repeat if inputs.offers < MAX_OFFERS => {
            vec![SettleAction::Requeue { not_before: now + RETRY_DELAY }]
        }
        AfterFetch::Repeat => give_up(Cause::Fetch, Some(step.name.clone()), inputs),
        AfterFetch::GiveUp { is_checked } => {
            let mut actions = give_up(Cause::Fetch, Some(step.name.clone()), inputs);
            if inputs.reason.makes_history() {
                let message = reported.message.clone();
                let step = step.name.clone();
                actions.push(SettleAction::RecordFetchFailure { step, message, is_checked });
            }
            actions
        }
    }
}

/// What follows from an attempt that decided nothing: `spent` counts it, where it was a try.
fn try_again(cause: Cause, spent: u32, inputs: &SettleInputs, now: Timestamp) -> Vec<SettleAction> {
    let not_before = now + RETRY_DELAY;
    if inputs.has_rival {
        return vec![SettleAction::HoldBack { not_before }];
    }
    if spent < MAX_ATTEMPTS && inputs.offers < MAX_OFFERS {
        return vec![SettleAction::Requeue { not_before }];
    }
    give_up(cause, None, inputs)
}

/// Finishes a build that no attempt has decided.
fn give_up(cause: Cause, step: Option<String>, inputs: &SettleInputs) -> Vec<SettleAction> {
    let result = BuildResult { outcome: Outcome::Infra, cause: Some(cause), step };
    let mut actions = vec![SettleAction::Finish { result: result.clone(), artifact: None }];
    if inputs.reason == Reason::Latest {
        actions.push(SettleAction::RecordLatestFailure(result));
    }
    actions
}

/// What follows from an attempt that decided its build.
fn finish(
    result: BuildResult,
    voided: Option<String>,
    reported: &ReportedEnd,
    inputs: &SettleInputs,
) -> Vec<SettleAction> {
    let is_verdict = match result.outcome {
        Outcome::Passed | Outcome::Failed => true,
        Outcome::Infra | Outcome::Cancelled | Outcome::Blocked => false,
    };
    // No toolchain of another build is overwritten, and none that is broken is tested with.
    let is_made = inputs.kind == BuilderKind::Toolchain && is_verdict && outcome::is_usable(&reported.steps);
    let artifact = reported.artifact.filter(|_| is_made);
    let mut actions: Vec<SettleAction> = artifact.map(SettleAction::PutArtifact).into_iter().collect();
    actions.push(SettleAction::Finish { result: result.clone(), artifact });
    if inputs.reason == Reason::Latest {
        if result.outcome == Outcome::Failed {
            actions.push(SettleAction::RecordLatestFailure(result));
        }
        return actions;
    }
    if !is_verdict {
        return actions;
    }
    actions.extend(voided.map(SettleAction::VoidStep));
    actions.extend([SettleAction::PutResults, SettleAction::DoubtAnswers]);
    match inputs.reason {
        Reason::Tip | Reason::Backfill | Reason::Baseline => actions.push(SettleAction::MakeHistory),
        // Until its probation is over, what it shows about noise does not count.
        Reason::Null if reported.is_on_probation => actions.push(SettleAction::RecordAgreement),
        Reason::Null => actions.push(SettleAction::CompareNullRun),
        Reason::Probe => actions.push(SettleAction::CompareProbe),
        Reason::Force | Reason::Latest => {}
    }
    actions
}
