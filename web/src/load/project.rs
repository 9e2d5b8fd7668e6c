//! Loads a project's page.

use std::collections::BTreeSet;

use domain::project_inputs;
use domain::words::BuildState;
use domain::words::ids::{BuilderId, CaseId, ProjectId, Timestamp};
use store::pages::{BaselineRow, BreakageFilter, BuilderRow, ProjectInputsRow, ProjectPage};
use store::{PinState, Read, Result, Store};

use super::breakages::line;
use super::marks::marks;
use super::rows::{builder, mark};
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, count};
use crate::pages::project::{BaselineLine, FlakyLine, NeedLine, ProjectInputsLine, ProjectView};
use crate::pages::status::RecentBuilds;

const STRIP: i64 = 60;
const MAX_BREAKAGES: i64 = 500;
/// Cases whose runs are counted, and those that are shown.
const MAX_LOOKED_AT: usize = 100;
const MAX_FLAKY: usize = 10;

pub async fn project(store: &Store, name: &str) -> Result<ProjectView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let page = read.project_page(name).await?;
    let rows = read.project_inputs_rows(page.id).await?;
    let baselines = read.baseline_rows(page.id).await?;
    let (mut strips, mut flaky) = (Vec::new(), Vec::new());
    let builders = read.builder_rows(page.id).await?;
    let marks = marks(&mut read, ProjectId(page.id), &builders).await?;
    for row in builders {
        let mut builds = read.history_rows(row.id, STRIP).await?;
        read.mark_flaky(&mut builds).await?;
        builds.reverse();
        flaky.extend(noisy(&mut read, &row).await?);
        strips.push(RecentBuilds { builder: builder(row), marks: builds.iter().map(mark).collect() });
    }
    let mut breakages = read.breakage_rows(BreakageFilter::Open, MAX_BREAKAGES).await?;
    breakages.retain(|row| row.builder.project.as_deref() == Some(name));
    let sentence = sentence(&page, &rows, breakages.len());
    let sides: Vec<(PinState, ProjectInputsLine)> =
        rows.iter().map(|row| (row.state, side(row, &rows, &baselines))).collect();
    let (now, before) = sides.into_iter().partition::<Vec<_>, _>(|(state, _)| is_live(*state));
    let only_sides =
        |sides: Vec<(PinState, ProjectInputsLine)>| sides.into_iter().map(|(_, side)| side).collect();
    Ok(ProjectView {
        needed_by: read.dependents(name).await?,
        marks,
        name: page.name,
        sentence,
        trunk: page.trunk,
        // A path is the operator's own affair.
        git: Some(page.git).filter(|git| git.contains("://") && !git.starts_with("file:")),
        newest: page.newest,
        polled_at: page.polled_at.map(|at| Moment(at.0)),
        trouble: page.failing.map(|(since, failure)| {
            format!("its newest revision is not known since {}: {failure}", Moment(since.0))
        }),
        wants: page.wants,
        sides: only_sides(now),
        before: only_sides(before),
        strips,
        breakages: breakages.into_iter().map(line).collect(),
        flaky: {
            flaky.sort_by(|one, other| other.rate().total_cmp(&one.rate()).then(one.case.cmp(&other.case)));
            flaky.truncate(MAX_FLAKY);
            flaky
        },
    })
}

/// The cases of a builder that were ever proven flaky, with what its last runs say of them.
async fn noisy(read: &mut Read<'_>, row: &BuilderRow) -> Result<Vec<FlakyLine>> {
    let (id, ever) = (BuilderId(row.id), Timestamp(0));
    let cases: BTreeSet<CaseId> = read.flaky_cases(id, ever).await?.into_iter().take(MAX_LOOKED_AT).collect();
    let mut flaky = Vec::new();
    for (case, history) in read.flake_history(id, &cases, ever).await? {
        let Some(case) = read.case_names(&BTreeSet::from([case])).await?.pop() else { continue };
        let platform = row.platform.clone();
        flaky.push(FlakyLine { case, platform, fails: history.good.odd, runs: history.good.runs });
    }
    // A step fails along with its cases.
    let has_tests = flaky.iter().any(|flaky| !flaky.case.starts_with("step:"));
    flaky.retain(|flaky| !(has_tests && flaky.case.starts_with("step:")));
    Ok(flaky)
}

