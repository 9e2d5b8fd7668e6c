//! Loads a build's page.

use std::collections::HashSet;

use domain::breakage::mark::{FailureNews, Mark, MarkKind};
use domain::history::transition::{Transition, transition};
use domain::outcome::{Cause, Outcome};
use domain::words::ids::{AttemptId, BuildId, BuilderId};
use protocol::{InfraFailure, Verdict};
use store::pages::{AttemptRow, BuildPage, CaseRow};
use store::{Read, Result, Store};

use super::log::tail;
use super::rows::{builder, cell_label, change, has_too_many_not_run, in_words, status_style, step_end};
use crate::format::log_text::without_escapes;
use crate::format::status_style::StatusStyle;
use crate::format::units::{ByteCount, Moment, Span, count, hidden};
use crate::pages::MarkLine;
use crate::pages::build::{AttemptLine, BuildView, CaseCounts, CaseLine, EnvironmentLine, StepLine};

const MAX_CASES: u16 = 300;
const MAX_FAILURE_CHARACTERS: usize = 2000;

pub async fn build(store: &Store, id: i64) -> Result<BuildView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let mut page = read.build_page(id).await?;
    read.judge_failures(std::slice::from_mut(&mut page.row)).await?;
    let (cases, more_cases) = cases(&mut read, &page).await?;
    let (attempts, wanted_step) = attempts(&mut read, &page).await?;
    let environment = read.environment_change(BuildId(id)).await?.map(|change| EnvironmentLine {
        since: change.since.0,
        differences: domain::project_inputs::environment::differs(&change.before, &change.now),
    });
    drop(snapshot);
    let tail = match wanted_step {
        Some(position) => tail(store, id, position).await?,
        None => None,
    };
    Ok(BuildView {
        id,
        status_style: status_style(&page.row),
        sentence: sentence(&page),
        reason: page.row.reason.to_string(),
        state: page.row.state.to_string(),
        outcome: page.row.outcome.map(|outcome| outcome.to_string()),
        cause: page.row.cause.map(|cause| cause.to_string()),
        counts: page.row.passes.zip(page.row.bads).map(|(passed, failed)| CaseCounts {
            passed,
            failed,
            skipped: page.skips.unwrap_or(0),
        }),
        revision: page.revision,
        artifact: page.artifact,
        environment,
        inputs: page.inputs,
        queued_at: Moment(page.queued_at.0),
        finished_at: page.finished_at.map(|at| Moment(at.0)),
        same_as: page.row.same_as,
        breakage: page.breakage,
        older: page.older,
        newer: page.newer,
        attempts,
        more_cases,
        cases,
        tail,
        builder: builder(page.builder),
        change: change(page.change),
    })
}

/// The cases that differ from the history build before or fail, and how many of those that differ are not shown.
async fn cases(read: &mut Read<'_>, page: &BuildPage) -> Result<(Vec<CaseLine>, usize)> {
    let mut cases = read.case_rows(page.row.id, MAX_CASES.into()).await?;
    let more = hidden(page.row.worse + page.row.not_run + page.row.better, cases.len());
    // A build that fails as the one before it did has failing cases all the same.
    let names: HashSet<String> = cases.iter().map(|case| case.name.clone()).collect();
    let failing = read.bad_cases(page.row.id, MAX_CASES.into()).await?;
    cases.extend(failing.into_iter().filter(|case| !names.contains(&case.name)));
    let finished_at = page.finished_at.unwrap_or(domain::words::ids::Timestamp(i64::MAX));
    let mut marks = read.marks_of(BuilderId(page.row.builder)).await?;
    marks.retain(|mark| !mark.is_void(finished_at));
    let has_alarm = has_too_many_not_run(&page.row);
    let known = match status_style(&page.row) {
        style @ (StatusStyle::Expected | StatusStyle::Flaky) => Some(style),
        _ => None,
    };
    let line = |row| case(row, known, has_alarm, &marks);
    Ok((cases.into_iter().map(line).collect(), more))
}

/// The attempts, and the step whose log readers look for: the first that failed, else the last.
async fn attempts(read: &mut Read<'_>, page: &BuildPage) -> Result<(Vec<AttemptLine>, Option<u16>)> {
    let mut attempts = Vec::new();
    let mut wanted_step = None;
    for row in read.attempt_rows(page.row.id).await? {
        let steps = read.steps(AttemptId(row.id)).await?;
        let has_log = page.attempt == Some(row.id);
        if has_log {
            let failed = |step: &&store::StepRecord| step_end(step.end.as_ref()).0 != StatusStyle::Passed;
            wanted_step = steps.iter().find(failed).or(steps.last()).map(|step| step.position);
        }
        attempts.push(attempt(row, steps, has_log));
    }
    Ok((attempts, wanted_step))
}

