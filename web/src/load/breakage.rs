//! Loads a breakage's page.

use std::collections::HashMap;

use domain::dependency::{self, Needed};
use domain::words::{BreakageState, Reason};
use store::pages::{BreakageFilter, BreakageRow, EvidenceRow};
use store::{Read, Result, Store};

use super::rows::{alike, breakage_shade, builder, change, has_culprit};
use crate::pages::Mark;
use crate::pages::breakage::{self, Breakage, Evidence, Notice, Sibling, Standing, Suspect};
use crate::shade::Shade;
use crate::units::{At, count};

const MAX_RANGE: i64 = 100;
const MAX_CASES: i64 = 200;
const MAX_EVIDENCE: i64 = 200;
const MAX_NOTICES: i64 = 50;
const MAX_SIBLINGS: i64 = 100;
const MAX_OPEN: i64 = 500;
const MAX_SAID: i64 = 1_000;

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
    let named = read.breakage_cases(id, MAX_CASES).await?;
    let lost = named.iter().filter(|(_, lost)| *lost).map(|(name, _)| name.clone()).collect();
    let cases = named.into_iter().map(|(name, _)| name).collect();
    let notices = read.notice_rows(id, MAX_NOTICES).await?;
    let siblings = match &row.culprit {
        Some(culprit) if has_culprit(&row) => {
            read.breakage_rows(BreakageFilter::Culprit(culprit.id), MAX_SIBLINGS).await?
        }
        Some(_) | None => vec![],
    };
    let filed = filed(&mut read, &row, &siblings).await?;
    let needing = match &row.builder.project {
        Some(project) => read.dependents(project).await?,
        None => vec![],
    };
    let said = read.said_beside(id, MAX_SAID).await?;
    let is_flaky = row.found == Some(BreakageState::Flaky);
    let proof = if is_flaky { proof(&evidence) } else { None };
    let mut marks = marks(&evidence);
    let range = changes.into_iter().filter_map(|at| {
        let builds = marks.remove(&at.change.id).unwrap_or_default();
        let standing = match is_flaky {
            true => varying(&builds)?,
            false => standing(&row, at.position),
        };
        Some(Suspect { standing, builds, change: change(at.change) })
    });
    let range: Vec<Suspect> = range.collect();
    Ok(Breakage {
        id,
        state: row.state.to_string(),
        shade: breakage_shade(&row),
        sentence: sentence(&row),
        opened_at: At(row.opened_at.0),
        ended_at: row.ended_at.map(|at| At(at.0)),
        split_from: row.split_from,
        again_of: row.again_of,
        range,
        range_hidden: if is_flaky { 0 } else { hidden.max(0) },
        is_flaky,
        proof,
        dependents: siblings
            .iter()
            .filter(|other| is_beside(other, &row))
            .filter(|other| other.builder.project.as_ref().is_some_and(|project| needing.contains(project)))
            .cloned()
            .map(sibling)
            .collect(),
        siblings: siblings.into_iter().filter(|other| other.id != id).map(sibling).collect(),
        filed,
        alike: alike(said),
        cases,
        lost,
        cases_count: row.cases,
        evidence: evidence.into_iter().map(|found| run(found, row.good, row.bad)).collect(),
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
        Some(project) => format!("{} of {project}", harmed(row)),
        None => "the toolchain".into(),
    };
    let title = row.culprit.as_ref().map_or("a change", |culprit| culprit.title.as_str());
    let said = match row.found.unwrap_or(row.state) {
        BreakageState::Named => format!("{title} broke {what}"),
        BreakageState::OneOfK => format!("{title} or a change shortly before it broke {what}"),
        BreakageState::Inconclusive => format!("Something broke {what}; the search did not find what"),
        BreakageState::Flaky => {
            let verb = if row.cases == 1 { "fails" } else { "fail" };
            return format!("{what} {verb} now and then on identical inputs; no change is accused");
        }
        BreakageState::Environment => {
            let verb = if row.cases == 1 { "fails" } else { "fail" };
            return format!("{what} {verb} without any change: the machines differ, not the trunk");
        }
        BreakageState::Suspected | BreakageState::Searching => {
            format!("Something broke {what}; its culprit is being searched")
        }
        BreakageState::Fixed | BreakageState::Gone => format!("Something broke {what}"),
    };
    match (&row.fixer, row.fixed_at.zip(row.fixed_after)) {
        (Some(_), Some((by, after))) if by == after => format!("{said}; the project has adapted itself"),
        (Some(fixer), Some((by, after))) if by == after + 1 => format!("{said}; fixed by {}", fixer.title),
        (Some(fixer), _) => format!("{said}; fixed by {} or a change shortly before it", fixer.title),
        (None, _) => said,
    }
}

