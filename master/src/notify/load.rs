//! Loads what a decision about mail needs: a culprit's thread, its breakages with the runs that prove them, and the
//! searches that may yet end at it.

use std::collections::{BTreeMap, BTreeSet};

use domain::notice::report::{ReportedBreakage, ReportedChange, RunOf, WorkerRuns, count_runs, named_cases};
use domain::notice::{
    CorrectionInputs, ListTraffic, NoticeContext, OpenSearches, ThreadBreakage, ThreadFix, ThreadInputs,
    storm,
};
use domain::words::BreakageState;
use domain::words::ids::{ChangeId, Timestamp, TrunkId, WorkerId};
use store::{Breakage, Read, Thread, Write};

use crate::config::Config;

pub async fn load_context(tx: &mut Write<'_>, config: &Config) -> store::Result<NoticeContext> {
    Ok(NoticeContext {
        farm: config.name.clone(),
        url: config.url.clone(),
        enough_runs: config.search.null_runs,
        registered: tx.projects().await?.into_iter().map(|project| project.name).collect(),
    })
}

pub async fn load_thread(
    tx: &mut Write<'_>,
    config: &Config,
    culprit: ChangeId,
    failing_canaries: &BTreeSet<TrunkId>,
    at: Timestamp,
) -> store::Result<ThreadInputs> {
    let thread = tx.thread(culprit).await?;
    let mut breakages = Vec::new();
    for breakage in tx.breakages_by(culprit).await? {
        breakages.push(load_breakage(tx, config, &breakage, &thread).await?);
    }
    Ok(ThreadInputs {
        change: load_change(tx, config, culprit).await?,
        breakages,
        has_root: thread.root.is_some(),
        open_searches: load_open_searches(tx, culprit).await?,
        is_canary_failing: failing_canaries.contains(&tx.change(culprit).await?.trunk),
        traffic: load_traffic(tx, config, at).await?,
    })
}

/// Breakages for which a thread named a change that the farm no longer holds for the culprit.
pub struct WrongClaim {
    /// The change that the thread is about.
    pub change: ChangeId,
    culprit: Option<ChangeId>,
    found: BreakageState,
    breakages: Vec<Breakage>,
}

/// The claims that are to be taken back now, by what was found instead.
pub async fn wrong_claims(
    tx: &mut Write<'_>,
    failing_canaries: &BTreeSet<TrunkId>,
) -> store::Result<Vec<WrongClaim>> {
    let mut claims: BTreeMap<(ChangeId, Option<ChangeId>, &str), WrongClaim> = BTreeMap::new();
    for (change, breakage) in tx.wrong_notices().await? {
        if failing_canaries.contains(&tx.change(change).await?.trunk) {
            continue;
        }
        let breakage = tx.breakage(breakage).await?;
        let (culprit, found) = (breakage.culprit, breakage.found.unwrap_or(breakage.state));
        let claim = claims.entry((change, culprit, found.as_str())).or_insert_with(|| WrongClaim {
            change,
            culprit,
            found,
            breakages: Vec::new(),
        });
        claim.breakages.push(breakage);
    }
    Ok(claims.into_values().collect())
}

pub async fn load_correction(
    tx: &mut Write<'_>,
    config: &Config,
    claim: &WrongClaim,
    at: Timestamp,
) -> store::Result<CorrectionInputs> {
    let thread = tx.thread(claim.change).await?;
    let mut breakages = Vec::with_capacity(claim.breakages.len());
    for breakage in &claim.breakages {
        breakages.push(load_breakage(tx, config, breakage, &thread).await?);
    }
    Ok(CorrectionInputs {
        change: load_change(tx, config, claim.change).await?,
        found: claim.found,
        culprit: match claim.culprit {
            Some(culprit) => Some(load_change(tx, config, culprit).await?),
            None => None,
        },
        breakages,
        traffic: load_traffic(tx, config, at).await?,
    })
}

async fn load_breakage(
    tx: &mut Write<'_>,
    config: &Config,
    breakage: &Breakage,
    thread: &Thread,
) -> store::Result<ThreadBreakage> {
    let builder = tx.builder(breakage.builder).await?;
    let order = tx.order(builder.branch).await?;
    let position = |change: ChangeId| order.iter().position(|other| *other == change);
    let suspects = match (breakage.parent.and_then(position), breakage.culprit.and_then(position)) {
        (Some(parent), Some(culprit)) => culprit.saturating_sub(parent),
        _ => 1,
    };
    let suite_runs = match builder.project {
        Some(_) => Some(tx.runs(builder.id).await?),
        None => None,
    };
    let fix = match breakage.fixed {
        Some(fix) => Some(ThreadFix {
            by: fix.by,
            is_by_project: fix.after == fix.by,
            is_next_after_bad: position(fix.after).map(|after| after + 1) == position(fix.by),
            change: load_change(tx, config, fix.by).await?,
        }),
        None => None,
    };
    Ok(ThreadBreakage {
        id: breakage.id,
        state: breakage.state,
        found_at: breakage.found_at,
        is_announced: thread.announced.contains(&breakage.id),
        is_fix_announced: thread.announced_fixes.contains(&breakage.id),
        branch: tx.branch(builder.branch).await?.name,
        suspects,
        suite_runs,
        fix,
        needs: tx.needs_of_builder(builder.id.0).await?,
        report: load_report(tx, config, breakage).await?,
    })
}

