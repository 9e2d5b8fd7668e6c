//! Notifies a project's contacts of what its own new inputs broke. The trunk's list gets no such mail.

use std::collections::{BTreeMap, BTreeSet};

use domain::breakage::RegressionKind;
use domain::notice::mail::{self, InputsReport};
use domain::notice::report::{ReportedBreakage, RunOf, count_runs, named_cases};
use domain::outcome::Outcome;
use domain::project_inputs;
use domain::sentences::{Blame, WorkerRuns};
use domain::words::ids::{BuildId, CaseId, PinId, Timestamp, WorkerId};
use domain::words::states::NoticeKind;
use protocol::Verdict;
use store::{Build, Builder, NewNotice, Pin, Write};

use crate::config::Config;
use crate::notify::write::host;

/// Project inputs that made cases worse on one builder.
#[derive(Clone, Copy)]
pub struct WorseInputs<'a> {
    pub builder: &'a Builder,
    pub pin: &'a Pin,
    pub cases: &'a BTreeSet<CaseId>,
}

/// Puts a mail to the contacts into the outbox, if there are any.
pub async fn notify_contacts(
    tx: &mut Write<'_>,
    config: &Config,
    worse: WorseInputs<'_>,
    at: Timestamp,
) -> store::Result<()> {
    let WorseInputs { builder, pin, .. } = worse;
    let history = tx.history(builder.id).await?;
    let old = project_inputs::last_before(&history, pin.id).map(|build| build.inputs).unwrap_or_default();
    let Some(baseline) = tx.last_baseline(builder.id, pin.id, old.toolchain).await? else { return Ok(()) };
    let name = tx.project(pin.project).await?.name;
    let old = old.pin;
    let differs = match old {
        Some(old) => project_inputs::differs(&tx.pin(old).await?.project_inputs, &pin.project_inputs),
        None => Vec::new(),
    };
    // Where only a project that it needs has moved, that project's contacts are the ones who can repair it.
    let moved = differs.iter().filter_map(|differs| differs.need.as_deref());
    let concerned: BTreeSet<&str> = moved.chain([name.as_str()]).collect();
    let recipients: BTreeSet<String> = config
        .projects
        .iter()
        .filter(|project| concerned.contains(project.name.as_str()))
        .flat_map(|project| project.contacts.iter().map(ToString::to_string))
        .collect();
    if recipients.is_empty() {
        return Ok(());
    }
    let differs = differs.into_iter().map(|differs| differs.words).collect();
    let report = load_report(tx, config, worse, &baseline, differs).await?;
    let text = mail::own_inputs(&report, &config.name);
    let notice = NewNotice {
        kind: NoticeKind::ProjectInputs,
        change: baseline.change,
        recipients: recipients.into_iter().collect(),
        subject: text.subject,
        body: text.body,
        message_id: format!("<inputs.{}.{}@{}>", pin.id, baseline.id, host(&config.url)),
        in_reply_to: None,
        breakages: Vec::new(),
        mentions: Vec::new(),
    };
    tx.put_notice(&notice, at).await?;
    Ok(())
}

async fn load_report(
    tx: &mut Write<'_>,
    config: &Config,
    worse: WorseInputs<'_>,
    baseline: &Build,
    differs: Vec<String>,
) -> store::Result<InputsReport> {
    let WorseInputs { builder, pin, cases } = worse;
    let project = tx.project(pin.project).await?.name;
    let change = tx.change(baseline.change).await?;
    let trunks = tx.trunks().await?;
    let trunk = trunks.into_iter().find(|trunk| trunk.id == change.trunk);
    let mut verdicts = tx.case_verdicts_in_history(builder.id, baseline.id).await?;
    tx.add_unreported(baseline.id, &mut verdicts, cases.iter().copied()).await?;
    let is_not_run = |case: &CaseId| matches!(verdicts.get(case), Some(Verdict::Skip | Verdict::Missing));
    let (not_run, failing): (BTreeSet<CaseId>, BTreeSet<CaseId>) =
        cases.iter().partition(|case| is_not_run(case));
    let lost = tx.case_names(&not_run).await?;
    let (named, steps) = named_cases(tx.case_names(&failing).await?, !lost.is_empty());
    let broken = ReportedBreakage {
        project: Some(project.clone()),
        platform: builder.label.clone(),
        variant: builder.variant_name.clone(),
        variants: Vec::new(),
        cases: named,
        lost,
        steps,
        unreached: 0,
        blame: Blame::Unknown,
        text_from: None,
        text: tx.first_failure_message_of(baseline.id, cases).await?,
        filed: None,
        parent: None,
        runs: load_runs(tx, worse, baseline).await?,
        url: format!("{}/projects/{project}", config.url),
    };
    let trunk = trunk.map_or(String::new(), |trunk| trunk.name);
    Ok(InputsReport { project, trunk, sha: change.sha, differs, broken })
}

