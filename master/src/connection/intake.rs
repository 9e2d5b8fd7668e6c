//! Records what a worker reports: log bytes into files, events into rows, in one commit, and only then acknowledges.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use domain::progress::{Throttle, sentence};
use domain::results::{CaseList, MAX_CASE_LIST_BYTES, MAX_RESULTS_BYTES, Results, count_repeats};
use domain::words::BuilderKind;
use domain::words::ids::{AttemptId, Timestamp, WorkerId};
use protocol::{
    Event, FetchProgress, FromMaster, InfraFailure, LogFrame, PackedToolchain, Sha256, WorkerTerms,
};
use store::{ObjectKind, ObjectStore, StoredObject};

use crate::connection::apply::{AppliedBatch, AttemptBatch, AttemptEvent, AttemptStanding, BatchWriter};
use crate::connection::fault::{Contradiction, ProtocolViolation, Reconnect};
use crate::connection::logs::LogFiles;
use crate::farm::failpoint::failpoint;
use crate::farm::{Farm, now};
use crate::settle::report::AttemptReport;
use crate::settle::{FollowUp, late_report};

/// One message of a worker.
pub enum WorkerReport {
    Heartbeat,
    Slots(u32),
    /// Why its owner has paused it, and until when; none when it works again.
    Pause(Option<(String, Option<Timestamp>)>),
    /// What its owner allows.
    Terms(WorkerTerms),
    Accept(AttemptId),
    Decline(AttemptId, String),
    Progress(AttemptId, FetchProgress),
    Event(AttemptId, u64, Event),
    Log(LogFrame),
}

/// What an owner decides about the own machine, to be recorded.
enum OwnersWord {
    Slots(u32),
    Pause(Option<(String, Option<Timestamp>)>),
    /// None where everything is allowed.
    Terms(Option<WorkerTerms>),
}

/// The state of one connection: the attempts that it reports on, and their logs.
pub struct Intake {
    farm: Farm,
    worker: WorkerId,
    /// Whether the worker has no sandbox, as its hello says.
    bare: bool,
    attempts: BTreeMap<AttemptId, Progress>,
    /// When the worker's last sign of life was recorded.
    sign_of_life_at: Instant,
    /// Whether the worker may hold an attempt, whose lease its signs of life extend. Those of a worker that holds none are
    /// recorded only now and then; see `presence.rs`.
    holds_attempts: bool,
    logs: LogFiles,
    /// When a progress may be recorded: each one that is makes pages look again.
    progress_throttle: Throttle,
}

/// How far an attempt is reported.
struct Progress {
    standing: AttemptStanding,
    /// The last event that is recorded.
    sequence: u64,
}

/// A batch as it was read, before any of it is recorded.
#[derive(Default)]
struct IncomingBatch {
    attempts: BTreeMap<AttemptId, AttemptBatch>,
    /// Attempts that are over, with the last event that is acknowledged unread.
    skipped: BTreeMap<AttemptId, u64>,
    /// Attempts that the worker must drop.
    answers: Vec<FromMaster>,
    has_sign_of_life: bool,
    /// How far attempts have fetched what they need.
    progress: BTreeMap<AttemptId, FetchProgress>,
}

/// What a numbered message of an attempt carries.
enum Numbered {
    Event(Event),
    Log { step: u16, text: Vec<u8> },
}

/// How many attempts one connection may report on at once.
const MAX_ATTEMPTS: usize = 1024;
const MAX_WARNINGS: usize = 100;

impl Intake {
    pub fn new(farm: Farm, worker: WorkerId, bare: bool, holds_attempts: bool) -> Intake {
        let logs = LogFiles::new(farm.clone());
        // The hello was a sign of life.
        let sign_of_life_at = Instant::now();
        Intake {
            farm,
            worker,
            bare,
            attempts: BTreeMap::new(),
            sign_of_life_at,
            holds_attempts,
            logs,
            progress_throttle: Throttle::default(),
        }
    }