async fn load_report(
    tx: &mut Write<'_>,
    config: &Config,
    breakage: &Breakage,
) -> store::Result<ReportedBreakage> {
    let builder = tx.builder(breakage.builder).await?;
    let failing = breakage.cases.difference(&breakage.not_run).copied().collect();
    let (failing, lost) = (tx.case_names(&failing).await?, tx.case_names(&breakage.not_run).await?);
    Ok(ReportedBreakage {
        project: match builder.project {
            Some(project) => Some(tx.project(project).await?.name),
            None => None,
        },
        platform: builder.label,
        cases: named_cases(failing, !lost.is_empty()),
        lost,
        text: tx.first_failure_message(breakage.builder, breakage.bad, &breakage.cases).await?,
        filed: None,
        parent: match breakage.parent {
            Some(parent) => Some(tx.change(parent).await?.sha),
            None => None,
        },
        runs: load_runs(tx, breakage).await?,
        url: format!("{}/breakages/{}", config.url, breakage.id),
    })
}

/// Counts the runs that prove a culprit: those with the last good change before it, and with the culprit itself.
async fn load_runs(tx: &mut Write<'_>, breakage: &Breakage) -> store::Result<Vec<WorkerRuns>> {
    let (Some(parent), Some(culprit)) = (breakage.parent, breakage.culprit) else { return Ok(Vec::new()) };
    // Runs with other inputs prove nothing here.
    let inputs = tx.inputs_of(breakage.builder, breakage.bad).await?;
    let mut evidence = tx.evidence(breakage, &[parent, culprit]).await?;
    evidence.retain(|run| Some(run.inputs) == inputs);
    let names = worker_names(tx, evidence.iter().map(|run| run.worker)).await?;
    Ok(count_runs(evidence.into_iter().map(|run| {
        let run_of = if run.change == culprit { RunOf::With } else { RunOf::Before };
        let verdicts: Vec<_> = run
            .verdicts
            .into_iter()
            .map(|(case, verdict)| (breakage.regression_kind(case), verdict))
            .collect();
        (names[&run.worker].clone(), run_of, verdicts)
    })))
}

/// The names of these workers.
pub async fn worker_names(
    read: &mut Read<'_>,
    workers: impl Iterator<Item = WorkerId>,
) -> store::Result<BTreeMap<WorkerId, String>> {
    let mut names = BTreeMap::new();
    for worker in workers.collect::<BTreeSet<WorkerId>>() {
        names.insert(worker, read.worker(worker).await?.name);
    }
    Ok(names)
}

/// A change as a mail reports it; the branch is that of the breakage in question.
async fn load_change(tx: &mut Write<'_>, config: &Config, change: ChangeId) -> store::Result<ReportedChange> {
    let row = tx.change(change).await?;
    let trunks = tx.trunks().await?;
    let trunk = trunks.into_iter().find(|trunk| trunk.id == row.trunk);
    Ok(ReportedChange {
        trunk: trunk.ok_or(store::Error::NotFound("trunk"))?.name,
        branch: String::new(),
        url: format!("{}/changes/{}", config.url, row.sha),
        sha: row.sha,
        title: row.title,
        author: row.author,
    })
}

async fn load_open_searches(tx: &mut Write<'_>, culprit: ChangeId) -> store::Result<OpenSearches> {
    let mut open_searches = OpenSearches::None;
    for open in tx.undecided_breakages().await? {
        let branch = tx.builder(open.builder).await?.branch;
        let order = tx.order(branch).await?;
        let at = |change: ChangeId| order.iter().position(|other| *other == change);
        if let (Some(good), Some(culprit), Some(bad)) = (at(open.good), at(culprit), at(open.bad))
            && good < culprit
            && culprit <= bad
        {
            if tx.sick_changes(branch).await?.contains(&open.bad) {
                return Ok(OpenSearches::AtSickChange);
            }
            open_searches = OpenSearches::Some;
        }
    }
    Ok(open_searches)
}

async fn load_traffic(tx: &mut Write<'_>, config: &Config, at: Timestamp) -> store::Result<ListTraffic> {
    let mut traffic = ListTraffic { notices: 0, storm_announced: true };
    for list in config.mail.iter().flat_map(|mail| &mail.list) {
        let list = list.to_string();
        let (notices, storm_announced) = tx.notices_to(&list, at - storm::PERIOD).await?;
        traffic.notices = traffic.notices.max(notices);
        traffic.storm_announced &= storm_announced;
    }
    Ok(traffic)
}
