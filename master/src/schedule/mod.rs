//! Asks for cover builds: loads what is known of a branch, lets `domain::schedule` decide, queues.

pub mod canaries;
pub mod latest;
pub mod probation;
pub mod project_inputs;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use domain::outcome::{BuildResult, Cause, Outcome};
use domain::project_inputs::TimelineBuild;
use domain::project_inputs::inputs_hash::{self, SuiteInputs};
use domain::schedule::{ScheduleAction, ToolchainCell, toolchains};
use domain::words::ids::{BuilderId, ChangeId, PlatformId, Timestamp, WorkerId};
use domain::words::{BuildState, BuilderKind, Reason};
use store::{Build, Builder, Finish, HistoryCell, NewBuild, Pin, PinState, SuiteTimeline, Write};

use crate::config::Config;
use crate::farm::{Farm, now};
use crate::schedule::project_inputs::sides;
use crate::settle;

/// How many changes' suites are asked for at once when workers are idle; the next round asks for more.
const CHANGES_AT_ONCE: usize = 3;
/// How long after a null run that our own trouble brought to nothing the next one is asked for.
const TROUBLED: Duration = Duration::from_secs(3600);

pub async fn schedule(farm: &Farm) -> Result<()> {
    let at = now();
    let workers = farm.connections.present();
    let slots: u32 = workers.iter().map(|worker| worker.slots).sum();
    let here: Vec<WorkerId> = workers.iter().map(|worker| worker.worker).collect();
    let config = farm.config();
    let (asked, has_news) = farm
        .store
        .write(move |tx| {
            Box::pin(async move {
                tx.drop_unwanted_builds(at).await?;
                let builders = tx.builders().await?;
                let platforms = tx.platforms().await?;
                let present =
                    workers.iter().flat_map(|worker| platforms_of(&worker.facts, &platforms)).collect();
                let round = sides(tx, &config, &builders, &present, at).await?;
                let mut asked = round.asked + latest::ask(tx, &config, &builders, &present, at).await?;
                let pins = tx.live_pins().await?;
                let rarely_run = tx.rarely_run(config.search.null_runs).await?;
                for builder in builders.iter().filter(|builder| builder.kind == BuilderKind::Toolchain) {
                    let suites = builders.iter().filter(|suite| {
                        suite.kind == BuilderKind::Suite
                            && suite.branch == builder.branch
                            && suite.platform == builder.platform
                    });
                    let branch = Branch {
                        config: &config,
                        builder,
                        order: tx.order(builder.branch).await?,
                        toolchains: by_change(tx.history_cells(builder.id).await?),
                        pins: &pins,
                        held: &round.held,
                        idle: slots > 0 && !tx.is_waited_for(builder.platform).await?,
                        at,
                    };
                    let suites_asked = branch.suites(tx, suites.clone()).await?;
                    let toolchains_asked = branch.toolchains(tx, suites_asked > 0).await?;
                    asked += suites_asked + toolchains_asked;
                    if branch.idle && suites_asked + toolchains_asked == 0 {
                        asked += branch.null_runs(tx, suites, &rarely_run).await?;
                    }
                }
                asked += canaries::ask(tx, at).await?;
                asked += probation::ask(tx, &config, &here, &platforms, at).await?;
                Ok((asked, round.has_news))
            })
        })
        .await
        .context("asking for cover builds")?;
    if has_news {
        farm.activations.post.notify_one();
    }
    if asked > 0 {
        farm.activations.dispatch.notify_one();
    }
    Ok(())
}

/// One branch on one platform.
struct Branch<'a> {
    config: &'a Config,
    /// Of its toolchains.
    builder: &'a Builder,
    order: Vec<ChangeId>,
    toolchains: BTreeMap<ChangeId, HistoryCell>,
    /// Those that are proposed or in use, of all branches.
    pins: &'a [Pin],
    /// Suites whose history must not grow now.
    held: &'a BTreeSet<BuilderId>,
    /// Whether its workers have nothing else to do.
    idle: bool,
    at: Timestamp,
}