    /// Records a batch for good. The answers are to be sent after it returns.
    pub async fn record(&mut self, reports: Vec<WorkerReport>) -> Result<Vec<FromMaster>> {
        let at = now();
        self.farm.connections.record_seen(self.worker, at);
        let mut batch = self.read(reports).await?;
        for ((attempt, step), log) in self.logs.write().await? {
            batch.attempts.entry(attempt).or_default().logs.insert(step, log);
        }
        self.holds_attempts |= !batch.attempts.is_empty();
        batch.has_sign_of_life &= self.holds_attempts;

        let IncomingBatch { attempts, skipped, mut answers, has_sign_of_life, progress } = batch;
        self.record_progress(progress, at).await?;
        let acknowledged = self.acknowledged(&attempts);
        let finished: BTreeSet<AttemptId> =
            attempts.iter().filter(|(_, batch)| is_finished(batch)).map(|(&attempt, _)| attempt).collect();
        let applied = match attempts.is_empty() && !has_sign_of_life {
            true => AppliedBatch::default(),
            false => self.commit(attempts, acknowledged.clone(), has_sign_of_life, at).await?,
        };
        let AppliedBatch { due, contradicted, cancelled, reassigned, .. } = applied;
        self.activate(&due);
        for (worker, attempt, why) in cancelled {
            self.farm.connections.send(worker, cancel(attempt, why));
        }
        if let Some(attempt) = reassigned {
            bail!(Reconnect::AttemptReassigned(attempt));
        }
        let sequences = acknowledged.iter().chain(&skipped);
        let acks = sequences.filter(|(attempt, _)| !contradicted.contains_key(attempt));
        answers.extend(acks.map(|(attempt, &sequence)| FromMaster::Ack { attempt: attempt.0, sequence }));
        for (attempt, why) in &contradicted {
            tracing::warn!(worker = %self.worker, %attempt, "attempt ended: {why}");
            answers.push(cancel(*attempt, why));
        }
        self.settle(&acknowledged, &finished, &contradicted.into_keys().collect());
        Ok(answers)
    }

    /// Reads a batch in the order of its messages. Log bytes are written later, all of them together.
    async fn read(&mut self, reports: Vec<WorkerReport>) -> Result<IncomingBatch> {
        // Every message is a sign of life, but not each of them needs to be recorded.
        let has_sign_of_life = self.sign_of_life_at.elapsed() > self.farm.config().leases.heartbeat();
        let mut batch = IncomingBatch { has_sign_of_life, ..IncomingBatch::default() };
        for report in reports {
            match report {
                WorkerReport::Heartbeat => batch.has_sign_of_life = true,
                WorkerReport::Slots(slots) => {
                    self.farm.connections.set_slots(self.worker, slots);
                    self.record_owners_word(OwnersWord::Slots(slots)).await?;
                    self.farm.activations.dispatch.notify_one();
                }
                WorkerReport::Pause(pause) => self.record_owners_word(OwnersWord::Pause(pause)).await?,
                WorkerReport::Terms(terms) => {
                    let kept = Some(terms.clone()).filter(|terms| *terms != WorkerTerms::default());
                    self.record_owners_word(OwnersWord::Terms(kept)).await?;
                    self.farm.connections.set_terms(self.worker, terms);
                    self.farm.activations.dispatch.notify_one();
                }
                WorkerReport::Accept(attempt) => {
                    batch.attempts.entry(attempt).or_default().events.push(AttemptEvent::Accept);
                }
                WorkerReport::Decline(attempt, reason) => {
                    batch.attempts.entry(attempt).or_default().events.push(AttemptEvent::Decline(reason));
                }
                WorkerReport::Progress(attempt, progress) => drop(batch.progress.insert(attempt, progress)),
                WorkerReport::Event(attempt, sequence, event) => {
                    self.read_numbered(&mut batch, attempt, sequence, Numbered::Event(event)).await?;
                }
                WorkerReport::Log(LogFrame { attempt, sequence, step, bytes: text }) => {
                    let log = Numbered::Log { step, text };
                    self.read_numbered(&mut batch, AttemptId(attempt), sequence, log).await?;
                }
            }
        }
        Ok(batch)
    }

