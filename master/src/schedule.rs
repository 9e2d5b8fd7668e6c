//! Asks for cover builds: loads what is known of a branch, lets `domain::schedule` decide, queues.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use domain::ids::{ChangeId, PlatformId, Timestamp};
use domain::inputs::{self, ProjectSide};
use domain::outcome::{Cause, Judged, Outcome};
use domain::schedule::{Action, Cell, toolchains};
use domain::words::{BuildState, BuilderKind, Reason};
use store::{Build, Builder, CoverCell, Finish, NewBuild, Write};

use crate::config::Config;
use crate::farm::{Farm, now};
use crate::settle;

/// How many changes' suites are asked for at once when workers are idle; the next round asks for more.
const CHANGES_AT_ONCE: usize = 3;
/// How long after a null run that our own trouble brought to nothing the next one is asked for.
const TROUBLED: Duration = Duration::from_secs(3600);

pub async fn schedule(farm: &Farm) -> Result<()> {
    let at = now();
    let slots: u32 = farm.hub.present().iter().map(|worker| worker.slots).sum();
    let config = farm.config();
    let asked = farm
        .store
        .write(move |tx| {
            Box::pin(async move {
                tx.drop_unwanted_builds(at).await?;
                let builders = tx.builders().await?;
                let mut asked = 0;
                for builder in builders.iter().filter(|builder| builder.kind == BuilderKind::Toolchain) {
                    let idle = slots > 0 && !tx.is_waited_for(builder.platform).await?;
                    let mut branch = Branch { config: &config, builder, order: Vec::new(), idle, at };
                    branch.order = tx.order(builder.branch).await?;
                    let suites = builders.iter().filter(|suite| {
                        suite.kind == BuilderKind::Suite
                            && suite.branch == builder.branch
                            && suite.platform == builder.platform
                    });
                    asked += branch.suites(tx, suites.clone()).await?;
                    asked += branch.toolchains(tx).await?;
                    asked += branch.null_runs(tx, suites).await?;
                }
                Ok(asked)
            })
        })
        .await
        .context("asking for cover builds")?;
    if asked > 0 {
        farm.nudges.dispatch.notify_one();
    }
    Ok(())
}

/// One branch on one platform.
struct Branch<'a> {
    config: &'a Config,
    /// Of its toolchains.
    builder: &'a Builder,
    order: Vec<ChangeId>,
    /// Whether its workers have nothing else to do.
    idle: bool,
    at: Timestamp,
}

