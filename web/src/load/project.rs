//! Loads a project's page.

use std::collections::BTreeSet;

use domain::project_inputs;
use domain::readers::is_fault;
use domain::search::selection::Disagreement;
use domain::sentences::FetchFailure;
use domain::variant::target;
use domain::words::BuildState;
use domain::words::ids::{BreakageId, BuilderId, CaseId, ProjectId, Timestamp};
use store::pages::{BaselineRow, BreakageFilter, BuilderRow, ProjectInputsRow, ProjectPage};
use store::{PinState, Read, Result, Store};

use super::breakages::line;
use super::claims::count_each;
use super::marks::{breakage_marks, marks};
use super::new_failures::new_failure_lines;
use super::rows::{builder, mark};
use crate::format::log_text::without_escapes;
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, count, row_count};
use crate::pages::project::{
    BaselineLine, FlakyLine, NeedLine, ProjectInputsLine, ProjectView, SelectionLine, UnstableFaultsLine,
};
use crate::pages::status::RecentBuilds;

const MAX_RECENT_BUILDS: i64 = 60;
const MAX_BREAKAGES: i64 = 500;
/// Flaky cases whose runs are counted, unstable names that are, and flaky cases that are shown.
const MAX_COUNTED: usize = 100;
const MAX_FLAKY: usize = 10;

pub async fn project(store: &Store, name: &str) -> Result<ProjectView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let page = read.project_page(name).await?;
    let rows = read.project_inputs_rows(page.id).await?;
    let baselines = read.baseline_rows(page.id).await?;
    let (mut recent_builds, mut flaky, mut unstable_faults) = (Vec::new(), Vec::new(), Vec::new());
    let builders = read.builder_rows(page.id).await?;
    let marks = marks(&mut read, ProjectId(page.id), &builders).await?;
    for row in builders {
        let mut builds = read.history_rows(row.id, MAX_RECENT_BUILDS).await?;
        read.judge_failures(&mut builds).await?;
        builds.reverse();
        flaky.extend(flaky_cases(&mut read, &row).await?);
        unstable_faults.extend(unstable_faults_of(&mut read, &row).await?);
        recent_builds.push(RecentBuilds { builder: builder(row), marks: builds.iter().map(mark).collect() });
    }
    let mut breakages = read.breakage_rows(BreakageFilter::Open, MAX_BREAKAGES).await?;
    breakages.retain(|row| row.builder.project.as_deref() == Some(name));
    let breakage_marks = breakage_marks(&mut read, &breakages).await?;
    let sentence = match page.is_registered && recent_builds.is_empty() {
        true => format!("{} gives its source to those that need it, and has no suite.", page.name),
        false => sentence(&page, &rows, breakages.len()),
    };
    let new_failures = new_failure_lines(read.new_failure_rows(Some(page.id)).await?);
    let (live, past): (Vec<_>, Vec<_>) = rows.iter().partition(|row| is_live(row.state));
    let lines = |some: Vec<&ProjectInputsRow>| {
        some.into_iter().map(|row| inputs_line(row, &rows, &baselines)).collect::<Vec<_>>()
    };
    Ok(ProjectView {
        needed_by: read.dependents(name).await?,
        marks,
        name: page.name,
        sentence,
        trunk: page.trunk,
        // A path on the operator's machine is not published.
        git: Some(page.git).filter(|git| git.contains("://") && !git.starts_with("file:")),
        newest: page.newest,
        polled_at: page.polled_at.map(|at| Moment(at.0)),
        problem: problem(page.failing, page.unfetched),
        selection: page.withdrawn.map(selection),
        wants: page.wants,
        project_inputs: lines(live),
        past_project_inputs: lines(past),
        recent_builds,
        new_failures,
        breakages: count_each(&mut read, breakages)
            .await?
            .into_iter()
            .map(|counted| line(counted, &breakage_marks))
            .collect(),
        flaky_cases: worst(flaky),
        unstable_faults,
    })
}

/// Why its probes run the whole suite although its recipe says that they need not.
fn selection((at, why, breakage): (Timestamp, Disagreement, BreakageId)) -> SelectionLine {
    SelectionLine {
        breakage: breakage.0,
        sentence: format!(
            "Its recipe says `selects`, and since {} its probes run the whole suite nevertheless: {}.",
            Moment(at.0),
            why.clause()
        ),
    }
}

