//! Proposes new project inputs, has them proven by baselines, and takes them into use: loads what is known, and
//! `domain::project_inputs` decides.

use std::collections::{BTreeMap, BTreeSet};

use domain::project_inputs::inputs_hash;
use domain::project_inputs::{
    self, BaselineProgress, BaselineStep, InputsComparison, InputsProposal, InputsVersion, ProjectInputs,
};
use domain::words::ids::{BranchId, BuilderId, CaseId, PlatformId, ProjectId, Timestamp};
use domain::words::{BuilderKind, Reason};
use store::{Builder, Pin, PinState, Write};

use crate::config::{Config, ProjectConfig};
use crate::notify::own_inputs::{WorseInputs, notify_contacts};
use crate::queue::enqueue_rerun;
use crate::schedule::baseline::{LoadedBaseline, is_being_proven, is_verdict, last_baseline};
use crate::schedule::enqueue::{SuiteBuild, enqueue_suite};
use crate::settle::breakages::make_history;

/// What was enqueued, and whose history must not grow before its baseline has run.
#[derive(Default)]
pub struct UpdatedInputs {
    pub enqueued: usize,
    pub held: BTreeSet<BuilderId>,
    /// Whether there is mail for contacts.
    pub has_news: bool,
}

/// Advances the project inputs of all projects by one step. `present` are the platforms of the connected workers. Builders
/// that are `held`, since other inputs of theirs are about to change, wait.
pub async fn update_project_inputs(
    tx: &mut Write<'_>,
    config: &Config,
    builders: &[Builder],
    present: &BTreeSet<PlatformId>,
    held: &BTreeSet<BuilderId>,
    at: Timestamp,
) -> store::Result<UpdatedInputs> {
    let mut update = InputsUpdate {
        config,
        builders,
        present,
        held,
        at,
        pins_changed: false,
        updated: UpdatedInputs::default(),
    };
    let projects = tx.projects().await?;
    let branches = tx.branches().await?;
    let registered = Registered::new(config, &projects);
    let mut revisions = Revisions::load(tx).await?;
    for project in &config.projects {
        let Some(row) = registered.rows.get(project.name.as_str()) else { continue };
        let Some(newest) = &row.newest else { continue };
        for branch in branches.iter().filter(|branch| branch.trunk == row.trunk && !branch.gone) {
            let Some(needs) = registered.needs(project, &revisions, branch.id) else { continue };
            let wanted = ProjectInputs {
                revision: newest.clone(),
                recipe: inputs_hash::recipe(&project.recipe),
                needs,
            };
            let project = BranchProject { project, id: row.id, branch: branch.id, wanted: &wanted };
            update.advance(tx, project, &revisions).await?;
            if std::mem::take(&mut update.pins_changed) {
                // Those of the others are as they were: a farm of a thousand projects reads a thousand pins once.
                revisions.reload(tx, row.id, branch.id).await?;
            }
        }
    }
    for (builder, pin) in tx.baselines_to_judge().await? {
        let Some(builder) = builders.iter().find(|active| active.id == builder) else { continue };
        let pin = tx.pin(pin).await?;
        update.judge_follower(tx, builder, &pin).await?;
    }
    Ok(update.updated)
}

/// The project inputs that are in use or proposed on each branch.
struct Revisions {
    pins: BTreeMap<(ProjectId, BranchId), Vec<Pin>>,
    /// Builders whose histories have reached the revision in use.
    joined: BTreeSet<BuilderId>,
}

impl Revisions {
    async fn load(tx: &mut Write<'_>) -> store::Result<Revisions> {
        let mut pins: BTreeMap<_, Vec<Pin>> = BTreeMap::new();
        for pin in tx.live_pins().await? {
            pins.entry((pin.project, pin.branch)).or_default().push(pin);
        }
        Ok(Revisions { pins, joined: tx.builders_with_current_inputs().await? })
    }

    /// Reads again which inputs of a project are in use, which other projects may need.
    async fn reload(
        &mut self,
        tx: &mut Write<'_>,
        project: ProjectId,
        branch: BranchId,
    ) -> store::Result<()> {
        let current = tx.current_pin(project, branch).await?;
        self.pins.insert((project, branch), current.into_iter().collect());
        Ok(())
    }