fn is_live(state: PinState) -> bool {
    match state {
        PinState::Proposed | PinState::Current => true,
        PinState::Past | PinState::Dropped => false,
    }
}

fn sentence(page: &ProjectPage, sides: &[ProjectInputsRow], breakages: usize) -> String {
    if !page.is_registered {
        return format!("{} is no longer registered; its results stay.", page.name);
    }
    let broken = match breakages {
        0 => "Nothing of it is broken by the trunk".to_string(),
        open => format!("{} open", count(open, "breakage is", "breakages are")),
    };
    let waits = sides.iter().any(|side| side.state == PinState::Proposed && side.worse_since.is_some());
    let proposed = sides.iter().any(|side| side.state == PinState::Proposed);
    match (sides.is_empty(), waits, proposed) {
        (true, ..) => format!("No revision of {} has been seen yet.", page.name),
        (_, true, _) => format!("{broken}; its newest side broke tests itself, and waits."),
        (_, _, true) => format!("{broken}; a new side of it is being proven."),
        (_, _, false) => format!("{broken}."),
    }
}

fn side(row: &ProjectInputsRow, all: &[ProjectInputsRow], baselines: &[BaselineRow]) -> ProjectInputsLine {
    let of_it: Vec<&BaselineRow> = baselines.iter().filter(|baseline| baseline.pin == row.pin).collect();
    // Against what was in use when it was proposed.
    let before = all.iter().find(|other| {
        other.pin < row.pin
            && other.branch == row.branch
            && other.since.is_some_and(|since| since <= row.proposed_at)
    });
    let differs = before.map(|before| project_inputs::differs(&before.side, &row.side)).unwrap_or_default();
    ProjectInputsLine {
        branch: row.branch.clone(),
        state: row.state.as_str().into(),
        status_style: match row.state {
            PinState::Proposed if row.worse_since.is_some() => StatusStyle::New,
            PinState::Proposed => StatusStyle::Queued,
            PinState::Current => StatusStyle::Passed,
            PinState::Past | PinState::Dropped => StatusStyle::Superseded,
        },
        revision: row.side.revision.clone(),
        differs: differs.into_iter().map(|differs| differs.words).collect(),
        said: said(row, &of_it),
        needs: row
            .side
            .needs
            .iter()
            .map(|(name, revision)| NeedLine { name: name.clone(), revision: revision.clone() })
            .collect(),
        lock: row.lock.map(|lock| lock.sha256.to_string()),
        baselines: of_it.into_iter().map(baseline).collect(),
    }
}

fn said(row: &ProjectInputsRow, baselines: &[&BaselineRow]) -> String {
    let at = |moment: Timestamp| Moment(moment.0);
    match (row.state, row.since, row.until) {
        (PinState::Proposed, ..) => match (row.worse_since, baselines.first()) {
            (Some(since), _) => format!(
                "waits since {} for a revision that is no worse, until {} at the latest",
                at(since),
                at(since + project_inputs::LONGEST)
            ),
            (None, None) => "waits for a change to be repeated with it".into(),
            (None, Some(_)) => "is being compared with the side in use".into(),
        },
        (PinState::Current, Some(since), _) => format!("in use since {}", at(since)),
        (PinState::Past, Some(since), Some(until)) => format!("in use from {} to {}", at(since), at(until)),
        (PinState::Current | PinState::Past, ..) => "in use".into(),
        (PinState::Dropped, ..) => {
            format!("proposed {}; another one came before it was taken", at(row.proposed_at))
        }
    }
}

fn baseline(row: &BaselineRow) -> BaselineLine {
    let (status_style, words) = match (row.is_worse, row.state) {
        (Some(false), _) => (StatusStyle::Passed, "no case worse".to_string()),
        (Some(true), _) => {
            (StatusStyle::New, format!("{} worse", count(row.cases_count as usize, "case is", "cases are")))
        }
        (None, BuildState::Queued) => (StatusStyle::Queued, "waits".into()),
        (None, BuildState::Leased) => (StatusStyle::Running, "runs".into()),
        (None, BuildState::Finished) => (StatusStyle::Running, "is not yet judged".into()),
    };
    BaselineLine {
        build: row.build,
        status_style,
        said: format!("on {}: {words}", row.platform),
        more_cases: row.cases_count - row.cases.len() as i64,
        cases: row.cases.clone(),
    }
}
