//! Loads the status page.

use domain::health::missing_ref::{MissingRef, RefOwner};
use domain::outcome::Cause;
use domain::schedule::canary::{failing_sentence, is_failing};
use domain::variant::target;
use domain::words::ids::Timestamp;
use domain::words::states::{Standing, WorkerState};
use store::pages::{
    BranchRow, BreakageFilter, BreakageRow, FailingProjectRow, NeverWorkedRow, UnbuiltToolchain, WorkerRow,
};
use store::{CanaryRow, Result, Store};

use super::claims::{CountedBreakage, broken, count_each};
use super::culprits::{culprits, sentence};
use super::marks::{BreakageMarks, breakage_marks};
use super::new_failures::new_failure_lines;
use super::rows::{builder, change, mark};
use super::tested::{Tested, tested};
use super::toolchain_inputs::switches_with_cases;
use crate::format::log_text::without_escapes;
use crate::format::units::{Moment, count};
use crate::pages::status::{NeverWorked, OpenSearch, RecentBuilds, StatusView, TrunkLine};

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
    let missing = read.missing_refs().await?;
    let projects = read.failing_projects().await?;
    let mut trunks = Vec::with_capacity(branches.len());
    let (mut recent_builds, mut toolchain_inputs) = (Vec::new(), Vec::new());
    for branch in &branches {
        let tip = read.position_rows(branch.id, i64::MAX, 1).await?.pop();
        trunks.push(trunk_line(branch, tip.map(|tip| change(tip.change)), &missing));
        toolchain_inputs.extend(switches_with_cases(&mut read, branch.id, MAX_SWITCHES).await?);
        for column in read.column_rows(branch.id, 0).await? {
            let mut builds = read.history_rows(column.builder.id, MAX_RECENT_BUILDS).await?;
            read.judge_failures(&mut builds).await?;
            builds.reverse();
            let builder = builder(column.builder);
            recent_builds.push(RecentBuilds { builder, marks: builds.iter().map(mark).collect() });
        }
    }
    let canaries = read.canaries().await?;
    let unbuilt = read.unbuilt_toolchains().await?;
    let tested = tested(&mut read, &branches).await?;
    let marks = breakage_marks(&mut read, &breakages).await?;
    let mut culprits = culprits(&mut read, &breakages, &marks).await?;
    culprits.retain(|culprit| culprit.is_open);
    let undecided = breakages.iter().filter(|row| row.state.is_undecided()).cloned().collect();
    let searches = count_each(&mut read, undecided).await?;
    Ok(StatusView {
        sentence: headline(&branches, &breakages, &workers, &tested),
        culprits,
        searches: searches.iter().map(|searched| search(searched, &marks)).collect(),
        trunks,
        missing_toolchains: unbuilt.iter().map(missing_toolchain).collect(),
        failing_canaries: canaries.iter().filter_map(failing_canary).collect(),
        worker_problems: workers.iter().filter_map(worker_problem).collect(),
        project_problems: projects.iter().map(project_problem).collect(),
        never_worked: read.never_worked().await?.into_iter().filter_map(never_worked).collect(),
        new_failures: new_failure_lines(read.new_failure_rows(None).await?),
        toolchain_inputs,
        recent_builds,
    })
}

fn headline(
    branches: &[BranchRow],
    breakages: &[BreakageRow],
    workers: &[WorkerRow],
    tested: &Tested,
) -> String {
    let name = match branches {
        [] => return "No trunk is registered yet.".into(),
        [one] => format!("{} {}", one.trunk, one.branch),
        [..] => "the trunks".into(),
    };
    let text = sentence(&name, breakages, tested);
    match workers.iter().any(|worker| worker.connected) {
        true => text,
        false => format!("{text} No workers are connected; no builds are running."),
    }
}

