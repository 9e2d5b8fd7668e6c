//! Proposes new project sides, has them proven by baselines, and takes them into use: loads what is known,
//! `domain::project_inputs` decides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::outcome::Outcome;
use domain::project_inputs::inputs_hash;
use domain::project_inputs::{
    self, BaselineBuild, BaselineFacts, BaselineProgress, BaselineStep, CaseVerdicts, InputsComparison,
    InputsVersion, PinProposal, ProjectInputs,
};
use domain::words::ids::{BranchId, BuildId, BuilderId, CaseId, PlatformId, ProjectId, Timestamp};
use domain::words::{BuildState, BuilderKind, Reason};
use store::{Build, Builder, NewBuild, Pin, PinState, Write};

use crate::config::{Config, ProjectConfig};
use crate::notify::own_inputs;
use crate::schedule::{by_change, enqueue_suite};
use crate::settle;

/// How long after a confirming run that came to nothing the next one is asked for.
const TROUBLED: Duration = Duration::from_secs(3600);

/// What a round asked for, and whose history must not grow before its baseline is seen.
#[derive(Default)]
pub struct InputsRound {
    pub asked: usize,
    pub held: BTreeSet<BuilderId>,
    /// Whether contacts are to hear of something.
    pub has_news: bool,
}

/// `present` are the platforms of which a worker is here.
pub async fn sides(
    tx: &mut Write<'_>,
    config: &Config,
    builders: &[Builder],
    present: &BTreeSet<PlatformId>,
    at: Timestamp,
) -> store::Result<InputsRound> {
    let mut sides = Sides { config, builders, present, at, is_news: false, round: InputsRound::default() };
    let projects = tx.projects().await?;
    let branches = tx.branches().await?;
    let mut revisions = Revisions::load(tx, &projects).await?;
    for project in &config.projects {
        let Some(row) = projects.iter().find(|row| row.name == project.name) else { continue };
        let Some(newest) = &row.newest else { continue };
        for branch in branches.iter().filter(|branch| branch.trunk == row.trunk) {
            if std::mem::take(&mut sides.is_news) {
                revisions = Revisions::load(tx, &projects).await?;
            }
            let Some(needs) = needs(config, project, &revisions, branch.id) else { continue };
            let wanted = ProjectInputs {
                revision: newest.clone(),
                recipe: inputs_hash::recipe(&project.recipe),
                needs,
            };
            sides.project(tx, project, row.id, branch.id, &wanted, &revisions).await?;
        }
    }
    for (builder, pin) in tx.baselines_to_judge().await? {
        let Some(builder) = builders.iter().find(|known| known.id == builder) else { continue };
        let pin = tx.pin(pin).await?;
        sides.judge_follower(tx, builder, &pin).await?;
    }
    Ok(sides.round)
}

/// Which revision of which project is in use where.
struct Revisions<'a> {
    projects: &'a [store::Project],
    pins: Vec<Pin>,
    /// Builders whose histories have got to the revision in use.
    joined: BTreeSet<BuilderId>,
}

impl<'a> Revisions<'a> {
    async fn load(tx: &mut Write<'_>, projects: &'a [store::Project]) -> store::Result<Revisions<'a>> {
        Ok(Revisions { projects, pins: tx.live_pins().await?, joined: tx.joined().await? })
    }

    fn pin(&self, project: ProjectId, branch: BranchId, state: PinState) -> Option<&Pin> {
        self.pins.iter().find(|pin| (pin.project, pin.branch, pin.state) == (project, branch, state))
    }

    fn in_use(&self, name: &str, branch: BranchId) -> Option<&str> {
        let project = self.projects.iter().find(|row| row.name == name)?;
        self.pin(project.id, branch, PinState::Current).map(|pin| pin.side.revision.as_str())
    }
}

/// The projects that this one needs, and those that they need, at their pins. None while one of them has no pin.
fn needs(
    config: &Config,
    project: &ProjectConfig,
    revisions: &Revisions<'_>,
    branch: BranchId,
) -> Option<Vec<(String, String)>> {
    let mut found = BTreeMap::new();
    let mut open: Vec<&str> = project.needs.iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        if found.contains_key(name) {
            continue;
        }
        found.insert(name.to_string(), revisions.in_use(name, branch)?.to_string());
        let needed = config.projects.iter().find(|known| known.name == name)?;
        open.extend(needed.needs.iter().map(String::as_str));
    }
    Some(found.into_iter().collect())
}

struct Sides<'a> {
    config: &'a Config,
    builders: &'a [Builder],
    present: &'a BTreeSet<PlatformId>,
    at: Timestamp,
    /// Whether it has touched what is proposed or in use.
    is_news: bool,
    round: InputsRound,
}