/// `3 cases`, `the running of 40 cases`, `1 case, and the running of 40 more,`
fn harmed(row: &BreakageRow) -> String {
    let count = |cases: i64| count(cases as usize, "case", "cases");
    match (row.cases - row.lost, row.lost) {
        (bad, 0) => count(bad),
        (0, lost) => format!("the running of {}", count(lost)),
        (bad, lost) => format!("{}, and the running of {lost} more,", count(bad)),
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

/// What a flaky case did at a change; none where it was not run.
fn varying(builds: &[Mark]) -> Option<Standing> {
    let has = |shade| builds.iter().any(|mark| mark.shade == shade);
    match (has(Shade::Passed), has(Shade::Still)) {
        (false, false) => None,
        (true, true) => Some(Standing::Varies),
        (true, false) => Some(Standing::Good),
        (false, true) => Some(Standing::Bad),
    }
}

/// Two runs of one worker on one change that disagree, in words; the newest such pair.
fn proof(evidence: &[EvidenceRow]) -> Option<String> {
    let disagrees = |one: &EvidenceRow, other: &EvidenceRow| {
        one.change.id == other.change.id && one.worker == other.worker && (one.bad > 0) != (other.bad > 0)
    };
    let (one, other) = evidence.iter().enumerate().find_map(|(at, one)| {
        let other = evidence[at + 1..].iter().find(|other| disagrees(one, other))?;
        Some(if one.bad > 0 { (other, one) } else { (one, other) })
    })?;
    Some(format!(
        "At {}, builds {} and {} ran the same suite on the same worker, {}: one was good, the other bad. A failure \
         of these cases alone is drawn as flaky and mailed to nobody.",
        one.change.title, one.build, other.build, one.worker
    ))
}

/// Why a run was made, as far as its place in the range tells.
fn why(reason: Reason, at: Option<i64>, good: Option<i64>, bad: Option<i64>) -> String {
    let said = match (reason, at, good, bad) {
        (Reason::Probe, Some(at), Some(good), _) if at <= good => "probe: is it good here again?",
        (Reason::Probe, Some(at), _, Some(bad)) if at >= bad => "probe: is it bad here again?",
        (Reason::Probe, Some(_), Some(_), Some(_)) => "probe: halves what is left",
        (Reason::Null, ..) => "null run: do identical inputs agree?",
        (Reason::Tip, ..) => "tip: the newest change then",
        (Reason::Backfill, ..) => "backfill: history between",
        (Reason::Seam, ..) => "seam: a new side of the project",
        (Reason::Probe | Reason::Force | Reason::Latest, ..) => reason.as_str(),
    };
    said.to_string()
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

fn run(row: EvidenceRow, good: Option<i64>, bad: Option<i64>) -> Evidence {
    Evidence {
        build: row.build,
        shade: shade(&row),
        reason: row.reason.to_string(),
        why: why(row.reason, row.position, good, bad),
        worker: row.worker,
        bad: row.bad,
        good: row.good,
        at: row.finished_at.map(|at| At(at.0)),
        change: change(row.change),
    }
}

/// Whether two breakages are of one branch and platform.
fn is_beside(other: &BreakageRow, row: &BreakageRow) -> bool {
    (other.branch, &other.builder.platform) == (row.branch, &row.builder.platform)
}

/// Under which dependency it is filed.
async fn filed(
    read: &mut Read<'_>,
    row: &BreakageRow,
    siblings: &[BreakageRow],
) -> Result<Option<breakage::Filed>> {
    if row.builder.project.is_none() {
        return Ok(None);
    }
    let open = read.breakage_rows(BreakageFilter::Open, MAX_OPEN).await?;
    let overlaps = |other: &BreakageRow| other.good < row.bad && row.good < other.bad;
    let needs = read.needs_of_builder(row.builder.id).await?;
    let of = |other: &BreakageRow, name: &str| {
        other.builder.project.as_deref() == Some(name) && is_beside(other, row)
    };
    let needed: Vec<Needed> = needs
        .into_iter()
        .map(|name| Needed {
            has_same_culprit: siblings.iter().any(|other| of(other, &name)),
            may_be_it: !has_culprit(row)
                && open.iter().any(|other| of(other, &name) && other.state.is_undecided() && overlaps(other)),
            name,
        })
        .collect();
    let text = read.breakage_text(row.id).await?;
    let Some(filed) = dependency::file(text.as_deref(), &needed) else { return Ok(None) };
    let project = filed.project().map(str::to_string);
    Ok(Some(breakage::Filed {
        words: filed.words(),
        breakage: project.as_ref().and_then(|project| {
            siblings.iter().chain(&open).find(|other| of(other, project)).map(|other| other.id)
        }),
        project,
    }))
}

fn sibling(row: BreakageRow) -> Sibling {
    Sibling { id: row.id, shade: breakage_shade(&row), builder: builder(row.builder) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_says_what_it_asks() {
        for (at, asked) in [
            (3, "good here"),
            (4, "good here"),
            (5, "halves"),
            (7, "halves"),
            (8, "bad here"),
            (9, "bad here"),
        ] {
            let said = why(Reason::Probe, Some(at), Some(4), Some(8));
            assert!(said.contains(asked), "{at}: {said}");
        }
        assert_eq!(why(Reason::Probe, None, Some(4), Some(8)), "probe");
    }

    #[test]
    fn a_flaky_range_tells_of_the_changes_that_were_run() {
        let mark = |shade| Mark { build: 1, shade, hint: String::new() };
        for (shades, expected) in [
            (&[][..], None),
            (&[Shade::Passed, Shade::Passed], Some(Standing::Good)),
            (&[Shade::Still], Some(Standing::Bad)),
            (&[Shade::Still, Shade::Passed], Some(Standing::Varies)),
        ] {
            let builds: Vec<Mark> = shades.iter().copied().map(mark).collect();
            assert_eq!(varying(&builds), expected);
        }
    }
}
