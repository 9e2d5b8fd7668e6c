//! Keeps what a worker reports: log bytes into files, events into rows, in one commit, and only then acknowledges.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use domain::ids::{AttemptId, Timestamp, WorkerId};
use domain::outcome::Cause;
use domain::results::{CaseList, MAX_CASE_LIST_BYTES, MAX_RESULTS_BYTES, Results};
use domain::words::BuilderKind;
use protocol::{Event, FromMaster, LogFrame, Sha256, StepEnd, StepKind, Trouble};
use store::log::{self, Extent, Writer};
use store::{Kind, LogRow, Stored, Write};

use crate::dispatch::{self, LEASE};
use crate::farm::{Farm, now};
use crate::settle::{self, Due, Told};

/// One thing that a worker said.
pub enum Report {
    Heartbeat,
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
    /// Logs of steps that ended, to be sealed once their end is committed.
    ended: Vec<(AttemptId, u16, LogRow)>,
}

/// An attempt as far as it was told.
struct Telling {
    /// The last event that is kept.
    sequence: u64,
    logs: BTreeMap<u16, OpenLog>,
}

struct OpenLog {
    writer: Writer,
    row: LogRow,
}

/// What a batch tells of one attempt. It is kept whole or, where it makes no sense, not at all.
#[derive(Default)]
struct Part {
    /// The last event that was kept before, where there are events.
    before: Option<u64>,
    /// In the order in which they were told.
    deeds: Vec<Deed>,
    senseless: Option<Senseless>,
}

enum Deed {
    Accept,
    Decline(String),
    Started(protocol::Environment),
    StepStarted(u16, String),
    Log(u16, LogRow),
    StepEnded(u16, StepEnd, u64, Vec<String>),
    Finished(Box<Told>),
}

/// Why an attempt cannot be believed. It would be told again after each new connection, for ever: so it ends the
/// attempt, and not the connection.
#[derive(Debug, thiserror::Error)]
#[error("what it tells makes no sense: {0}")]
struct Senseless(String);

/// How many attempts one connection may tell of at once, and steps of one with open logs.
const MAX_TELLINGS: usize = 1024;
const MAX_LOGS: usize = 128;
const MAX_WARNINGS: usize = 100;

impl Intake {
    pub fn new(farm: Farm, worker: WorkerId, bare: bool) -> Intake {
        Intake { farm, worker, bare, told: BTreeMap::new(), ended: Vec::new() }
    }

