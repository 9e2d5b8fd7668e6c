//! Enqueues builds that make history: loads what is known of a branch, lets `domain::schedule` decide, and enqueues.

mod baseline;
mod canaries;
pub mod enqueue;
mod latest;
mod probation;
mod project_inputs;
mod self_check;
mod suites;
mod toolchain_inputs;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use domain::dispatch::AWAY;
use domain::outcome::Outcome;
use domain::project_inputs::{self as inputs, InputsId, TimelineBuild};
use domain::schedule::{ScheduleAction, ToolchainCell, WantedRanges, needed, toolchains};
use domain::words::ids::{
    AttemptId, BuilderId, ChangeId, PinId, PlatformId, Timestamp, ToolchainInputsId, WorkerId,
};
use domain::words::platform::platforms_of;
use domain::words::states::ToolchainInputsState;
use domain::words::{BuildState, BuilderKind, Reason};
use protocol::FromMaster;
use store::{Builder, HistoryCell, Pin, PinState, SuiteTimeline, Write};

use crate::config::Config;
use crate::farm::connections::ConnectedWorker;
use crate::farm::{Farm, now};
use crate::queue::enqueue_rerun;
use crate::schedule::canaries::enqueue_canaries;
use crate::schedule::enqueue::{SuiteBuild, enqueue_suite, enqueue_toolchain};
use crate::schedule::latest::enqueue_latest;
use crate::schedule::probation::enqueue_probation;
use crate::schedule::project_inputs::{UpdatedInputs, update_project_inputs};
use crate::schedule::self_check::{IdleWorkers, enqueue_self_check};
use crate::schedule::suites::{SuiteTarget, SuiteTargets, SuiteWorth, in_turn};
use crate::schedule::toolchain_inputs::update_toolchain_inputs;

/// How many of the last repairs of each builder idle workers narrow to one change.
const NARROWED_REPAIRS: u32 = 20;
/// How long after a null run without a verdict the next one is enqueued.
const RETRY_DELAY: Duration = Duration::from_secs(3600);

/// Enqueues everything that is due, and activates the tasks that act on it.
pub async fn schedule(farm: &Farm) -> Result<()> {
    let at = now();
    let workers = farm.connections.present();
    let config = farm.config();
    let enqueued =
        farm.store.write(move |tx| Box::pin(async move { enqueue_all(tx, &config, &workers, at).await }));
    let Enqueued { builds, has_news, cancelled } =
        enqueued.await.context("enqueueing builds that make history")?;
    for (attempt, worker, reason) in cancelled {
        let reason = reason.to_string();
        farm.connections.send(worker, FromMaster::Cancel { attempt: attempt.0, reason });
    }
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
    cancelled: Vec<CancelledAttempt>,
}