impl Sides<'_> {
    async fn project(
        &mut self,
        tx: &mut Write<'_>,
        project: &ProjectConfig,
        id: ProjectId,
        branch: BranchId,
        wanted: &ProjectInputs,
        revisions: &Revisions<'_>,
    ) -> store::Result<()> {
        let Some(current) = revisions.pin(id, branch, PinState::Current) else {
            // The first side seen is the first in use.
            let pin = self.propose(tx, project, id, branch, wanted).await?;
            return tx.take_pin(pin.id, self.at).await;
        };
        let of = (Some(id), branch);
        let builders = self.builders.iter().filter(|suite| (suite.project, suite.branch) == of);
        let (joined, behind): (Vec<_>, Vec<_>) =
            builders.partition(|builder| revisions.joined.contains(&builder.id));
        let proposed = revisions.pin(id, branch, PinState::Proposed);
        // The first platform that can proves it for all.
        let here = joined.iter().find(|builder| self.present.contains(&builder.platform));
        let prover = here.or(joined.first()).copied();
        let under_way = match (proposed, prover) {
            (Some(proposed), Some(prover)) => is_being_proven(tx, prover, proposed).await?,
            (Some(_), None) | (None, _) => false,
        };
        let relock = match (project.relock, &current.lock) {
            (Some(period), Some(lock)) => lock.written_at + period <= self.at,
            (Some(_), None) | (None, _) => false,
        };
        let proposed = proposed.cloned();
        let of_proposed = proposed.as_ref().map(|pin| &pin.side);
        let proposed = match project_inputs::propose(wanted, &current.side, of_proposed, under_way, relock) {
            PinProposal::Keep => proposed,
            PinProposal::Drop => {
                if let Some(proposed) = proposed {
                    self.is_news = true;
                    tx.drop_pin(proposed.id).await?;
                }
                None
            }
            PinProposal::Propose => Some(self.propose(tx, project, id, branch, wanted).await?),
        };
        for builder in behind {
            self.join(tx, builder, current).await?;
        }
        if let Some(proposed) = proposed {
            self.prove(tx, prover, &proposed).await?;
        }
        Ok(())
    }

    async fn propose(
        &mut self,
        tx: &mut Write<'_>,
        project: &ProjectConfig,
        id: ProjectId,
        branch: BranchId,
        side: &ProjectInputs,
    ) -> store::Result<Pin> {
        self.is_news = true;
        tx.put_recipe(&project.recipe).await?;
        let pin = tx.propose_pin(id, branch, side, self.at).await?;
        tracing::info!(project = project.name, revision = side.revision, "a new project side is proposed");
        tx.pin(pin).await
    }

    /// Brings a builder to the side that another platform has proven. It has a history of its own to join.
    async fn join(&mut self, tx: &mut Write<'_>, builder: &Builder, pin: &Pin) -> store::Result<()> {
        let facts = facts(tx, builder, pin, self.at).await?;
        let next = project_inputs::next(&facts.facts, self.at);
        if next.holds_history() {
            self.round.held.insert(builder.id);
        }
        match next {
            BaselineStep::Repeat(_) => self.repeat(tx, builder, pin, &facts).await,
            // Nothing to join, or the baseline has joined it: what that says is judged apart.
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
        let facts = facts(tx, builder, pin, self.at).await?;
        let next = project_inputs::next(&facts.facts, self.at);
        if next.holds_history() {
            self.round.held.insert(builder.id);
        }
        match next {
            BaselineStep::Repeat(_) => self.repeat(tx, builder, pin, &facts).await,
            BaselineStep::Confirm(which) => self.confirm(tx, &facts, which).await,
            BaselineStep::Wait | BaselineStep::Later => Ok(()),
            BaselineStep::Hold(cases) => {
                if !facts.is_judged {
                    self.is_news = true;
                    tx.mark_pin_worse(pin.id, self.at).await?;
                    self.judge(tx, builder, pin, &cases).await?;
                }
                Ok(())
            }
            // A search keeps its side to the end: what it looks for must not leave the history meanwhile.
            BaselineStep::Take if is_searched_behind(tx, builder, &facts).await? => Ok(()),
            BaselineStep::Take => {
                match facts.facts.baseline.as_ref().map(|baseline| &baseline.ran) {
                    Some(BaselineProgress::Told(InputsComparison::Worse(cases))) if !facts.is_judged => {
                        self.judge(tx, builder, pin, cases).await?;
                    }
                    Some(_) if !facts.is_judged => {
                        tx.judge_baseline(builder.id, pin.id, &BTreeSet::new(), self.at).await?;
                    }
                    Some(_) | None => {}
                }
                self.take(tx, pin).await
            }
        }
    }

    /// Takes a side into use. The baselines that were seen with it are history from now on.
    async fn take(&mut self, tx: &mut Write<'_>, pin: &Pin) -> store::Result<()> {
        self.is_news = true;
        tx.take_pin(pin.id, self.at).await?;
        tracing::info!(revision = pin.side.revision, "a new project side is in use");
        let of = (Some(pin.project), pin.branch);
        for builder in self.builders.iter().filter(|builder| (builder.project, builder.branch) == of) {
            if let Some(baseline) = tx.last_baseline(builder.id, pin.id).await?
                && is_told(&baseline)
            {
                settle::make_history(tx, builder, baseline.id, None, self.at).await?;
            }
        }
        Ok(())
    }

    async fn repeat(
        &mut self,
        tx: &mut Write<'_>,
        builder: &Builder,
        pin: &Pin,
        facts: &Known,
    ) -> store::Result<()> {
        let Some(change) = facts.facts.at else { return Ok(()) };
        let toolchains = self.builders.iter().find(|known| {
            known.kind == BuilderKind::Toolchain
                && (known.branch, known.platform) == (builder.branch, builder.platform)
        });
        let Some(toolchains) = toolchains else { return Ok(()) };
        let cells = by_change(tx.history_cells(toolchains.id).await?);
        let Some(toolchain) = cells.get(&change) else { return Ok(()) };
        if enqueue_suite(tx, builder, change, toolchain, pin, Reason::Baseline, self.at).await? {
            self.round.asked += 1;
        }
        Ok(())
    }

    /// Runs one side once more, on the worker that ran the new one.
    async fn confirm(
        &mut self,
        tx: &mut Write<'_>,
        facts: &Known,
        which: InputsVersion,
    ) -> store::Result<()> {
        let repeated = match which {
            InputsVersion::Old => facts.was,
            InputsVersion::New => facts.baseline,
        };
        let (Some(repeated), Some(baseline)) = (repeated, facts.baseline) else { return Ok(()) };
        let (repeated, baseline) = (tx.build(repeated).await?, tx.build(baseline).await?);
        let Some(inputs) = repeated.inputs else { return Ok(()) };
        let new = NewBuild {
            builder: repeated.builder,
            change: repeated.change,
            pin: repeated.pin,
            recipe: repeated.recipe,
            reason: Reason::Null,
            breakage: None,
            only_worker: tx.worker_of(&baseline).await?,
            inputs,
            artifact: repeated.artifact,
        };
        tx.enqueue_build(&new, self.at).await?;
        self.round.asked += 1;
        Ok(())
    }

    /// What the baseline says that brought a builder to a side in use.
    async fn judge_follower(
        &mut self,
        tx: &mut Write<'_>,
        builder: &Builder,
        pin: &Pin,
    ) -> store::Result<()> {
        let facts = facts(tx, builder, pin, self.at).await?;
        match facts.facts.baseline.as_ref().map(|baseline| &baseline.ran) {
            Some(BaselineProgress::Told(InputsComparison::Unsure(which))) => {
                self.confirm(tx, &facts, *which).await
            }
            Some(BaselineProgress::Told(InputsComparison::Worse(cases))) => {
                self.judge(tx, builder, pin, cases).await
            }
            Some(BaselineProgress::Told(InputsComparison::NoWorse)) => {
                tx.judge_baseline(builder.id, pin.id, &BTreeSet::new(), self.at).await
            }
            Some(BaselineProgress::UnderWay | BaselineProgress::InVain { .. }) | None => Ok(()),
        }
    }

    /// Records that a side made cases worse, and lets the project's contacts hear what they have not heard yet.
    async fn judge(
        &mut self,
        tx: &mut Write<'_>,
        builder: &Builder,
        pin: &Pin,
        cases: &BTreeSet<CaseId>,
    ) -> store::Result<()> {
        let told = tx.cases_announced(builder.id, pin.id).await?;
        tx.judge_baseline(builder.id, pin.id, cases, self.at).await?;
        tracing::info!(builder = builder.name, cases = cases.len(), "a new project side made cases worse");
        if cases.is_subset(&told) {
            return Ok(());
        }
        self.round.has_news = true;
        own_inputs::tell(tx, self.config, builder, pin, cases, self.at).await
    }
}