impl Branch<'_> {
    /// One that was just asked for by the suites' round is no idleness.
    async fn toolchains(&self, tx: &mut Write<'_>, suites_asked: bool) -> store::Result<usize> {
        let pictures: Vec<ToolchainCell> =
            self.order.iter().map(|change| cell(self.toolchains.get(change))).collect();
        let mut asked = 0;
        for action in toolchains(&pictures, self.idle && !suites_asked) {
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
                asked += 1;
            }
        }
        Ok(asked)
    }

    /// The suites of changes whose toolchain is decided.
    async fn suites(
        &self,
        tx: &mut Write<'_>,
        builders: impl Iterator<Item = &Builder>,
    ) -> store::Result<usize> {
        let mut decided: Vec<(ChangeId, &HistoryCell)> = self
            .order
            .iter()
            .filter_map(|change| Some((*change, self.toolchains.get(change)?)))
            .filter(|(_, cell)| match cell.outcome {
                // Without its archive, which was pruned, nobody can run a suite on it.
                Some(Outcome::Passed | Outcome::Failed) => !cell.is_pruned(),
                Some(Outcome::Infra | Outcome::Cancelled | Outcome::Blocked) | None => false,
            })
            .collect();
        // What could not be built before the oldest toolchain that is still kept is of no interest any more.
        let kept = decided.iter().position(|(_, cell)| cell.artifact.is_some());
        decided.drain(..kept.unwrap_or(0));
        let (Some(&(base, _)), Some(&(newest, _))) = (decided.first(), decided.last()) else { return Ok(0) };

        let builders: Vec<&Builder> = builders.filter(|builder| !self.held.contains(&builder.id)).collect();
        let mut suite_timelines =
            tx.suite_timelines(&builders.iter().map(|builder| builder.id).collect(), base).await?;
        let mut asked = 0;
        for builder in builders {
            let SuiteTimeline { cells, history } = suite_timelines.remove(&builder.id).unwrap_or_default();
            let Some(sides) = self.sides(tx, builder, history).await? else { continue };
            let waits = |cell: &HistoryCell| {
                cell.state == BuildState::Queued && cell.attempts == 0 && cell.reason == Reason::Tip
            };
            let mut known = BTreeMap::new();
            for cell in cells {
                let is_right = sides.of(cell.change).is_none_or(|pin| Some(pin.id) == cell.pin);
                let wanted = is_right && (cell.change == newest || cell.change == base || self.idle);
                if waits(&cell) && !wanted {
                    tx.supersede_build(cell.build, self.at).await?;
                }
                if is_right {
                    known.insert(cell.change, cell);
                }
            }
            // The first run of a side chooses its dependencies for all others: it goes alone.
            if sides.is_new && known.values().any(|cell| cell.state != BuildState::Finished) {
                continue;
            }
            let mut backfilled = 0;
            for &(change, toolchain) in decided.iter().rev().filter(|(change, _)| !known.contains_key(change))
            {
                let end = change == newest || change == base;
                if !end {
                    if !self.idle || backfilled == CHANGES_AT_ONCE {
                        continue;
                    }
                    backfilled += 1;
                }
                let reason = if end { Reason::Tip } else { Reason::Backfill };
                let Some(pin) = sides.of(change) else { continue };
                if enqueue_suite(tx, builder, change, toolchain, pin, reason, self.at).await? {
                    asked += 1;
                    if sides.is_new {
                        break;
                    }
                }
            }
        }
        Ok(asked)
    }

    /// None while the project has no pin, because nobody has seen a revision of it yet.
    async fn sides(
        &self,
        tx: &mut Write<'_>,
        builder: &Builder,
        history: Vec<TimelineBuild>,
    ) -> store::Result<Option<SidesOf>> {
        let current = self.pins.iter().find(|pin| {
            (Some(pin.project), pin.branch, pin.state) == (builder.project, builder.branch, PinState::Current)
        });
        let Some(current) = current.cloned() else { return Ok(None) };
        let order: BTreeMap<ChangeId, i64> = self.order.iter().copied().zip(0..).collect();
        let mut pins = vec![current];
        for pin in history.iter().filter_map(|history_build| history_build.pin) {
            if !pins.iter().any(|known| known.id == pin) {
                pins.push(tx.pin(pin).await?);
            }
        }
        Ok(Some(SidesOf { is_new: history.is_empty(), history, order, pins }))
    }

    /// Repeats suites that have hardly run, one run a builder at a time, so that their noise is measured and not
    /// guessed. The same worker runs them again: only there do differing verdicts prove a flaky test.
    async fn null_runs(
        &self,
        tx: &mut Write<'_>,
        builders: impl Iterator<Item = &Builder>,
        rarely_run: &BTreeSet<BuilderId>,
    ) -> store::Result<usize> {
        let since = Timestamp(self.at.0 - TROUBLED.as_millis() as i64);
        let mut asked = 0;
        for builder in builders.filter(|builder| rarely_run.contains(&builder.id)) {
            let Some((repeated, worker)) = tx.to_repeat(builder.id, since).await? else { continue };
            let Some(inputs) = repeated.inputs else { continue };
            let new = NewBuild {
                builder: builder.id,
                change: repeated.change,
                pin: repeated.pin,
                recipe: repeated.recipe,
                reason: Reason::Null,
                breakage: None,
                only_worker: Some(worker),
                inputs,
                artifact: repeated.artifact,
            };
            tx.enqueue_build(&new, self.at).await?;
            asked += 1;
        }
        Ok(asked)
    }
}

