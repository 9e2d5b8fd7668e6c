//! Keeps what a worker reports: log bytes into files, events into rows, in one commit, and only then acknowledges.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use domain::ids::{AttemptId, Timestamp, WorkerId};
use domain::results::{CaseList, MAX_CASE_LIST_BYTES, MAX_RESULTS_BYTES, Results};
use domain::words::BuilderKind;
use protocol::{Event, FromMaster, LogFrame, Sha256, Trouble};
use store::log::{self, Extent, Writer};
use store::{Kind, LogRow, Stored};

use crate::failpoint::failpoint;
use crate::farm::{Farm, now};
use crate::keep::{Deed, Kept, Part, Senseless, Standing, acknowledge, keep_part};
use crate::late;
use crate::settle::{Due, Told};

/// One thing that a worker said.
pub enum Report {
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
    /// Logs of steps that ended, to be sealed once their end is committed.
    ended: Vec<(AttemptId, u16, LogRow)>,
}

/// An attempt as far as it was told.
struct Telling {
    standing: Standing,
    /// The last event that is kept.
    sequence: u64,
    logs: BTreeMap<u16, OpenLog>,
}

struct OpenLog {
    writer: Writer,
    row: LogRow,
}

/// An attempt was taken from its worker while it told of it. The connection is made anew, and says so.
#[derive(Debug, thiserror::Error)]
#[error("attempt {0} was given to another worker meanwhile")]
pub struct TakenAway(AttemptId);

/// What no worker says that keeps to the protocol.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Improper(String);

/// How many attempts one connection may tell of at once, and steps of one with open logs.
const MAX_TELLINGS: usize = 1024;
const MAX_LOGS: usize = 128;
const MAX_WARNINGS: usize = 100;

impl Intake {
    pub fn new(farm: Farm, worker: WorkerId, bare: bool) -> Intake {
        // Its hello was a sign of life.
        Intake { farm, worker, bare, told: BTreeMap::new(), alive_at: Instant::now(), ended: Vec::new() }
    }

