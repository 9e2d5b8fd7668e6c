//! Proposes new toolchain inputs, has them proven by a baseline, takes them into use, and joins the histories of the suites:
//! loads what is known, and `domain::project_inputs` decides.

use std::collections::{BTreeMap, BTreeSet};

use domain::dispatch::AWAY;
use domain::dispatch::makers::{Maker, makers_of};
use domain::project_inputs::inputs_hash;
use domain::project_inputs::toolchain::{self, ToolchainInputs};
use domain::project_inputs::{
    self, BaselineBuild, BaselineFacts, BaselineProgress, BaselineStep, InputsComparison, InputsProposal,
    TimelineBuild,
};
use domain::words::ids::{BuilderId, ChangeId, Timestamp};
use domain::words::states::ToolchainInputsState;
use domain::words::{BuildState, BuilderKind, Reason};
use protocol::{Recipe, Sha256};
use store::{Build, Builder, BuilderInputs, HistoryCell, Write};

use crate::config::{Config, TrunkConfig};
use crate::farm::makers::load_makers;
use crate::schedule::baseline::{is_searched_after, is_verdict};
use crate::schedule::enqueue::{SuiteBuild, enqueue_suite, enqueue_toolchain};
use crate::settle::breakages::make_history;

/// What was enqueued, and whose history must not grow before its baseline has run.
#[derive(Default)]
pub struct UpdatedToolchains {
    pub enqueued: usize,
    /// Toolchains whose inputs are about to change, and suites whose history has not reached those in use.
    pub held: BTreeSet<BuilderId>,
}

/// Advances the toolchain inputs of all builders by one step.
pub async fn update_toolchain_inputs(
    tx: &mut Write<'_>,
    config: &Config,
    builders: &[Builder],
    at: Timestamp,
) -> store::Result<UpdatedToolchains> {
    let trunks = tx.trunks().await?;
    let branches = tx.branches().await?;
    let makers = load_makers(tx, at).await?;
    let mut updated = UpdatedToolchains::default();
    for builder in builders.iter().filter(|builder| builder.kind == BuilderKind::Toolchain) {
        let branch = branches.iter().find(|branch| branch.id == builder.branch);
        let name = branch.and_then(|branch| trunks.iter().find(|trunk| trunk.id == branch.trunk));
        let trunk = name.and_then(|row| config.trunks.iter().find(|trunk| trunk.name == row.name));
        let builds = trunk.map(TrunkConfig::builds).unwrap_or_default();
        let Some(build) = builds.iter().find(|build| build.key == builder.variant) else { continue };
        let mut update = ToolchainUpdate { builder, makers: &makers, at, updated: &mut updated };
        if let Some(current) = update.advance(tx, &build.recipe).await? {
            let behind = tx.builders_behind(builder, current.id).await?;
            for suite in builders.iter().filter(|suite| behind.contains(&suite.id)) {
                update.join(tx, suite, &current).await?;
            }
        }
    }
    Ok(updated)
}

struct ToolchainUpdate<'a> {
    /// The builder of the toolchains.
    builder: &'a Builder,
    makers: &'a [Maker],
    at: Timestamp,
    updated: &'a mut UpdatedToolchains,
}