    fn pin(&self, project: ProjectId, branch: BranchId, state: PinState) -> Option<&Pin> {
        self.pins.get(&(project, branch))?.iter().find(|pin| pin.state == state)
    }
}

/// The projects of the configuration, and those of the store.
struct Registered<'a> {
    projects: BTreeMap<&'a str, &'a ProjectConfig>,
    rows: BTreeMap<&'a str, &'a store::Project>,
}

impl<'a> Registered<'a> {
    fn new(config: &'a Config, rows: &'a [store::Project]) -> Registered<'a> {
        Registered {
            projects: config.projects.iter().map(|project| (project.name.as_str(), project)).collect(),
            rows: rows.iter().map(|row| (row.name.as_str(), row)).collect(),
        }
    }

    /// The projects that this one needs, and those that they need, at their pins. None while one of them has no pin. A source alone
    /// gets nothing, so it waits for nothing: those that need it get what it needs.
    fn needs(
        &self,
        project: &ProjectConfig,
        revisions: &Revisions,
        branch: BranchId,
    ) -> Option<Vec<(String, String)>> {
        if project.source_only {
            return Some(Vec::new());
        }
        let mut needs = BTreeMap::new();
        let mut open: Vec<&str> = project.needs.iter().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            if needs.contains_key(name) {
                continue;
            }
            let pin = revisions.pin(self.rows.get(name)?.id, branch, PinState::Current)?;
            needs.insert(name.to_string(), pin.project_inputs.revision.clone());
            open.extend(self.projects.get(name)?.needs.iter().map(String::as_str));
        }
        Some(needs.into_iter().collect())
    }
}

/// A project on one branch, with the inputs that it would be tested with today.
#[derive(Clone, Copy)]
struct BranchProject<'a> {
    project: &'a ProjectConfig,
    id: ProjectId,
    branch: BranchId,
    wanted: &'a ProjectInputs,
}

struct InputsUpdate<'a> {
    config: &'a Config,
    builders: &'a [Builder],
    present: &'a BTreeSet<PlatformId>,
    /// Builders whose toolchain inputs move: only one of the inputs moves at a time.
    held: &'a BTreeSet<BuilderId>,
    at: Timestamp,
    /// Whether it has changed which inputs are proposed or in use.
    pins_changed: bool,
    updated: UpdatedInputs,
}

