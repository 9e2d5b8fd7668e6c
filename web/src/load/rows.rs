//! Rows as lines, marks and status styles: the same on every page.

use domain::breakage::failure_group::CaseFailure;
use domain::breakage::is_alarming;
use domain::breakage::mark::FailureNews;
use domain::outcome::{Cause, Outcome};
use domain::words::{BreakageState, BuildState, BuilderKind};
use protocol::StepEnd;
use store::pages::{BreakageRow, BuildRow, BuilderRow, ChangeRow};

use crate::format::log_text::without_escapes;
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, in_memory};
use crate::pages::{BuildMark, BuilderLine, ChangeLine, FailureGroupLine};

pub fn change(row: ChangeRow) -> ChangeLine {
    ChangeLine {
        sha: row.sha,
        title: row.title,
        author: row.author,
        committed_at: Moment(row.committed_at.0),
    }
}

pub fn builder(row: BuilderRow) -> BuilderLine {
    BuilderLine {
        id: row.id,
        name: row.project.unwrap_or_else(|| "toolchain".into()),
        trunk: row.trunk,
        branch: row.branch,
        platform: row.platform,
        variant: row.variant,
    }
}

/// The largest groups of cases with like failure messages.
pub fn failure_groups(mut failures: Vec<CaseFailure>) -> Vec<FailureGroupLine> {
    const MOST: usize = 5;
    for failure in &mut failures {
        failure.text = without_escapes(&failure.text);
    }
    let groups = domain::breakage::failure_group::group_failures(failures).into_iter().take(MOST);
    let group = |group: domain::breakage::failure_group::FailureGroup| FailureGroupLine {
        summary: match group.projects.len() {
            1 => format!("the same message in {} cases", group.cases.len()),
            projects => format!("the same message in {projects} projects"),
        },
        line: group.line,
        cases: group.cases.len(),
        projects: group.projects.into_iter().collect(),
    };
    groups.map(group).collect()
}

/// A project, or the toolchain, in the middle of a sentence.
pub fn subject(row: &BuilderRow) -> &str {
    row.project.as_deref().unwrap_or("the toolchain")
}

pub fn status_style(row: &BuildRow) -> StatusStyle {
    match (row.state, row.outcome) {
        (BuildState::Queued, _) => StatusStyle::Queued,
        (BuildState::Leased, _) => StatusStyle::Running,
        (BuildState::Finished, Some(Outcome::Passed)) if has_too_many_not_run(row) => StatusStyle::New,
        (BuildState::Finished, Some(Outcome::Passed) | None) => StatusStyle::Passed,
        (BuildState::Finished, Some(Outcome::Failed)) if is_toolchain(row) => StatusStyle::Broken,
        (BuildState::Finished, Some(Outcome::Failed)) => match row.news {
            FailureNews::Expected => StatusStyle::Expected,
            FailureNews::Flaky => StatusStyle::Flaky,
            FailureNews::News if row.worse > 0 || has_too_many_not_run(row) => StatusStyle::New,
            FailureNews::News => StatusStyle::Still,
        },
        (BuildState::Finished, Some(Outcome::Infra)) => StatusStyle::Infra,
        (BuildState::Finished, Some(Outcome::Cancelled)) => StatusStyle::Cancelled,
        (BuildState::Finished, Some(Outcome::Blocked)) => StatusStyle::Blocked,
    }
}

fn is_toolchain(row: &BuildRow) -> bool {
    match row.kind {
        BuilderKind::Toolchain => true,
        BuilderKind::Suite => false,
    }
}

/// Whether so many cases are no longer run that the build is no success even if it passed.
pub fn has_too_many_not_run(row: &BuildRow) -> bool {
    let before = row.passes.unwrap_or(0) + row.bads.unwrap_or(0) + row.not_run;
    is_alarming(in_memory(row.not_run), in_memory(before))
}

