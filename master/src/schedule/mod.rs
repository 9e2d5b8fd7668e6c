//! Enqueues builds that make history: loads what is known of a branch, lets `domain::schedule` decide, and enqueues.

mod baseline;
mod canaries;
pub mod enqueue;
mod latest;
mod probation;
mod project_inputs;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use domain::outcome::Outcome;
use domain::project_inputs::TimelineBuild;
use domain::schedule::{ScheduleAction, ToolchainCell, toolchains};
use domain::words::ids::{BuilderId, ChangeId, PinId, PlatformId, Timestamp, WorkerId};
use domain::words::platform::platforms_of;
use domain::words::{BuildState, BuilderKind, Reason};
use store::{Breakage, Builder, HistoryCell, Pin, PinState, SuiteTimeline, Write};

use crate::config::Config;
use crate::farm::connections::ConnectedWorker;
use crate::farm::{Farm, now};
use crate::queue::enqueue_rerun;
use crate::schedule::canaries::enqueue_canaries;
use crate::schedule::enqueue::{SuiteBuild, by_change, enqueue_suite, enqueue_toolchain};
use crate::schedule::latest::enqueue_latest;
use crate::schedule::probation::enqueue_probation;
use crate::schedule::project_inputs::{UpdatedInputs, update_project_inputs};

/// How many changes' suites are enqueued at once when workers are idle; the next tick enqueues more.
const BACKFILL_CHANGES: usize = 3;
/// How long after a null run without a verdict the next one is enqueued.
const RETRY_DELAY: Duration = Duration::from_secs(3600);

/// Enqueues everything that is due, and activates the tasks that act on it.
pub async fn schedule(farm: &Farm) -> Result<()> {
    let at = now();
    let workers = farm.connections.present();
    let config = farm.config();
    let enqueued =
        farm.store.write(move |tx| Box::pin(async move { enqueue_all(tx, &config, &workers, at).await }));
    let Enqueued { builds, has_news } = enqueued.await.context("enqueueing builds that make history")?;
    if has_news {
        farm.activations.post.notify_one();
    }
    if builds > 0 {
        farm.activations.dispatch.notify_one();
    }
    Ok(())
}

struct Enqueued {
    builds: usize,
    /// Whether there is mail to hand over.
    has_news: bool,
}

async fn enqueue_all(
    tx: &mut Write<'_>,
    config: &Config,
    workers: &[ConnectedWorker],
    at: Timestamp,
) -> store::Result<Enqueued> {
    tx.drop_unwanted_builds(at).await?;
    let builders = tx.builders().await?;
    let platforms = tx.platforms().await?;
    let present: BTreeSet<PlatformId> =
        workers.iter().flat_map(|worker| platforms_of(&worker.facts, &platforms)).collect();
    let slots: u32 = workers.iter().map(|worker| worker.slots).sum();
    let here: Vec<WorkerId> = workers.iter().map(|worker| worker.worker).collect();

    let UpdatedInputs { enqueued, held, has_news } =
        update_project_inputs(tx, config, &builders, &present, at).await?;
    let mut builds = enqueued + enqueue_latest(tx, config, &builders, &present, at).await?;
    let pins = tx.live_pins().await?;
    let rarely_run = tx.rarely_run(config.search.null_runs).await?;
    for builder in builders.iter().filter(|builder| builder.kind == BuilderKind::Toolchain) {
        let is_its = |suite: &&Builder| {
            (suite.kind, suite.branch, suite.platform)
                == (BuilderKind::Suite, builder.branch, builder.platform)
        };
        let branch = Branch {
            config,
            builder,
            order: tx.order(builder.branch).await?,
            toolchains: by_change(tx.history_cells(builder.id).await?),
            pins: &pins,
            suites: builders.iter().filter(is_its).collect(),
            held: &held,
            idle: slots > 0 && !tx.is_waited_for(builder.platform).await?,
            at,
        };
        builds += branch.enqueue(tx, &rarely_run).await?;
    }
    builds += enqueue_canaries(tx, at).await?;
    builds += enqueue_probation(tx, config, &here, &platforms, at).await?;
    Ok(Enqueued { builds, has_news })
}

/// One branch on one platform.
struct Branch<'a> {
    config: &'a Config,
    /// The builder of its toolchains.
    builder: &'a Builder,
    order: Vec<ChangeId>,
    toolchains: BTreeMap<ChangeId, HistoryCell>,
    /// Those that are proposed or in use, of all branches.
    pins: &'a [Pin],
    /// The builders of its suites.
    suites: Vec<&'a Builder>,
    /// Suites whose history must not grow now.
    held: &'a BTreeSet<BuilderId>,
    /// Whether its workers have nothing else to do.
    idle: bool,
    at: Timestamp,
}

