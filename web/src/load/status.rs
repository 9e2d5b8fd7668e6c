//! Loads the status page.

use domain::outcome::Cause;
use domain::schedule::canary::{Canary, is_failing};
use domain::words::ids::Timestamp;
use domain::words::states::WorkerState;
use store::pages::{BranchRow, BreakageFilter, BreakageRow, FailingProjectRow, UnbuiltToolchain, WorkerRow};
use store::{CanaryRow, Result, Store};

use super::culprits::{culprits, sentence};
use super::rows::{breakage_style, builder, change, mark, subject};
use super::toolchain_inputs::switches_with_cases;
use crate::format::log_text::without_escapes;
use crate::format::units::{Moment, count};
use crate::pages::status::{OpenSearch, RecentBuilds, StatusView, TrunkLine};

const MAX_BREAKAGES: i64 = 500;
const MAX_RECENT_BUILDS: i64 = 40;
/// Of each branch.
const MAX_SWITCHES: i64 = 3;

pub async fn status(store: &Store) -> Result<StatusView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let branches = read.branch_rows().await?;
    let breakages = read.breakage_rows(BreakageFilter::Open, MAX_BREAKAGES).await?;
    let workers = read.worker_rows().await?;
    let projects = read.failing_projects().await?;
    let mut trunks = Vec::with_capacity(branches.len());
    let (mut recent_builds, mut toolchain_inputs) = (Vec::new(), Vec::new());
    for branch in &branches {
        let tip = read.position_rows(branch.id, i64::MAX, 1).await?.pop();
        trunks.push(trunk_line(branch, tip.map(|tip| change(tip.change))));
        toolchain_inputs.extend(switches_with_cases(&mut read, branch.id, MAX_SWITCHES).await?);
        for column in read.column_rows(branch.id, 0).await? {
            let mut builds = read.history_rows(column.builder.id, MAX_RECENT_BUILDS).await?;
            read.mark_flaky(&mut builds).await?;
            builds.reverse();
            let builder = builder(column.builder);
            recent_builds.push(RecentBuilds { builder, marks: builds.iter().map(mark).collect() });
        }
    }
    let canaries = read.canaries().await?;
    let unbuilt = read.unbuilt_toolchains().await?;
    let mut culprits = culprits(&breakages);
    culprits.retain(|culprit| culprit.is_open);
    Ok(StatusView {
        sentence: headline(&branches, &breakages, &workers),
        culprits,
        searches: breakages.iter().filter(|row| row.state.is_undecided()).map(search).collect(),
        trunks,
        missing_toolchains: unbuilt.iter().map(missing_toolchain).collect(),
        failing_canaries: canaries.iter().filter_map(failing_canary).collect(),
        worker_problems: workers.iter().filter_map(worker_problem).collect(),
        project_problems: projects.iter().map(project_problem).collect(),
        toolchain_inputs,
        recent_builds,
    })
}

fn headline(branches: &[BranchRow], breakages: &[BreakageRow], workers: &[WorkerRow]) -> String {
    let name = match branches {
        [] => return "No trunk is registered yet.".into(),
        [one] => format!("{} {}", one.trunk, one.branch),
        [..] => "the trunks".into(),
    };
    let text = sentence(&name, breakages, branches.iter().any(|branch| branch.tip.is_some()));
    match workers.iter().any(|worker| worker.connected) {
        true => text,
        false => format!("{text} No workers are connected; no builds are running."),
    }
}

/// A canary without the outcome that it must have.
fn failing_canary(row: &CanaryRow) -> Option<String> {
    let (outcome, at) = row.last.filter(|(outcome, _)| is_failing(row.canary, *outcome, row.explained))?;
    let must = match row.canary {
        Canary::MustPass => "must pass",
        Canary::MustFail => "must fail",
    };
    Some(format!(
        "Canary failing on {}: {}, which {must}, {outcome} on {}. Results there are not reliable, so mail about {} waits until it recovers.",
        row.platform,
        row.project,
        Moment(at.0),
        row.trunk
    ))
}

/// No change is blamed for it, so the operator has to act.
fn missing_toolchain(row: &UnbuiltToolchain) -> String {
    let cause = row.cause.map_or("infra", Cause::as_str);
    format!(
        "{} {} at {} has no toolchain on {}, so no suites run on it: infra failure ({cause}) in {}",
        row.trunk,
        row.branch,
        row.title,
        row.platform,
        count(row.attempts, "attempt", "attempts")
    )
}

fn trunk_line(branch: &BranchRow, tip: Option<crate::pages::ChangeLine>) -> TrunkLine {
    let problem = branch
        .failing_since
        .zip(branch.failure.as_ref())
        .map(|(since, failure)| unreachable_since(since, branch.failures, failure));
    TrunkLine {
        trunk: branch.trunk.clone(),
        branch: branch.branch.clone(),
        tip,
        problem,
        polled_at: branch.polled_at.map(|at| Moment(at.0)),
    }
}

fn project_problem(row: &FailingProjectRow) -> String {
    format!("{}: {}", row.project, unreachable_since(row.since, row.failures, &row.failure))
}

fn unreachable_since(since: Timestamp, failures: i64, failure: &str) -> String {
    let polls = count(failures, "failed poll", "failed polls");
    format!("not reached since {} ({polls}): {}", Moment(since.0), without_escapes(failure))
}

fn search(row: &BreakageRow) -> OpenSearch {
    let suspects = row.bad.zip(row.good).map_or(0, |(bad, good)| (bad - good).max(0));
    let sentence = format!(
        "{}: {} broken, {} in the range",
        subject(&row.builder),
        count(row.cases, "case is", "cases are"),
        count(suspects, "change is", "changes are")
    );
    OpenSearch { breakage: row.id, status_style: breakage_style(row), sentence }
}

fn worker_problem(worker: &WorkerRow) -> Option<String> {
    if worker.state == WorkerState::Pending {
        return Some(format!(
            "{} wants to join with code {}; the operator can approve it",
            worker.name, worker.code
        ));
    }
    if worker.connected {
        return None;
    }
    let owner = worker.owner.as_deref().map_or("no owner".into(), |owner| format!("owner: {owner}"));
    Some(match worker.seen_at {
        Some(at) => format!("{} is offline (last seen {}); {owner}", worker.name, Moment(at.0)),
        None => format!("{} has never connected; {owner}", worker.name),
    })
}