/// The number after the glyph of a cell, and the words after the number.
pub fn cell_label(row: &BuildRow) -> (Option<i64>, String) {
    let step = || row.step.clone().unwrap_or_else(|| row.cause.map_or("failed", Cause::as_str).into());
    match status_style(row) {
        StatusStyle::Passed if row.better > 0 && is_toolchain(row) => (None, "fixed".into()),
        StatusStyle::Passed if row.better > 0 => (Some(row.better), "fixed".into()),
        StatusStyle::Passed if is_toolchain(row) => (None, String::new()),
        StatusStyle::Passed => (row.passes, String::new()),
        StatusStyle::New if row.worse == 0 && row.bads.is_some_and(|bads| bads > 0) => {
            (Some(row.not_run), format!("not run, {} failing", row.bads.unwrap_or(0)))
        }
        StatusStyle::New if row.worse == 0 => (Some(row.not_run), "not run".into()),
        StatusStyle::New if row.bads.is_some_and(|bads| bads > row.worse) => {
            (Some(row.worse), format!("new, {} failing", row.bads.unwrap_or(0)))
        }
        StatusStyle::New => (Some(row.worse), "new".into()),
        StatusStyle::Flaky => (row.bads, "flaky".into()),
        StatusStyle::Expected => (row.bads, "expected".into()),
        StatusStyle::Still | StatusStyle::Inherited if row.bads.is_some() => (row.bads, String::new()),
        StatusStyle::Still | StatusStyle::Inherited | StatusStyle::Broken => (None, step()),
        StatusStyle::Infra => (None, row.cause.map_or("infra", Cause::as_str).into()),
        status_style @ (StatusStyle::Blocked
        | StatusStyle::Cancelled
        | StatusStyle::Queued
        | StatusStyle::Running
        | StatusStyle::Superseded) => (None, status_style.to_string()),
    }
}

/// `3 new`, `passed`: for a hint or a table.
pub fn in_words(row: &BuildRow) -> String {
    match cell_label(row) {
        (Some(count), label) if label.is_empty() && status_style(row) == StatusStyle::Passed => {
            format!("{count} passed")
        }
        (Some(count), label) if label.is_empty() => format!("{count} failing"),
        (Some(count), label) => format!("{count} {label}"),
        (None, label) if label.is_empty() => status_style(row).to_string(),
        (None, label) => label,
    }
}

pub fn mark(row: &BuildRow) -> BuildMark {
    BuildMark {
        build: row.id,
        status_style: status_style(row),
        hint: format!("{}: {}", row.reason, in_words(row)),
    }
}

pub fn breakage_style(row: &BreakageRow) -> StatusStyle {
    match row.state {
        BreakageState::Suspected | BreakageState::Searching => StatusStyle::New,
        BreakageState::Named | BreakageState::OneOfK | BreakageState::Inconclusive => StatusStyle::Still,
        BreakageState::Flaky => StatusStyle::Flaky,
        BreakageState::Environment => StatusStyle::Infra,
        BreakageState::Fixed => StatusStyle::Passed,
        BreakageState::Gone => StatusStyle::Superseded,
    }
}

/// Whether a change, or the last of several, was found to be its culprit.
pub fn has_culprit(row: &BreakageRow) -> bool {
    row.culprit.is_some() && matches!(row.found, Some(BreakageState::Named | BreakageState::OneOfK))
}

pub fn is_open(row: &BreakageRow) -> bool {
    row.ended_at.is_none() && !matches!(row.state, BreakageState::Flaky | BreakageState::Environment)
}

/// How a step ended, or that it runs.
pub fn step_end(end: Option<&StepEnd>) -> (StatusStyle, String) {
    let bad_end = |how: String| (StatusStyle::New, how);
    match end {
        None => (StatusStyle::Running, "running".into()),
        Some(StepEnd::Exit { code: 0 }) => (StatusStyle::Passed, "ok".into()),
        Some(StepEnd::Exit { code }) => bad_end(format!("exit {code}")),
        Some(StepEnd::Signal { signal }) => bad_end(format!("killed by signal {signal}")),
        Some(StepEnd::TimedOut) => bad_end("ran for too long".into()),
        Some(StepEnd::Silent) => bad_end("silent for too long".into()),
        Some(StepEnd::LogLimit) => bad_end("printed too much".into()),
        Some(StepEnd::OutOfMemory) => bad_end("used too much memory".into()),
        Some(StepEnd::TooManyProcesses) => bad_end("had too many processes".into()),
        Some(StepEnd::DiskLimit) => bad_end("used too much of the disk".into()),
        Some(StepEnd::RefusedTree) => bad_end("exit 0, but what it installed cannot be packed".into()),
        Some(StepEnd::NoTests) => bad_end("ran no tests".into()),
        Some(StepEnd::BadReport { failed: 0 }) => bad_end("exit 0, but its report is not whole".into()),
        Some(StepEnd::BadReport { failed }) => bad_end(format!("exit 0, but {failed} failed")),
        Some(StepEnd::Cancelled) => (StatusStyle::Cancelled, "cancelled".into()),
    }
}

