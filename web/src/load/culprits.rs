//! Which changes break what today, in one sentence and as a list: for the status page and the waterfall.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use domain::sentences::Blame;
use domain::words::BreakageState;
use store::pages::BreakageRow;
use store::{Read, Result};

use super::claims::{blame, broken_of_groups, repair};
use super::marks::BreakageMarks;
use super::rows::{change, has_culprit, is_open, subject};
use super::tested::Tested;
use crate::format::units::{count, listed};
use crate::pages::MarkLine;
use crate::pages::waterfall::Culprit;

/// What matters, in one sentence: how many changes break how much today, and what is unknown. That nothing is known to be
/// broken is written only where something was tested, and with how much that was.
pub fn sentence(branch: &str, breakages: &[BreakageRow], tested: &Tested) -> String {
    if !tested.has_changes() {
        return format!("No change of {branch} has been seen yet.");
    }
    let open = || breakages.iter().filter(|row| is_open(row));
    let culprits: HashSet<i64> =
        open().filter(|row| has_culprit(row)).filter_map(|row| Some(row.culprit.as_ref()?.id)).collect();
    let broken: HashSet<&str> =
        open().filter(|row| has_culprit(row)).map(|row| subject(&row.builder)).collect();
    let searched = open().filter(|row| row.state.is_undecided()).count();
    let unknown = open().filter(|row| row.state == BreakageState::Inconclusive).count();
    let mut text = match culprits.len() {
        0 if !tested.is_anything() => format!("No change of {branch} has been tested yet"),
        0 => format!("No change of {branch} is known to break anything today"),
        n => {
            let verb = if n == 1 { "breaks" } else { "break" };
            let mut broken: Vec<&str> = broken.into_iter().collect();
            broken.sort_unstable();
            format!("{} of {branch} {verb} {} today", count(n, "change", "changes"), listed(&broken, 4))
        }
    };
    if searched > 0 {
        text.push_str(&format!("; {} being searched", count(searched, "breakage is", "breakages are")));
    }
    if unknown > 0 {
        let breakages = count(unknown, "breakage", "breakages");
        text.push_str(&format!("; no culprit was found for {breakages}"));
    }
    text.push('.');
    if culprits.is_empty() && tested.is_anything() {
        text.push(' ');
        text.push_str(&tested.sentence());
    }
    text
}

/// Breakages by the change that caused them; the newest change first, the oldest has number 1.
pub async fn culprits(
    read: &mut Read<'_>,
    breakages: &[BreakageRow],
    marks: &BreakageMarks,
) -> Result<Vec<Culprit>> {
    let mut groups: BTreeMap<(Option<i64>, i64), Vec<&BreakageRow>> = BTreeMap::new();
    for row in breakages.iter().filter(|row| has_culprit(row)) {
        let id = row.culprit.as_ref().map_or(0, |culprit| culprit.id);
        groups.entry((row.culprit_at, id)).or_default().push(row);
    }
    // What is certain and what is not are said apart.
    let mut claims: Vec<(usize, Blame, Vec<&BreakageRow>)> = Vec::new();
    for (at, group) in groups.values().enumerate() {
        for row in group {
            let own = blame(row);
            match claims.iter_mut().find(|(of, blame, _)| (*of, *blame) == (at, own)) {
                Some((_, _, rows)) => rows.push(row),
                None => claims.push((at, own, vec![row])),
            }
        }
    }
    let rows: Vec<Vec<&BreakageRow>> = claims.iter().map(|(_, _, rows)| rows.clone()).collect();
    let broken = broken_of_groups(read, &rows).await?;
    let mut deeds: Vec<Vec<(Blame, String)>> = vec![Vec::new(); groups.len()];
    for ((at, blame, _), broken) in claims.iter().zip(broken) {
        deeds[*at].push((*blame, broken.deed()));
    }
    let numbered = groups.into_values().zip(deeds).enumerate();
    let mut culprits: Vec<Culprit> =
        numbered.filter_map(|(n, (group, deeds))| culprit(n + 1, &group, deeds, marks)).collect();
    culprits.reverse();
    Ok(culprits)
}

fn culprit(
    number: usize,
    group: &[&BreakageRow],
    mut deeds: Vec<(Blame, String)>,
    marks: &BreakageMarks,
) -> Option<Culprit> {
    deeds.sort_by_key(|(blame, _)| *blame != Blame::Named);
    let effects: Vec<String> = deeds
        .iter()
        .enumerate()
        .map(|(at, (blame, deed))| {
            let it = if at == 0 { "" } else { "it" };
            format!("{it}{} {deed}", blame.after_culprit()).trim_start().to_string()
        })
        .collect();
    let open: Vec<&&BreakageRow> = group.iter().filter(|row| is_open(row)).collect();
    Some(Culprit {
        number,
        change: change(group.first()?.culprit.clone()?),
        effect: effects.join("; "),
        now: now(group, &open),
        is_open: !open.is_empty(),
        marks: distinct(open.iter().flat_map(|row| marks.lines(row.id))),
    })
}

/// Platforms of a project share its marks.
fn distinct(lines: impl Iterator<Item = MarkLine>) -> Vec<MarkLine> {
    let mut distinct: Vec<MarkLine> = Vec::new();
    for line in lines {
        if !distinct.contains(&line) {
            distinct.push(line);
        }
    }
    distinct
}

/// What has become of it: still broken, or how it was repaired.
fn now(group: &[&BreakageRow], open: &[&&BreakageRow]) -> String {
    if open.len() == group.len() {
        return "still broken".into();
    }
    if !open.is_empty() {
        let names: BTreeSet<&str> = open.iter().map(|row| subject(&row.builder)).collect();
        return format!("{} still broken", listed(&names.into_iter().collect::<Vec<_>>(), 4));
    }
    let clauses: BTreeSet<String> =
        group.iter().filter_map(|row| Some(repair(row)?.clause(&row.fixer.as_ref()?.title))).collect();
    match clauses.len() {
        0 => "over".into(),
        1 | 2 => clauses.into_iter().collect::<Vec<_>>().join("; "),
        _ => "repaired by several changes".into(),
    }
}
