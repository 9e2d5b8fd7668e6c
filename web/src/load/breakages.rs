//! Loads the list of breakages.

use std::collections::BTreeMap;

use domain::words::BreakageState;
use store::pages::{BreakageFilter, BreakageRow};
use store::{Result, Store};

use super::claims::{CountedBreakage, blame, count_each};
use super::marks::{BreakageMarks, breakage_marks};
use super::rows::{builder, change, has_culprit, is_open};
use crate::format::units::{Moment, count};
use crate::pages::breakages::{BreakageGroup, BreakageLine, BreakagesView};

const PAGE: u16 = 200;

pub async fn breakages(store: &Store, before: Option<i64>) -> Result<BreakagesView> {
    let filter = BreakageFilter::Before(before.unwrap_or(i64::MAX));
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let rows = read.breakage_rows(filter, PAGE.into()).await?;
    let marks = breakage_marks(&mut read, &rows).await?;
    let older = older(&rows);
    let sentence = match before {
        None => sentence(&rows),
        Some(id) => format!("Breakages before {id}."),
    };
    // Open groups first; among them those without a culprit, then the newest culprits.
    // Of one culprit, those that it surely caused stand apart from those that it may have caused.
    type Key = (bool, Option<std::cmp::Reverse<i64>>, String);
    let mut groups: BTreeMap<Key, Vec<CountedBreakage>> = BTreeMap::new();
    for counted in count_each(&mut read, rows).await? {
        let row = &counted.row;
        let named = row.culprit.as_ref().filter(|_| has_culprit(row));
        let rivals = named.map(|_| blame(row).after_culprit()).unwrap_or_default();
        let key = (!is_open(row), named.map(|culprit| std::cmp::Reverse(culprit.id)), rivals);
        groups.entry(key).or_default().push(counted);
    }
    let groups = groups.into_iter().map(|((_, named, rivals), rows)| BreakageGroup {
        heading: heading(&rows).into(),
        culprit: named.and(rows.first().and_then(|counted| counted.row.culprit.clone())).map(change),
        rivals,
        breakages: rows.into_iter().map(|counted| line(counted, &marks)).collect(),
    });
    Ok(BreakagesView { sentence, groups: groups.collect(), older })
}

/// Where the next page begins. Open breakages come first, so that the last row is the oldest of those that the next page
/// continues.
fn older(rows: &[BreakageRow]) -> Option<i64> {
    (rows.len() == usize::from(PAGE)).then(|| rows.last().map(|row| row.id)).flatten()
}

/// The heading of a group without a culprit.
fn heading(rows: &[CountedBreakage]) -> &'static str {
    match rows.iter().all(|counted| counted.row.state == BreakageState::Flaky) {
        true => "Flaky: no change is blamed",
        false => "No culprit named",
    }
}

fn sentence(rows: &[BreakageRow]) -> String {
    let is_all = rows.len() < usize::from(PAGE);
    let open = rows.iter().filter(|row| is_open(row)).count();
    let named = rows.iter().filter(|row| is_open(row) && has_culprit(row)).count();
    match (rows.len(), open) {
        (0, _) => "No breakages yet.".into(),
        (_, 0) => "No breakages are open.".into(),
        // Open ones fill the page, and there may be more.
        (all, open) if all == open && !is_all => format!("At least {open} breakages are open."),
        (_, open) => format!(
            "{} open; {named} of them {} a culprit.",
            count(open, "breakage is", "breakages are"),
            if named == 1 { "has" } else { "have" }
        ),
    }
}

pub fn line(counted: CountedBreakage, marks: &BreakageMarks) -> BreakageLine {
    let CountedBreakage { row, counts } = counted;
    BreakageLine {
        id: row.id,
        counts: counts.into(),
        status_style: marks.status_style(&row),
        marks: marks.lines(row.id),
        state: row.state.to_string(),
        cases: row.cases,
        example: row.builder.project.as_ref().and(row.example),
        opened_at: Moment(row.opened_at.0),
        ended_at: row.ended_at.map(|at| Moment(at.0)),
        builder: builder(row.builder),
    }
}

#[cfg(test)]
mod tests {
    use domain::words::ids::Timestamp;

    use super::*;

    /// Breakages with these ids, as the store lists them.
    fn rows(ids: impl IntoIterator<Item = i64>) -> Vec<BreakageRow> {
        let row = |id| BreakageRow {
            id,
            builder: store::pages::BuilderRow {
                id: 1,
                project: None,
                trunk: "lua".into(),
                branch: "master".into(),
                platform: "linux-x86_64".into(),
                variant: None,
            },
            state: BreakageState::Searching,
            found: None,
            opened_at: Timestamp(0),
            ended_at: (id != 5).then_some(Timestamp(1)),
            culprit: None,
            fixer: None,
            good: None,
            bad: None,
            culprit_at: None,
            parent_at: None,
            fixed_at: None,
            fixed_after: None,
            range: 1,
            suspects: 0,
            repair_range: 0,
            cases: 1,
            not_run: 0,
            example: None,
            branch: 1,
            split_from: None,
            again_of: None,
        };
        ids.into_iter().map(row).collect()
    }

    #[test]
    fn the_next_page_continues_after_the_last_closed_breakage() {
        // An old breakage that is still open comes first.
        let page: Vec<i64> = std::iter::once(5).chain((0..199).map(|n| 400 - n)).collect();
        assert_eq!(older(&rows(page)), Some(202));
        assert_eq!(older(&rows(1..=3)), None);
    }

    #[test]
    fn a_full_page_of_open_breakages_may_not_be_all() {
        assert_eq!(sentence(&rows([])), "No breakages yet.");
        assert_eq!(sentence(&rows([4])), "No breakages are open.");
        assert_eq!(sentence(&rows([5])), "1 breakage is open; 0 of them have a culprit.");
        assert_eq!(sentence(&rows(vec![5; 200])), "At least 200 breakages are open.");
    }
}