/// The flakiest cases, as many as a page shows.
fn worst(mut flaky: Vec<FlakyLine>) -> Vec<FlakyLine> {
    flaky.sort_by(|one, other| other.rate().total_cmp(&one.rate()).then(one.case.cmp(&other.case)));
    flaky.truncate(MAX_FLAKY);
    flaky
}

/// What keeps it from being tested.
fn problem(
    failing: Option<(Timestamp, String)>,
    unfetched: Option<(Timestamp, FetchFailure)>,
) -> Option<String> {
    let unknown = failing.map(|(since, failure)| {
        let failure = without_escapes(&failure);
        format!("Its newest revision has been unknown since {}: {failure}", Moment(since.0))
    });
    let unfetched = unfetched.map(|(since, failure)| {
        let clause = without_escapes(&failure.clause());
        format!(
            "It has not been tested since {}: {clause}. No change of the trunk is to blame.",
            Moment(since.0)
        )
    });
    let problems: Vec<String> = unknown.into_iter().chain(unfetched).collect();
    (!problems.is_empty()).then(|| problems.join(". "))
}

/// The cases of a builder that were ever proven flaky, and how often they failed in its last runs.
async fn flaky_cases(read: &mut Read<'_>, row: &BuilderRow) -> Result<Vec<FlakyLine>> {
    let (id, ever) = (BuilderId(row.id), Timestamp(0));
    let cases: BTreeSet<CaseId> = read.flaky_cases(id, ever).await?.into_iter().take(MAX_COUNTED).collect();
    let mut flaky = Vec::new();
    for (case, history) in read.flake_history(id, &cases, ever).await? {
        let Some(case) = read.case_names(&BTreeSet::from([case])).await?.pop() else { continue };
        flaky.push(FlakyLine {
            case,
            platform: row.platform.clone(),
            variant: row.variant.clone(),
            failures: history.good.odd,
            runs: history.good.runs,
        });
    }
    // A step fails with its cases.
    let has_tests = flaky.iter().any(|flaky| !flaky.case.starts_with("step:"));
    flaky.retain(|flaky| !(has_tests && flaky.case.starts_with("step:")));
    Ok(flaky)
}

/// The names of faults that differed between two runs of identical inputs of a builder.
async fn unstable_faults_of(read: &mut Read<'_>, row: &BuilderRow) -> Result<Option<UnstableFaultsLine>> {
    let cases = read.unstable_cases(BuilderId(row.id)).await?.into_iter().take(MAX_COUNTED).collect();
    let mut names = read.case_names(&cases).await?;
    names.retain(|name| is_fault(name));
    names.sort();
    let count = names.len();
    let line = |example| UnstableFaultsLine {
        branch: row.branch.clone(),
        platform: row.platform.clone(),
        names: count,
        example,
    };
    Ok(names.into_iter().next().map(line))
}

fn is_live(state: PinState) -> bool {
    match state {
        PinState::Proposed | PinState::Current => true,
        PinState::Past | PinState::Dropped => false,
    }
}

fn sentence(page: &ProjectPage, inputs: &[ProjectInputsRow], breakages: usize) -> String {
    if !page.is_registered {
        return format!("{} is no longer registered; its results are kept.", page.name);
    }
    let broken = match breakages {
        0 => "No open breakages".to_string(),
        open => format!("{} open", count(open, "breakage is", "breakages are")),
    };
    let proposed = || inputs.iter().filter(|row| row.state == PinState::Proposed);
    let waits = proposed().any(|row| row.worse_since.is_some());
    let is_lost = |row: &ProjectInputsRow| row.state == PinState::Current && row.missing_since.is_some();
    if inputs.iter().any(is_lost) {
        return format!(
            "{broken}; the revision in use can no longer be fetched, and the newest one takes its place."
        );
    }
    match (inputs.is_empty(), waits, proposed().next().is_some()) {
        (true, ..) => format!("No revision of {} has been seen yet.", page.name),
        (_, true, _) => {
            format!("{broken}; its newest project inputs broke tests themselves, and wait for better ones.")
        }
        (_, _, true) => format!("{broken}; new project inputs are being tested."),
        (_, _, false) => format!("{broken}."),
    }
}

