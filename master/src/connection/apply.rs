//! What a batch of a worker's reports does to the rows, inside the transaction that keeps it.

use std::collections::BTreeMap;

use domain::outcome::Cause;
use domain::words::ids::{AttemptId, Timestamp, WorkerId};
use domain::words::states::AttemptState;
use protocol::{InfraFailure, Sha256, StepEnd, StepKind};
use store::{Build, LogExtentRow, Write};

use crate::dispatch;
use crate::farm::failpoint::failpoint;
use crate::schedule::latest;
use crate::settle::late_report;
use crate::settle::{self, AttemptReport, FollowUp};

/// What an attempt's events are to the farm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AttemptStanding {
    /// On offer still: whoever tells of it has taken it, even when his word for that was lost.
    Offered,
    Running,
    /// It was taken from this worker, which tells of it all the same: that is kept, and decides nothing.
    Late,
    /// Nothing of it is wanted any more. It is acknowledged unread, so that the worker may forget it.
    Over,
}

/// What a batch tells of one attempt. It is kept whole or, where it makes no sense, not at all.
#[derive(Default)]
pub struct AttemptBatch {
    /// How its events stand, and the last one that was kept before; none where there are no events.
    pub before: Option<(AttemptStanding, u64)>,
    /// In the order in which they were told.
    pub deeds: Vec<AttemptEvent>,
    pub senseless: Option<Contradiction>,
}

pub enum AttemptEvent {
    Accept,
    Decline(String),
    Started(protocol::Environment),
    StepStarted(u16, String),
    Log(u16, LogExtentRow),
    StepEnded(u16, StepEnd, u64, Vec<String>),
    Lock(Sha256, u64),
    Answer(String),
    Finished(Box<AttemptReport>),
}

/// Why an attempt cannot be believed. It would be told again after each new connection, for ever: so it ends the
/// attempt, and not the connection.
#[derive(Debug, thiserror::Error)]
#[error("what it tells makes no sense: {0}")]
pub struct Contradiction(pub String);

