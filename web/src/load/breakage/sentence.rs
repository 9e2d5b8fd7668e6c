//! The heading of a breakage's page: what broke what.

use domain::words::BreakageState;
use store::pages::BreakageRow;

use crate::format::units::count;

pub fn sentence(row: &BreakageRow) -> String {
    let what = match &row.builder.project {
        Some(project) => format!("{} of {project}", affected_cases(row)),
        None => "the toolchain".into(),
    };
    let title = row.culprit.as_ref().map_or("a change", |culprit| culprit.title.as_str());
    let verb = if row.cases == 1 { "fails" } else { "fail" };
    let broke = match row.found.unwrap_or(row.state) {
        BreakageState::Named => format!("{title} broke {what}"),
        BreakageState::OneOfK => format!("{title} or a change shortly before it broke {what}"),
        BreakageState::Inconclusive => format!("Something broke {what}; the search did not find the culprit"),
        BreakageState::Flaky => {
            return format!("{what} {verb} intermittently on identical inputs; no change is blamed");
        }
        BreakageState::Environment => {
            return format!("{what} {verb} without any change: the machines differ, not the trunk");
        }
        BreakageState::Suspected | BreakageState::Searching => {
            format!("Something broke {what}; the search for the culprit goes on")
        }
        BreakageState::Fixed | BreakageState::Gone => format!("Something broke {what}"),
    };
    match (&row.fixer, row.fixed_at.zip(row.fixed_after)) {
        (Some(_), Some((by, after))) if by == after => format!("{broke}; the project has adapted"),
        (Some(fixer), Some((by, after))) if by == after + 1 => format!("{broke}; fixed by {}", fixer.title),
        (Some(fixer), _) => format!("{broke}; fixed by {} or a change shortly before it", fixer.title),
        (None, _) if row.state == BreakageState::Gone => {
            format!("{broke}; the branch no longer has the changes that showed it")
        }
        (None, _) => broke,
    }
}

/// `3 cases`, `the running of 40 cases`, `1 case, and the running of 40 more,`
fn affected_cases(row: &BreakageRow) -> String {
    let cases = |cases: i64| count(cases, "case", "cases");
    match (row.cases - row.not_run, row.not_run) {
        (failing, 0) => cases(failing),
        (0, not_run) => format!("the running of {}", cases(not_run)),
        (failing, not_run) => format!("{}, and the running of {not_run} more,", cases(failing)),
    }
}