    /// Keeps a batch for good. The answers are to be sent after it returns.
    pub async fn keep(&mut self, reports: Vec<Report>) -> Result<Vec<FromMaster>> {
        let at = now();
        let mut answers = Vec::new();
        let mut parts: BTreeMap<AttemptId, Part> = BTreeMap::new();
        let mut grown: BTreeSet<(AttemptId, u16)> = BTreeSet::new();
        let mut alive = false;
        for report in reports {
            let (attempt, sequence, told) = match report {
                Report::Heartbeat => {
                    alive = true;
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
                answers.push(dropped(attempt, "the farm no longer waits for it"));
                continue;
            };
            let part = parts.entry(attempt).or_default();
            part.before.get_or_insert(telling.sequence);
            if sequence <= telling.sequence || part.senseless.is_some() {
                // Told again after a break; the first time counts.
                continue;
            }
            if sequence != telling.sequence + 1 {
                bail!(
                    "event {sequence} of attempt {attempt} came after {}: one is missing",
                    telling.sequence
                );
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

        let mut acknowledged: BTreeMap<AttemptId, (u64, u64)> = BTreeMap::new();
        let mut over: BTreeSet<AttemptId> = BTreeSet::new();
        for (&attempt, part) in &parts {
            if let Some(before) = part.before {
                acknowledged.insert(attempt, (before, self.told[&attempt].sequence));
            }
            if part.deeds.iter().any(|deed| matches!(deed, Deed::Finished(_))) {
                over.insert(attempt);
            }
        }
        let spoiled = match parts.is_empty() && !alive {
            true => BTreeMap::new(),
            false => self.commit(parts, acknowledged.clone(), alive, at).await?,
        };
        answers.extend(
            acknowledged
                .iter()
                .filter(|(attempt, _)| !spoiled.contains_key(attempt))
                .map(|(attempt, &(_, sequence))| FromMaster::Ack { attempt: attempt.0, sequence }),
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
        Ok(answers)
    }

    /// None when the attempt is not this worker's, or not any more.
    async fn telling(&mut self, attempt: AttemptId) -> Result<Option<&mut Telling>> {
        if !self.told.contains_key(&attempt) {
            let row = self.farm.store.glance().await?.read().attempt(attempt).await?;
            let row = row.filter(|row| {
                row.worker == self.worker && (row.state == "running" || row.state == "offered")
            });
            let Some(row) = row else { return Ok(None) };
            if self.told.len() >= MAX_TELLINGS {
                bail!("more than {MAX_TELLINGS} attempts on one connection");
            }
            self.told.insert(attempt, Telling { sequence: row.sequence, logs: BTreeMap::new() });
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
                bail!("more than {MAX_LOGS} logs of one attempt at once");
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

    /// Answers with the attempts that ended by what was told of them, and why.
    async fn commit(
        &mut self,
        parts: BTreeMap<AttemptId, Part>,
        acknowledged: BTreeMap<AttemptId, (u64, u64)>,
        alive: bool,
        at: Timestamp,
    ) -> Result<BTreeMap<AttemptId, String>> {
        let worker = self.worker;
        let (due, spoiled) = self
            .farm
            .store
            .write(move |tx| {
                Box::pin(async move {
                    if alive {
                        tx.heartbeat(worker, at + LEASE, at).await?;
                    }
                    let (mut due, mut spoiled) = (Vec::new(), BTreeMap::new());
                    for (attempt, part) in parts {
                        // Fails where the attempt was taken back meanwhile: then the connection is made anew.
                        if let Some(&(before, sequence)) = acknowledged.get(&attempt)
                            && before < sequence
                        {
                            tx.acknowledge(attempt, before, sequence, at).await?;
                        }
                        match keep_part(tx, worker, attempt, part, at).await? {
                            Ok(more) => due.extend(more),
                            Err(senseless) => {
                                due.push(spoil(tx, attempt, &senseless, at).await?);
                                spoiled.insert(attempt, senseless.to_string());
                            }
                        }
                    }
                    Ok((due, spoiled))
                })
            })
            .await
            .context("keeping what a worker reported")?;
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
        Ok(spoiled)
    }
}

fn dropped(attempt: AttemptId, reason: &str) -> FromMaster {
    FromMaster::Cancel { attempt: attempt.0, reason: reason.to_string() }
}

async fn keep_part(
    tx: &mut Write<'_>,
    worker: WorkerId,
    attempt: AttemptId,
    part: Part,
    at: Timestamp,
) -> store::Result<Result<Vec<Due>, Senseless>> {
    if let Some(senseless) = part.senseless {
        return Ok(Err(senseless));
    }
    tx.begin_part().await?;
    let mut due = Vec::new();
    for deed in part.deeds {
        match perform(tx, worker, attempt, deed, at).await {
            Ok(more) => due.extend(more),
            Err(error) if error.is_for_good() => {
                tx.take_back_part().await?;
                return Ok(Err(Senseless(error.to_string())));
            }
            Err(error) => return Err(error),
        }
    }
    tx.keep_part().await?;
    Ok(Ok(due))
}

/// Ends an attempt as its worker's trouble.
async fn spoil(tx: &mut Write<'_>, attempt: AttemptId, why: &Senseless, at: Timestamp) -> store::Result<Due> {
    let row = tx.attempt(attempt).await?.ok_or(store::Error::NotFound("attempt"))?;
    let trouble = Some(Trouble::Worker { detail: why.to_string() });
    settle::attempt(tx, &row, Told { results: None, artifact: None, trouble, bare: false }, at).await
}

async fn perform(
    tx: &mut Write<'_>,
    worker: WorkerId,
    attempt: AttemptId,
    deed: Deed,
    at: Timestamp,
) -> store::Result<Option<Due>> {
    match deed {
        Deed::Accept => {
            // An offer that was taken back meanwhile is told of when its first event comes.
            if let Some(row) = tx.attempt(attempt).await?
                && row.worker == worker
                && row.state == "offered"
            {
                tx.accept_attempt(attempt, at).await?;
            }
        }
        Deed::Decline(reason) => {
            if let Some(row) = tx.attempt(attempt).await?
                && row.worker == worker
                && row.state == "offered"
            {
                let reason: String = reason.chars().take(1000).collect();
                tx.end_attempt(attempt, "declined", Some(&reason), at).await?;
                dispatch::again(tx, row.build, attempt, Cause::Worker, at).await?;
                return Ok(Some(Due::Again));
            }
        }
        Deed::Started(environment) => tx.put_environment(attempt, &environment).await?,
        Deed::StepStarted(step, name) => {
            let kind = step_kind(tx, attempt, step).await?;
            tx.start_step(attempt, step, &name, kind, at).await?;
        }
        Deed::Log(step, log) => tx.commit_log(attempt, step, log).await?,
        Deed::StepEnded(step, end, duration, warnings) => {
            tx.end_step(attempt, step, &end, duration, &warnings, at).await?;
        }
        Deed::Finished(told) => {
            let row = tx.attempt(attempt).await?.ok_or(store::Error::NotFound("attempt"))?;
            return Ok(Some(settle::attempt(tx, &row, *told, at).await?));
        }
    }
    Ok(None)
}

/// A step's kind is the recipe's; the one behind its last step is the smoke test.
async fn step_kind(tx: &mut Write<'_>, attempt: AttemptId, step: u16) -> store::Result<StepKind> {
    let recipe = tx.recipe_of(attempt).await?;
    match recipe.steps.get(usize::from(step)) {
        Some(step) => Ok(step.kind),
        None if usize::from(step) == recipe.steps.len() => Ok(StepKind::Test),
        None => Err(store::Error::Conflict("the recipe has no such step")),
    }
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
