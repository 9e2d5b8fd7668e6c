//! Loads what is known of a baseline: the build that repeats an old change with new project inputs.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::dispatch::AWAY;
use domain::outcome::Outcome;
use domain::project_inputs::CaseVerdicts;
use domain::project_inputs::{self, BaselineBuild, BaselineFacts, BaselineProgress, InputsComparison};
use domain::words::BuildState;
use domain::words::ids::{BuildId, CaseId, ChangeId, Timestamp};
use store::{Build, Builder, Pin, Write};

/// How long after a confirming run without a verdict the next one is enqueued.
const RETRY_DELAY: Duration = Duration::from_secs(3600);

/// What is known of new project inputs on one builder.
pub struct LoadedBaseline {
    pub inputs: BaselineFacts,
    /// The build whose change the baseline repeats, as it ran with the old inputs.
    pub old: Option<BuildId>,
    /// The baseline, which ran with the new ones.
    pub new: Option<BuildId>,
    /// Whether the comparison of the two is on record.
    pub is_judged: bool,
}

impl LoadedBaseline {
    pub async fn load(
        tx: &mut Write<'_>,
        builder: &Builder,
        pin: &Pin,
        at: Timestamp,
    ) -> store::Result<LoadedBaseline> {
        let mut history = tx.history(builder.id).await?;
        history.retain(|build| build.inputs.pin != Some(pin.id));
        let toolchain = history.last().and_then(|build| build.inputs.toolchain);
        let sick = tx.sick_changes(builder.branch).await?;
        let repeated = project_inputs::baseline_at(&history, &sick).copied();
        let mut loaded = LoadedBaseline {
            inputs: BaselineFacts {
                at: repeated.map(|build| build.change),
                busy: tx.is_making_history(builder.id, at - AWAY).await?,
                baseline: None,
                worse_since: pin.worse_since,
                is_old_gone: is_old_gone(tx, pin).await?,
                is_stranded: match repeated {
                    Some(build) => tx.is_stranded(build.build, at - AWAY).await?,
                    None => false,
                },
            },
            old: None,
            new: None,
            is_judged: false,
        };
        let Some(baseline) = tx.last_baseline(builder.id, pin.id, toolchain).await? else {
            return Ok(loaded);
        };
        loaded.old = history.iter().rfind(|build| build.change == baseline.change).map(|build| build.build);
        loaded.new = Some(baseline.id);
        let judgement = tx.judgement(builder.id, pin.id).await?;
        let judgement =
            judgement.filter(|(_, at)| baseline.finished_at.is_some_and(|finished| finished <= *at));
        loaded.is_judged = judgement.is_some();
        let progress = match (judgement, loaded.old) {
            (Some((cases, _)), _) if cases.is_empty() => {
                BaselineProgress::Compared(InputsComparison::NoWorse)
            }
            (Some((cases, _)), _) => BaselineProgress::Compared(InputsComparison::Worse(cases)),
            (None, _) if baseline.state != BuildState::Finished => BaselineProgress::UnderWay,
            (None, Some(old)) if is_verdict(&baseline) => {
                compare(tx, builder, old, &baseline, loaded.inputs.is_old_gone, at).await?
            }
            // The change was rewound meanwhile, and another one is to be repeated.
            (None, None) if is_verdict(&baseline) => BaselineProgress::Compared(InputsComparison::NoWorse),
            (None, _) => {
                BaselineProgress::NoResult { ended: baseline.finished_at.unwrap_or(baseline.queued_at) }
            }
        };
        loaded.inputs.baseline = Some(BaselineBuild { change: baseline.change, ran: progress });
        Ok(loaded)
    }

    /// How far the baseline is, if there is one.
    pub fn progress(&self) -> Option<&BaselineProgress> {
        self.inputs.baseline.as_ref().map(|baseline| &baseline.ran)
    }

    /// Whether a search is open for something that went bad after the baseline's change.
    pub async fn is_searched_after(&self, tx: &mut Write<'_>, builder: &Builder) -> store::Result<bool> {
        match &self.inputs.baseline {
            Some(baseline) => is_searched_after(tx, builder, baseline.change).await,
            None => Ok(false),
        }
    }
}