impl InputsUpdate<'_> {
    async fn advance(
        &mut self,
        tx: &mut Write<'_>,
        of: BranchProject<'_>,
        revisions: &Revisions,
    ) -> store::Result<()> {
        let Some(current) = revisions.pin(of.id, of.branch, PinState::Current) else {
            // The first inputs that are seen are the first in use.
            let pin = self.propose(tx, of).await?;
            return tx.take_pin(pin.id, self.at).await;
        };
        let builders =
            self.builders.iter().filter(|suite| (suite.project, suite.branch) == (Some(of.id), of.branch));
        let (joined, not_joined): (Vec<_>, Vec<_>) =
            builders.partition(|builder| revisions.joined.contains(&builder.id));
        // The first platform that has a worker proves the inputs for all platforms.
        let with_worker = joined.iter().find(|builder| self.present.contains(&builder.platform));
        let prover = with_worker.or(joined.first()).copied();
        let proposed = revisions.pin(of.id, of.branch, PinState::Proposed).cloned();
        let proposed = self.update_proposal(tx, of, current, proposed, prover).await?;
        for builder in not_joined.into_iter().filter(|builder| !self.held.contains(&builder.id)) {
            self.join(tx, builder, current).await?;
        }
        if let Some(proposed) = proposed
            && prover.is_none_or(|prover| !self.held.contains(&prover.id))
        {
            self.prove(tx, prover, &proposed).await?;
            if tx.pin_missing_since(current.id).await?.is_some() {
                // Nothing can be tested with the inputs in use any more.
                let suites = self.builders.iter().filter(|suite| suite.project == Some(of.id));
                self.updated
                    .held
                    .extend(suites.filter(|suite| suite.branch == of.branch).map(|suite| suite.id));
            }
        }
        Ok(())
    }

    /// Keeps, drops or replaces the proposed inputs. Returns those that are proposed then.
    async fn update_proposal(
        &mut self,
        tx: &mut Write<'_>,
        of: BranchProject<'_>,
        current: &Pin,
        proposed: Option<Pin>,
        prover: Option<&Builder>,
    ) -> store::Result<Option<Pin>> {
        let under_way = match (&proposed, prover) {
            (Some(proposed), Some(prover)) => is_being_proven(tx, prover, proposed).await?,
            (Some(_), None) | (None, _) => false,
        };
        let relock = match (of.project.relock, &current.lock) {
            (Some(period), Some(lock)) => lock.written_at + period <= self.at,
            (Some(_), None) | (None, _) => false,
        };
        let inputs = proposed.as_ref().map(|pin| &pin.project_inputs);
        match project_inputs::propose(of.wanted, &current.project_inputs, inputs, under_way, relock) {
            InputsProposal::Keep => Ok(proposed),
            InputsProposal::Drop => {
                if let Some(proposed) = proposed {
                    self.pins_changed = true;
                    tx.drop_pin(proposed.id).await?;
                }
                Ok(None)
            }
            InputsProposal::Propose => Ok(Some(self.propose(tx, of).await?)),
        }
    }

    async fn propose(&mut self, tx: &mut Write<'_>, of: BranchProject<'_>) -> store::Result<Pin> {
        self.pins_changed = true;
        tx.put_recipe(&of.project.recipe).await?;
        let pin = tx.propose_pin(of.id, of.branch, of.wanted, self.at).await?;
        let (project, revision) = (&of.project.name, &of.wanted.revision);
        tracing::info!(project, revision, "new project inputs are proposed");
        tx.pin(pin).await
    }

    /// Brings a builder to the inputs that another platform has proven. It has a history of its own to join.
    async fn join(&mut self, tx: &mut Write<'_>, builder: &Builder, pin: &Pin) -> store::Result<()> {
        let baseline = LoadedBaseline::load(tx, builder, pin, self.at).await?;
        let next = project_inputs::next(&baseline.inputs, self.at);
        if next.holds_history() {
            self.updated.held.insert(builder.id);
        }
        match next {
            BaselineStep::Repeat(_) => self.repeat(tx, builder, pin, &baseline).await,
            // There is nothing to join, or the baseline has joined it: its verdicts are judged separately.
            BaselineStep::Confirm(_)
            | BaselineStep::Wait
            | BaselineStep::Later
            | BaselineStep::Hold(_)
            | BaselineStep::Take => Ok(()),
        }
    }

    async fn prove(&mut self, tx: &mut Write<'_>, builder: Option<&Builder>, pin: &Pin) -> store::Result<()> {
        let Some(builder) = builder else {
            // No builder has a history yet that would have to be joined.
            return self.take(tx, pin).await;
        };
        let baseline = LoadedBaseline::load(tx, builder, pin, self.at).await?;
        let next = project_inputs::next(&baseline.inputs, self.at);
        if next.holds_history() {
            self.updated.held.insert(builder.id);
        }
        match next {
            BaselineStep::Repeat(_) => self.repeat(tx, builder, pin, &baseline).await,
            BaselineStep::Confirm(which) => self.confirm(tx, &baseline, which).await,
            BaselineStep::Wait | BaselineStep::Later => Ok(()),
            BaselineStep::Hold(cases) => {
                if !baseline.is_judged {
                    self.pins_changed = true;
                    tx.mark_pin_worse(pin.id, self.at).await?;
                    self.judge(tx, builder, pin, &cases).await?;
                }
                Ok(())
            }
            // A search keeps its project inputs to the end: what it searches must not leave the history meanwhile.
            BaselineStep::Take if baseline.is_searched_after(tx, builder).await? => Ok(()),
            BaselineStep::Take => {
                match baseline.progress() {
                    Some(BaselineProgress::Compared(InputsComparison::Worse(cases)))
                        if !baseline.is_judged =>
                    {
                        self.judge(tx, builder, pin, cases).await?;
                    }
                    Some(_) if !baseline.is_judged => {
                        tx.judge_baseline(builder.id, pin.id, &BTreeSet::new(), self.at).await?;
                    }
                    Some(_) | None => {}
                }
                self.take(tx, pin).await
            }
        }
    }

    /// Takes inputs into use. Baselines that ran with them make history from now on.
    async fn take(&mut self, tx: &mut Write<'_>, pin: &Pin) -> store::Result<()> {
        self.pins_changed = true;
        tx.take_pin(pin.id, self.at).await?;
        tracing::info!(revision = pin.project_inputs.revision, "new project inputs are in use");
        let of = (Some(pin.project), pin.branch);
        for builder in self.builders.iter().filter(|builder| (builder.project, builder.branch) == of) {
            if let Some(baseline) = last_baseline(tx, builder, pin).await?
                && is_verdict(&baseline)
            {
                make_history(tx, builder, baseline.id, None, self.at).await?;
            }
        }
        Ok(())
    }

    async fn repeat(
        &mut self,
        tx: &mut Write<'_>,
        builder: &Builder,
        pin: &Pin,
        baseline: &LoadedBaseline,
    ) -> store::Result<()> {
        let Some(change) = baseline.inputs.at else { return Ok(()) };
        let toolchains = self
            .builders
            .iter()
            .find(|other| other.kind == BuilderKind::Toolchain && other.is_beside(builder));
        let Some(toolchains) = toolchains else { return Ok(()) };
        let history = tx.history(builder.id).await?;
        let before = project_inputs::last_before(&history, pin.id);
        let inputs = before.and_then(|build| build.inputs.toolchain);
        let cells = tx.toolchain_cells(toolchains.id, inputs).await?;
        let Some(toolchain) = cells.get(&change) else { return Ok(()) };
        let suite = SuiteBuild { builder, change, toolchain, pin, reason: Reason::Baseline };
        if enqueue_suite(tx, suite, self.at).await? {
            self.updated.enqueued += 1;
        }
        Ok(())
    }

    /// Runs one version of the inputs once more, on the worker that ran the new one.
    async fn confirm(
        &mut self,
        tx: &mut Write<'_>,
        baseline: &LoadedBaseline,
        which: InputsVersion,
    ) -> store::Result<()> {
        let repeated = match which {
            InputsVersion::Old => baseline.old,
            InputsVersion::New => baseline.new,
        };
        let (Some(repeated), Some(new)) = (repeated, baseline.new) else { return Ok(()) };
        let (repeated, new) = (tx.build(repeated).await?, tx.build(new).await?);
        let only_worker = tx.worker_of(&new).await?;
        if enqueue_rerun(tx, &repeated, only_worker, self.at).await? {
            self.updated.enqueued += 1;
        }
        Ok(())
    }

    /// Judges the baseline that brought a builder to the inputs in use.
    async fn judge_follower(
        &mut self,
        tx: &mut Write<'_>,
        builder: &Builder,
        pin: &Pin,
    ) -> store::Result<()> {
        let baseline = LoadedBaseline::load(tx, builder, pin, self.at).await?;
        match baseline.progress() {
            Some(BaselineProgress::Compared(InputsComparison::Unsure(which))) => {
                self.confirm(tx, &baseline, *which).await
            }
            Some(BaselineProgress::Compared(InputsComparison::Worse(cases))) => {
                self.judge(tx, builder, pin, cases).await
            }
            Some(BaselineProgress::Compared(InputsComparison::NoWorse)) => {
                tx.judge_baseline(builder.id, pin.id, &BTreeSet::new(), self.at).await
            }
            Some(BaselineProgress::UnderWay | BaselineProgress::NoResult { .. }) | None => Ok(()),
        }
    }

    /// Records that the inputs made cases worse, and sends the project's contacts a mail about those cases that no mail has
    /// reported to them yet.
    async fn judge(
        &mut self,
        tx: &mut Write<'_>,
        builder: &Builder,
        pin: &Pin,
        cases: &BTreeSet<CaseId>,
    ) -> store::Result<()> {
        let announced = tx.cases_announced(builder.id, pin.id).await?;
        tx.judge_baseline(builder.id, pin.id, cases, self.at).await?;
        tracing::info!(builder = builder.name, cases = cases.len(), "new project inputs made cases worse");
        if cases.is_subset(&announced) {
            return Ok(());
        }
        self.updated.has_news = true;
        notify_contacts(tx, self.config, WorseInputs { builder, pin, cases }, self.at).await
    }
}