    /// Records what an owner decides about the own machine.
    async fn record_owners_word(&self, word: OwnersWord) -> Result<()> {
        let (worker, at) = (self.worker, now());
        let recorded = self.farm.store.write(move |tx| {
            Box::pin(async move {
                match word {
                    OwnersWord::Slots(slots) => tx.put_slots(worker, slots, at).await,
                    OwnersWord::Pause(pause) => {
                        let pause = pause.as_ref().map(|(reason, until)| (reason.as_str(), *until));
                        tx.put_pause(worker, pause, at).await
                    }
                    OwnersWord::Terms(terms) => tx.put_terms(worker, terms.as_ref(), at).await,
                }
            })
        });
        recorded.await.context("recording what a worker's owner decided")
    }

    /// Nothing of it is acknowledged, and nothing depends on it: what comes too often is dropped.
    async fn record_progress(
        &mut self,
        progress: BTreeMap<AttemptId, FetchProgress>,
        at: Timestamp,
    ) -> Result<()> {
        if progress.is_empty()
            || !self.progress_throttle.admits(Duration::from_millis(u64::try_from(at.0).unwrap_or(0)))
        {
            return Ok(());
        }
        let worker = self.worker;
        let recorded = self.farm.store.write(move |tx| {
            Box::pin(async move {
                for (attempt, progress) in &progress {
                    tx.put_attempt_progress(*attempt, worker, &sentence(progress), at).await?;
                }
                Ok(())
            })
        });
        recorded.await.context("recording how far a worker has fetched")
    }

    async fn read_numbered(
        &mut self,
        batch: &mut IncomingBatch,
        attempt: AttemptId,
        sequence: u64,
        content: Numbered,
    ) -> Result<()> {
        let Some(progress) = self.progress(attempt).await? else {
            batch.answers.push(cancel(attempt, "it is not this worker's"));
            return Ok(());
        };
        if progress.standing == AttemptStanding::Over {
            progress.sequence = progress.sequence.max(sequence);
            if batch.skipped.insert(attempt, progress.sequence).is_none() {
                batch.answers.push(cancel(attempt, "the farm no longer waits for it"));
            }
            return Ok(());
        }
        let of_attempt = batch.attempts.entry(attempt).or_default();
        of_attempt.before.get_or_insert((progress.standing, progress.sequence));
        // What is repeated after a reconnect was recorded the first time.
        if sequence <= progress.sequence || of_attempt.contradiction.is_some() {
            return Ok(());
        }
        if sequence != progress.sequence + 1 {
            bail!(ProtocolViolation(format!(
                "event {sequence} of attempt {attempt} came after {}: one is missing",
                progress.sequence
            )));
        }
        progress.sequence = sequence;
        let read = match content {
            Numbered::Log { step, text } => self.logs.append(attempt, step, text).await,
            Numbered::Event(event) => self.read_event(attempt, event, &mut of_attempt.events).await,
        };
        if let Err(error) = read {
            of_attempt.contradiction = Some(error.downcast::<Contradiction>()?);
            // Nothing of this batch is recorded of the attempt, so nothing of it needs to be written.
            self.logs.close(attempt);
        }
        Ok(())
    }

