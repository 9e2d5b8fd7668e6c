//! Keeps what a worker reports: log bytes into files, events into rows, in one commit, and only then acknowledges.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use domain::results::{CaseList, MAX_CASE_LIST_BYTES, MAX_RESULTS_BYTES, Results, count_repeats};
use domain::words::BuilderKind;
use domain::words::ids::{AttemptId, Timestamp, WorkerId};
use domain::words::states::AttemptState;
use protocol::{Event, FromMaster, InfraFailure, LogFrame, Sha256};
use store::{ObjectKind, StoredObject};

use crate::connection::apply::{
    AppliedBatch, AttemptBatch, AttemptEvent, AttemptStanding, Contradiction, acknowledge, keep_part,
};
use crate::connection::logs::LogFiles;
use crate::farm::failpoint::failpoint;
use crate::farm::{Farm, now};
use crate::settle::late_report;
use crate::settle::{AttemptReport, FollowUp};

/// One thing that a worker said.
pub enum WorkerReport {
    Heartbeat,
    Slots(u32),
    Accept(AttemptId),
    Decline(AttemptId, String),
    Event(AttemptId, u64, Event),
    Log(LogFrame),
}

/// What one connection knows of the attempts that it tells of.
pub struct Intake {
    farm: Farm,
    worker: WorkerId,
    /// Whether it has no sandbox, as it said when it came.
    bare: bool,
    told: BTreeMap<AttemptId, Telling>,
    /// When its last sign of life was written down.
    alive_at: Instant,
    /// Whether it may hold an attempt, whose lease its signs of life extend. Of one that holds none they are only noted
    /// now and then; see `presence.rs`.
    holds: bool,
    logs: LogFiles,
}

/// An attempt as far as it was told.
struct Telling {
    standing: AttemptStanding,
    /// The last event that is kept.
    sequence: u64,
}

/// An attempt was taken from its worker while it told of it. The connection is made anew, and says so.
#[derive(Debug, thiserror::Error)]
#[error("attempt {0} was given to another worker meanwhile")]
pub struct AttemptReassigned(AttemptId);

/// What no worker says that keeps to the protocol.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProtocolViolation(pub String);

/// How many attempts one connection may tell of at once.
const MAX_TELLINGS: usize = 1024;
const MAX_WARNINGS: usize = 100;

impl Intake {
    pub fn new(farm: Farm, worker: WorkerId, bare: bool, holds: bool) -> Intake {
        // Its hello was a sign of life.
        let logs = LogFiles::new(farm.clone());
        Intake { farm, worker, bare, told: BTreeMap::new(), alive_at: Instant::now(), holds, logs }
    }

