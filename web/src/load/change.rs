//! Loads a change's page.

use std::collections::{BTreeMap, BTreeSet};

use domain::sentences::{Blame, BrokenCounts, ChangeRole, RepairClaim, change_sentence, now};
use store::pages::{BranchReach, BreakageFilter, BreakageRow, BuildRow, ChangePage, ColumnRow, SuspectRow};
use store::{Read, Result, Store};

use super::claims::{CountedBreakage, blame, broken_of_groups, count_each, repair};
use super::marks::{BreakageMarks, breakage_marks};
use super::rows::{builder, change as line, failure_groups, in_words, is_open, mark, status_style, subject};
use super::toolchain_inputs::switches;
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, row_count};
use crate::pages::breakage::percent;
use crate::pages::change::{BuilderReach, ChangeView, EffectLine, SuiteCounts};
use crate::pages::{BuildMark, ChangeLine, SwitchLine};

const MAX_BREAKAGES: i64 = 200;
/// Failure messages that are compared; the first ones show enough.
const MAX_FAILURES: i64 = 1_000;
/// Only the beginning of a longer message is shown.
const MAX_MESSAGE_CHARACTERS: usize = 64 << 10;

pub async fn change(store: &Store, prefix: &str) -> Result<ChangeView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let page = read.change_page(prefix).await?;
    let id = page.row.id;
    let blamed = load(&mut read, [BreakageFilter::Culprit(id), BreakageFilter::Within(id)]).await?;
    let repaired = load(&mut read, [BreakageFilter::Fixer(id), BreakageFilter::RepairedWithin(id)]).await?;
    let suspected = read.suspect_rows(id, MAX_BREAKAGES).await?;
    let sentence = sentence(&mut read, &blamed, &repaired, &suspected).await?;
    let (broke, perhaps_broke): (Vec<_>, Vec<_>) =
        blamed.into_iter().partition(|counted| blame(&counted.row) == Blame::Named);
    let (fixed, perhaps_fixed): (Vec<_>, Vec<_>) =
        repaired.into_iter().partition(|counted| repair(&counted.row) == Some(RepairClaim::By));
    let counts: Vec<(usize, i64)> = suspected.iter().map(|row| row.breakage).enumerate().collect();
    let mut counts = read.case_counts(&counts).await?;
    let ReachedBuilders { builders, toolchain_inputs, suites, more_builders } =
        builders(&mut read, &page).await?;
    let blamed = broke.iter().chain(&perhaps_broke).map(|counted| &counted.row);
    let marks = breakage_marks(&mut read, blamed).await?;
    let failures = read.failures_of_change(page.row.id, MAX_FAILURES).await?;
    let first_place = page.places.first();
    let neighbour = |sha: &Option<String>| sha.clone().map(bare);
    Ok(ChangeView {
        sentence,
        is_sick: page.places.iter().any(|place| place.sick && !place.gone),
        trunk: page.trunk,
        branches: page
            .places
            .iter()
            .map(|place| {
                let gone = if place.gone { ", no longer on it" } else { "" };
                format!("{} #{}{gone}", place.name, place.position)
            })
            .collect(),
        older: first_place.and_then(|place| neighbour(&place.older)),
        newer: first_place.and_then(|place| neighbour(&place.newer)),
        message: page.message.chars().take(MAX_MESSAGE_CHARACTERS).collect(),
        paths: page.paths,
        paths_count: page.paths_count,
        broke: effects(broke, &marks),
        perhaps_broke: effects(perhaps_broke, &marks),
        fixed: effects(fixed, &marks),
        perhaps_fixed: effects(perhaps_fixed, &marks),
        failure_groups: failure_groups(failures),
        suspected: suspected
            .into_iter()
            .enumerate()
            .map(|(at, row)| suspect(row, counts.remove(&at).unwrap_or_default()))
            .collect(),
        toolchain_inputs,
        suites,
        builders,
        more_builders,
        change: line(page.row),
    })
}

/// The breakages of two lists with their counts.
async fn load(read: &mut Read<'_>, filters: [BreakageFilter; 2]) -> Result<Vec<CountedBreakage>> {
    let mut rows = Vec::new();
    for filter in filters {
        rows.extend(read.breakage_rows(filter, MAX_BREAKAGES).await?);
    }
    count_each(read, rows).await
}

/// What the builders of its branches did with a change, and which of them have new toolchain inputs there.
#[derive(Default)]
struct ReachedBuilders {
    builders: Vec<BuilderReach>,
    toolchain_inputs: Vec<SwitchLine>,
    suites: SuiteCounts,
    more_builders: i64,
}