/// Which project side a builder tests which change with.
struct SidesOf {
    history: Vec<TimelineBuild>,
    order: BTreeMap<ChangeId, i64>,
    /// The one in use, and those that the history knows.
    pins: Vec<Pin>,
    /// Whether nothing has run yet.
    is_new: bool,
}

impl SidesOf {
    /// None of a change that the branch has no more.
    fn of(&self, change: ChangeId) -> Option<&Pin> {
        let position = *self.order.get(&change)?;
        match domain::project_inputs::at(&self.history, position) {
            Some(side) => self.pins.iter().find(|pin| pin.id == side),
            None => self.pins.first(),
        }
    }
}

/// Asks for a cover build of a suite, unless its change has no toolchain or an equal one was built. Says whether a worker
/// is wanted for it.
pub async fn enqueue_suite(
    tx: &mut Write<'_>,
    builder: &Builder,
    change: ChangeId,
    toolchain: &HistoryCell,
    pin: &Pin,
    reason: Reason,
    at: Timestamp,
) -> store::Result<bool> {
    let mut new = suite_build(tx, builder, change, toolchain, pin, reason).await?;
    let end = |outcome, cause, same_as| Finish {
        judged: BuildResult { outcome, cause, step: None },
        attempt: None,
        artifact: None,
        same_as,
    };
    if toolchain.is_broken() {
        new.artifact = None;
        let build = tx.enqueue_build(&new, at).await?;
        tx.finish_build(build, &end(Outcome::Blocked, Some(Cause::ToolchainBroken), None), at).await?;
        return Ok(false);
    }
    match tx.equal_build(builder.id, new.inputs).await? {
        None => {
            tx.enqueue_build(&new, at).await?;
            Ok(true)
        }
        Some(Build { id: equal, outcome: Some(outcome), .. }) => {
            let build = tx.enqueue_build(&new, at).await?;
            tx.finish_build(build, &end(outcome, None, Some(equal)), at).await?;
            settle::make_history(tx, builder, build, None, at).await?;
            Ok(false)
        }
        // The equal one is under way: its verdicts will stand for this change too.
        Some(Build { outcome: None, .. }) => Ok(false),
    }
}

