//! What a batch of a worker's reports does to the rows, inside the transaction that records it.

use std::collections::BTreeMap;

use domain::words::ids::{AttemptId, Timestamp, WorkerId};
use domain::words::states::AttemptState;
use protocol::{Environment, InfraFailure, Sha256, StepEnd, StepKind};
use store::{Build, LogExtentRow, StepResult, Write};

use crate::connection::fault::Contradiction;
use crate::farm::failpoint::failpoint;
use crate::settle::late_report;
use crate::settle::report::AttemptReport;
use crate::settle::{self, FollowUp, latest};

/// What the farm does with an attempt's events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AttemptStanding {
    /// On offer: a worker that reports events has accepted, even if its Accept was lost.
    Offered,
    Running,
    /// It was taken from this worker, which still reports on it: the reports are recorded, and decide nothing.
    Late,
    /// The farm needs nothing more of it. Its events are acknowledged unread, so that the worker may forget them.
    Over,
}

/// What a batch reports on one attempt. It is recorded as a whole or, if it contradicts itself, not at all.
#[derive(Default)]
pub struct AttemptBatch {
    /// The attempt's standing, and the last event that was recorded before; none if there are no events.
    pub before: Option<(AttemptStanding, u64)>,
    /// In the order in which they were reported.
    pub events: Vec<AttemptEvent>,
    /// By step, how far the logs that have grown are written and synced.
    pub logs: BTreeMap<u16, LogExtentRow>,
    pub contradiction: Option<Contradiction>,
}

pub enum AttemptEvent {
    Accept,
    Decline(String),
    Started(Environment),
    StepStarted { step: u16, name: String },
    StepEnded { step: u16, end: StepEnd, duration_ms: u64, warnings: Vec<String> },
    Lock { sha256: Sha256, bytes: u64 },
    Answer(String),
    Finished(Box<AttemptReport>),
}

/// What followed from recording a batch.
#[derive(Default)]
pub struct AppliedBatch {
    /// Whether the worker held an attempt when its sign of life was recorded.
    pub holds_attempts: bool,
    pub due: Vec<FollowUp>,
    /// Attempts that ended because their reports contradict each other, and how.
    pub contradicted: BTreeMap<AttemptId, String>,
    /// Attempts that were taken from a worker, which must get a cancel, and why.
    pub cancelled: Vec<(WorkerId, AttemptId, &'static str)>,
    /// An attempt that nothing was recorded of, since it was taken from its worker meanwhile.
    pub reassigned: Option<AttemptId>,
}

/// Records one batch in a transaction.
pub struct BatchWriter<'t, 'c> {
    tx: &'t mut Write<'c>,
    worker: WorkerId,
    at: Timestamp,
    applied: AppliedBatch,
}

impl<'t, 'c> BatchWriter<'t, 'c> {
    pub fn new(tx: &'t mut Write<'c>, worker: WorkerId, at: Timestamp) -> BatchWriter<'t, 'c> {
        BatchWriter { tx, worker, at, applied: AppliedBatch::default() }
    }

    pub fn finish(self) -> AppliedBatch {
        self.applied
    }

    pub async fn record_sign_of_life(&mut self, lease_until: Timestamp) -> store::Result<()> {
        self.applied.holds_attempts = self.tx.heartbeat(self.worker, lease_until, self.at).await?;
        let withdrawn = self.tx.withdraw_offers(self.worker, self.at).await?;
        let why = "the first worker of this build reports again";
        self.applied.cancelled.extend(withdrawn.into_iter().map(|(attempt, by)| (by, attempt, why)));
        Ok(())
    }

    /// Records what a batch reports on one attempt, up to the event with this sequence number.
    pub async fn record(
        &mut self,
        attempt: AttemptId,
        batch: AttemptBatch,
        sequence: u64,
    ) -> store::Result<()> {
        match self.acknowledge(attempt, batch.before, sequence).await {
            Err(store::Error::Conflict(_)) => {
                self.applied.reassigned = Some(attempt);
                Ok(())
            }
            Err(error) => Err(error),
            Ok(()) => self.record_or_end(attempt, batch).await,
        }
    }

    /// Advances an attempt's sequence number. A conflict means that the attempt was taken from its worker meanwhile.
    async fn acknowledge(
        &mut self,
        attempt: AttemptId,
        before: Option<(AttemptStanding, u64)>,
        sequence: u64,
    ) -> store::Result<()> {
        let Some((standing, before)) = before else { return Ok(()) };
        if before == sequence {
            return Ok(());
        }
        match standing {
            AttemptStanding::Late => self.tx.acknowledge_late(attempt, before, sequence).await,
            AttemptStanding::Running => {
                self.tx.acknowledge(attempt, before, sequence, self.at).await.map(drop)
            }
            AttemptStanding::Offered | AttemptStanding::Over => {
                let number = self.tx.acknowledge(attempt, before, sequence, self.at).await?;
                self.take_over(attempt, number).await
            }
        }
    }

    /// Takes a build from the silent worker that had it before. The first attempt has no such worker.
    async fn take_over(&mut self, attempt: AttemptId, number: u32) -> store::Result<()> {
        if number == 1 {
            return Ok(());
        }
        let lost = self.tx.take_over(attempt, self.at).await?;
        let lost = lost.into_iter().map(|(attempt, by)| (by, attempt, late_report::REFUSAL));
        self.applied.cancelled.extend(lost);
        Ok(())
    }