/// An attempt that was taken from its worker, which must get a cancel, and why.
type CancelledAttempt = (AttemptId, WorkerId, &'static str);

async fn enqueue_all(
    tx: &mut Write<'_>,
    config: &Config,
    workers: &[ConnectedWorker],
    at: Timestamp,
) -> store::Result<Enqueued> {
    tx.drop_unwanted_builds(at - AWAY, at).await?;
    let cancelled = cancel_unneeded(tx, at).await?;
    // A branch that was deleted keeps its history, and gets no more of it.
    let branches = tx.branches().await?;
    let is_there =
        |builder: &Builder| branches.iter().any(|branch| branch.id == builder.branch && !branch.gone);
    let builders: Vec<Builder> = tx.builders().await?.into_iter().filter(is_there).collect();
    let platforms = tx.platforms().await?;
    let present: BTreeSet<PlatformId> =
        workers.iter().flat_map(|worker| platforms_of(&worker.facts, &platforms)).collect();
    let slots: u32 = workers.iter().map(|worker| worker.slots).sum();
    let here: Vec<WorkerId> = workers.iter().map(|worker| worker.worker).collect();

    let toolchains = update_toolchain_inputs(tx, config, &builders, at).await?;
    let UpdatedInputs { enqueued, mut held, has_news } =
        update_project_inputs(tx, config, &builders, &present, &toolchains.held, at).await?;
    held.extend(toolchains.held);
    let mut builds =
        toolchains.enqueued + enqueued + enqueue_latest(tx, config, &builders, &present, at).await?;
    let pins = tx.live_pins().await?;
    let worth = SuiteWorth::load(tx, config, &builders, workers, at).await?;
    let rarely_run = tx.rarely_run(config.search.null_runs).await?;
    for builder in builders.iter().filter(|builder| builder.kind == BuilderKind::Toolchain) {
        let is_its = |suite: &&Builder| suite.kind == BuilderKind::Suite && suite.is_beside(builder);
        let current = tx.live_toolchain_inputs(builder.id).await?;
        let current = current.into_iter().find(|inputs| inputs.state == ToolchainInputsState::Current);
        let branch = Branch {
            builder,
            toolchains: ToolchainTimeline::new(
                tx.positions(builder.branch).await?,
                tx.history_cells(builder.id).await?,
                current.map(|inputs| inputs.id),
            ),
            pins: &pins,
            suites: builders.iter().filter(is_its).collect(),
            held: &held,
            worth: &worth,
            idle: slots > 0 && !tx.is_waited_for(builder.platform).await?,
            at,
        };
        builds += branch.enqueue(tx, &rarely_run).await?;
    }
    builds += enqueue_canaries(tx, at).await?;
    builds += enqueue_probation(tx, config, &here, &platforms, at).await?;
    if builds == 0 && slots > 0 {
        let idle = IdleWorkers { platforms: &present, workers: &here };
        builds = enqueue_self_check(tx, config, &idle, at).await?;
    }
    Ok(Enqueued { builds, has_news, cancelled })
}

/// Ends the builds that nothing needs: their change was rewound, or their branch was deleted.
async fn cancel_unneeded(tx: &mut Write<'_>, at: Timestamp) -> store::Result<Vec<CancelledAttempt>> {
    let mut cancelled = Vec::new();
    for (build, reason, standing) in tx.builds_in_doubt().await? {
        if !needed::is_needed(reason, standing) {
            let why = standing.reason();
            tracing::info!(%build, "dropped: {why}");
            let taken = tx.cancel_build(build, why, at).await?;
            cancelled.extend(taken.into_iter().map(|(attempt, worker)| (attempt, worker, why)));
        }
    }
    Ok(cancelled)
}

/// One branch on one platform, in one variant.
struct Branch<'a> {
    /// The builder of its toolchains.
    builder: &'a Builder,
    toolchains: ToolchainTimeline,
    /// Those that are proposed or in use, of all branches.
    pins: &'a [Pin],
    /// The builders of its suites.
    suites: Vec<&'a Builder>,
    /// Builders whose history must not grow now.
    held: &'a BTreeSet<BuilderId>,
    /// Whose turn it is when not all suites can be built.
    worth: &'a SuiteWorth,
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
        if self.held.contains(&self.builder.id) {
            return Ok(0);
        }
        let ToolchainTimeline { order, .. } = &self.toolchains;
        let cells: Vec<ToolchainCell> =
            order.iter().map(|at| toolchain_cell(self.toolchains.cell(*at))).collect();
        let mut enqueued = 0;
        let wanted = if idle { self.wanted_ranges(tx).await? } else { WantedRanges::default() };
        let is_backfill = |cell: &&HistoryCell| cell.reason == Reason::Backfill;
        let backfilled = self.toolchains.cells.values().filter(is_backfill).count();
        for action in toolchains(&cells, &wanted, backfilled, idle) {
            let (index, reason) = match action {
                ScheduleAction::Tip(index) => (index, Reason::Tip),
                ScheduleAction::Backfill(index) => (index, Reason::Backfill),
                ScheduleAction::Supersede(index) => {
                    if let Some(cell) = self.toolchains.cell(order[index]) {
                        tx.supersede_build(cell.build, self.at).await?;
                    }
                    continue;
                }
            };
            let (position, change) = order[index];
            let inputs = self.toolchains.inputs_at(position);
            if enqueue_toolchain(tx, self.builder, change, inputs, reason, self.at).await? {
                enqueued += 1;
            }
        }
        Ok(enqueued)
    }

    /// Where breakages without an answer and repairs of this branch, platform and variant are to be narrowed.
    async fn wanted_ranges(&self, tx: &mut Write<'_>) -> store::Result<WantedRanges> {
        let order = &self.toolchains.order;
        let position: BTreeMap<ChangeId, usize> = order.iter().map(|(_, change)| *change).zip(0..).collect();
        let builders: BTreeSet<BuilderId> =
            self.suites.iter().map(|suite| suite.id).chain([self.builder.id]).collect();
        let range = |(before, end): (ChangeId, ChangeId)| {
            position.get(&before).copied().zip(position.get(&end).copied())
        };
        let open = tx.undecided_breakages().await?;
        let open = open.iter().filter(|breakage| builders.contains(&breakage.builder));
        let open = open.filter_map(|breakage| range((breakage.good, breakage.bad))).collect();
        let repairs = tx.last_repairs(&builders, NARROWED_REPAIRS).await?;
        let repairs = repairs.into_iter().filter_map(|fix| range((fix.after, fix.by))).collect();
        Ok(WantedRanges { open, repairs })
    }

    /// Enqueues the suites of changes whose toolchain is decided.
    async fn enqueue_suites(&self, tx: &mut Write<'_>) -> store::Result<usize> {
        let Some(base) = self.toolchains.oldest_kept() else { return Ok(0) };
        let suites: Vec<&Builder> =
            self.suites.iter().copied().filter(|suite| !self.held.contains(&suite.id)).collect();
        let mut timelines = tx.suite_timelines(&suites.iter().map(|suite| suite.id).collect(), base).await?;
        let (mut works, mut targets) = (Vec::new(), Vec::new());
        let (mut begun, mut waiting) = (0, 0);
        for suite in suites {
            let SuiteTimeline { cells, history } = timelines.remove(&suite.id).unwrap_or_default();
            let Some(pins) = self.pins_of(tx, suite, history).await? else { continue };
            let decided = self.toolchains.decided(|change| pins.inputs_of(change));
            let existing = self.keep_wanted(tx, cells, &decided, &pins).await?;
            let is_begun = decided.last().is_some_and(|(change, _)| existing.contains_key(change));
            begun += usize::from(is_begun);
            if self.worth.is_counted(suite.id) {
                waiting += existing.values().filter(|cell| cell.state == BuildState::Queued).count();
            }
            targets.push(self.targets(suite, &existing, &decided, &pins));
            works.push((suite, pins));
        }
        let mut room = self.worth.room(waiting);
        let mut enqueued: BTreeMap<BuilderId, usize> = BTreeMap::new();
        for (suite, (change, toolchain), reason) in in_turn(&targets, begun) {
            let (builder, pins) = &works[suite];
            let is_counted = self.worth.is_counted(builder.id);
            // The first run of new project inputs chooses the dependencies for all others: it goes alone.
            let is_alone = pins.is_new && enqueued.contains_key(&builder.id);
            let Some(pin) = pins.pin_of(change).filter(|_| !is_alone && (!is_counted || room > 0)) else {
                continue;
            };
            if enqueue_suite(tx, SuiteBuild { builder, change, toolchain, pin, reason }, self.at).await? {
                *enqueued.entry(builder.id).or_default() += 1;
                room -= usize::from(is_counted);
            }
        }
        Ok(enqueued.values().sum())
    }

    /// Takes a suite's waiting builds off the queue that newer ones supersede. Returns the others, by change.
    async fn keep_wanted(
        &self,
        tx: &mut Write<'_>,
        cells: Vec<HistoryCell>,
        decided: &[SuiteTarget<'_>],
        pins: &PinTimeline,
    ) -> store::Result<BTreeMap<ChangeId, HistoryCell>> {
        let mut existing = BTreeMap::new();
        for cell in cells {
            let is_right = pins.inputs_of(cell.change).is_none_or(|inputs| inputs == cell.inputs);
            let is_wanted = is_right && (is_end(decided, cell.change) || self.idle);
            let waits = cell.state == BuildState::Queued && cell.attempts == 0 && cell.reason == Reason::Tip;
            if waits && !is_wanted {
                tx.supersede_build(cell.build, self.at).await?;
                continue;
            }
            // A build that was cancelled when its change was rewound decided nothing, should the change come back.
            if is_right && cell.outcome != Some(Outcome::Cancelled) {
                existing.insert(cell.change, cell);
            }
        }
        Ok(existing)
    }

    /// What a suite is yet to build.
    fn targets<'t>(
        &self,
        builder: &Builder,
        existing: &BTreeMap<ChangeId, HistoryCell>,
        decided: &[SuiteTarget<'t>],
        pins: &PinTimeline,
    ) -> SuiteTargets<'t> {
        let is_tested = |(change, _): &SuiteTarget<'_>| existing.get(change).is_some_and(is_verdict);
        let untested = decided.iter().rev().take_while(|target| !is_tested(target)).count();
        let mut targets =
            SuiteTargets { standing: self.worth.standing(builder, untested), ..Default::default() };
        let mut absent =
            decided.iter().rev().filter(|(change, _)| !existing.contains_key(change)).copied().peekable();
        if pins.is_new && existing.values().any(|cell| cell.state != BuildState::Finished) {
            return targets;
        }
        let newest = decided.last().map(|(change, _)| *change);
        let oldest = decided.first().map(|(change, _)| *change);
        targets.newest = absent.next_if(|(change, _)| Some(*change) == newest);
        for target in absent {
            match Some(target.0) == oldest {
                true => targets.oldest = Some(target),
                false if self.idle => targets.between.push(target),
                false => {}
            }
        }
        targets
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
        let positions = self.toolchains.order.iter().map(|(position, change)| (*change, *position)).collect();
        let mut pins = vec![current];
        let of_history: BTreeSet<PinId> = history.iter().filter_map(|build| build.inputs.pin).collect();
        for pin in of_history {
            if !pins.iter().any(|loaded| loaded.id == pin) {
                pins.push(tx.pin(pin).await?);
            }
        }
        // A new suite begins with the toolchain inputs in use: no baseline would join what it did with older ones.
        let first = InputsId { toolchain: self.toolchains.current, pin: Some(pins[0].id) };
        Ok(Some(PinTimeline { is_new: history.is_empty(), history, positions, pins, first }))
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

/// Which inputs a suite tests each change with.
struct PinTimeline {
    history: Vec<TimelineBuild>,
    positions: BTreeMap<ChangeId, i64>,
    /// The pin in use first, then those that the history has.
    pins: Vec<Pin>,
    /// The inputs of the first build.
    first: InputsId,
    /// Whether nothing has run yet.
    is_new: bool,
}

impl PinTimeline {
    /// None for a change that is no longer on the branch.
    fn inputs_of(&self, change: ChangeId) -> Option<InputsId> {
        let position = *self.positions.get(&change)?;
        Some(inputs::at(&self.history, position).unwrap_or(self.first))
    }

    fn pin_of(&self, change: ChangeId) -> Option<&Pin> {
        let inputs = self.inputs_of(change)?;
        self.pins.iter().find(|pin| Some(pin.id) == inputs.pin)
    }
}

/// The toolchains of one branch and platform, with all their inputs.
struct ToolchainTimeline {
    /// The changes of the branch with their positions, first to last.
    order: Vec<(i64, ChangeId)>,
    cells: BTreeMap<(ChangeId, Option<ToolchainInputsId>), HistoryCell>,
    /// From which position on the toolchains of its history have which inputs.
    sections: Vec<(i64, Option<ToolchainInputsId>)>,
    /// The inputs in use.
    current: Option<ToolchainInputsId>,
}

impl ToolchainTimeline {
    fn new(
        order: Vec<(i64, ChangeId)>,
        cells: Vec<HistoryCell>,
        current: Option<ToolchainInputsId>,
    ) -> ToolchainTimeline {
        let positions: BTreeMap<ChangeId, i64> =
            order.iter().map(|(position, change)| (*change, *position)).collect();
        let built = cells.iter().filter(|cell| is_verdict(cell)).filter_map(|cell| {
            Some(TimelineBuild {
                build: cell.build,
                change: cell.change,
                position: *positions.get(&cell.change)?,
                inputs: cell.inputs,
                is_baseline: cell.reason == Reason::Baseline,
                complete: cell.made,
            })
        });
        let history = inputs::history(&built.collect::<Vec<_>>());
        let first = (!history.is_empty()).then_some(0);
        let starts = first.into_iter().chain(inputs::begins(&history));
        let sections = starts.map(|at| (history[at].position, history[at].inputs.toolchain)).collect();
        let cells = cells.into_iter().map(|cell| ((cell.change, cell.inputs.toolchain), cell)).collect();
        ToolchainTimeline { order, cells, sections, current }
    }

    /// The inputs with which the toolchain at a position is made.
    fn inputs_at(&self, position: i64) -> Option<ToolchainInputsId> {
        let section = self.sections.iter().rfind(|(start, _)| *start <= position);
        section.or(self.sections.first()).map_or(self.current, |(_, inputs)| *inputs)
    }

    fn cell(&self, (position, change): (i64, ChangeId)) -> Option<&HistoryCell> {
        self.cells.get(&(change, self.inputs_at(position)))
    }

    /// The changes that have a decided toolchain with the given inputs, first to last.
    fn decided(&self, inputs: impl Fn(ChangeId) -> Option<InputsId>) -> Vec<(ChangeId, &HistoryCell)> {
        let of_change = |change| Some((change, self.cells.get(&(change, inputs(change)?.toolchain))?));
        let mut decided: Vec<(ChangeId, &HistoryCell)> = self
            .order
            .iter()
            .filter_map(|(_, change)| of_change(*change))
            // Without its archive, which was pruned, no worker can run a suite with it.
            .filter(|(_, cell)| is_verdict(cell) && !cell.is_pruned())
            .collect();
        // Changes that could not be built no longer matter if they are before the oldest toolchain that is kept.
        let kept = decided.iter().position(|(_, cell)| cell.artifact.is_some());
        decided.drain(..kept.unwrap_or(0));
        decided
    }

    /// The first change with a toolchain that is kept, or else with a decided one.
    fn oldest_kept(&self) -> Option<ChangeId> {
        let with = |is_wanted: fn(&HistoryCell) -> bool| {
            let changes: BTreeSet<ChangeId> =
                self.cells.values().filter(|cell| is_wanted(cell)).map(|cell| cell.change).collect();
            self.order.iter().map(|(_, change)| *change).find(|change| changes.contains(change))
        };
        with(|cell| is_verdict(cell) && cell.artifact.is_some())
            .or_else(|| with(|cell| is_verdict(cell) && !cell.is_pruned()))
    }
}

/// Whether a change is the first or the last that has a toolchain.
fn is_end(decided: &[SuiteTarget<'_>], change: ChangeId) -> bool {
    [decided.first(), decided.last()].into_iter().flatten().any(|(end, _)| *end == change)
}

fn is_verdict(cell: &HistoryCell) -> bool {
    matches!(cell.outcome, Some(Outcome::Passed | Outcome::Failed))
}

fn toolchain_cell(cell: Option<&HistoryCell>) -> ToolchainCell {
    match cell {
        None => ToolchainCell::Empty,
        Some(cell) => match (cell.state, cell.reason) {
            // A build of an end may be superseded; one that a search or an idle worker needs stays.
            (BuildState::Queued, Reason::Tip) if cell.attempts == 0 => ToolchainCell::Queued,
            (BuildState::Queued | BuildState::Leased, _) => ToolchainCell::Running,
            // Its change was rewound, and has come back.
            (BuildState::Finished, _) if cell.outcome == Some(Outcome::Cancelled) => ToolchainCell::Empty,
            (BuildState::Finished, _) => ToolchainCell::Decided,
        },
    }
}