pub fn by_change(cells: Vec<HistoryCell>) -> BTreeMap<ChangeId, HistoryCell> {
    cells.into_iter().map(|cell| (cell.change, cell)).collect()
}

fn cell(known: Option<&HistoryCell>) -> ToolchainCell {
    match known {
        None => ToolchainCell::Empty,
        Some(cell) => match (cell.state, cell.reason) {
            // What was asked for as an end may be covered; what a search or idleness asked for stays.
            (BuildState::Queued, Reason::Tip) if cell.attempts == 0 => ToolchainCell::Queued,
            (BuildState::Queued | BuildState::Leased, _) => ToolchainCell::Running,
            (BuildState::Finished, _) => ToolchainCell::Decided,
        },
    }
}

/// Says whether there is still a recipe for it.
pub async fn enqueue_toolchain(
    tx: &mut Write<'_>,
    config: &Config,
    builder: &Builder,
    change: ChangeId,
    reason: Reason,
    at: Timestamp,
) -> store::Result<bool> {
    let new = toolchain_build(tx, config, builder, change, reason).await?;
    if let Some(new) = &new {
        tx.enqueue_build(new, at).await?;
    }
    Ok(new.is_some())
}

/// None when the trunk has left the configuration.
pub async fn toolchain_build(
    tx: &mut Write<'_>,
    config: &Config,
    builder: &Builder,
    change: ChangeId,
    reason: Reason,
) -> store::Result<Option<NewBuild>> {
    let row = tx.change(change).await?;
    let trunks = tx.trunks().await?;
    let name = trunks.iter().find(|trunk| trunk.id == row.trunk).map(|trunk| trunk.name.as_str());
    let Some(trunk) = config.trunks.iter().find(|trunk| Some(trunk.name.as_str()) == name) else {
        return Ok(None);
    };
    Ok(Some(NewBuild {
        builder: builder.id,
        change,
        pin: None,
        recipe: tx.put_recipe(&trunk.recipe).await?,
        reason,
        breakage: None,
        only_worker: None,
        inputs: inputs_hash::toolchain(&row.sha, &trunk.recipe, &builder.label),
        artifact: None,
    }))
}

pub async fn suite_build(
    tx: &mut Write<'_>,
    builder: &Builder,
    change: ChangeId,
    toolchain: &HistoryCell,
    pin: &Pin,
    reason: Reason,
) -> store::Result<NewBuild> {
    let recipe = tx.recipe(pin.side.recipe).await?;
    let lock = pin.lock.map(|lock| lock.sha256);
    let side = SuiteInputs { revision: &pin.side.revision, lock, recipe: &recipe };
    // A broken toolchain has no artifact; what is blocked on it has inputs that nothing else can equal.
    let artifact = toolchain.artifact;
    let hashed = match artifact {
        Some(artifact) => artifact,
        None => inputs_hash::toolchain(&tx.change(change).await?.sha, &recipe, &builder.label),
    };
    let only_worker = match artifact {
        Some(artifact) => tx.artifact(artifact).await?.and_then(|artifact| artifact.only_worker),
        None => None,
    };
    Ok(NewBuild {
        builder: builder.id,
        change,
        pin: Some(pin.id),
        recipe: pin.side.recipe,
        reason,
        breakage: None,
        only_worker,
        inputs: inputs_hash::suite(&hashed, &side, &pin.side.needs, &builder.label),
        artifact,
    })
}

/// Which of the farm's platforms a machine is of.
pub fn platforms_of(facts: &protocol::WorkerFacts, platforms: &[(PlatformId, String)]) -> Vec<PlatformId> {
    platforms
        .iter()
        .filter(|(_, label)| domain::words::platform::matches(label, facts))
        .map(|(id, _)| *id)
        .collect()
}
