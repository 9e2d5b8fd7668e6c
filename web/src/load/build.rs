//! Loads a build's page.

use std::collections::HashSet;

use domain::breakage::mark::{Mark, MarkKind};
use domain::history::transition::{Transition, transition};
use domain::outcome::{Cause, Outcome};
use domain::words::ids::{AttemptId, BuildId, BuilderId};
use protocol::{InfraFailure, Verdict};
use store::pages::{AttemptRow, BuildPage, CaseRow};
use store::{Result, Store};

use super::log::tail;
use super::rows::{builder, change, ended, in_words, is_loss, said, status_style};
use crate::format::status_style::StatusStyle;
use crate::format::units::{ByteCount, Moment, Span, count};
use crate::pages::MarkLine;
use crate::pages::build::{AttemptLine, BuildView, CaseCounts, CaseLine, EnvironmentLine, StepLine};

const MAX_CASES: i64 = 300;
const MAX_TROUBLE_CHARACTERS: usize = 2000;

pub async fn build(store: &Store, id: i64) -> Result<BuildView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let mut page = read.build_page(id).await?;
    read.mark_flaky(std::slice::from_mut(&mut page.row)).await?;
    let mut cases = read.case_rows(id, MAX_CASES).await?;
    let differing = cases.len();
    // A build that fails as the one before it did has bad cases all the same.
    let names: HashSet<String> = cases.iter().map(|case| case.name.clone()).collect();
    let bad = read.bad_cases(id, MAX_CASES as usize).await?;
    cases.extend(bad.into_iter().filter(|case| !names.contains(&case.name)));
    let mut attempts = Vec::new();
    let mut wanted = None;
    for row in read.attempt_rows(id).await? {
        let steps = read.steps(AttemptId(row.id)).await?;
        let has_log = page.attempt == Some(row.id);
        if has_log {
            let bad = |step: &&store::StepRecord| ended(step.end.as_ref()).0 != StatusStyle::Passed;
            wanted = steps.iter().find(bad).or(steps.last()).map(|step| step.position);
        }
        attempts.push(attempt(row, steps, has_log));
    }
    let ended = page.finished_at.unwrap_or(domain::words::ids::Timestamp(i64::MAX));
    let mut marks = read.marks_of(BuilderId(page.row.builder)).await?;
    marks.retain(|mark| !mark.is_void(ended));
    let environment = read.environment_change(BuildId(id)).await?.map(|change| EnvironmentLine {
        since: change.since.0,
        differs: domain::project_inputs::environment::differs(&change.before, &change.now),
    });
    drop(snapshot);
    let tail = match wanted {
        Some(position) => tail(store, id, position).await?,
        None => None,
    };
    let is_loss = is_loss(&page.row);
    let differ = page.row.worse + page.row.not_run + page.row.better;
    Ok(BuildView {
        id,
        status_style: status_style(&page.row),
        sentence: sentence(&page),
        reason: page.row.reason.to_string(),
        state: page.row.state.to_string(),
        outcome: page.row.outcome.map(|outcome| outcome.to_string()),
        cause: page.row.cause.map(|cause| cause.to_string()),
        counts: page.row.passes.zip(page.row.bads).map(|(passes, bads)| CaseCounts {
            passes,
            bads,
            skips: page.skips.unwrap_or(0),
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
        more_cases: (differ as usize).saturating_sub(differing),
        cases: cases.into_iter().map(|found| case(found, page.row.is_flaky, is_loss, &marks)).collect(),
        tail,
        builder: builder(page.builder),
        change: change(page.change),
    })
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
            format!(
                "{at} passed, but {} vanished or were skipped",
                count(row.not_run as usize, "case", "cases")
            )
        }
        (Some(outcome), Some(same)) => format!("{at} has the inputs of build {same}, which {outcome}"),
        (Some(Outcome::Passed), None) => match said(row).0 {
            Some(passes) => format!("{at} passed: {}", count(passes as usize, "case", "cases")),
            None => format!("{at} passed"),
        },
        (Some(Outcome::Failed), None) if page.builder.project.is_none() => {
            format!("{at} failed{step}{cause}")
        }
        (Some(Outcome::Failed), None) if row.is_flaky => {
            format!("{at} failed{step}{cause}, but only in what is known to be flaky")
        }
        (Some(Outcome::Failed), None) => format!("{at} failed{step}{cause}: {}", in_words(row)),
        (Some(Outcome::Infra), None) => format!("{at} met the farm's own trouble{step}{cause}"),
        (Some(Outcome::Cancelled), None) => format!("{at} was cancelled"),
        (Some(Outcome::Blocked), None) => {
            format!("{at} is blocked: the change has no toolchain to test with")
        }
        (None, _) => format!("{at} is {}", status_style(row)),
    }
}