    /// None if the attempt is not this worker's.
    async fn progress(&mut self, attempt: AttemptId) -> Result<Option<&mut Progress>> {
        if !self.attempts.contains_key(&attempt) {
            let mut glance = self.farm.store.latest().await?;
            let row = glance.read().attempt(attempt).await?;
            let Some(row) = row.filter(|row| row.worker == self.worker) else { return Ok(None) };
            let standing = match row.state.as_str() {
                "offered" => AttemptStanding::Offered,
                "running" => AttemptStanding::Running,
                _ if late_report::is_wanted(&mut glance.read(), &row).await? => AttemptStanding::Late,
                _ => AttemptStanding::Over,
            };
            if self.attempts.len() >= MAX_ATTEMPTS {
                bail!(ProtocolViolation(format!("more than {MAX_ATTEMPTS} attempts on one connection")));
            }
            self.attempts.insert(attempt, Progress { standing, sequence: row.sequence });
        }
        Ok(self.attempts.get_mut(&attempt))
    }

    async fn read_event(
        &mut self,
        attempt: AttemptId,
        event: Event,
        events: &mut Vec<AttemptEvent>,
    ) -> Result<()> {
        events.push(match event {
            Event::Started { environment } => AttemptEvent::Started(environment),
            Event::StepStarted { step, name } => {
                AttemptEvent::StepStarted { step, name: name.chars().take(200).collect() }
            }
            Event::LogTruncated { step, bytes, lines } => {
                return self.logs.omit(attempt, step, bytes, lines).await;
            }
            Event::StepEnded { step, end, duration_ms, warnings } => {
                self.logs.end(attempt, step);
                let warnings = warnings.into_iter().take(MAX_WARNINGS);
                let warnings = warnings.map(|warning| warning.chars().take(1000).collect()).collect();
                AttemptEvent::StepEnded { step, end, duration_ms, warnings }
            }
            Event::Lock { sha256, bytes } => {
                let objects = self.farm.objects.clone();
                // On a thread that may block: the disk may be slow.
                let stored = tokio::task::spawn_blocking(move || objects.stored(ObjectKind::Lock, &sha256));
                if stored.await? != (StoredObject::Whole { bytes }) {
                    bail!(Contradiction("its lock was not uploaded completely".into()));
                }
                AttemptEvent::Lock { sha256, bytes }
            }
            Event::Answer { text } => AttemptEvent::Answer(text),
            Event::Finished { results, artifact, infra_failure } => {
                let objects = self.farm.objects.clone();
                let finished = FinishedAttempt { results, artifact, infra_failure, bare: self.bare };
                // On a thread that may block: results take up to 64 MiB to read, unpack and check.
                let report = tokio::task::spawn_blocking(move || finished.read(&objects)).await;
                AttemptEvent::Finished(Box::new(report.context("reading the results of an attempt")?))
            }
        });
        Ok(())
    }

    /// The last event of each attempt that this batch records.
    fn acknowledged(&self, attempts: &BTreeMap<AttemptId, AttemptBatch>) -> BTreeMap<AttemptId, u64> {
        let with_events = attempts.iter().filter(|(_, batch)| batch.before.is_some());
        with_events.map(|(&attempt, _)| (attempt, self.attempts[&attempt].sequence)).collect()
    }

    async fn commit(
        &mut self,
        attempts: BTreeMap<AttemptId, AttemptBatch>,
        acknowledged: BTreeMap<AttemptId, u64>,
        has_sign_of_life: bool,
        at: Timestamp,
    ) -> Result<AppliedBatch> {
        let (worker, lease_until) = (self.worker, at + self.farm.config().leases.silence);
        failpoint("before-commit");
        let has_attempts = !attempts.is_empty();
        let applied = self.farm.store.write(move |tx| {
            Box::pin(async move {
                let mut writer = BatchWriter::new(tx, worker, at);
                if has_sign_of_life {
                    writer.record_sign_of_life(lease_until).await?;
                }
                for (attempt, batch) in attempts {
                    let sequence = acknowledged.get(&attempt).copied().unwrap_or(0);
                    writer.record(attempt, batch, sequence).await?;
                }
                Ok(writer.finish())
            })
        });
        let applied = applied.await.context("recording what a worker reported")?;
        failpoint("after-commit");
        if has_sign_of_life {
            self.sign_of_life_at = Instant::now();
            self.holds_attempts = applied.holds_attempts || has_attempts;
        }
        Ok(applied)
    }

