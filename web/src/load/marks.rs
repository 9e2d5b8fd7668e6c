//! The marks of a project's cases, and whether the newest builds agree with them.

use std::collections::HashMap;

use domain::breakage::mark::{FailedCase, FailureNews, Mark, MarkKind, failure_news};
use domain::outcome::Cause;
use domain::words::ids::{BuilderId, ProjectId, Timestamp};
use protocol::Verdict;
use store::pages::{BreakageRow, BuilderRow};
use store::{Read, Result};

use super::rows::breakage_style;
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, row_count};
use crate::pages::MarkLine;
use crate::pages::project::{PassingMark, ProjectMark};

impl From<&Mark> for MarkLine {
    fn from(mark: &Mark) -> MarkLine {
        MarkLine {
            kind: mark.kind.label().to_string(),
            issue: mark.issue.clone(),
            until: Moment(mark.until.0),
        }
    }
}

/// What marks say of open breakages.
#[derive(Default)]
pub struct BreakageMarks(HashMap<i64, MarkedBreakage>);

struct MarkedBreakage {
    lines: Vec<MarkLine>,
    /// How it is shown if marks speak for all its cases.
    status_style: Option<StatusStyle>,
}

/// Cases of a breakage that are compared with marks.
const MAX_CASES: i64 = 500;

/// The marks in force on the cases of those of these breakages that are open.
pub async fn breakage_marks<'r>(
    read: &mut Read<'_>,
    rows: impl IntoIterator<Item = &'r BreakageRow>,
) -> Result<BreakageMarks> {
    let now = Timestamp(jiff::Timestamp::now().as_millisecond());
    let open: Vec<i64> = rows.into_iter().filter(|row| row.ended_at.is_none()).map(|row| row.id).collect();
    let mut marked = HashMap::new();
    for (breakage, mut marks) in read.marks_of_breakages(&open).await? {
        marks.retain(|mark| !mark.is_void(now));
        if marks.is_empty() {
            continue;
        }
        let cases = read.breakage_cases(breakage, MAX_CASES).await?;
        let is_all = row_count(cases.len()) < MAX_CASES;
        let failed: Vec<FailedCase> = cases
            .into_iter()
            .map(|(name, _)| FailedCase {
                is_flaky: false,
                mark: marks.iter().find(|mark| mark.speaks_of(&name)).map(|mark| mark.kind),
                name,
            })
            .collect();
        marks.retain(|mark| failed.iter().any(|case| mark.speaks_of(&case.name)));
        let status_style = match failure_news(&failed, Some(Cause::Exit), None) {
            FailureNews::Expected if is_all => Some(StatusStyle::Expected),
            FailureNews::Flaky if is_all => Some(StatusStyle::Flaky),
            FailureNews::Expected | FailureNews::Flaky | FailureNews::News => None,
        };
        let lines = marks.iter().map(MarkLine::from).collect();
        marked.insert(breakage, MarkedBreakage { lines, status_style });
    }
    Ok(BreakageMarks(marked))
}

impl BreakageMarks {
    /// Those that speak for cases of this breakage.
    pub fn lines(&self, breakage: i64) -> Vec<MarkLine> {
        self.0.get(&breakage).map_or_else(Vec::new, |marked| marked.lines.clone())
    }

    /// How a breakage is shown.
    pub fn status_style(&self, row: &BreakageRow) -> StatusStyle {
        self.0.get(&row.id).and_then(|marked| marked.status_style).unwrap_or_else(|| breakage_style(row))
    }
}

pub async fn marks(
    read: &mut Read<'_>,
    project: ProjectId,
    builders: &[BuilderRow],
) -> Result<Vec<ProjectMark>> {
    let now = Timestamp(jiff::Timestamp::now().as_millisecond());
    let marks = read.marks_of_project(project).await?;
    let mut passing: Vec<Vec<PassingMark>> = marks.iter().map(|_| Vec::new()).collect();
    for builder in builders {
        let expects = |mark: &Mark| {
            mark.kind == MarkKind::ExpectedToFail
                && !mark.is_void(now)
                && mark.is_of(&builder.branch, &builder.platform, builder.variant.as_deref())
        };
        if !marks.iter().any(expects) {
            continue;
        }
        let Some((build, verdicts)) = read.bad_in_newest_build(BuilderId(builder.id)).await? else {
            continue;
        };
        let passes = |verdict: &Verdict| matches!(verdict, Verdict::Pass | Verdict::Xpass);
        for (mark, passing) in marks.iter().zip(&mut passing).filter(|(mark, _)| expects(mark)) {
            let of_mark = verdicts.iter().filter(|(name, verdict)| mark.speaks_of(name) && passes(verdict));
            let mut cases = of_mark.map(|(name, _)| name);
            if let Some(first) = cases.next() {
                passing.push(PassingMark {
                    branch: builder.branch.clone(),
                    platform: builder.platform.clone(),
                    variant: builder.variant.clone(),
                    build: build.0,
                    case: first.clone(),
                    more_cases: cases.count(),
                });
            }
        }
    }
    let line = |(mark, passing): (Mark, Vec<PassingMark>)| ProjectMark {
        mark: MarkLine::from(&mark),
        is_void: mark.is_void(now),
        cases: mark.cases,
        branch: mark.branch,
        platform: mark.platform,
        variant: mark.variant,
        passing,
    };
    Ok(marks.into_iter().zip(passing).map(line).collect())
}