/// Whether something is searched that went bad behind the change of the baseline.
async fn is_searched_behind(tx: &mut Write<'_>, builder: &Builder, facts: &Known) -> store::Result<bool> {
    let Some(baseline) = &facts.facts.baseline else { return Ok(false) };
    let order = tx.order(builder.branch).await?;
    let at = |change| order.iter().position(|known| *known == change);
    let breakages = tx.breakages_of(builder.id).await?;
    Ok(breakages
        .iter()
        .any(|breakage| breakage.state.is_undecided() && at(breakage.bad) > at(baseline.change)))
}

/// Whether a baseline was asked for that was not judged yet.
async fn is_being_proven(tx: &mut Write<'_>, prover: &Builder, pin: &Pin) -> store::Result<bool> {
    let Some(baseline) = tx.last_baseline(prover.id, pin.id).await? else { return Ok(false) };
    let is_judged = tx.judgement(prover.id, pin.id).await?.is_some();
    Ok(baseline.state != BuildState::Finished || (is_told(&baseline) && !is_judged))
}

/// What is known of a new side on one builder.
struct Known {
    facts: BaselineFacts,
    /// The build whose change the baseline repeats, as the old side ran it; and the baseline.
    was: Option<BuildId>,
    baseline: Option<BuildId>,
    /// Whether the baseline's verdict is on record.
    is_judged: bool,
}