/// A canary without the outcome that it must have.
fn failing_canary(row: &CanaryRow) -> Option<String> {
    let (outcome, at) = row.last.filter(|(outcome, _)| is_failing(row.canary, *outcome, row.explained))?;
    let target = target(&row.platform, row.variant.as_deref());
    let place = (row.project.as_str(), row.trunk.as_str(), target.as_str());
    Some(failing_sentence(row.canary, place, (outcome, Moment(at.0).to_string())))
}

/// No change is blamed for it, so the operator has to act.
fn missing_toolchain(row: &UnbuiltToolchain) -> String {
    let cause = row.cause.map_or("infra", Cause::as_str);
    format!(
        "{} {} at {} has no toolchain on {}, so no suites run on it: infra failure ({cause}) in {}",
        row.trunk,
        row.branch,
        row.title,
        target(&row.platform, row.variant.as_deref()),
        count(row.attempts, "attempt", "attempts")
    )
}

fn trunk_line(
    branch: &BranchRow,
    tip: Option<crate::pages::ChangeLine>,
    missing: &[MissingRef],
) -> TrunkLine {
    let unreachable = branch
        .failing_since
        .zip(branch.failure.as_ref())
        .map(|(since, failure)| unreachable_since(since, branch.failures, failure));
    let of_branch = |one: &&MissingRef| {
        matches!(&one.owner, RefOwner::Trunk(trunk) if *trunk == branch.trunk) && one.name == branch.branch
    };
    let absent = missing.iter().find(of_branch).map(|one| without_escapes(&one.sentence(shown_date)));
    let problem = match (unreachable, absent) {
        (Some(unreachable), Some(absent)) => Some(format!("{unreachable}. {absent}")),
        (unreachable, absent) => unreachable.or(absent),
    };
    TrunkLine {
        trunk: branch.trunk.clone(),
        branch: branch.branch.clone(),
        tip,
        problem,
        progress: branch.progress.as_deref().map(without_escapes),
        polled_at: branch.polled_at.map(|at| Moment(at.0)),
    }
}

fn shown_date(at: Timestamp) -> String {
    Moment(at.0).to_string()
}

fn project_problem(row: &FailingProjectRow) -> String {
    format!("{}: {}", row.project, unreachable_since(row.since, row.failures, &row.failure))
}

/// Not one whose cases are partly bad from its first build on: that one works.
fn never_worked(row: NeverWorkedRow) -> Option<NeverWorked> {
    let sentence = format!(
        "{} has never worked on {} {} since its first build on {}: {}",
        row.project,
        row.trunk,
        row.branch,
        shown_date(row.since),
        row.end.obstacle()?
    );
    Some(NeverWorked { project: row.project, build: row.build.0, sentence })
}

fn unreachable_since(since: Timestamp, failures: i64, failure: &str) -> String {
    let polls = count(failures, "failed poll", "failed polls");
    format!("not reached since {} ({polls}): {}", Moment(since.0), without_escapes(failure))
}

fn search(searched: &CountedBreakage, marks: &BreakageMarks) -> OpenSearch {
    let CountedBreakage { row, counts } = searched;
    let range = count(row.range, "change is", "changes are");
    let sentence = format!("{}; {range} in the range", broken(row, counts).state());
    OpenSearch {
        breakage: row.id,
        status_style: marks.status_style(row),
        sentence,
        marks: marks.lines(row.id),
    }
}

fn worker_problem(worker: &WorkerRow) -> Option<String> {
    if worker.state == WorkerState::Pending {
        return Some(format!("{} wants to join; the operator can approve it", worker.name));
    }
    if worker.connected || worker.standing != Standing::Active {
        return None;
    }
    let owner = worker.owner.as_deref().map_or("no owner".into(), |owner| format!("owner: {owner}"));
    Some(match worker.seen_at {
        Some(at) => format!("{} is offline (last seen {}); {owner}", worker.name, Moment(at.0)),
        None => format!("{} has never connected; {owner}", worker.name),
    })
}