impl Branch<'_> {
    async fn toolchains(&self, tx: &mut Write<'_>) -> store::Result<usize> {
        let cells = by_change(tx.cover_cells(self.builder.id).await?);
        let pictures: Vec<Cell> = self.order.iter().map(|change| cell(cells.get(change))).collect();
        // One that was just asked for by the suites' round is no idleness.
        let idle = self.idle && !tx.is_waited_for(self.builder.platform).await?;
        let mut asked = 0;
        for action in toolchains(&pictures, idle) {
            let (index, reason) = match action {
                Action::Tip(index) => (index, Reason::Tip),
                Action::Backfill(index) => (index, Reason::Backfill),
                Action::Cover(index) => {
                    tx.cover_build(cells[&self.order[index]].build, self.at).await?;
                    continue;
                }
            };
            let change = self.order[index];
            if queue_toolchain(tx, self.config, self.builder, change, reason, self.at).await? {
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
        let toolchains = by_change(tx.cover_cells(self.builder.id).await?);
        let decided: Vec<(ChangeId, &CoverCell)> = self
            .order
            .iter()
            .filter_map(|change| Some((*change, toolchains.get(change)?)))
            .filter(|(_, cell)| match cell.outcome {
                // Without its archive, which was pruned, nobody can run a suite on it.
                Some(Outcome::Passed) => cell.artifact.is_some(),
                Some(Outcome::Failed) => true,
                Some(Outcome::Infra | Outcome::Cancelled | Outcome::Blocked) | None => false,
            })
            .collect();
        let (Some(&(base, _)), Some(&(newest, _))) = (decided.first(), decided.last()) else { return Ok(0) };

        let mut asked = 0;
        for builder in builders {
            let known = by_change(tx.cover_cells(builder.id).await?);
            for cell in known.values() {
                let wanted = cell.change == newest || cell.change == base || self.idle;
                if cell.state == BuildState::Queued
                    && cell.attempts == 0
                    && cell.reason == Reason::Tip
                    && !wanted
                {
                    tx.cover_build(cell.build, self.at).await?;
                }
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
                if self.suite(tx, builder, change, toolchain, reason).await? {
                    asked += 1;
                }
            }
        }
        Ok(asked)
    }

    /// Repeats suites that have hardly run, one run a builder at a time, so that their noise is measured and not
    /// guessed. The same worker runs them again: only there do differing verdicts prove a flaky test.
    async fn null_runs(
        &self,
        tx: &mut Write<'_>,
        builders: impl Iterator<Item = &Builder>,
    ) -> store::Result<usize> {
        if !self.idle || tx.is_waited_for(self.builder.platform).await? {
            return Ok(0);
        }
        let since = Timestamp(self.at.0 - TROUBLED.as_millis() as i64);
        let mut asked = 0;
        for builder in builders {
            if tx.runs(builder.id).await? >= self.config.search.null_runs {
                continue;
            }
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
            tx.queue_build(&new, self.at).await?;
            asked += 1;
        }
        Ok(asked)
    }

    /// Says whether a worker is wanted for it.
    async fn suite(
        &self,
        tx: &mut Write<'_>,
        builder: &Builder,
        change: ChangeId,
        toolchain: &CoverCell,
        reason: Reason,
    ) -> store::Result<bool> {
        let Some(mut new) = suite_build(tx, self.config, builder, change, toolchain, reason).await? else {
            return Ok(false);
        };
        let end = |outcome, cause, same_as| Finish {
            judged: Judged { outcome, cause, step: None },
            attempt: None,
            artifact: None,
            same_as,
        };
        if toolchain.outcome == Some(Outcome::Failed) {
            new.artifact = None;
            let build = tx.queue_build(&new, self.at).await?;
            let blocked = end(Outcome::Blocked, Some(Cause::ToolchainBroken), None);
            tx.finish_build(build, &blocked, self.at).await?;
            return Ok(false);
        }
        match tx.equal_build(builder.id, new.inputs).await? {
            None => {
                tx.queue_build(&new, self.at).await?;
                Ok(true)
            }
            Some(Build { id: equal, outcome: Some(outcome), .. }) => {
                let build = tx.queue_build(&new, self.at).await?;
                tx.finish_build(build, &end(outcome, None, Some(equal)), self.at).await?;
                settle::cover(tx, builder, build, None, self.at).await?;
                Ok(false)
            }
            // The equal one is under way: its verdicts will stand for this change too.
            Some(Build { outcome: None, .. }) => Ok(false),
        }
    }
}

pub fn by_change(cells: Vec<CoverCell>) -> BTreeMap<ChangeId, CoverCell> {
    cells.into_iter().map(|cell| (cell.change, cell)).collect()
}

fn cell(known: Option<&CoverCell>) -> Cell {
    match known {
        None => Cell::Empty,
        Some(cell) => match (cell.state, cell.reason) {
            // What was asked for as an end may be covered; what a search or idleness asked for stays.
            (BuildState::Queued, Reason::Tip) if cell.attempts == 0 => Cell::Queued,
            (BuildState::Queued | BuildState::Leased, _) => Cell::Running,
            (BuildState::Finished, _) => Cell::Decided,
        },
    }
}

/// Says whether there is still a recipe for it.
pub async fn queue_toolchain(
    tx: &mut Write<'_>,
    config: &Config,
    builder: &Builder,
    change: ChangeId,
    reason: Reason,
    at: Timestamp,
) -> store::Result<bool> {
    let new = toolchain_build(tx, config, builder, change, reason).await?;
    if let Some(new) = &new {
        tx.queue_build(new, at).await?;
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
        inputs: inputs::toolchain(&row.sha, &trunk.recipe, &builder.label),
        artifact: None,
    }))
}

/// None while the project has no pin, because nobody has seen a revision of it yet.
pub async fn suite_build(
    tx: &mut Write<'_>,
    config: &Config,
    builder: &Builder,
    change: ChangeId,
    toolchain: &CoverCell,
    reason: Reason,
) -> store::Result<Option<NewBuild>> {
    let Some(project) = builder.project else { return Ok(None) };
    let Some(pin) = tx.current_pin(project, builder.branch).await? else { return Ok(None) };
    let recipe = tx.recipe(pin.recipe).await?;
    let side = ProjectSide { revision: &pin.revision, lock: pin.lock, recipe: &recipe };
    let name = tx.project(project).await?.name;
    let mut needs = Vec::new();
    if let Some(project) = config.projects.iter().find(|project| project.name == name) {
        for need in tx.projects().await?.iter().filter(|row| project.needs.contains(&row.name)) {
            if let Some(pin) = tx.current_pin(need.id, builder.branch).await? {
                needs.push((need.name.clone(), pin.revision));
            }
        }
    }
    // A broken toolchain has no artifact; what is blocked on it has inputs that nothing else can equal.
    let artifact = toolchain.artifact;
    let hashed = match artifact {
        Some(artifact) => artifact,
        None => inputs::toolchain(&tx.change(change).await?.sha, &recipe, &builder.label),
    };
    let only_worker = match artifact {
        Some(artifact) => tx.artifact(artifact).await?.and_then(|artifact| artifact.only_worker),
        None => None,
    };
    Ok(Some(NewBuild {
        builder: builder.id,
        change,
        pin: Some(pin.id),
        recipe: pin.recipe,
        reason,
        breakage: None,
        only_worker,
        inputs: inputs::suite(&hashed, &side, &needs, &builder.label),
        artifact,
    }))
}

/// Which of the farm's platforms a machine is of.
pub fn platforms_of(facts: &protocol::Facts, platforms: &[(PlatformId, String)]) -> Vec<PlatformId> {
    platforms.iter().filter(|(_, label)| domain::platform::matches(label, facts)).map(|(id, _)| *id).collect()
}
