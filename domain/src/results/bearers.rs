//! Tells the cases of one name apart.
//!
//! A name stays a case, with the worst verdict of all that bear it, so that its history goes on when a second bearer comes
//! or goes. Where its bearers have different places (suites, files, descriptions), each place is a case of its own beside
//! it, `NAME [PLACE]`. Where nothing tells the bad ones apart, a fault says how many they are: `fault:NAME ×2`.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Verdict;

use super::count_sign::{MAX_COUNTED, SIGN};
use crate::readers::{CaseRun, fault, is_fault, stable, tidy, truncated};

/// A place is part of a name, and a name has more to hold.
const MAX_PLACE_BYTES: usize = 200;
/// Suites, file and description.
const MAX_PLACES: usize = 4;

/// The further cases of a name whose runs these are: each name with its runs, or with none if it only counts.
pub fn tell_apart<'r>(name: &str, runs: &[&'r CaseRun], out: &mut Vec<(String, Vec<&'r CaseRun>)>) {
    if runs.len() < 2 {
        return;
    }
    let place = |run: &CaseRun, level: usize| {
        run.places.get(level).map(|place| shown(place)).filter(|place| !place.is_empty())
    };
    let places = |level: usize| runs.iter().map(|run| place(run, level)).collect::<BTreeSet<_>>();
    let Some(level) = (0..MAX_PLACES).find(|&level| places(level).len() > 1) else {
        return out.extend(counted(name, runs).map(|fault| (fault, vec![])));
    };
    let mut groups: BTreeMap<String, Vec<&CaseRun>> = BTreeMap::new();
    for run in runs {
        if let Some(place) = place(run, level) {
            groups.entry(place).or_default().push(run);
        }
    }
    for (place, runs) in groups {
        let name = tidy(&format!("{name} [{place}]"));
        tell_apart(&name, &runs, out);
        out.push((name, runs));
    }
}

/// A fault for the second, the third and each further bad run, so that one more is news.
fn counted(name: &str, runs: &[&CaseRun]) -> impl Iterator<Item = String> {
    let bad = runs.iter().filter(|run| run.verdict.is_bad()).count();
    let bad = if is_fault(name) { 0 } else { u32::try_from(bad).unwrap_or(MAX_COUNTED) };
    (2..=bad.min(MAX_COUNTED)).map(move |count| fault(&format!("{name}{SIGN}{count}")))
}

/// The verdict of a case that only counts.
pub const COUNTED: Verdict = Verdict::Fail;

/// A place as part of a name: without what differs in each run, but with its numbers, which may be all that tells two
/// descriptions apart.
fn shown(place: &str) -> String {
    let place = stable(place);
    truncated(place.trim(), MAX_PLACE_BYTES).trim_end().to_string()
}
