//! Late reports: what a worker reports of an attempt that was taken from it. It is kept as evidence, and never as the
//! outcome of its build.

use domain::outcome;
use domain::words::ids::Timestamp;
use domain::words::states::AttemptState;
use store::{Attempt, Read, Write};

use crate::settle::report::{AttemptReport, keep_selected, load_context};

/// The reason in the cancel that the worker gets. It may go on reporting; what it still runs, it may stop.
pub const REFUSAL: &str =
    "this build was given to another worker after a long silence; your report is kept, but decides nothing";

/// Whether a late report of an attempt is worth keeping: the attempt was begun, was taken away, and has not been reported
/// to its end.
pub async fn is_wanted(read: &mut Read<'_>, attempt: &Attempt) -> store::Result<bool> {
    let taken = attempt.state == AttemptState::Lost && attempt.started_at.is_some();
    Ok(taken && !read.has_late_report(attempt.id).await?)
}

/// Records a late report.
pub async fn record_late_report(
    tx: &mut Write<'_>,
    attempt: &Attempt,
    mut report: AttemptReport,
    at: Timestamp,
) -> store::Result<()> {
    let steps = tx.step_runs(attempt.id).await?;
    // How often the build has been tried meanwhile does not matter here: this attempt is judged alone.
    let build = tx.build(attempt.build).await?;
    let reported = report.results.as_ref().map(|(list, _)| list);
    let context = load_context(tx, &build, attempt, &steps, reported, outcome::MAX_ATTEMPTS).await?;
    let result = outcome::judge(&steps, report.infra_failure.as_ref(), &context);
    tracing::info!(build = %attempt.build, attempt = attempt.number, outcome = %result.outcome, "reported too late");
    keep_selected(tx, &build, &mut report.results).await?;
    tx.put_late_report(attempt.id, &result, report.results.as_ref(), at).await?;
    tx.mark_answers_for_review(build.builder, build.change).await
}
