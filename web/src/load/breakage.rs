//! Loads a breakage's page.

use std::collections::HashMap;

use domain::words::BreakageState;
use store::pages::{BreakageFilter, BreakageRow, EvidenceRow};
use store::{Result, Store};

use super::rows::{breakage_shade, builder, called, change, has_culprit};
use crate::pages::Mark;
use crate::pages::breakage::{Breakage, Evidence, Notice, Sibling, Standing, Suspect};
use crate::shade::Shade;
use crate::units::{At, count};

const MAX_RANGE: i64 = 100;
const MAX_CASES: i64 = 200;
const MAX_EVIDENCE: i64 = 200;
const MAX_NOTICES: i64 = 50;
const MAX_SIBLINGS: i64 = 100;

pub async fn breakage(store: &Store, id: i64) -> Result<Breakage> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let row = read.breakage_row(id).await?;
    let evidence = read.evidence_rows(id, MAX_EVIDENCE).await?;
    let mut changes = match row.bad {
        Some(bad) => read.position_rows(row.branch, bad, MAX_RANGE + 1).await?,
        None => vec![],
    };
    changes.retain(|at| row.good.is_none_or(|good| at.position >= good));
    let hidden = row.bad.zip(row.good).map_or(0, |(bad, good)| bad - good + 1) - changes.len() as i64;
    let cases = read.breakage_cases(id, MAX_CASES).await?;
    let notices = read.notice_rows(id, MAX_NOTICES).await?;
    let siblings = match &row.culprit {
        Some(culprit) if has_culprit(&row) => {
            read.breakage_rows(BreakageFilter::Culprit(culprit.id), MAX_SIBLINGS).await?
        }
        Some(_) | None => vec![],
    };
    let mut marks = marks(&evidence);
    let range = changes.into_iter().map(|at| Suspect {
        standing: standing(&row, at.position),
        builds: marks.remove(&at.change.id).unwrap_or_default(),
        change: change(at.change),
    });
    Ok(Breakage {
        id,
        state: row.state.to_string(),
        shade: breakage_shade(&row),
        sentence: sentence(&row),
        opened_at: At(row.opened_at.0),
        ended_at: row.ended_at.map(|at| At(at.0)),
        split_from: row.split_from,
        again_of: row.again_of,
        range: range.collect(),
        range_hidden: hidden.max(0),
        siblings: siblings.into_iter().filter(|other| other.id != id).map(sibling).collect(),
        cases,
        cases_count: row.cases,
        evidence: evidence.into_iter().map(run).collect(),
        notices: notices
            .into_iter()
            .map(|row| Notice {
                kind: row.kind,
                subject: row.subject,
                state: row.state,
                at: At(row.decided_at.0),
            })
            .collect(),
        builder: builder(row.builder),
    })
}

fn sentence(row: &BreakageRow) -> String {
    let what = match &row.builder.project {
        Some(project) => format!("{} of {project}", count(row.cases as usize, "case", "cases")),
        None => "the toolchain".into(),
    };
    let title = row.culprit.as_ref().map_or("a change", |culprit| culprit.title.as_str());
    let said = match row.found.unwrap_or(row.state) {
        BreakageState::Named => format!("{title} broke {what}"),
        BreakageState::OneOfK => format!("{title} or a change shortly before it broke {what}"),
        BreakageState::Inconclusive => format!("Something broke {what}; the search did not find what"),
        BreakageState::Flaky => {
            format!("{what} of {} fail now and then, on identical inputs", called(&row.builder))
        }
        BreakageState::Environment => {
            format!("{what} fail without any change: the machines differ, not the trunk")
        }
        BreakageState::Suspected | BreakageState::Searching => {
            format!("Something broke {what}; its culprit is being searched")
        }
        BreakageState::Fixed | BreakageState::Gone => format!("Something broke {what}"),
    };
    match (&row.fixer, row.fixed_at.zip(row.fixed_after)) {
        (Some(fixer), Some((by, after))) if by == after + 1 => format!("{said}; fixed by {}", fixer.title),
        (Some(fixer), _) => format!("{said}; fixed by {} or a change shortly before it", fixer.title),
        (None, _) => said,
    }
}

/// What is known of a change of the range.
fn standing(row: &BreakageRow, position: i64) -> Standing {
    let is = |at: Option<i64>| at == Some(position);
    match row.found {
        Some(BreakageState::Named) if is(row.culprit_at) => Standing::Culprit,
        _ if row.parent_at.or(row.good).is_some_and(|good| position <= good) => Standing::Good,
        Some(BreakageState::Named) => Standing::Bad,
        _ if row.culprit_at.or(row.bad).is_some_and(|bad| position > bad) => Standing::Bad,
        _ => Standing::Suspect,
    }
}

fn marks(evidence: &[EvidenceRow]) -> HashMap<i64, Vec<Mark>> {
    let mut marks: HashMap<i64, Vec<Mark>> = HashMap::new();
    for row in evidence.iter().rev() {
        let hint = format!("{} on {}", row.reason, row.worker);
        marks.entry(row.change.id).or_default().push(Mark { build: row.build, shade: shade(row), hint });
    }
    marks
}

fn shade(row: &EvidenceRow) -> Shade {
    if row.bad > 0 { Shade::Still } else { Shade::Passed }
}

fn run(row: EvidenceRow) -> Evidence {
    Evidence {
        build: row.build,
        shade: shade(&row),
        reason: row.reason.to_string(),
        worker: row.worker,
        bad: row.bad,
        good: row.good,
        at: row.finished_at.map(|at| At(at.0)),
        change: change(row.change),
    }
}

fn sibling(row: BreakageRow) -> Sibling {
    Sibling { id: row.id, shade: breakage_shade(&row), builder: builder(row.builder) }
}
