//! Loads a change's page.

use std::collections::BTreeMap;

use store::pages::{BreakageFilter, BreakageRow, BuildRow, ColumnRow, SuspectRow};
use store::{Result, Store};

use super::rows::{builder, change as line, failure_groups, in_words, is_open, mark, status_style, subject};
use super::toolchain_inputs::switches;
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, count, listed};
use crate::pages::breakage::percent;
use crate::pages::change::{BuilderReach, ChangeView, EffectLine};
use crate::pages::{BuildMark, ChangeLine};

const MAX_BREAKAGES: i64 = 200;
/// Failure messages that are compared; the first ones show enough.
const MAX_FAILURES: i64 = 1_000;
/// Only the beginning of a longer message is shown.
const MAX_MESSAGE_CHARACTERS: usize = 64 << 10;

pub async fn change(store: &Store, prefix: &str) -> Result<ChangeView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let page = read.change_page(prefix).await?;
    let broke = read.breakage_rows(BreakageFilter::Culprit(page.row.id), MAX_BREAKAGES).await?;
    let fixed = read.breakage_rows(BreakageFilter::Fixer(page.row.id), MAX_BREAKAGES).await?;
    let suspected = read.suspect_rows(page.row.id, MAX_BREAKAGES).await?;
    let mut builds: BTreeMap<i64, Vec<BuildRow>> = BTreeMap::new();
    let mut rows = read.build_rows_of_change(page.row.id).await?;
    read.mark_flaky(&mut rows).await?;
    for build in rows {
        builds.entry(build.builder).or_default().push(build);
    }
    let (mut builders, mut toolchain_inputs) = (Vec::new(), Vec::new());
    for place in page.places.iter().filter(|place| !place.gone) {
        let switches = switches(&mut read, place.branch).await?;
        toolchain_inputs.extend(switches.into_iter().filter(|switch| switch.change.sha == page.row.sha));
        for column in read.column_rows(place.branch, 0).await? {
            let own = builds.remove(&column.builder.id).unwrap_or_default();
            builders.push(reach(column, &own));
        }
    }
    let failures = read.failures_of_change(page.row.id, MAX_FAILURES).await?;
    let first_place = page.places.first();
    let neighbour = |sha: &Option<String>| sha.clone().map(bare);
    Ok(ChangeView {
        sentence: sentence(&broke, &fixed, suspected.len()),
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
        broke: broke.into_iter().map(effect).collect(),
        fixed: fixed.into_iter().map(effect).collect(),
        failure_groups: failure_groups(failures),
        suspected: suspected.into_iter().map(suspect).collect(),
        toolchain_inputs,
        builders,
        change: line(page.row),
    })
}

/// A change with nothing but its commit id: the target of a link.
fn bare(sha: String) -> ChangeLine {
    ChangeLine { sha, title: String::new(), author: String::new(), committed_at: Moment(0) }
}

fn sentence(broke: &[BreakageRow], fixed: &[BreakageRow], suspected: usize) -> String {
    let names = |rows: &[BreakageRow]| {
        let names: Vec<&str> = rows.iter().map(|row| subject(&row.builder)).collect();
        listed(&names, 4)
    };
    let cases: i64 = broke.iter().map(|row| row.cases).sum();
    let open = broke.iter().filter(|row| is_open(row)).count();
    let broken_cases = || count(cases, "case", "cases");
    let mut text = match (broke.len(), open) {
        (0, _) if fixed.is_empty() && suspected == 0 => {
            return "No breakage or repair is attributed to it.".into();
        }
        (0, _) => String::new(),
        (_, 0) => format!("It broke {} ({}); all of it is fixed.", names(broke), broken_cases()),
        (all, open) if all == open => {
            format!("It broke {} ({}); not fixed yet.", names(broke), broken_cases())
        }
        (all, open) => {
            let verb = if open == 1 { "is" } else { "are" };
            format!(
                "It broke {} ({}); {open} of {all} breakages {verb} still open.",
                names(broke),
                broken_cases()
            )
        }
    };
    if !fixed.is_empty() {
        text.push_str(&format!(" It fixed {}.", names(fixed)));
    }
    if suspected > 0 {
        let breakages = count(suspected, "breakage", "breakages");
        text.push_str(&format!(" It is a suspect in {breakages} whose search goes on."));
    }
    text.trim_start().to_string()
}

fn effect(row: BreakageRow) -> EffectLine {
    let (status_style, now) = match is_open(&row) {
        true => (StatusStyle::Still, "still broken"),
        false => (StatusStyle::Passed, "fixed"),
    };
    EffectLine {
        breakage: row.id,
        cases: row.cases,
        status_style,
        now: now.into(),
        builder: builder(row.builder),
    }
}

fn suspect(row: SuspectRow) -> EffectLine {
    EffectLine {
        breakage: row.breakage,
        cases: row.cases,
        status_style: StatusStyle::Queued,
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