#[cfg(test)]
mod tests {
    use domain::words::Reason;

    use super::*;

    /// A finished suite build with these counts: passed, failing, newly failing, no longer run, fixed.
    fn finished(outcome: Outcome, [passes, bads, worse, lost, better]: [i64; 5]) -> BuildRow {
        BuildRow {
            id: 1,
            builder: 1,
            change: 1,
            kind: BuilderKind::Suite,
            is_history: true,
            reason: Reason::Tip,
            state: BuildState::Finished,
            outcome: Some(outcome),
            cause: (outcome != Outcome::Passed).then_some(Cause::Exit),
            step: (outcome == Outcome::Failed).then(|| "test".into()),
            passes: Some(passes),
            bads: Some(bads),
            same_as: None,
            same_sha: None,
            took_ms: None,
            worse,
            not_run: lost,
            better,
            news: FailureNews::News,
        }
    }

    #[test]
    fn a_cell_shows_what_is_new() {
        use Outcome::{Blocked, Failed, Infra, Passed};
        for (outcome, counts, expected) in [
            (Passed, [40, 0, 0, 0, 0], "passed: 40 passed"),
            (Passed, [40, 0, 0, 0, 2], "passed: 2 fixed"),
            (Failed, [37, 3, 3, 0, 0], "new: 3 new"),
            (Failed, [37, 3, 1, 0, 0], "new: 1 new, 3 failing"),
            (Failed, [37, 3, 0, 0, 0], "still: 3 failing"),
            (Failed, [27, 3, 0, 10, 0], "new: 10 not run, 3 failing"),
            (Infra, [0, 0, 0, 0, 0], "infra: exit"),
            (Blocked, [0, 0, 0, 0, 0], "blocked: blocked"),
        ] {
            let row = finished(outcome, counts);
            assert_eq!(format!("{}: {}", status_style(&row), in_words(&row)), expected);
        }
    }

    #[test]
    fn a_failure_of_flaky_cases_only_is_shown_as_flaky() {
        let row = BuildRow { news: FailureNews::Flaky, ..finished(Outcome::Failed, [8, 2, 0, 0, 0]) };
        assert_eq!((status_style(&row), in_words(&row)), (StatusStyle::Flaky, "2 flaky".into()));
        // A build with equal inputs has no counts of its own.
        let row = BuildRow { bads: None, cause: None, same_as: Some(7), ..row };
        assert_eq!((status_style(&row), in_words(&row)), (StatusStyle::Flaky, "flaky".into()));
    }

    #[test]
    fn a_failure_that_marks_expect_is_not_shown_as_flaky() {
        let row = BuildRow { news: FailureNews::Expected, ..finished(Outcome::Failed, [8, 2, 2, 0, 0]) };
        assert_eq!((status_style(&row), in_words(&row)), (StatusStyle::Expected, "2 expected".into()));
    }

    #[test]
    fn a_passed_build_that_ran_no_tests_is_not_green() {
        let row = finished(Outcome::Passed, [0, 0, 0, 48, 0]);
        assert_eq!((status_style(&row), in_words(&row)), (StatusStyle::New, "48 not run".into()));
        assert_eq!(status_style(&finished(Outcome::Passed, [999, 0, 0, 1, 0])), StatusStyle::Passed);
    }

    #[test]
    fn a_toolchain_that_fails_is_broken_and_names_its_step() {
        let row = BuildRow {
            kind: BuilderKind::Toolchain,
            passes: None,
            bads: None,
            ..finished(Outcome::Failed, [0; 5])
        };
        assert_eq!((status_style(&row), in_words(&row)), (StatusStyle::Broken, "test".into()));
    }
}