async fn builders(read: &mut Read<'_>, page: &ChangePage) -> Result<ReachedBuilders> {
    let mut builds: BTreeMap<i64, Vec<BuildRow>> = BTreeMap::new();
    let mut rows = read.build_rows_of_change(page.row.id).await?;
    read.judge_failures(&mut rows).await?;
    for build in rows {
        builds.entry(build.builder).or_default().push(build);
    }
    let mut reached = ReachedBuilders::default();
    for place in page.places.iter().filter(|place| !place.gone) {
        let switches = switches(read, place.branch).await?;
        reached
            .toolchain_inputs
            .extend(switches.into_iter().filter(|switch| switch.change.sha == page.row.sha));
        let BranchReach { builders: all, suites, tested } =
            read.branch_reach(place.branch, page.row.id).await?;
        reached.suites.all += suites;
        reached.suites.tested += tested;
        let columns = read.column_rows(place.branch, 0).await?;
        reached.more_builders += all - row_count(columns.len());
        for column in columns {
            let own = builds.remove(&column.builder.id).unwrap_or_default();
            reached.builders.push(reach(column, &own));
        }
    }
    Ok(reached)
}

/// A change with nothing but its commit id: the target of a link.
fn bare(sha: String) -> ChangeLine {
    ChangeLine { sha, title: String::new(), author: String::new(), committed_at: Moment(0) }
}

/// Breakages of one blame, or repairs of one kind, are one sentence.
async fn sentence(
    read: &mut Read<'_>,
    blamed: &[CountedBreakage],
    repaired: &[CountedBreakage],
    suspected: &[SuspectRow],
) -> Result<String> {
    let mut groups: Vec<(Blame, Vec<&BreakageRow>)> = Vec::new();
    for row in blamed.iter().map(|counted| &counted.row) {
        match groups.iter_mut().find(|(of, _)| *of == blame(row)) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((blame(row), vec![row])),
        }
    }
    let rows: Vec<Vec<&BreakageRow>> = groups.iter().map(|(_, rows)| rows.clone()).collect();
    let broken = broken_of_groups(read, &rows).await?;
    let mut roles: Vec<ChangeRole> = Vec::new();
    for ((blame, rows), broken) in groups.into_iter().zip(broken) {
        let open = rows.iter().filter(|row| is_open(row)).count();
        roles.push(ChangeRole::Blamed { blame, broken, open: (open, rows.len()) });
    }
    let mut repairs: Vec<(RepairClaim, BTreeSet<String>)> = Vec::new();
    for row in repaired.iter().map(|counted| &counted.row) {
        let Some(repair) = repair(row) else { continue };
        let name = subject(&row.builder).to_string();
        match repairs.iter_mut().find(|(of, _)| *of == repair) {
            Some((_, names)) => drop(names.insert(name)),
            None => repairs.push((repair, BTreeSet::from([name]))),
        }
    }
    let repairs = repairs.into_iter();
    roles.extend(
        repairs.map(|(repair, names)| ChangeRole::Repaired { repair, names: names.into_iter().collect() }),
    );
    let searched = suspected.iter().filter(|row| row.is_searched).count();
    roles.push(ChangeRole::Searched(searched));
    roles.push(ChangeRole::Unsolved(suspected.len() - searched));
    Ok(change_sentence(&roles))
}

fn effects(breakages: Vec<CountedBreakage>, marks: &BreakageMarks) -> Vec<EffectLine> {
    breakages.into_iter().map(|counted| effect(counted, marks)).collect()
}

fn effect(counted: CountedBreakage, marks: &BreakageMarks) -> EffectLine {
    let CountedBreakage { row, counts } = counted;
    let status_style = marks.status_style(&row);
    let expected = if status_style == StatusStyle::Expected { ", as is expected" } else { "" };
    EffectLine {
        breakage: row.id,
        cases: row.cases,
        counts: counts.into(),
        status_style,
        now: format!("{}{expected}", now(row.state)),
        marks: marks.lines(row.id),
        builder: builder(row.builder),
    }
}

fn suspect(row: SuspectRow, counts: BrokenCounts) -> EffectLine {
    EffectLine {
        breakage: row.breakage,
        cases: row.cases,
        counts: counts.into(),
        status_style: StatusStyle::Queued,
        marks: Vec::new(),
        now: percent(row.posterior).unwrap_or_else(|| "< 1 %".into()),
        builder: builder(row.builder),
    }
}

fn reach(column: ColumnRow, builds: &[BuildRow]) -> BuilderReach {
    let history = builds.iter().rfind(|build| build.is_history);
    let marks: Vec<BuildMark> = builds.iter().map(mark).collect();
    BuilderReach {
        builder: builder(column.builder),
        status_style: history.map(status_style),
        result: history.map_or_else(|| "not built".into(), in_words),
        builds: marks,
    }
}
