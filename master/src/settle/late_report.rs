//! What a worker tells of an attempt that was taken from it: kept as evidence, never as its build's outcome.

use domain::outcome;
use domain::words::ids::Timestamp;
use domain::words::states::AttemptState;
use store::{Attempt, Read, Write};

use crate::settle::{self, AttemptReport};

/// What its worker hears. It may go on telling; what it runs still, it may stop.
pub const REFUSAL: &str =
    "it was given to another worker after a long silence; what you tell of it is kept, but decides nothing";

/// Whether it has more to say that is worth keeping: it was begun, taken away, and has not told its last.
pub async fn is_wanted(read: &mut Read<'_>, attempt: &Attempt) -> store::Result<bool> {
    let taken = attempt.state == AttemptState::Lost && attempt.started_at.is_some();
    Ok(taken && !read.has_late_report(attempt.id).await?)
}

pub async fn report(
    tx: &mut Write<'_>,
    attempt: &Attempt,
    told: AttemptReport,
    at: Timestamp,
) -> store::Result<()> {
    let steps = tx.step_runs(attempt.id).await?;
    // How often the build was tried by now decides nothing here: this try is judged alone.
    let build = tx.build(attempt.build).await?;
    let told_cases = told.results.is_some();
    let known = settle::known(tx, &build, attempt, &steps, outcome::MAX_ATTEMPTS, told_cases).await?;
    let judged = outcome::judge(&steps, told.infra_failure.as_ref(), &known);
    tracing::info!(build = %attempt.build, attempt = attempt.number, outcome = %judged.outcome, "told too late");
    tx.put_late_report(attempt.id, &judged, told.results.as_ref(), at).await?;
    tx.doubt_answers(build.builder, build.change).await
}
