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

/// What the transaction does, in the order in which it was told.
enum Deed {
    Accept(AttemptId),
    Decline(AttemptId, String),
    Started(AttemptId, protocol::Environment),
    StepStarted(AttemptId, u16, String),
    Log(AttemptId, u16, LogRow),
    StepEnded(AttemptId, u16, StepEnd, u64, Vec<String>),
    Acknowledge(AttemptId, u64, u64),
    Finished(AttemptId, Box<Told>),
}

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
        let mut deeds = Vec::new();
        let mut touched: BTreeMap<AttemptId, u64> = BTreeMap::new();
        let mut grown: BTreeSet<(AttemptId, u16)> = BTreeSet::new();
        let mut alive = false;
        for report in reports {
            let (attempt, sequence, told) = match report {
                Report::Heartbeat => {
                    alive = true;
                    continue;
                }
                Report::Accept(attempt) => {
                    deeds.push(Deed::Accept(attempt));
                    continue;
                }
                Report::Decline(attempt, reason) => {
                    deeds.push(Deed::Decline(attempt, reason));
                    continue;
                }
                Report::Event(attempt, sequence, event) => (attempt, sequence, Ok(event)),
                Report::Log(frame) => (AttemptId(frame.attempt), frame.sequence, Err(frame)),
            };
            let Some(telling) = self.telling(attempt).await? else {
                let reason = "the farm no longer waits for it".to_string();
                answers.push(FromMaster::Cancel { attempt: attempt.0, reason });
                continue;
            };
            if sequence <= telling.sequence {
                // Told again after a break; the first time counts.
                touched.entry(attempt).or_insert(telling.sequence);
                continue;
            }
            if sequence != telling.sequence + 1 {
                bail!(
                    "event {sequence} of attempt {attempt} came after {}: one is missing",
                    telling.sequence
                );
            }
            touched.entry(attempt).or_insert(telling.sequence);
            telling.sequence = sequence;
            match told {
                Err(frame) => {
                    self.append(attempt, &frame).await?;
                    grown.insert((attempt, frame.step));
                }
                Ok(event) => self.event(attempt, event, &mut deeds, &mut grown).await?,
            }
        }
        for (attempt, step) in std::mem::take(&mut grown) {
            deeds.extend(self.synced(attempt, step)?);
        }
        let finished: BTreeSet<AttemptId> = deeds
            .iter()
            .filter_map(|deed| match deed {
                Deed::Finished(attempt, _) => Some(*attempt),
                _ => None,
            })
            .collect();
        for (&attempt, &before) in &touched {
            let sequence = self.told[&attempt].sequence;
            if sequence > before {
                // Before the last word, which ends the attempt.
                let at = deeds.iter().position(|deed| matches!(deed, Deed::Finished(a, _) if *a == attempt));
                deeds.insert(at.unwrap_or(deeds.len()), Deed::Acknowledge(attempt, before, sequence));
            }
            answers.push(FromMaster::Ack { attempt: attempt.0, sequence });
        }
        if !deeds.is_empty() || alive {
            self.commit(deeds, alive, at).await?;
        }
        for (attempt, step, log) in self.ended.drain(..) {
            seal_later(self.farm.clone(), attempt, step, log);
        }
        for attempt in finished {
            self.told.remove(&attempt);
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
            Event::Started { environment } => deeds.push(Deed::Started(attempt, environment)),
            Event::StepStarted { step, name } => {
                let name = name.chars().take(200).collect();
                deeds.push(Deed::StepStarted(attempt, step, name));
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
                deeds.push(Deed::StepEnded(attempt, step, end, duration_ms, warnings));
            }
            Event::Finished { results, artifact, trouble } => {
                let told = self.read_objects(results, artifact, trouble).await?;
                deeds.push(Deed::Finished(attempt, Box::new(told)));
            }
        }
        Ok(())
    }

    async fn log(&mut self, attempt: AttemptId, step: u16) -> Result<&mut OpenLog> {
        let known = self.told.get(&attempt).is_some_and(|telling| telling.logs.contains_key(&step));
        if !known {
            let steps = self.farm.store.glance().await?.read().steps(attempt).await?;
            let before =
                steps.into_iter().find(|row| row.position == step).map(|row| row.log).unwrap_or_default();
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
        Ok(Some(Deed::Log(attempt, step, log.row)))
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

    async fn commit(&mut self, deeds: Vec<Deed>, alive: bool, at: Timestamp) -> Result<()> {
        let worker = self.worker;
        let due = self
            .farm
            .store
            .write(move |tx| {
                Box::pin(async move {
                    if alive {
                        tx.heartbeat(worker, at + LEASE, at).await?;
                    }
                    let mut due = Vec::new();
                    for deed in deeds {
                        due.extend(perform(tx, worker, deed, at).await?);
                    }
                    Ok(due)
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
        Ok(())
    }
}

async fn perform(
    tx: &mut Write<'_>,
    worker: WorkerId,
    deed: Deed,
    at: Timestamp,
) -> store::Result<Option<Due>> {
    match deed {
        Deed::Accept(attempt) => {
            // An offer that was taken back meanwhile is told of when its first event comes.
            if let Some(row) = tx.attempt(attempt).await?
                && row.worker == worker
                && row.state == "offered"
            {
                tx.accept_attempt(attempt, at).await?;
            }
        }
        Deed::Decline(attempt, reason) => {
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
        Deed::Started(attempt, environment) => tx.put_environment(attempt, &environment).await?,
        Deed::StepStarted(attempt, step, name) => {
            let kind = step_kind(tx, attempt, step).await?;
            tx.start_step(attempt, step, &name, kind, at).await?;
        }
        Deed::Log(attempt, step, log) => tx.commit_log(attempt, step, log).await?,
        Deed::StepEnded(attempt, step, end, duration, warnings) => {
            tx.end_step(attempt, step, &end, duration, &warnings, at).await?;
        }
        Deed::Acknowledge(attempt, before, sequence) => tx.acknowledge(attempt, before, sequence, at).await?,
        Deed::Finished(attempt, told) => {
            let row = tx.attempt(attempt).await?.ok_or(store::Error::NotFound("attempt"))?;
            return Ok(Some(settle::attempt(tx, &row, *told, at).await?));
        }
    }
    Ok(None)
}

/// A step's kind is the recipe's; the one behind its last step is the smoke test.
async fn step_kind(tx: &mut Write<'_>, attempt: AttemptId, step: u16) -> store::Result<StepKind> {
    let recipe = tx.recipe_of(attempt).await?;
    Ok(recipe.steps.get(usize::from(step)).map_or(StepKind::Test, |step| step.kind))
}

fn path(farm: &Farm, attempt: AttemptId, step: u16) -> PathBuf {
    log::path(&farm.config.data.join("logs"), attempt.0, step)
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