impl Branch<'_> {
    async fn enqueue(&self, tx: &mut Write<'_>, rarely_run: &BTreeSet<BuilderId>) -> store::Result<usize> {
        let suites = self.enqueue_suites(tx).await?;
        // Workers for which suites were just enqueued are not idle.
        let toolchains = self.enqueue_toolchains(tx, self.idle && suites == 0).await?;
        let builds = suites + toolchains;
        if self.idle && builds == 0 {
            return self.enqueue_null_runs(tx, rarely_run).await;
        }
        Ok(builds)
    }

    async fn enqueue_toolchains(&self, tx: &mut Write<'_>, idle: bool) -> store::Result<usize> {
        let cells: Vec<ToolchainCell> =
            self.order.iter().map(|change| toolchain_cell(self.toolchains.get(change))).collect();
        let mut enqueued = 0;
        let open = if idle { self.open_ranges(tx).await? } else { vec![] };
        let is_backfill = |cell: &&HistoryCell| cell.reason == Reason::Backfill;
        let backfilled = self.toolchains.values().filter(is_backfill).count();
        for action in toolchains(&cells, &open, backfilled, idle) {
            let (index, reason) = match action {
                ScheduleAction::Tip(index) => (index, Reason::Tip),
                ScheduleAction::Backfill(index) => (index, Reason::Backfill),
                ScheduleAction::Supersede(index) => {
                    tx.supersede_build(self.toolchains[&self.order[index]].build, self.at).await?;
                    continue;
                }
            };
            let change = self.order[index];
            if enqueue_toolchain(tx, self.config, self.builder, change, reason, self.at).await? {
                enqueued += 1;
            }
        }
        Ok(enqueued)
    }

    /// The good and the bad change of each breakage without an answer on this branch and platform.
    async fn open_ranges(&self, tx: &mut Write<'_>) -> store::Result<Vec<(usize, usize)>> {
        let position: BTreeMap<ChangeId, usize> = self.order.iter().copied().zip(0..).collect();
        let is_its = |builder: BuilderId| {
            builder == self.builder.id || self.suites.iter().any(|suite| suite.id == builder)
        };
        let open = tx.undecided_breakages().await?;
        let range = |breakage: &Breakage| {
            position.get(&breakage.good).copied().zip(position.get(&breakage.bad).copied())
        };
        Ok(open.iter().filter(|breakage| is_its(breakage.builder)).filter_map(range).collect())
    }

    /// Enqueues the suites of changes whose toolchain is decided.
    async fn enqueue_suites(&self, tx: &mut Write<'_>) -> store::Result<usize> {
        let decided = self.decided();
        let Some(&(base, _)) = decided.first() else { return Ok(0) };
        let suites: Vec<&Builder> =
            self.suites.iter().copied().filter(|suite| !self.held.contains(&suite.id)).collect();
        let mut timelines = tx.suite_timelines(&suites.iter().map(|suite| suite.id).collect(), base).await?;
        let mut enqueued = 0;
        for suite in suites {
            let SuiteTimeline { cells, history } = timelines.remove(&suite.id).unwrap_or_default();
            if let Some(pins) = self.pins_of(tx, suite, history).await? {
                enqueued += self.enqueue_suite(tx, suite, cells, &decided, &pins).await?;
            }
        }
        Ok(enqueued)
    }

    /// The changes whose toolchain is decided, first to last.
    fn decided(&self) -> Vec<(ChangeId, &HistoryCell)> {
        let mut decided: Vec<(ChangeId, &HistoryCell)> = self
            .order
            .iter()
            .filter_map(|change| Some((*change, self.toolchains.get(change)?)))
            .filter(|(_, cell)| match cell.outcome {
                // Without its archive, which was pruned, no worker can run a suite with it.
                Some(Outcome::Passed | Outcome::Failed) => !cell.is_pruned(),
                Some(Outcome::Infra | Outcome::Cancelled | Outcome::Blocked) | None => false,
            })
            .collect();
        // Changes that could not be built no longer matter if they are before the oldest toolchain that is kept.
        let kept = decided.iter().position(|(_, cell)| cell.artifact.is_some());
        decided.drain(..kept.unwrap_or(0));
        decided
    }

    async fn enqueue_suite(
        &self,
        tx: &mut Write<'_>,
        builder: &Builder,
        cells: Vec<HistoryCell>,
        decided: &[(ChangeId, &HistoryCell)],
        pins: &PinTimeline,
    ) -> store::Result<usize> {
        let ends = [decided.first(), decided.last()].map(|end| end.map(|(change, _)| *change));
        let is_end = |change: ChangeId| ends.contains(&Some(change));
        let mut existing = BTreeMap::new();
        for cell in cells {
            let is_right = pins.of(cell.change).is_none_or(|pin| Some(pin.id) == cell.pin);
            let is_wanted = is_right && (is_end(cell.change) || self.idle);
            let waits = cell.state == BuildState::Queued && cell.attempts == 0 && cell.reason == Reason::Tip;
            if waits && !is_wanted {
                tx.supersede_build(cell.build, self.at).await?;
            }
            if is_right {
                existing.insert(cell.change, cell);
            }
        }
        // The first run of new project inputs chooses the dependencies for all others: it goes alone.
        if pins.is_new && existing.values().any(|cell| cell.state != BuildState::Finished) {
            return Ok(0);
        }
        let (mut enqueued, mut backfilled) = (0, 0);
        let absent = decided.iter().rev().filter(|(change, _)| !existing.contains_key(change));
        for &(change, toolchain) in absent {
            if !is_end(change) {
                if !self.idle || backfilled == BACKFILL_CHANGES {
                    continue;
                }
                backfilled += 1;
            }
            let reason = if is_end(change) { Reason::Tip } else { Reason::Backfill };
            let Some(pin) = pins.of(change) else { continue };
            if enqueue_suite(tx, SuiteBuild { builder, change, toolchain, pin, reason }, self.at).await? {
                enqueued += 1;
                if pins.is_new {
                    break;
                }
            }
        }
        Ok(enqueued)
    }

    /// None while the project has no pin, because no revision of it has been seen yet.
    async fn pins_of(
        &self,
        tx: &mut Write<'_>,
        builder: &Builder,
        history: Vec<TimelineBuild>,
    ) -> store::Result<Option<PinTimeline>> {
        let current = self.pins.iter().find(|pin| {
            (Some(pin.project), pin.branch, pin.state) == (builder.project, builder.branch, PinState::Current)
        });
        let Some(current) = current.cloned() else { return Ok(None) };
        let order: BTreeMap<ChangeId, i64> = self.order.iter().copied().zip(0..).collect();
        let mut pins = vec![current];
        let of_history: BTreeSet<PinId> = history.iter().filter_map(|build| build.pin).collect();
        for pin in of_history {
            if !pins.iter().any(|loaded| loaded.id == pin) {
                pins.push(tx.pin(pin).await?);
            }
        }
        Ok(Some(PinTimeline { is_new: history.is_empty(), history, order, pins }))
    }

    /// Repeats suites that have hardly run, one run of a builder at a time, so that their noise is measured and not
    /// guessed. The same worker runs them again: only there do differing verdicts prove a flaky test.
    async fn enqueue_null_runs(
        &self,
        tx: &mut Write<'_>,
        rarely_run: &BTreeSet<BuilderId>,
    ) -> store::Result<usize> {
        let mut enqueued = 0;
        for builder in self.suites.iter().filter(|builder| rarely_run.contains(&builder.id)) {
            if let Some((repeated, worker)) = tx.build_to_repeat(builder.id, self.at - RETRY_DELAY).await?
                && enqueue_rerun(tx, &repeated, Some(worker), self.at).await?
            {
                enqueued += 1;
            }
        }
        Ok(enqueued)
    }
}

/// Which version of its project's inputs a builder tests each change with.
struct PinTimeline {
    history: Vec<TimelineBuild>,
    order: BTreeMap<ChangeId, i64>,
    /// The pin in use first, then those that the history has.
    pins: Vec<Pin>,
    /// Whether nothing has run yet.
    is_new: bool,
}

impl PinTimeline {
    /// None for a change that is no longer on the branch.
    fn of(&self, change: ChangeId) -> Option<&Pin> {
        let position = *self.order.get(&change)?;
        match domain::project_inputs::at(&self.history, position) {
            Some(of_history) => self.pins.iter().find(|pin| pin.id == of_history),
            None => self.pins.first(),
        }
    }
}

fn toolchain_cell(cell: Option<&HistoryCell>) -> ToolchainCell {
    match cell {
        None => ToolchainCell::Empty,
        Some(cell) => match (cell.state, cell.reason) {
            // A build of an end may be superseded; one that a search or an idle worker needs stays.
            (BuildState::Queued, Reason::Tip) if cell.attempts == 0 => ToolchainCell::Queued,
            (BuildState::Queued | BuildState::Leased, _) => ToolchainCell::Running,
            (BuildState::Finished, _) => ToolchainCell::Decided,
        },
    }
}