    /// Keeps a batch for good. The answers are to be sent after it returns.
    pub async fn keep(&mut self, reports: Vec<WorkerReport>) -> Result<Vec<FromMaster>> {
        let at = now();
        self.farm.connections.heard(self.worker, at);
        let mut answers = Vec::new();
        let mut parts: BTreeMap<AttemptId, AttemptBatch> = BTreeMap::new();
        let mut grown: BTreeSet<(AttemptId, u16)> = BTreeSet::new();
        let mut passed_over: BTreeMap<AttemptId, u64> = BTreeMap::new();
        // Whatever it says is a sign of life, but not each needs to be written down.
        let mut alive = self.alive_at.elapsed() > self.farm.config().leases.heartbeat();
        for report in reports {
            let (attempt, sequence, told) = match report {
                WorkerReport::Heartbeat => {
                    alive = true;
                    continue;
                }
                WorkerReport::Slots(slots) => {
                    self.farm.connections.set_slots(self.worker, slots);
                    self.farm.activations.dispatch.notify_one();
                    continue;
                }
                WorkerReport::Accept(attempt) => {
                    parts.entry(attempt).or_default().deeds.push(AttemptEvent::Accept);
                    continue;
                }
                WorkerReport::Decline(attempt, reason) => {
                    parts.entry(attempt).or_default().deeds.push(AttemptEvent::Decline(reason));
                    continue;
                }
                WorkerReport::Event(attempt, sequence, event) => (attempt, sequence, Ok(event)),
                WorkerReport::Log(frame) => (AttemptId(frame.attempt), frame.sequence, Err(frame)),
            };
            let Some(telling) = self.telling(attempt).await? else {
                answers.push(dropped(attempt, "it is not this worker's"));
                continue;
            };
            if telling.standing == AttemptStanding::Over {
                telling.sequence = telling.sequence.max(sequence);
                if passed_over.insert(attempt, telling.sequence).is_none() {
                    answers.push(dropped(attempt, "the farm no longer waits for it"));
                }
                continue;
            }
            let part = parts.entry(attempt).or_default();
            part.before.get_or_insert((telling.standing, telling.sequence));
            if sequence <= telling.sequence || part.senseless.is_some() {
                // Told again after a break; the first time counts.
                continue;
            }
            if sequence != telling.sequence + 1 {
                bail!(ProtocolViolation(format!(
                    "event {sequence} of attempt {attempt} came after {}: one is missing",
                    telling.sequence
                )));
            }
            telling.sequence = sequence;
            let taken = match told {
                Err(frame) => {
                    grown.insert((attempt, frame.step));
                    self.logs.append(attempt, frame.step, &frame.bytes).await
                }
                Ok(event) => self.event(attempt, event, &mut part.deeds, &mut grown).await,
            };
            if let Err(error) = taken {
                part.senseless = Some(error.downcast::<Contradiction>()?);
            }
        }
        for (attempt, step) in grown {
            let part = parts.entry(attempt).or_default();
            if part.senseless.is_none() {
                part.deeds.extend(self.logs.synced(attempt, step)?.map(|row| AttemptEvent::Log(step, row)));
            }
        }

        self.holds |= !parts.is_empty();
        alive &= self.holds;
        let mut acknowledged: BTreeMap<AttemptId, u64> = BTreeMap::new();
        let mut over: BTreeSet<AttemptId> = BTreeSet::new();
        for (&attempt, part) in &parts {
            if part.before.is_some() {
                acknowledged.insert(attempt, self.told[&attempt].sequence);
            }
            if part.deeds.iter().any(|deed| matches!(deed, AttemptEvent::Finished(_))) {
                over.insert(attempt);
            }
        }
        let AppliedBatch { due, spoiled, cancelled, taken, .. } = match parts.is_empty() && !alive {
            true => AppliedBatch::default(),
            false => self.commit(parts, acknowledged.clone(), alive, at).await?,
        };
        self.nudge(&due);
        for (worker, attempt, why) in cancelled {
            self.farm.connections.tell(worker, dropped(attempt, why));
        }
        if let Some(attempt) = taken {
            bail!(AttemptReassigned(attempt));
        }
        answers.extend(
            acknowledged
                .iter()
                .chain(&passed_over)
                .filter(|(attempt, _)| !spoiled.contains_key(attempt))
                .map(|(attempt, &sequence)| FromMaster::Ack { attempt: attempt.0, sequence }),
        );
        self.logs.seal_ended(&spoiled.keys().copied().collect());
        for (attempt, why) in &spoiled {
            tracing::warn!(%attempt, "{why}");
            answers.push(dropped(*attempt, why));
        }
        for attempt in over.iter().chain(spoiled.keys()) {
            self.told.remove(attempt);
            self.logs.forget(*attempt);
        }
        for attempt in acknowledged.keys() {
            if let Some(telling) =
                self.told.get_mut(attempt).filter(|it| it.standing == AttemptStanding::Offered)
            {
                telling.standing = AttemptStanding::Running;
            }
        }
        Ok(answers)
    }

    /// None when the attempt is not this worker's.
    async fn telling(&mut self, attempt: AttemptId) -> Result<Option<&mut Telling>> {
        if !self.told.contains_key(&attempt) {
            let mut glance = self.farm.store.glance().await?;
            let row = glance.read().attempt(attempt).await?;
            let Some(row) = row.filter(|row| row.worker == self.worker) else { return Ok(None) };
            let standing = match row.state {
                AttemptState::Offered => AttemptStanding::Offered,
                AttemptState::Running => AttemptStanding::Running,
                AttemptState::Ended | AttemptState::Declined | AttemptState::Lost => {
                    match late_report::is_wanted(&mut glance.read(), &row).await? {
                        true => AttemptStanding::Late,
                        false => AttemptStanding::Over,
                    }
                }
            };
            if self.told.len() >= MAX_TELLINGS {
                bail!(ProtocolViolation(format!("more than {MAX_TELLINGS} attempts on one connection")));
            }
            self.told.insert(attempt, Telling { standing, sequence: row.sequence });
        }
        Ok(self.told.get_mut(&attempt))
    }

    async fn event(
        &mut self,
        attempt: AttemptId,
        event: Event,
        deeds: &mut Vec<AttemptEvent>,
        grown: &mut BTreeSet<(AttemptId, u16)>,
    ) -> Result<()> {
        match event {
            Event::Started { environment } => deeds.push(AttemptEvent::Started(environment)),
            Event::StepStarted { step, name } => {
                let name = name.chars().take(200).collect();
                deeds.push(AttemptEvent::StepStarted(step, name));
            }
            Event::LogCut { step, bytes, lines } => {
                self.logs.cut(attempt, step, bytes, lines).await?;
                grown.insert((attempt, step));
            }
            Event::StepEnded { step, end, duration_ms, warnings } => {
                grown.remove(&(attempt, step));
                deeds.extend(self.logs.synced(attempt, step)?.map(|row| AttemptEvent::Log(step, row)));
                self.logs.end(attempt, step);
                let warnings = warnings.into_iter().take(MAX_WARNINGS);
                let warnings = warnings.map(|warning| warning.chars().take(1000).collect()).collect();
                deeds.push(AttemptEvent::StepEnded(step, end, duration_ms, warnings));
            }
            Event::Lock { sha256, bytes } => {
                if self.farm.objects.stored(ObjectKind::Lock, &sha256) != (StoredObject::Whole { bytes }) {
                    bail!(Contradiction("its lock was not uploaded whole".into()));
                }
                deeds.push(AttemptEvent::Lock(sha256, bytes));
            }
            Event::Answer { text } => deeds.push(AttemptEvent::Answer(text)),
            Event::Finished { results, artifact, infra_failure } => {
                let told = self.read_objects(results, artifact, infra_failure).await?;
                deeds.push(AttemptEvent::Finished(Box::new(told)));
            }
        }
        Ok(())
    }