impl ToolchainUpdate<'_> {
    /// Advances the inputs of the toolchains. Returns those in use once the toolchains' own history has reached them.
    async fn advance(&mut self, tx: &mut Write<'_>, recipe: &Recipe) -> store::Result<Option<BuilderInputs>> {
        let live = tx.live_toolchain_inputs(self.builder.id).await?;
        let in_state = |state| live.iter().find(|inputs| inputs.state == state).cloned();
        let current = in_state(ToolchainInputsState::Current);
        let proposed = in_state(ToolchainInputsState::Proposed);
        let Some(proposed) = self.update_proposal(tx, recipe, current.as_ref(), proposed).await? else {
            let Some(current) = current else { return Ok(None) };
            if tx.builders_behind(self.builder, current.id).await?.contains(&self.builder.id) {
                // The change at which its history was joined was rewound.
                self.prove(tx, &current).await?;
                return Ok(None);
            }
            return Ok(Some(current));
        };
        if self.prove(tx, &proposed).await? {
            return Ok(Some(tx.toolchain_inputs(proposed.id).await?));
        }
        Ok(current)
    }

    /// Keeps, drops or replaces the proposed inputs. Returns those that are proposed then.
    async fn update_proposal(
        &mut self,
        tx: &mut Write<'_>,
        recipe: &Recipe,
        current: Option<&BuilderInputs>,
        proposed: Option<BuilderInputs>,
    ) -> store::Result<Option<BuilderInputs>> {
        // Of the builds before the first inputs nothing is known, so they are not those of any recipe.
        let unknown = ToolchainInputs { recipe: Sha256([0; 32]), environment: None };
        let in_use = current.map_or(&unknown, |current| &current.inputs);
        let has_maker = in_use
            .environment
            .as_ref()
            .is_some_and(|environment| !makers_of(self.makers, &self.builder.label, environment).is_empty());
        let proposal = proposed.as_ref().map(|proposed| &proposed.inputs);
        let wanted = toolchain::wanted(inputs_hash::recipe(recipe), in_use, proposal, has_maker);
        let under_way = match &proposed {
            Some(proposed) => tx
                .toolchain_baseline(self.builder.id, proposed.id)
                .await?
                .is_some_and(|baseline| baseline.state == BuildState::Leased),
            None => false,
        };
        match project_inputs::propose(&wanted, in_use, proposal, under_way, false) {
            InputsProposal::Keep => Ok(proposed),
            InputsProposal::Drop => {
                if let Some(proposed) = proposed {
                    tx.drop_toolchain_inputs(proposed.id).await?;
                }
                Ok(None)
            }
            InputsProposal::Propose => {
                tx.put_recipe(recipe).await?;
                let id = tx.propose_toolchain_inputs(self.builder.id, &wanted, self.at).await?;
                tracing::info!(builder = self.builder.name, "new toolchain inputs are proposed");
                Ok(Some(tx.toolchain_inputs(id).await?))
            }
        }
    }

    /// Has inputs proven by the baseline of the toolchains. Returns whether it has taken them into use.
    async fn prove(&mut self, tx: &mut Write<'_>, inputs: &BuilderInputs) -> store::Result<bool> {
        let mut history = tx.history(self.builder.id).await?;
        history.retain(|build| build.inputs.toolchain != Some(inputs.id));
        let facts = self.load_facts(tx, inputs, &history).await?;
        let next = project_inputs::next(&facts, self.at);
        // Once they are in use, nothing is made with the old ones any longer.
        if next.holds_history() || inputs.state == ToolchainInputsState::Current {
            self.updated.held.insert(self.builder.id);
            tx.drop_queued_history(self.builder.id, None, self.at).await?;
        }
        match next {
            BaselineStep::Repeat(change) => {
                self.make(tx, change, inputs).await?;
                Ok(false)
            }
            BaselineStep::Confirm(_) | BaselineStep::Wait | BaselineStep::Later => Ok(false),
            BaselineStep::Hold(_) => {
                if inputs.worse_since.is_none() {
                    tracing::warn!(
                        builder = self.builder.name,
                        "new toolchain inputs wait: no toolchain can be made"
                    );
                    tx.mark_toolchain_inputs_worse(inputs.id, self.at).await?;
                }
                Ok(false)
            }
            BaselineStep::Take => self.take(tx, inputs, &facts, &history).await,
        }
    }

    async fn load_facts(
        &self,
        tx: &mut Write<'_>,
        inputs: &BuilderInputs,
        history: &[TimelineBuild],
    ) -> store::Result<BaselineFacts> {
        let sick = tx.sick_changes(self.builder.branch).await?;
        let mut facts = BaselineFacts {
            at: project_inputs::baseline_at(history, &sick).map(|build| build.change),
            busy: tx.is_history_leased(self.builder.id).await?,
            baseline: None,
            worse_since: inputs.worse_since,
            is_old_gone: false,
            is_stranded: false,
        };
        let cells = tx.toolchain_cells(self.builder.id, Some(inputs.id)).await?;
        let here = facts.at.and_then(|change| cells.get(&change));
        let baseline = match here {
            Some(cell) => Some(tx.build(cell.build).await?),
            None => tx.toolchain_baseline(self.builder.id, inputs.id).await?,
        };
        let Some(baseline) = baseline else { return Ok(facts) };
        let old = history.iter().rfind(|build| build.change == baseline.change);
        let ran = compare_toolchains(tx, old, &baseline).await?;
        if let (Some(_), BaselineProgress::Compared(InputsComparison::Worse(_))) = (here, &ran)
            && let Some(tip) = history.last().filter(|tip| Some(tip.change) != facts.at)
            && tx.build(tip.build).await?.artifact.is_none()
        {
            // The recipe may have been adapted to a change that broke the toolchain: then it is that change that it builds.
            let ran = match cells.get(&tip.change) {
                None => None,
                Some(cell) => Some(progress_of(&tx.build(cell.build).await?)),
            };
            if cells.get(&tip.change).is_none_or(|cell| !cell.is_broken()) {
                facts.at = Some(tip.change);
                facts.baseline = ran.map(|ran| BaselineBuild { change: tip.change, ran });
                return Ok(facts);
            }
        }
        facts.baseline = Some(BaselineBuild { change: baseline.change, ran });
        Ok(facts)
    }

    /// Takes inputs into use, unless a search still needs those of before.
    async fn take(
        &mut self,
        tx: &mut Write<'_>,
        inputs: &BuilderInputs,
        facts: &BaselineFacts,
        history: &[TimelineBuild],
    ) -> store::Result<bool> {
        if let Some(change) = facts.at
            && self.can_go_on_with(tx, history).await?
            && is_searched_after(tx, self.builder, change).await?
        {
            return Ok(false);
        }
        if inputs.state == ToolchainInputsState::Proposed {
            tx.take_toolchain_inputs(inputs.id, self.at).await?;
        }
        tx.drop_queued_history(self.builder.id, None, self.at).await?;
        let cells = tx.toolchain_cells(self.builder.id, Some(inputs.id)).await?;
        if let Some(baseline) = facts.at.and_then(|change| cells.get(&change))
            && baseline.reason == Reason::Force
        {
            tx.promote_to_baseline(baseline.build).await?;
            make_history(tx, self.builder, baseline.build, None, self.at).await?;
        }
        let old = match history.last().and_then(|build| build.inputs.toolchain) {
            Some(old) => Some(tx.toolchain_inputs(old).await?.inputs),
            None => None,
        };
        if facts.at.is_some() {
            let differs = toolchain::differs(old.as_ref(), &inputs.inputs).join("; ");
            tracing::info!(builder = self.builder.name, differs, "new toolchain inputs are in use");
        }
        Ok(true)
    }

    /// Whether toolchains can still be made with the inputs at the end of a history.
    async fn can_go_on_with(&self, tx: &mut Write<'_>, history: &[TimelineBuild]) -> store::Result<bool> {
        let Some(inputs) = history.last().and_then(|build| build.inputs.toolchain) else { return Ok(true) };
        let environment = tx.toolchain_inputs(inputs).await?.inputs.environment;
        Ok(environment
            .is_none_or(|environment| !makers_of(self.makers, &self.builder.label, &environment).is_empty()))
    }

    async fn make(
        &mut self,
        tx: &mut Write<'_>,
        change: ChangeId,
        inputs: &BuilderInputs,
    ) -> store::Result<()> {
        if enqueue_toolchain(tx, self.builder, change, Some(inputs.id), Reason::Force, self.at).await? {
            self.updated.enqueued += 1;
        }
        Ok(())
    }

    /// Brings a suite to the toolchain inputs in use: its newest whole change is repeated with them, and with the project
    /// inputs that it has there.
    async fn join(
        &mut self,
        tx: &mut Write<'_>,
        suite: &Builder,
        inputs: &BuilderInputs,
    ) -> store::Result<()> {
        self.updated.held.insert(suite.id);
        tx.drop_queued_history(suite.id, Some(inputs.id), self.at).await?;
        let cells = tx.toolchain_cells(self.builder.id, Some(inputs.id)).await?;
        let history = tx.history(suite.id).await?;
        let sick = tx.sick_changes(suite.branch).await?;
        let Some(newest) = project_inputs::baseline_at(&history, &sick) else { return Ok(()) };
        // A search keeps its toolchain inputs to the end: what it searches must not leave the history meanwhile.
        if is_searched_after(tx, suite, newest.change).await? {
            return Ok(());
        }
        // No change that cannot be built with the new inputs can be repeated with them: the suite goes on without a join,
        // at the newest change that can. What differs there accuses no change either.
        let repeated = match cells.get(&newest.change).is_some_and(HistoryCell::is_broken) {
            true => self.newest_made(tx, &cells).await?,
            false => Some(newest.change),
        };
        let (Some(repeated), Some(pin)) = (repeated, newest.inputs.pin) else { return Ok(()) };
        let baseline = tx.last_baseline(suite.id, pin, Some(inputs.id)).await?;
        let facts = BaselineFacts {
            at: Some(repeated),
            busy: tx.is_making_history(suite.id, self.at - AWAY).await?,
            baseline: baseline
                .map(|baseline| BaselineBuild { change: baseline.change, ran: progress_of(&baseline) }),
            worse_since: None,
            is_old_gone: false,
            is_stranded: false,
        };
        match project_inputs::next(&facts, self.at) {
            BaselineStep::Repeat(change) => {
                let toolchain = cells.get(&change);
                if !self.is_ready(tx, change, toolchain, inputs).await? {
                    return Ok(());
                }
                let (Some(toolchain), pin) = (toolchain, tx.pin(pin).await?) else { return Ok(()) };
                let suite =
                    SuiteBuild { builder: suite, change, toolchain, pin: &pin, reason: Reason::Baseline };
                if enqueue_suite(tx, suite, self.at).await? {
                    self.updated.enqueued += 1;
                }
                Ok(())
            }
            BaselineStep::Confirm(_)
            | BaselineStep::Wait
            | BaselineStep::Later
            | BaselineStep::Hold(_)
            | BaselineStep::Take => Ok(()),
        }
    }

    async fn newest_made(
        &self,
        tx: &mut Write<'_>,
        cells: &BTreeMap<ChangeId, HistoryCell>,
    ) -> store::Result<Option<ChangeId>> {
        let order = tx.order(self.builder.branch).await?;
        let is_made = |change: &&ChangeId| cells.get(change).is_some_and(|cell| cell.artifact.is_some());
        Ok(order.iter().rev().find(is_made).copied())
    }

    /// Whether there is a toolchain to repeat a change with; if there is none, it is made.
    async fn is_ready(
        &mut self,
        tx: &mut Write<'_>,
        change: ChangeId,
        toolchain: Option<&HistoryCell>,
        inputs: &BuilderInputs,
    ) -> store::Result<bool> {
        match toolchain {
            Some(cell) if cell.artifact.is_some() => Ok(true),
            Some(cell) if cell.state != BuildState::Finished => Ok(false),
            Some(cell) if cell.is_pruned() => {
                let forced = tx.forced_build(self.builder.id, change, Some(inputs.id)).await?;
                if forced.is_none_or(|forced| forced.state == BuildState::Finished) {
                    self.make(tx, change, inputs).await?;
                }
                Ok(false)
            }
            // It came to no verdict.
            Some(cell) => {
                let ended = tx.build(cell.build).await?.finished_at;
                if ended.is_none_or(|ended| ended + project_inputs::PAUSE <= self.at) {
                    self.make(tx, change, inputs).await?;
                }
                Ok(false)
            }
            None => {
                self.make(tx, change, inputs).await?;
                Ok(false)
            }
        }
    }
}

/// How far a baseline is that is not compared with anything.
fn progress_of(baseline: &Build) -> BaselineProgress {
    match baseline.finished_at {
        _ if is_verdict(baseline) => BaselineProgress::Compared(InputsComparison::NoWorse),
        None => BaselineProgress::UnderWay,
        Some(ended) => BaselineProgress::NoResult { ended },
    }
}

/// Compares toolchains of one change. New inputs are worse if nothing can be tested with them; whatever else differs is
/// shown to the operator.
async fn compare_toolchains(
    tx: &mut Write<'_>,
    old: Option<&TimelineBuild>,
    baseline: &Build,
) -> store::Result<BaselineProgress> {
    let progress = progress_of(baseline);
    let Some(old) = old.filter(|_| is_verdict(baseline) && baseline.artifact.is_none()) else {
        return Ok(progress);
    };
    if tx.build(old.build).await?.artifact.is_none() {
        return Ok(progress);
    }
    let verdicts: BTreeMap<_, _> = tx.case_verdicts(baseline.id).await?;
    let bad = verdicts.into_iter().filter(|(_, verdict)| verdict.is_bad()).map(|(case, _)| case);
    Ok(BaselineProgress::Compared(InputsComparison::Worse(bad.collect())))
}