    /// Records all of the reports or, if they contradict each other or the rows, ends the attempt.
    async fn record_or_end(&mut self, attempt: AttemptId, batch: AttemptBatch) -> store::Result<()> {
        let is_late = batch.before.is_some_and(|(standing, _)| standing == AttemptStanding::Late);
        let contradiction = match batch.contradiction {
            Some(contradiction) => contradiction,
            None => {
                self.tx.begin_savepoint().await?;
                match self.record_all(attempt, batch.events, batch.logs, is_late).await {
                    Ok(()) => return self.tx.release_savepoint().await,
                    Err(error) if error.is_for_good() => {
                        self.tx.roll_back_savepoint().await?;
                        Contradiction(error.to_string())
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let detail = contradiction.to_string();
        let infra_failure = Some(InfraFailure::Worker { detail: detail.clone() });
        let report = AttemptReport { results: None, artifact: None, infra_failure, bare: false };
        self.finish_attempt(attempt, report, is_late).await?;
        self.applied.contradicted.insert(attempt, detail);
        Ok(())
    }

    async fn record_all(
        &mut self,
        attempt: AttemptId,
        events: Vec<AttemptEvent>,
        mut logs: BTreeMap<u16, LogExtentRow>,
        is_late: bool,
    ) -> store::Result<()> {
        for event in events {
            // A step's log is committed before the end of its step.
            if let AttemptEvent::StepEnded { step, .. } = event
                && let Some(log) = logs.remove(&step)
            {
                self.tx.commit_log(attempt, step, log).await?;
            }
            self.record_event(attempt, event, is_late).await?;
        }
        for (step, log) in logs {
            self.tx.commit_log(attempt, step, log).await?;
        }
        Ok(())
    }

    async fn record_event(
        &mut self,
        attempt: AttemptId,
        event: AttemptEvent,
        is_late: bool,
    ) -> store::Result<()> {
        let at = self.at;
        match event {
            AttemptEvent::Accept => self.accept(attempt).await,
            AttemptEvent::Decline(reason) => self.decline(attempt, &reason).await,
            AttemptEvent::Started(environment) => self.tx.put_environment(attempt, &environment).await,
            AttemptEvent::StepStarted { step, name } => {
                let kind = step_kind(self.tx, attempt, step).await?;
                self.tx.start_step(attempt, step, &name, kind, at).await
            }
            AttemptEvent::StepEnded { step, end, duration_ms, warnings } => {
                let result = StepResult { end: &end, duration_ms, warnings: &warnings };
                self.tx.end_step(attempt, step, &result, at).await
            }
            AttemptEvent::Finished(report) => {
                self.finish_attempt(attempt, *report, is_late).await?;
                failpoint("in-settle");
                Ok(())
            }
            // What comes too late decides nothing.
            AttemptEvent::Lock { .. } | AttemptEvent::Answer(_) if is_late => Ok(()),
            AttemptEvent::Lock { sha256, bytes } => {
                let build = build_of(self.tx, attempt).await?;
                // Project inputs have one lock: that of the first run that makes history with them.
                match build.pin.filter(|_| build.reason.makes_history()) {
                    Some(pin) => self.tx.lock_pin(pin, sha256, bytes, at).await,
                    None => Ok(()),
                }
            }
            AttemptEvent::Answer(text) => {
                let build = build_of(self.tx, attempt).await?;
                latest::record_answer(self.tx, &build, &text, at).await
            }
        }
    }

    async fn finish_attempt(
        &mut self,
        attempt: AttemptId,
        report: AttemptReport,
        is_late: bool,
    ) -> store::Result<()> {
        let row = self.tx.attempt(attempt).await?.ok_or(store::Error::NotFound("attempt"))?;
        match is_late {
            true => late_report::record_late_report(self.tx, &row, report, self.at).await?,
            false => self.applied.due.push(settle::settle_report(self.tx, &row, report, self.at).await?),
        }
        Ok(())
    }

    async fn accept(&mut self, attempt: AttemptId) -> store::Result<()> {
        if let Some(number) = self.tx.accept_attempt(attempt, self.worker, self.at).await? {
            return self.take_over(attempt, number).await;
        }
        let row = self.tx.attempt(attempt).await?.filter(|row| row.worker == self.worker);
        if row.is_some_and(|row| row.state != AttemptState::Running) {
            self.applied.cancelled.push((self.worker, attempt, "the offer was withdrawn"));
        }
        Ok(())
    }

    async fn decline(&mut self, attempt: AttemptId, reason: &str) -> store::Result<()> {
        let row = self.tx.attempt(attempt).await?;
        let row = row.filter(|row| row.worker == self.worker && row.state == AttemptState::Offered);
        let Some(row) = row else { return Ok(()) };
        let reason: String = reason.chars().take(1000).collect();
        settle::settle_decline(self.tx, &row, reason, self.at).await?;
        self.applied.due.push(FollowUp::Undecided);
        Ok(())
    }
}

async fn build_of(tx: &mut Write<'_>, attempt: AttemptId) -> store::Result<Build> {
    let row = tx.attempt(attempt).await?.ok_or(store::Error::NotFound("attempt"))?;
    tx.build(row.build).await
}

/// The recipe decides a step's kind. The step after its last one is the smoke command, which is not a test: without it
/// there is no toolchain.
async fn step_kind(tx: &mut Write<'_>, attempt: AttemptId, step: u16) -> store::Result<StepKind> {
    let recipe = tx.recipe_of(attempt).await?;
    match recipe.steps.get(usize::from(step)) {
        Some(step) => Ok(step.kind),
        None if usize::from(step) == recipe.steps.len() => Ok(StepKind::Install),
        None => Err(store::Error::Conflict("the recipe has no such step")),
    }
}