/// Whether the inputs in use, which others are to replace, cannot be had any more.
async fn is_old_gone(tx: &mut Write<'_>, new: &Pin) -> store::Result<bool> {
    match tx.current_pin(new.project, new.branch).await? {
        Some(current) if current.id != new.id => Ok(tx.pin_missing_since(current.id).await?.is_some()),
        Some(_) | None => Ok(false),
    }
}

/// Whether a search of a builder is open for something that went bad after a change.
pub async fn is_searched_after(
    tx: &mut Write<'_>,
    builder: &Builder,
    change: ChangeId,
) -> store::Result<bool> {
    let order = tx.order(builder.branch).await?;
    let at = |change| order.iter().position(|other| *other == change);
    let breakages = tx.breakages_of(builder.id).await?;
    Ok(breakages.iter().any(|breakage| breakage.state.is_undecided() && at(breakage.bad) > at(change)))
}

/// The last baseline of project inputs with the toolchain inputs that the builder's history has.
pub async fn last_baseline(tx: &mut Write<'_>, builder: &Builder, pin: &Pin) -> store::Result<Option<Build>> {
    let history = tx.history(builder.id).await?;
    let before = project_inputs::last_before(&history, pin.id);
    let toolchain = before.and_then(|build| build.inputs.toolchain);
    tx.last_baseline(builder.id, pin.id, toolchain).await
}

/// Whether there is a baseline that has not been judged yet.
pub async fn is_being_proven(tx: &mut Write<'_>, prover: &Builder, pin: &Pin) -> store::Result<bool> {
    let Some(baseline) = last_baseline(tx, prover, pin).await? else { return Ok(false) };
    let is_judged = tx.judgement(prover.id, pin.id).await?.is_some();
    Ok(baseline.state != BuildState::Finished || (is_verdict(&baseline) && !is_judged))
}

async fn compare(
    tx: &mut Write<'_>,
    builder: &Builder,
    old: BuildId,
    baseline: &Build,
    is_old_gone: bool,
    at: Timestamp,
) -> store::Result<BaselineProgress> {
    let mut versions = Vec::new();
    for build in [old, baseline.id] {
        let mut runs = vec![(build, tx.case_verdicts_in_history(builder.id, build).await?)];
        let Some(pin) = tx.build(build).await?.pin else {
            return Ok(BaselineProgress::Compared(InputsComparison::NoWorse));
        };
        for null in tx.null_runs_after(baseline.id, pin).await? {
            match null.finished_at {
                None => return Ok(BaselineProgress::UnderWay),
                Some(_) if is_verdict(&null) => runs.push((null.id, tx.case_verdicts(null.id).await?)),
                Some(_) if is_old_gone && build == old => {}
                Some(ended) if at < ended + RETRY_DELAY => return Ok(BaselineProgress::NoResult { ended }),
                Some(_) => {}
            }
        }
        versions.push(runs);
    }
    // A fault is reported only when it is bad. One that only the new inputs report has passed with the old ones.
    let cases: BTreeSet<CaseId> =
        versions.iter().flatten().flat_map(|(_, verdicts)| verdicts.keys().copied()).collect();
    for (build, verdicts) in versions.iter_mut().flatten() {
        tx.add_unreported(*build, verdicts, cases.iter().copied()).await?;
    }
    let verdicts =
        |runs: Vec<(BuildId, CaseVerdicts)>| runs.into_iter().map(|(_, verdicts)| verdicts).collect();
    let verdicts: Vec<Vec<CaseVerdicts>> = versions.into_iter().map(verdicts).collect();
    let [mut with_old, with_new] = <[_; 2]>::try_from(verdicts).expect("there are two versions");
    let bad = with_new.iter().flatten().filter(|(_, verdict)| verdict.is_bad()).map(|(case, _)| *case);
    project_inputs::excuse_steps(&mut with_old, &with_new, &tx.names_of_cases(&bad.collect()).await?);
    Ok(BaselineProgress::Compared(project_inputs::compare(&with_old, &with_new, is_old_gone)))
}

pub fn is_verdict(build: &Build) -> bool {
    matches!(build.outcome, Some(Outcome::Passed | Outcome::Failed))
}
