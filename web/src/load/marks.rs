//! The marks of a project's cases, and whether the newest builds agree with them.

use domain::breakage::mark::{Mark, MarkKind};
use domain::words::ids::{BuilderId, ProjectId, Timestamp};
use protocol::Verdict;
use store::pages::BuilderRow;
use store::{Read, Result};

use crate::format::units::Moment;
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
                && mark.is_of(&builder.branch, &builder.platform)
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
        passing,
    };
    Ok(marks.into_iter().zip(passing).map(line).collect())
}
