//! Loads the status page.

use domain::outcome::Cause;
use domain::schedule::canary::{Canary, is_failing};
use domain::words::ids::Timestamp;
use domain::words::states::WorkerState;
use store::pages::{BranchRow, BreakageFilter, BreakageRow, FailingProjectRow, UnbuiltToolchain, WorkerRow};
use store::{CanaryRow, Result, Store};

use super::rows::{breakage_style, builder, called, change, mark};
use super::waterfall::{culprits, sentence};
use crate::format::units::{Moment, count};
use crate::pages::status::{OpenSearch, RecentBuilds, StatusView, TrunkLine};

const MAX_BREAKAGES: i64 = 500;
const STRIP: i64 = 40;

pub async fn status(store: &Store) -> Result<StatusView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let branches = read.branch_rows().await?;
    let breakages = read.breakage_rows(BreakageFilter::Open, MAX_BREAKAGES).await?;
    let workers = read.worker_rows().await?;
    let projects = read.project_troubles().await?;
    let mut trunks = Vec::with_capacity(branches.len());
    let mut strips = Vec::new();
    for branch in &branches {
        let tip = read.position_rows(branch.id, i64::MAX, 1).await?.pop();
        trunks.push(trunk_line(branch, tip.map(|tip| change(tip.change))));
        for column in read.column_rows(branch.id, 0).await? {
            let mut builds = read.history_rows(column.builder.id, STRIP).await?;
            read.mark_flaky(&mut builds).await?;
            builds.reverse();
            let builder = builder(column.builder);
            strips.push(RecentBuilds { builder, marks: builds.iter().map(mark).collect() });
        }
    }
    let canaries = read.canaries().await?;
    let unbuilt = read.unbuilt_toolchains().await?;
    let mut culprits = culprits(&breakages);
    culprits.retain(|culprit| culprit.open);
    Ok(StatusView {
        sentence: headline(&branches, &breakages, &workers),
        culprits,
        searches: breakages.iter().filter(|row| row.state.is_undecided()).map(search).collect(),
        trunks,
        unbuilt: unbuilt.iter().map(not_built).collect(),
        blind: canaries.iter().filter_map(blind).collect(),
        workers: workers.iter().filter_map(trouble).collect(),
        projects: projects.iter().map(project_line).collect(),
        strips,
    })
}

fn headline(branches: &[BranchRow], breakages: &[BreakageRow], workers: &[WorkerRow]) -> String {
    let name = match branches {
        [] => return "No trunk is registered yet.".into(),
        [one] => format!("{} {}", one.trunk, one.branch),
        [..] => "the trunks".into(),
    };
    let said = sentence(&name, breakages, branches.iter().any(|branch| branch.tip.is_some()));
    match workers.iter().any(|worker| worker.connected) {
        true => said,
        false => format!("{said} No worker is here."),
    }
}

/// A canary that did otherwise than it must.
fn blind(row: &CanaryRow) -> Option<String> {
    let (outcome, at) = row.last.filter(|(outcome, _)| is_failing(row.canary, *outcome, row.explained))?;
    let must = match row.canary {
        Canary::MustPass => "must pass",
        Canary::MustFail => "must fail",
    };
    Some(format!(
        "The farm may be blind on {}: {}, which {must}, {outcome} on {}. Mail about {} waits until it sees again.",
        row.platform,
        row.project,
        Moment(at.0),
        row.trunk
    ))
}

/// Nobody is accused of it, so somebody must look.
fn not_built(row: &UnbuiltToolchain) -> String {
    let cause = row.cause.map_or("infra", Cause::as_str);
    format!(
        "{} {} at {} has no toolchain on {}, and no suite is run on it: the farm's own trouble ({cause}), {}",
        row.trunk,
        row.branch,
        row.title,
        row.platform,
        count(row.attempts as usize, "try", "tries")
    )
}

fn trunk_line(branch: &BranchRow, tip: Option<crate::pages::ChangeLine>) -> TrunkLine {
    let trouble = branch
        .failing_since
        .zip(branch.failure.as_ref())
        .map(|(since, failure)| not_reached(since, branch.failures, failure));
    TrunkLine {
        trunk: branch.trunk.clone(),
        branch: branch.branch.clone(),
        tip,
        trouble,
        polled_at: branch.polled_at.map(|at| Moment(at.0)),
    }
}

fn project_line(row: &FailingProjectRow) -> String {
    format!("{}: {}", row.project, not_reached(row.since, row.failures, &row.failure))
}

fn not_reached(since: Timestamp, failures: i64, failure: &str) -> String {
    let times = count(failures as usize, "try", "tries");
    format!("not reached since {} ({times}): {failure}", Moment(since.0))
}

fn search(row: &BreakageRow) -> OpenSearch {
    let suspects = row.bad.zip(row.good).map_or(0, |(bad, good)| (bad - good).max(0) as usize);
    let said = format!(
        "{}: {} went bad, {} in the range",
        called(&row.builder),
        count(row.cases as usize, "case", "cases"),
        count(suspects, "change is", "changes are")
    );
    OpenSearch { breakage: row.id, status_style: breakage_style(row), said }
}

fn trouble(worker: &WorkerRow) -> Option<String> {
    if worker.state == WorkerState::Pending {
        return Some(format!(
            "{} asks to join with code {}; the operator can approve it",
            worker.name, worker.code
        ));
    }
    if worker.connected {
        return None;
    }
    let owner = worker.owner.as_deref().unwrap_or("nobody");
    Some(match worker.seen_at {
        Some(at) => format!("{} was last heard of on {}; {owner} looks after it", worker.name, Moment(at.0)),
        None => format!("{} has never been heard of; {owner} looks after it", worker.name),
    })
}