/// `sandbox at Lua 5.2.4 failed in test (exit): 3 new`
fn sentence(page: &BuildPage) -> String {
    let name = page.builder.project.as_deref().unwrap_or("The toolchain");
    let row = &page.row;
    let step = row.step.as_ref().map(|step| format!(" in {step}")).unwrap_or_default();
    let cause = row.cause.map(|cause| format!(" ({})", Cause::as_str(cause))).unwrap_or_default();
    let at = format!("{name} at {}", page.change.title);
    match (row.outcome, row.same_as) {
        (Some(Outcome::Passed), _) if status_style(row) == StatusStyle::New => {
            format!("{at} passed, but {} not run", count(row.not_run, "case was", "cases were"))
        }
        (Some(outcome), Some(same)) => format!("{at} has the inputs of build {same}, which {outcome}"),
        (Some(Outcome::Passed), None) => match cell_label(row).0 {
            Some(passed) => format!("{at} passed: {}", count(passed, "case", "cases")),
            None => format!("{at} passed"),
        },
        (Some(Outcome::Failed), None) if page.builder.project.is_none() => {
            format!("{at} failed{step}{cause}")
        }
        (Some(Outcome::Failed), None) if row.news == FailureNews::Expected => {
            format!("{at} failed{step}{cause}, as is expected of it")
        }
        (Some(Outcome::Failed), None) if row.news == FailureNews::Flaky => {
            format!("{at} failed{step}{cause}, but only in cases that are known to be flaky")
        }
        (Some(Outcome::Failed), None) => format!("{at} failed{step}{cause}: {}", in_words(row)),
        (Some(Outcome::Infra), None) if row.cause == Some(Cause::Fetch) => {
            format!("{at} could not be fetched{step}: the project or the network is to blame, not the change")
        }
        (Some(Outcome::Infra), None) => {
            format!("{at} ended in an infra failure{step}{cause}: the farm is to blame, not the change")
        }
        (Some(Outcome::Cancelled), None) => format!("{at} was cancelled"),
        (Some(Outcome::Blocked), None) => {
            format!("{at} is blocked: the change has no toolchain to test with")
        }
        (None, _) => format!("{at} is {}", status_style(row)),
    }
}

fn attempt(row: AttemptRow, steps: Vec<store::StepRecord>, has_log: bool) -> AttemptLine {
    let duration_ms = row.started_at.zip(row.ended_at).map(|(from, to)| Span(to.0 - from.0));
    AttemptLine {
        number: row.number,
        worker: row.worker,
        state: row.state.to_string(),
        failure: row.end_reason.map(|stored| infra_failure(&stored)),
        progress: row.progress.map(|progress| without_escapes(&progress)),
        late_outcome: row.late.map(|outcome| outcome.to_string()),
        started_at: row.started_at.map(|at| Moment(at.0)),
        duration_ms,
        steps: steps.into_iter().map(|row| step(row, has_log)).collect(),
    }
}

/// A worker's infra failure is stored as the worker API's JSON; the master's own reasons are sentences already.
fn infra_failure(stored: &str) -> String {
    let Ok(failure) = serde_json::from_str::<InfraFailure>(stored) else { return without_escapes(stored) };
    let (InfraFailure::Checkout { detail, .. }
    | InfraFailure::Toolchain { detail }
    | InfraFailure::Sandbox { detail }
    | InfraFailure::NoSpace { detail }
    | InfraFailure::Worker { detail }
    | InfraFailure::HandedBack { detail }) = &failure;
    // Escape sequences go before the text is cut, so that no half of one stays.
    let detail: String = without_escapes(detail).chars().take(MAX_FAILURE_CHARACTERS).collect();
    format!("{}: {detail}", Cause::from(&failure))
}

fn step(row: store::StepRecord, has_log: bool) -> StepLine {
    let (status_style, result) = step_end(row.end.as_ref());
    StepLine {
        position: row.position.into(),
        name: row.name,
        kind: row.kind.as_str().into(),
        status_style,
        result,
        duration_ms: row.duration_ms.map(|ms| Span(i64::try_from(ms).unwrap_or(i64::MAX))),
        log_lines: row.log.lines,
        log_bytes: ByteCount(row.log.bytes),
        warnings: row.warnings.iter().map(|warning| without_escapes(warning)).collect(),
        has_log,
    }
}

/// `known`: how a build is shown in which nothing but known cases fails. `has_alarm`: so many cases are no longer run that it is an alarm.
fn case(row: CaseRow, known: Option<StatusStyle>, has_alarm: bool, marks: &[Mark]) -> CaseLine {
    let mark = marks.iter().find(|mark| mark.speaks_of(&row.name));
    let transition = match mark.map(|mark| mark.kind) {
        // A human expects it to fail, and wants to know that it does not.
        Some(MarkKind::ExpectedToFail) if row.became == Verdict::Pass => Some(Transition::UnexpectedPass),
        Some(MarkKind::ExpectedToFail | MarkKind::Flaky) | None => transition(row.was, row.became),
    };
    let marked = match mark.map(|mark| mark.kind) {
        Some(MarkKind::ExpectedToFail) => Some(StatusStyle::Expected),
        Some(MarkKind::Flaky) => Some(StatusStyle::Flaky),
        None => known,
    };
    let status_style = match (transition, marked.filter(|_| row.became.is_bad())) {
        (_, Some(style)) => style,
        (transition, None) => unmarked_style(transition, &row, has_alarm),
    };
    CaseLine {
        name: row.name,
        was: row.was.map(|was| was.to_string()),
        became: row.became.to_string(),
        transition: transition.map(|transition| transition.as_str().to_string()),
        label: transition.map_or(row.became.as_str(), Transition::label).to_string(),
        mark: mark.map(MarkLine::from),
        status_style,
        message: row.text.filter(|text| !text.is_empty()).map(|text| without_escapes(&text)),
    }
}

/// How a case is shown that no mark speaks of.
fn unmarked_style(transition: Option<Transition>, row: &CaseRow, has_alarm: bool) -> StatusStyle {
    match transition {
        Some(Transition::StillFailing) => StatusStyle::Still,
        Some(Transition::Inherited) => StatusStyle::Inherited,
        Some(Transition::NewFailure) => StatusStyle::New,
        Some(Transition::NewCase | Transition::RunsNow) if row.became.is_bad() => StatusStyle::New,
        Some(Transition::LostBySkip | Transition::LostByAbsence) if has_alarm => StatusStyle::New,
        Some(Transition::LostBySkip | Transition::LostByAbsence | Transition::UnexpectedPass) => {
            StatusStyle::Flaky
        }
        Some(Transition::Fixed | Transition::NewCase | Transition::RunsNow) | None => StatusStyle::Passed,
    }
}