/// Counts the runs of the baseline's change: with the old inputs, and with the new ones.
async fn load_runs(
    tx: &mut Write<'_>,
    worse: WorseInputs<'_>,
    baseline: &Build,
) -> store::Result<Vec<WorkerRuns>> {
    let WorseInputs { builder, pin, cases } = worse;
    let history = tx.history(builder.id).await?;
    let old =
        history.iter().rfind(|build| build.inputs.pin != Some(pin.id) && build.change == baseline.change);
    let mut builds: Vec<(BuildId, RunOf)> = Vec::new();
    if let Some((old, old_pin)) = old.and_then(|old| Some((old.build, old.inputs.pin?))) {
        builds.push((old, RunOf::Before));
        builds.extend(confirming(tx, baseline, old_pin).await?.map(|build| (build, RunOf::Before)));
    }
    builds.push((baseline.id, RunOf::With));
    builds.extend(confirming(tx, baseline, pin.id).await?.map(|build| (build, RunOf::With)));
    let mut runs = Vec::with_capacity(builds.len());
    for (build, run_of) in builds {
        let row = tx.build(build).await?;
        let Some(worker) = tx.worker_of(&row).await? else { continue };
        let mut verdicts = tx.case_verdicts_in_history(builder.id, build).await?;
        tx.add_unreported(build, &mut verdicts, cases.iter().copied()).await?;
        verdicts.retain(|case, _| cases.contains(case));
        runs.push((worker, run_of, verdicts));
    }
    let names = worker_names(tx, runs.iter().map(|(worker, ..)| *worker)).await?;
    Ok(count_runs(runs.into_iter().map(|(worker, run_of, verdicts)| {
        // Whatever is not good counts as bad, also a case that is not run any longer.
        let verdicts = verdicts.into_values().map(|verdict| match verdict {
            Verdict::Skip | Verdict::Missing => (RegressionKind::NotRun, verdict),
            Verdict::Pass
            | Verdict::Fail
            | Verdict::Error
            | Verdict::Xfail
            | Verdict::Xpass
            | Verdict::Unreached => (RegressionKind::Failing, verdict),
        });
        (names[&worker].clone(), run_of, verdicts.collect::<Vec<_>>())
    })))
}

/// The runs that confirm a baseline with these inputs, as far as they have a verdict.
async fn confirming(
    tx: &mut Write<'_>,
    baseline: &Build,
    pin: PinId,
) -> store::Result<impl Iterator<Item = BuildId> + use<>> {
    let builds = tx.null_runs_after(baseline.id, pin).await?;
    let is_verdict = |build: &Build| matches!(build.outcome, Some(Outcome::Passed | Outcome::Failed));
    Ok(builds.into_iter().filter(is_verdict).map(|build| build.id))
}

/// The names of these workers.
async fn worker_names(
    tx: &mut Write<'_>,
    workers: impl Iterator<Item = WorkerId>,
) -> store::Result<BTreeMap<WorkerId, String>> {
    let mut names = BTreeMap::new();
    for worker in workers.collect::<BTreeSet<WorkerId>>() {
        names.insert(worker, tx.worker(worker).await?.name);
    }
    Ok(names)
}
