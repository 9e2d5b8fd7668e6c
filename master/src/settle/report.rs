//! The report of an attempt, and what its steps are judged by.

use domain::outcome::{OutcomeContext, StepRun};
use domain::readers::CaseRun;
use domain::results::{self, CaseList, Results};
use domain::search::selection::is_ignored;
use domain::words::Reason;
use protocol::{InfraFailure, PackedToolchain, StepEnd};
use store::{Attempt, Build, Write};

/// What an attempt ended with, its objects read and verified.
pub struct AttemptReport {
    pub results: Option<(CaseList, Results)>,
    pub artifact: Option<PackedToolchain>,
    pub infra_failure: Option<InfraFailure>,
    /// Whether its worker has no sandbox, so that its toolchains work on its own paths only.
    pub bare: bool,
}

/// Loads what an attempt is judged by in addition to its steps. `number` counts the tries of its build, from 1.
pub async fn load_context(
    tx: &mut Write<'_>,
    build: &Build,
    attempt: &Attempt,
    steps: &[StepRun],
    results: Option<&CaseList>,
    number: u32,
) -> store::Result<OutcomeContext> {
    let is_reported = results.is_some();
    let mut context = OutcomeContext { attempt: number, is_reported, ..OutcomeContext::default() };
    if let Some(failed) = steps.iter().find(|step| step.end != (StepEnd::Exit { code: 0 })) {
        context.proven = tx.is_proven_step(build.builder, &failed.name, attempt.worker, attempt.id).await?;
        // What was fetched before the first attempt says nothing about the network of today.
        let since = tx.first_attempt_at(build.id).await?.unwrap_or(build.queued_at);
        context.others_fetch = tx.has_fetched_since(build.builder, since).await?;
        context.is_cut = results.is_some_and(|list| is_cut(list, &failed.name));
        context.is_confirmed = tx.has_failed_before(build.id, &failed.name, attempt.id).await?;
    }
    Ok(context)
}

/// Whether a step's report breaks off after some of its cases.
fn is_cut(list: &CaseList, step: &str) -> bool {
    let is_own = |name: &str| !name.starts_with("step:") && !name.starts_with("fault:");
    list.index_of(&CaseRun::of_broken_off(step, &[]).name).is_some() && list.names().any(is_own)
}

/// Leaves of what a probe reported only the cases that it was asked for, if it was asked for some only. Returns whether it was.
pub async fn keep_selected(
    tx: &mut Write<'_>,
    build: &Build,
    results: &mut Option<(CaseList, Results)>,
) -> store::Result<bool> {
    if build.reason != Reason::Probe {
        return Ok(false);
    }
    let Some(asked) = tx.selected_cases(build.id).await? else { return Ok(false) };
    let (list, reported) = results.take().unwrap_or_else(|| results::of_steps(&[]));
    let (list, selected, reported) = results::of_selected(&list, &reported, &asked);
    let count = u64::try_from(asked.len()).unwrap_or(u64::MAX);
    if is_ignored(count, reported, tx.whole_cases(build.id).await?) {
        tx.mark_selection_ignored(build.id).await?;
    }
    *results = Some((list, selected));
    Ok(true)
}