fn attempt(row: AttemptRow, steps: Vec<store::StepRecord>, has_log: bool) -> AttemptLine {
    let took = row.started_at.zip(row.ended_at).map(|(from, to)| Span(to.0 - from.0));
    AttemptLine {
        number: row.number,
        worker: row.worker,
        state: row.state.to_string(),
        trouble: row.end_reason.map(trouble),
        late: row.late.map(|outcome| outcome.to_string()),
        started_at: row.started_at.map(|at| Moment(at.0)),
        took,
        steps: steps.into_iter().map(|row| step(row, has_log)).collect(),
    }
}

/// A worker's trouble is kept in the words of the wire; what the farm itself says of an attempt is a sentence already.
fn trouble(kept: String) -> String {
    let Ok(trouble) = serde_json::from_str::<InfraFailure>(&kept) else { return kept };
    let (InfraFailure::Checkout { detail }
    | InfraFailure::Toolchain { detail }
    | InfraFailure::Sandbox { detail }
    | InfraFailure::NoSpace { detail }
    | InfraFailure::Worker { detail }) = &trouble;
    let detail: String = detail.chars().take(MAX_TROUBLE_CHARACTERS).collect();
    format!("{}: {detail}", Cause::from(&trouble))
}

fn step(row: store::StepRecord, has_log: bool) -> StepLine {
    let (status_style, said) = ended(row.end.as_ref());
    StepLine {
        position: row.position.into(),
        name: row.name,
        kind: row.kind.as_str().into(),
        status_style,
        ended: said,
        took: row.duration_ms.map(|ms| Span(ms as i64)),
        log_lines: row.log.lines as i64,
        log_bytes: ByteCount(row.log.bytes),
        warnings: row.warnings,
        has_log,
    }
}

/// `is_loss`: so many cases are not run any more that it is an alarm.
fn case(row: CaseRow, is_flaky: bool, is_loss: bool, marks: &[Mark]) -> CaseLine {
    let mark = marks.iter().find(|mark| mark.speaks_of(&row.name));
    let transition = match mark.map(|mark| mark.kind) {
        // Somebody expects it to fail, and will want to hear that it does not.
        Some(MarkKind::ExpectedToFail) if row.became == Verdict::Pass => Some(Transition::UnexpectedPass),
        Some(MarkKind::ExpectedToFail | MarkKind::Flaky) | None => transition(row.was, row.became),
    };
    let status_style = match transition {
        _ if row.became.is_bad() && mark.is_some() => StatusStyle::Flaky,
        _ if row.became.is_bad() && is_flaky => StatusStyle::Flaky,
        Some(Transition::StillFailing) => StatusStyle::Still,
        Some(Transition::Inherited) => StatusStyle::Inherited,
        Some(Transition::NewFailure) => StatusStyle::New,
        Some(Transition::NewCase | Transition::RunsNow) if row.became.is_bad() => StatusStyle::New,
        Some(Transition::LostBySkip | Transition::LostByAbsence) if is_loss => StatusStyle::New,
        Some(Transition::LostBySkip | Transition::LostByAbsence | Transition::UnexpectedPass) => {
            StatusStyle::Flaky
        }
        Some(Transition::Fixed | Transition::NewCase | Transition::RunsNow) | None => StatusStyle::Passed,
    };
    CaseLine {
        name: row.name,
        was: row.was.map(|was| was.to_string()),
        became: row.became.to_string(),
        transition: transition.map(|transition| transition.as_str().to_string()),
        said: transition.map_or(row.became.as_str(), Transition::said).to_string(),
        mark: mark.map(MarkLine::from),
        status_style,
        text: row.text.filter(|text| !text.is_empty()),
    }
}