async fn facts(tx: &mut Write<'_>, builder: &Builder, pin: &Pin, at: Timestamp) -> store::Result<Known> {
    let mut history = tx.history(builder.id).await?;
    history.retain(|history_build| history_build.pin != Some(pin.id));
    let mut known = Known {
        facts: BaselineFacts {
            at: project_inputs::baseline_at(&history, &tx.sick_changes(builder.branch).await?)
                .map(|history_build| history_build.change),
            busy: tx.is_making_history(builder.id).await?,
            baseline: None,
            worse_since: pin.worse_since,
        },
        was: None,
        baseline: None,
        is_judged: false,
    };
    let Some(baseline) = tx.last_baseline(builder.id, pin.id).await? else { return Ok(known) };
    known.was = history
        .iter()
        .rfind(|history_build| history_build.change == baseline.change)
        .map(|history_build| history_build.build);
    known.baseline = Some(baseline.id);
    let judgement = tx.judgement(builder.id, pin.id).await?;
    let judgement = judgement.filter(|(_, at)| baseline.finished_at.is_some_and(|finished| finished <= *at));
    known.is_judged = judgement.is_some();
    let ran = match (judgement, known.was) {
        (Some((cases, _)), _) if cases.is_empty() => BaselineProgress::Told(InputsComparison::NoWorse),
        (Some((cases, _)), _) => BaselineProgress::Told(InputsComparison::Worse(cases)),
        (None, _) if baseline.state != BuildState::Finished => BaselineProgress::UnderWay,
        (None, Some(was)) if is_told(&baseline) => compare(tx, builder, was, &baseline, at).await?,
        // The change was rewound meanwhile, and there is another one to repeat.
        (None, None) if is_told(&baseline) => BaselineProgress::Told(InputsComparison::NoWorse),
        (None, _) => BaselineProgress::InVain { ended: baseline.finished_at.unwrap_or(baseline.queued_at) },
    };
    known.facts.baseline = Some(BaselineBuild { change: baseline.change, ran });
    Ok(known)
}

async fn compare(
    tx: &mut Write<'_>,
    builder: &Builder,
    was: BuildId,
    baseline: &Build,
    at: Timestamp,
) -> store::Result<BaselineProgress> {
    let mut sides = Vec::new();
    for build in [was, baseline.id] {
        let mut runs = vec![(build, tx.case_verdicts_in_history(builder.id, build).await?)];
        let Some(pin) = tx.build(build).await?.pin else {
            return Ok(BaselineProgress::Told(InputsComparison::NoWorse));
        };
        for null in tx.null_runs_behind(baseline.id, pin).await? {
            match null.finished_at {
                None => return Ok(BaselineProgress::UnderWay),
                Some(_) if is_told(&null) => runs.push((null.id, tx.case_verdicts(null.id).await?)),
                Some(ended) if at < ended + TROUBLED => return Ok(BaselineProgress::InVain { ended }),
                Some(_) => {}
            }
        }
        sides.push(runs);
    }
    // A fault of the new side is none of the cases that the old one tells of: there it has passed.
    let cases: BTreeSet<CaseId> =
        sides.iter().flatten().flat_map(|(_, case_verdicts)| case_verdicts.keys().copied()).collect();
    for (build, case_verdicts) in sides.iter_mut().flatten() {
        tx.add_unreported(*build, case_verdicts, cases.iter().copied()).await?;
    }
    let columns = |runs: Vec<(BuildId, CaseVerdicts)>| {
        runs.into_iter().map(|(_, case_verdicts)| case_verdicts).collect()
    };
    let columns: Vec<Vec<CaseVerdicts>> = sides.into_iter().map(columns).collect();
    Ok(BaselineProgress::Told(project_inputs::compare(&columns[0], &columns[1])))
}

fn is_told(build: &Build) -> bool {
    matches!(build.outcome, Some(Outcome::Passed | Outcome::Failed))
}