/// What else became of a commit.
#[derive(Default)]
pub struct AppliedBatch {
    /// Whether the worker held an attempt when its sign of life was written down.
    pub holds: bool,
    pub due: Vec<FollowUp>,
    /// Attempts that ended by what was told of them, and why.
    pub spoiled: BTreeMap<AttemptId, String>,
    /// Whom to tell that an attempt is no longer his, and why.
    pub cancelled: Vec<(WorkerId, AttemptId, &'static str)>,
    /// An attempt of which nothing was kept, for it was taken from its worker meanwhile.
    pub taken: Option<AttemptId>,
}

/// Moves an attempt's sequence on. A conflict: it was taken from its worker meanwhile.
pub async fn acknowledge(
    tx: &mut Write<'_>,
    attempt: AttemptId,
    part: &AttemptBatch,
    sequence: u64,
    kept: &mut AppliedBatch,
    at: Timestamp,
) -> store::Result<()> {
    let Some((standing, before)) = part.before else { return Ok(()) };
    if before == sequence {
        return Ok(());
    }
    match standing {
        AttemptStanding::Late => tx.acknowledge_late(attempt, before, sequence).await,
        AttemptStanding::Running => tx.acknowledge(attempt, before, sequence, at).await.map(drop),
        AttemptStanding::Offered | AttemptStanding::Over => {
            let number = tx.acknowledge(attempt, before, sequence, at).await?;
            take_over(tx, attempt, number, kept, at).await
        }
    }
}

/// Takes a build from the silent worker that had it before. Before the first try nobody had it.
async fn take_over(
    tx: &mut Write<'_>,
    attempt: AttemptId,
    number: u32,
    kept: &mut AppliedBatch,
    at: Timestamp,
) -> store::Result<()> {
    if number == 1 {
        return Ok(());
    }
    let lost = tx.take_over(attempt, at).await?;
    kept.cancelled.extend(lost.into_iter().map(|(attempt, by)| (by, attempt, late_report::REFUSAL)));
    Ok(())
}

pub async fn keep_part(
    tx: &mut Write<'_>,
    worker: WorkerId,
    attempt: AttemptId,
    part: AttemptBatch,
    kept: &mut AppliedBatch,
    at: Timestamp,
) -> store::Result<()> {
    let is_late = part.before.is_some_and(|(standing, _)| standing == AttemptStanding::Late);
    let senseless = match part.senseless {
        Some(senseless) => senseless,
        None => {
            tx.begin_part().await?;
            match perform_all(tx, worker, attempt, part.deeds, is_late, kept, at).await {
                Ok(()) => return tx.keep_part().await,
                Err(error) if error.is_for_good() => {
                    tx.take_back_part().await?;
                    Contradiction(error.to_string())
                }
                Err(error) => return Err(error),
            }
        }
    };
    let row = tx.attempt(attempt).await?.ok_or(store::Error::NotFound("attempt"))?;
    let infra_failure = Some(InfraFailure::Worker { detail: senseless.to_string() });
    let told = AttemptReport { results: None, artifact: None, infra_failure, bare: false };
    match is_late {
        true => late_report::report(tx, &row, told, at).await?,
        false => kept.due.push(settle::attempt(tx, &row, told, at).await?),
    }
    kept.spoiled.insert(attempt, senseless.to_string());
    Ok(())
}

async fn perform_all(
    tx: &mut Write<'_>,
    worker: WorkerId,
    attempt: AttemptId,
    deeds: Vec<AttemptEvent>,
    is_late: bool,
    kept: &mut AppliedBatch,
    at: Timestamp,
) -> store::Result<()> {
    for deed in deeds {
        match deed {
            AttemptEvent::Accept => accept(tx, worker, attempt, kept, at).await?,
            AttemptEvent::Finished(told) => {
                let row = tx.attempt(attempt).await?.ok_or(store::Error::NotFound("attempt"))?;
                match is_late {
                    true => late_report::report(tx, &row, *told, at).await?,
                    false => kept.due.push(settle::attempt(tx, &row, *told, at).await?),
                }
                failpoint("in-settle");
            }
            AttemptEvent::Decline(reason) => {
                if decline(tx, worker, attempt, &reason, at).await? {
                    kept.due.push(FollowUp::Again);
                }
            }
            AttemptEvent::Started(environment) => tx.put_environment(attempt, &environment).await?,
            AttemptEvent::StepStarted(step, name) => {
                let kind = step_kind(tx, attempt, step).await?;
                tx.start_step(attempt, step, &name, kind, at).await?;
            }
            AttemptEvent::Log(step, log) => tx.commit_log(attempt, step, log).await?,
            AttemptEvent::StepEnded(step, end, duration, warnings) => {
                let result = store::StepResult { end: &end, duration_ms: duration, warnings: &warnings };
                tx.end_step(attempt, step, &result, at).await?;
            }
            // What is told too late decides nothing.
            AttemptEvent::Lock(..) | AttemptEvent::Answer(_) if is_late => {}
            AttemptEvent::Lock(sha256, bytes) => {
                let build = build_of(tx, attempt).await?;
                // Each side has one lock: that of the first run that makes history with it.
                if let Some(pin) = build.pin.filter(|_| build.reason.makes_history()) {
                    tx.lock_pin(pin, sha256, bytes, at).await?;
                }
            }
            AttemptEvent::Answer(text) => {
                let build = build_of(tx, attempt).await?;
                latest::answered(tx, &build, &text, at).await?;
            }
        }
    }
    Ok(())
}

async fn build_of(tx: &mut Write<'_>, attempt: AttemptId) -> store::Result<Build> {
    let row = tx.attempt(attempt).await?.ok_or(store::Error::NotFound("attempt"))?;
    tx.build(row.build).await
}

async fn accept(
    tx: &mut Write<'_>,
    worker: WorkerId,
    attempt: AttemptId,
    kept: &mut AppliedBatch,
    at: Timestamp,
) -> store::Result<()> {
    if let Some(number) = tx.accept_attempt(attempt, worker, at).await? {
        return take_over(tx, attempt, number, kept, at).await;
    }
    let row = tx.attempt(attempt).await?.filter(|row| row.worker == worker);
    if row.is_some_and(|row| row.state != AttemptState::Running) {
        kept.cancelled.push((worker, attempt, "the offer was taken back"));
    }
    Ok(())
}

async fn decline(
    tx: &mut Write<'_>,
    worker: WorkerId,
    attempt: AttemptId,
    reason: &str,
    at: Timestamp,
) -> store::Result<bool> {
    let row =
        tx.attempt(attempt).await?.filter(|row| row.worker == worker && row.state == AttemptState::Offered);
    let Some(row) = row else { return Ok(false) };
    let reason: String = reason.chars().take(1000).collect();
    tx.end_attempt(attempt, AttemptState::Declined, Some(&reason), at).await?;
    dispatch::again(tx, row.build, attempt, Cause::Worker, at).await?;
    Ok(true)
}

/// A step's kind is the recipe's; the one behind its last step is the smoke command, which is no test: without it there
/// is no toolchain.
async fn step_kind(tx: &mut Write<'_>, attempt: AttemptId, step: u16) -> store::Result<StepKind> {
    let recipe = tx.recipe_of(attempt).await?;
    match recipe.steps.get(usize::from(step)) {
        Some(step) => Ok(step.kind),
        None if usize::from(step) == recipe.steps.len() => Ok(StepKind::Install),
        None => Err(store::Error::Conflict("the recipe has no such step")),
    }
}