fn inputs_line(
    row: &ProjectInputsRow,
    all: &[ProjectInputsRow],
    baselines: &[BaselineRow],
) -> ProjectInputsLine {
    let own_baselines: Vec<&BaselineRow> =
        baselines.iter().filter(|baseline| baseline.pin == row.pin).collect();
    // Compared with those that were in use when these were proposed.
    let before = all.iter().find(|other| {
        other.pin < row.pin
            && other.branch == row.branch
            && other.since.is_some_and(|since| since <= row.proposed_at)
    });
    let differences = before
        .map(|before| project_inputs::differs(&before.project_inputs, &row.project_inputs))
        .unwrap_or_default();
    ProjectInputsLine {
        branch: row.branch.clone(),
        state: row.state.as_str().into(),
        status_style: match row.state {
            PinState::Proposed if row.worse_since.is_some() => StatusStyle::New,
            PinState::Proposed => StatusStyle::Queued,
            PinState::Current => StatusStyle::Passed,
            PinState::Past | PinState::Dropped => StatusStyle::Superseded,
        },
        revision: row.project_inputs.revision.clone(),
        differences: differences.into_iter().map(|difference| difference.words).collect(),
        text: state_in_words(row, &own_baselines),
        needs: row
            .project_inputs
            .needs
            .iter()
            .map(|(name, revision)| NeedLine { name: name.clone(), revision: revision.clone() })
            .collect(),
        lock: row.lock.map(|lock| lock.sha256.to_string()),
        baselines: own_baselines.into_iter().map(baseline).collect(),
    }
}

fn state_in_words(row: &ProjectInputsRow, baselines: &[&BaselineRow]) -> String {
    let at = |moment: Timestamp| Moment(moment.0);
    match (row.state, row.since, row.until) {
        (PinState::Proposed, ..) => match (row.worse_since, baselines.first()) {
            (Some(since), _) => format!(
                "waiting since {} for a revision that is no worse, until {} at the latest",
                at(since),
                at(since + project_inputs::LONGEST)
            ),
            (None, None) => {
                "waiting for a baseline build: a tested change, built again with these inputs".into()
            }
            (None, Some(_)) => "being compared with the project inputs in use".into(),
        },
        (PinState::Current, Some(since), _) => format!("in use since {}{}", at(since), missing(row)),
        (PinState::Past, Some(since), Some(until)) => {
            let why = row.missing_since.map_or_else(String::new, |missing| {
                format!("; given up, since the revision was no longer in its repository on {}", at(missing))
            });
            format!("in use from {} to {}{why}", at(since), at(until))
        }
        (PinState::Current | PinState::Past, ..) => "in use".into(),
        (PinState::Dropped, ..) => {
            format!(
                "proposed {}; replaced by newer ones before they were taken into use",
                at(row.proposed_at)
            )
        }
    }
}

/// What is said of inputs that cannot be had any more.
fn missing(row: &ProjectInputsRow) -> String {
    match row.missing_since {
        Some(since) => format!(
            "; given up, since the revision has no longer been in its repository since {}",
            Moment(since.0)
        ),
        None => String::new(),
    }
}

fn baseline(row: &BaselineRow) -> BaselineLine {
    let (status_style, result) = match (row.is_worse, row.state) {
        (Some(false), _) => (StatusStyle::Passed, "no case is worse".to_string()),
        (Some(true), _) => {
            (StatusStyle::New, format!("{} worse", count(row.cases_count, "case is", "cases are")))
        }
        (None, BuildState::Queued) => (StatusStyle::Queued, "queued".into()),
        (None, BuildState::Leased) => (StatusStyle::Running, "running".into()),
        (None, BuildState::Finished) => (StatusStyle::Running, "not compared yet".into()),
    };
    BaselineLine {
        build: row.build,
        status_style,
        text: format!("on {}: {result}", target(&row.platform, row.variant.as_deref())),
        more_cases: row.cases_count - row_count(row.cases.len()),
        cases: row.cases.clone(),
    }
}