    /// Reads what an attempt's last word names. What cannot be read is the worker's trouble, not the change's.
    async fn read_objects(
        &self,
        results: Option<Sha256>,
        artifact: Option<protocol::PackedToolchain>,
        infra_failure: Option<InfraFailure>,
    ) -> Result<AttemptReport> {
        let objects = self.farm.objects.clone();
        let bare = self.bare;
        let told = tokio::task::spawn_blocking(move || {
            let read = || -> Result<Option<(CaseList, Results)>> {
                let Some(sha256) = results else { return Ok(None) };
                let text = objects.text(ObjectKind::Results, &sha256, MAX_RESULTS_BYTES)?;
                let results: Results = serde_json::from_str(&text)?;
                let list = objects.text(ObjectKind::Cases, &results.cases, MAX_CASE_LIST_BYTES)?;
                let list = CaseList::from_text(list)?;
                results.check(&list)?;
                Ok(Some(count_repeats(list, results)))
            };
            let made = artifact.is_none_or(|made| {
                objects.stored(ObjectKind::Artifact, &made.sha256)
                    == StoredObject::Whole { bytes: made.bytes }
            });
            match (infra_failure, read(), made) {
                // What the tests told before the trouble came stands.
                (Some(infra_failure), results, _) => AttemptReport {
                    results: results.ok().flatten(),
                    artifact: None,
                    infra_failure: Some(infra_failure),
                    bare,
                },
                (None, Ok(results), true) => AttemptReport { results, artifact, infra_failure: None, bare },
                (None, Ok(_), false) => {
                    let detail = "its toolchain was not uploaded whole".to_string();
                    AttemptReport {
                        results: None,
                        artifact: None,
                        infra_failure: Some(InfraFailure::Worker { detail }),
                        bare,
                    }
                }
                (None, Err(error), _) => {
                    let detail = format!("its results cannot be read: {error:#}");
                    AttemptReport {
                        results: None,
                        artifact: None,
                        infra_failure: Some(InfraFailure::Worker { detail }),
                        bare,
                    }
                }
            }
        });
        told.await.context("reading the results of an attempt")
    }

    async fn commit(
        &mut self,
        parts: BTreeMap<AttemptId, AttemptBatch>,
        acknowledged: BTreeMap<AttemptId, u64>,
        alive: bool,
        at: Timestamp,
    ) -> Result<AppliedBatch> {
        let (worker, silence) = (self.worker, self.farm.config().leases.silence);
        failpoint("before-commit");
        let tells = !parts.is_empty();
        let kept = self.farm.store.write(move |tx| {
            Box::pin(async move {
                let mut kept = AppliedBatch::default();
                if alive {
                    kept.holds = tx.heartbeat(worker, at + silence, at).await?;
                    let withdrawn = tx.withdraw_offers(worker, at).await?;
                    let first = "its first worker was heard again";
                    kept.cancelled.extend(withdrawn.into_iter().map(|(attempt, by)| (by, attempt, first)));
                }
                for (attempt, part) in parts {
                    let sequence = acknowledged.get(&attempt).copied().unwrap_or(0);
                    match acknowledge(tx, attempt, &part, sequence, &mut kept, at).await {
                        Err(store::Error::Conflict(_)) => {
                            kept.taken = Some(attempt);
                            continue;
                        }
                        done => done?,
                    }
                    keep_part(tx, worker, attempt, part, &mut kept, at).await?;
                }
                Ok(kept)
            })
        });
        let kept = kept.await.context("keeping what a worker reported")?;
        failpoint("after-commit");
        if alive {
            self.alive_at = Instant::now();
            self.holds = kept.holds || tells;
        }
        Ok(kept)
    }

    fn nudge(&self, due: &[FollowUp]) {
        if !due.is_empty() {
            self.farm.activations.dispatch.notify_one();
        }
        // A toolchain lets its suites be asked for. What a decided suite leaves room for, dispatch finds out.
        if due.contains(&FollowUp::Decided(BuilderKind::Toolchain)) {
            self.farm.activations.schedule.notify_one();
        }
        if due.iter().any(|due| matches!(due, FollowUp::Decided(_))) {
            self.farm.activations.search.notify_one();
        }
    }
}

fn dropped(attempt: AttemptId, reason: &str) -> FromMaster {
    FromMaster::Cancel { attempt: attempt.0, reason: reason.to_string() }
}