    /// Keeps a batch for good. The answers are to be sent after it returns.
    pub async fn keep(&mut self, reports: Vec<Report>) -> Result<Vec<FromMaster>> {
        let at = now();
        let mut answers = Vec::new();
        let mut parts: BTreeMap<AttemptId, Part> = BTreeMap::new();
        let mut grown: BTreeSet<(AttemptId, u16)> = BTreeSet::new();
        let mut passed_over: BTreeMap<AttemptId, u64> = BTreeMap::new();
        // Whatever it says is a sign of life, but not each needs to be written down.
        let mut alive = self.alive_at.elapsed() > self.farm.config().leases.heartbeat();
        for report in reports {
            let (attempt, sequence, told) = match report {
                Report::Heartbeat => {
                    alive = true;
                    continue;
                }
                Report::Slots(slots) => {
                    self.farm.hub.set_slots(self.worker, slots);
                    self.farm.nudges.dispatch.notify_one();
                    continue;
                }
                Report::Accept(attempt) => {
                    parts.entry(attempt).or_default().deeds.push(Deed::Accept);
                    continue;
                }
                Report::Decline(attempt, reason) => {
                    parts.entry(attempt).or_default().deeds.push(Deed::Decline(reason));
                    continue;
                }
                Report::Event(attempt, sequence, event) => (attempt, sequence, Ok(event)),
                Report::Log(frame) => (AttemptId(frame.attempt), frame.sequence, Err(frame)),
            };
            let Some(telling) = self.telling(attempt).await? else {
                answers.push(dropped(attempt, "it is not this worker's"));
                continue;
            };
            if telling.standing == Standing::Over {
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
                bail!(Improper(format!(
                    "event {sequence} of attempt {attempt} came after {}: one is missing",
                    telling.sequence
                )));
            }
            telling.sequence = sequence;
            let taken = match told {
                Err(frame) => {
                    grown.insert((attempt, frame.step));
                    self.append(attempt, &frame).await
                }
                Ok(event) => self.event(attempt, event, &mut part.deeds, &mut grown).await,
            };
            if let Err(error) = taken {
                part.senseless = Some(error.downcast::<Senseless>()?);
            }
        }
        for (attempt, step) in grown {
            let part = parts.entry(attempt).or_default();
            if part.senseless.is_none() {
                part.deeds.extend(self.synced(attempt, step)?);
            }
        }

        let mut acknowledged: BTreeMap<AttemptId, u64> = BTreeMap::new();
        let mut over: BTreeSet<AttemptId> = BTreeSet::new();
        for (&attempt, part) in &parts {
            if part.before.is_some() {
                acknowledged.insert(attempt, self.told[&attempt].sequence);
            }
            if part.deeds.iter().any(|deed| matches!(deed, Deed::Finished(_))) {
                over.insert(attempt);
            }
        }
        let Kept { due, spoiled, cancelled } = match parts.is_empty() && !alive {
            true => Kept::default(),
            false => self.commit(parts, acknowledged.clone(), alive, at).await?,
        };
        self.nudge(&due);
        for (worker, attempt, why) in cancelled {
            self.farm.hub.tell(worker, dropped(attempt, why));
        }
        answers.extend(
            acknowledged
                .iter()
                .chain(&passed_over)
                .filter(|(attempt, _)| !spoiled.contains_key(attempt))
                .map(|(attempt, &sequence)| FromMaster::Ack { attempt: attempt.0, sequence }),
        );
        for (attempt, step, log) in self.ended.drain(..) {
            if !spoiled.contains_key(&attempt) {
                seal_later(self.farm.clone(), attempt, step, log);
            }
        }
        for (attempt, why) in &spoiled {
            tracing::warn!(%attempt, "{why}");
            answers.push(dropped(*attempt, why));
        }
        for attempt in over.iter().chain(spoiled.keys()) {
            self.told.remove(attempt);
        }
        for attempt in acknowledged.keys() {
            if let Some(telling) = self.told.get_mut(attempt).filter(|it| it.standing == Standing::Offered) {
                telling.standing = Standing::Running;
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
            let standing = match row.state.as_str() {
                "offered" => Standing::Offered,
                "running" => Standing::Running,
                _ if late::is_wanted(&mut glance.read(), &row).await? => Standing::Late,
                _ => Standing::Over,
            };
            if self.told.len() >= MAX_TELLINGS {
                bail!(Improper(format!("more than {MAX_TELLINGS} attempts on one connection")));
            }
            self.told.insert(attempt, Telling { standing, sequence: row.sequence, logs: BTreeMap::new() });
        }
        Ok(self.told.get_mut(&attempt))
    }

    async fn append(&mut self, attempt: AttemptId, frame: &LogFrame) -> Result<()> {
        let log = self.log(attempt, frame.step).await?;
        let extent = log.writer.append(&frame.bytes).context("writing a log")?;
        log.row = row(extent, log.row.cut_bytes);
        Ok(())
    }

    async fn event(
        &mut self,
        attempt: AttemptId,
        event: Event,
        deeds: &mut Vec<Deed>,
        grown: &mut BTreeSet<(AttemptId, u16)>,
    ) -> Result<()> {
        match event {
            Event::Started { environment } => deeds.push(Deed::Started(environment)),
            Event::StepStarted { step, name } => {
                let name = name.chars().take(200).collect();
                deeds.push(Deed::StepStarted(step, name));
            }
            Event::LogCut { step, bytes, lines } => {
                let log = self.log(attempt, step).await?;
                let extent = log.writer.cut(bytes, lines).context("writing a log")?;
                log.row = row(extent, log.row.cut_bytes.saturating_add(bytes));
                grown.insert((attempt, step));
            }
            Event::StepEnded { step, end, duration_ms, warnings } => {
                grown.remove(&(attempt, step));
                deeds.extend(self.synced(attempt, step)?);
                if let Some(log) = self.told.get_mut(&attempt).and_then(|telling| telling.logs.remove(&step))
                {
                    drop(log.writer);
                    self.ended.push((attempt, step, log.row));
                }
                let warnings = warnings.into_iter().take(MAX_WARNINGS);
                let warnings = warnings.map(|warning| warning.chars().take(1000).collect()).collect();
                deeds.push(Deed::StepEnded(step, end, duration_ms, warnings));
            }
            Event::Finished { results, artifact, trouble } => {
                let told = self.read_objects(results, artifact, trouble).await?;
                deeds.push(Deed::Finished(Box::new(told)));
            }
        }
        Ok(())
    }

    async fn log(&mut self, attempt: AttemptId, step: u16) -> Result<&mut OpenLog> {
        let known = self.told.get(&attempt).is_some_and(|telling| telling.logs.contains_key(&step));
        if !known {
            let steps = self.farm.store.glance().await?.read().steps(attempt).await?;
            let known = steps.into_iter().find(|row| row.position == step);
            if known.as_ref().is_some_and(|row| row.ended_at.is_some()) {
                bail!(Senseless(format!("step {step} has ended, and goes on printing")));
            }
            let before = known.map(|row| row.log).unwrap_or_default();
            let path = path(&self.farm, attempt, step);
            let writer =
                Writer::open(&path, extent(before)).with_context(|| format!("opening the log {path:?}"))?;
            let telling =
                self.told.get_mut(&attempt).context("a log of an attempt that was not looked up")?;
            if telling.logs.len() >= MAX_LOGS {
                bail!(Improper(format!("more than {MAX_LOGS} logs of one attempt at once")));
            }
            telling.logs.insert(step, OpenLog { writer, row: before });
        }
        let telling = self.told.get_mut(&attempt);
        telling.and_then(|telling| telling.logs.get_mut(&step)).context("a log that was just opened")
    }

    /// Syncs a log that has grown; its row may be committed now.
    fn synced(&mut self, attempt: AttemptId, step: u16) -> Result<Option<Deed>> {
        let log = self.told.get_mut(&attempt).and_then(|telling| telling.logs.get_mut(&step));
        let Some(log) = log else { return Ok(None) };
        log.writer.sync().context("syncing a log")?;
        Ok(Some(Deed::Log(step, log.row)))
    }

    /// Reads what an attempt's last word names. What cannot be read is the worker's trouble, not the change's.
    async fn read_objects(
        &self,
        results: Option<Sha256>,
        artifact: Option<protocol::Made>,
        trouble: Option<Trouble>,
    ) -> Result<Told> {
        let objects = self.farm.objects.clone();
        let bare = self.bare;
        let told = tokio::task::spawn_blocking(move || {
            let read = || -> Result<Option<(CaseList, Results)>> {
                let Some(sha256) = results else { return Ok(None) };
                let text = objects.text(Kind::Results, &sha256, MAX_RESULTS_BYTES)?;
                let results: Results = serde_json::from_str(&text)?;
                let list = objects.text(Kind::Cases, &results.cases, MAX_CASE_LIST_BYTES)?;
                let list = CaseList::from_text(list)?;
                results.check(&list)?;
                Ok(Some((list, results)))
            };
            let made = artifact.is_none_or(|made| {
                objects.stored(Kind::Artifact, &made.sha256) == Stored::Whole { bytes: made.bytes }
            });
            match (trouble, read(), made) {
                (Some(trouble), _, _) => Told { results: None, artifact: None, trouble: Some(trouble), bare },
                (None, Ok(results), true) => Told { results, artifact, trouble: None, bare },
                (None, Ok(_), false) => {
                    let detail = "its toolchain was not uploaded whole".to_string();
                    Told { results: None, artifact: None, trouble: Some(Trouble::Worker { detail }), bare }
                }
                (None, Err(error), _) => {
                    let detail = format!("its results cannot be read: {error:#}");
                    Told { results: None, artifact: None, trouble: Some(Trouble::Worker { detail }), bare }
                }
            }
        });
        told.await.context("reading the results of an attempt")
    }

    async fn commit(
        &mut self,
        parts: BTreeMap<AttemptId, Part>,
        acknowledged: BTreeMap<AttemptId, u64>,
        alive: bool,
        at: Timestamp,
    ) -> Result<Kept> {
        let (worker, silence) = (self.worker, self.farm.config().leases.silence);
        failpoint("before-commit");
        let kept = self.farm.store.write(move |tx| {
            Box::pin(async move {
                let mut kept = Kept::default();
                if alive {
                    tx.heartbeat(worker, at + silence, at).await?;
                    let withdrawn = tx.withdraw_offers(worker, at).await?;
                    let first = "its first worker was heard again";
                    kept.cancelled.extend(withdrawn.into_iter().map(|(attempt, by)| (by, attempt, first)));
                }
                for (attempt, part) in parts {
                    let sequence = acknowledged.get(&attempt).copied().unwrap_or(0);
                    match acknowledge(tx, attempt, &part, sequence, &mut kept, at).await {
                        Err(store::Error::Conflict(_)) => return Ok(Err(TakenAway(attempt))),
                        done => done?,
                    }
                    keep_part(tx, worker, attempt, part, &mut kept, at).await?;
                }
                Ok(Ok(kept))
            })
        });
        let kept = kept.await.context("keeping what a worker reported")??;
        failpoint("after-commit");
        if alive {
            self.alive_at = Instant::now();
        }
        Ok(kept)
    }

    fn nudge(&self, due: &[Due]) {
        if !due.is_empty() {
            self.farm.nudges.dispatch.notify_one();
        }
        // A toolchain lets its suites be asked for. What a decided suite leaves room for, dispatch finds out.
        if due.contains(&Due::Decided(BuilderKind::Toolchain)) {
            self.farm.nudges.schedule.notify_one();
        }
        if due.iter().any(|due| matches!(due, Due::Decided(_))) {
            self.farm.nudges.search.notify_one();
        }
    }
}

fn dropped(attempt: AttemptId, reason: &str) -> FromMaster {
    FromMaster::Cancel { attempt: attempt.0, reason: reason.to_string() }
}

fn path(farm: &Farm, attempt: AttemptId, step: u16) -> PathBuf {
    log::path(&farm.store.data().join("logs"), attempt.0, step)
}

fn row(extent: Extent, cut_bytes: u64) -> LogRow {
    LogRow {
        bytes: extent.raw_bytes,
        lines: extent.lines,
        stored_bytes: extent.stored_bytes,
        cut_bytes,
        sealed: false,
    }
}

fn extent(row: LogRow) -> Extent {
    Extent { raw_bytes: row.bytes, lines: row.lines, stored_bytes: row.stored_bytes }
}

/// Packs the log of a step that ended, beside everything else: readers open either form.
fn seal_later(farm: Farm, attempt: AttemptId, step: u16, before: LogRow) {
    tokio::spawn(async move {
        let path = path(&farm, attempt, step);
        let sealed = tokio::task::spawn_blocking(move || log::seal(&path, extent(before))).await;
        let sealed = match sealed {
            Ok(Ok(sealed)) => LogRow { sealed: true, ..row(sealed, before.cut_bytes) },
            Ok(Err(error)) => return tracing::warn!(%attempt, step, %error, "sealing a log"),
            Err(error) => return tracing::warn!(%attempt, step, %error, "sealing a log"),
        };
        let commit =
            farm.store.write(move |tx| Box::pin(async move { tx.commit_log(attempt, step, sealed).await }));
        if let Err(error) = commit.await {
            tracing::warn!(%attempt, step, %error, "noting a sealed log");
        }
    });
}
