//! Which changes break what today, in one sentence and as a list: for the status page and the waterfall.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use domain::words::BreakageState;
use store::pages::BreakageRow;

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
pub fn culprits(breakages: &[BreakageRow], marks: &BreakageMarks) -> Vec<Culprit> {
    let mut groups: BTreeMap<(Option<i64>, i64), Vec<&BreakageRow>> = BTreeMap::new();
    for row in breakages.iter().filter(|row| has_culprit(row)) {
        let id = row.culprit.as_ref().map_or(0, |culprit| culprit.id);
        groups.entry((row.culprit_at, id)).or_default().push(row);
    }
    let mut culprits: Vec<Culprit> =
        groups.into_values().enumerate().filter_map(|(n, group)| culprit(n + 1, &group, marks)).collect();
    culprits.reverse();
    culprits
}

fn culprit(number: usize, group: &[&BreakageRow], marks: &BreakageMarks) -> Option<Culprit> {
    let names = |rows: &mut dyn Iterator<Item = &&BreakageRow>| {
        let names: BTreeSet<String> = rows.map(|row| subject(&row.builder).into()).collect();
        listed(&names.iter().map(String::as_str).collect::<Vec<_>>(), 4)
    };
    let cases: i64 = group.iter().map(|row| row.cases).sum();
    let open: Vec<&&BreakageRow> = group.iter().filter(|row| is_open(row)).collect();
    let fixers: HashMap<i64, &str> = group
        .iter()
        // If both ends are one change, the project has adapted.
        .filter(|row| row.fixed_at != row.fixed_after)
        .filter_map(|row| row.fixer.as_ref())
        .map(|fixer| (fixer.id, fixer.title.as_str()))
        .collect();
    let is_exact = group.iter().all(|row| row.found == Some(BreakageState::Named));
    let of_suites = group.iter().any(|row| row.builder.project.is_some());
    let cases = match of_suites {
        true => format!(" ({})", count(cases, "case", "cases")),
        false => String::new(),
    };
    let verb = if is_exact { "broke" } else { "or a change shortly before it broke" };
    Some(Culprit {
        number,
        change: change(group.first()?.culprit.clone()?),
        effect: format!("{verb} {}{cases}", names(&mut group.iter())),
        now: match (open.len(), fixers.len()) {
            (0, 1) => format!("fixed by {}", fixers.values().next().unwrap_or(&"")),
            (0, _) => "fixed".into(),
            (still, _) if still == group.len() => "still broken".into(),
            _ => format!("{} still broken", names(&mut open.iter().copied())),
        },
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