    fn activate(&self, due: &[FollowUp]) {
        if !due.is_empty() {
            self.farm.activations.dispatch.notify_one();
        }
        // A toolchain makes its suites due. Dispatch itself finds the slot that a decided suite frees.
        if due.contains(&FollowUp::Decided(BuilderKind::Toolchain)) {
            self.farm.activations.schedule.notify_one();
        }
        if due.iter().any(|due| matches!(due, FollowUp::Decided(_))) {
            self.farm.activations.search.notify_one();
        }
    }

    /// Forgets the attempts that have ended; the others run.
    fn settle(
        &mut self,
        acknowledged: &BTreeMap<AttemptId, u64>,
        finished: &BTreeSet<AttemptId>,
        contradicted: &BTreeSet<AttemptId>,
    ) {
        self.logs.seal_ended(contradicted);
        for attempt in finished.union(contradicted) {
            self.attempts.remove(attempt);
            self.logs.close(*attempt);
        }
        for attempt in acknowledged.keys() {
            let progress = self.attempts.get_mut(attempt);
            if let Some(progress) = progress.filter(|it| it.standing == AttemptStanding::Offered) {
                progress.standing = AttemptStanding::Running;
            }
        }
    }
}

/// The last event of an attempt, which names what was uploaded before it.
struct FinishedAttempt {
    results: Option<Sha256>,
    artifact: Option<PackedToolchain>,
    infra_failure: Option<InfraFailure>,
    bare: bool,
}

impl FinishedAttempt {
    /// Reads the objects that it names. What cannot be read is the worker's failure, and not the change's. It blocks.
    fn read(self, objects: &ObjectStore) -> AttemptReport {
        let FinishedAttempt { results, artifact, infra_failure, bare } = self;
        let is_uploaded = artifact.is_none_or(|made| {
            objects.stored(ObjectKind::Artifact, &made.sha256) == StoredObject::Whole { bytes: made.bytes }
        });
        let failed = |detail| AttemptReport {
            results: None,
            artifact: None,
            infra_failure: Some(InfraFailure::Worker { detail }),
            bare,
        };
        match (infra_failure, read_results(objects, results), is_uploaded) {
            // What the tests reported before the failure is valid.
            (Some(infra_failure), results, _) => AttemptReport {
                results: results.ok().flatten(),
                artifact: None,
                infra_failure: Some(infra_failure),
                bare,
            },
            (None, Ok(results), true) => AttemptReport { results, artifact, infra_failure: None, bare },
            (None, Ok(_), false) => failed("its toolchain was not uploaded completely".to_string()),
            (None, Err(error), _) => failed(format!("its results cannot be read: {error:#}")),
        }
    }
}

fn read_results(objects: &ObjectStore, sha256: Option<Sha256>) -> Result<Option<(CaseList, Results)>> {
    let Some(sha256) = sha256 else { return Ok(None) };
    let text = objects.text(ObjectKind::Results, &sha256, MAX_RESULTS_BYTES)?;
    let results: Results = serde_json::from_str(&text)?;
    let list = objects.text(ObjectKind::Cases, &results.cases, MAX_CASE_LIST_BYTES)?;
    let list = CaseList::from_text(list)?;
    results.check(&list)?;
    Ok(Some(count_repeats(list, results)))
}

fn is_finished(batch: &AttemptBatch) -> bool {
    batch.events.iter().any(|event| matches!(event, AttemptEvent::Finished(_)))
}

fn cancel(attempt: AttemptId, reason: &str) -> FromMaster {
    FromMaster::Cancel { attempt: attempt.0, reason: reason.to_string() }
}
