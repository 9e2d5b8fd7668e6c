//! The proof in a mail: how often the tests passed without the suspected commit, and failed with it, on which workers.

use super::report::ReportedBreakage;
use crate::sentences::capitalized;

/// The sentences that prove breakages: `change` is what is suspected.
pub fn proof(change: &str, breakages: &[ReportedBreakage]) -> Vec<String> {
    let mut sentences = Vec::new();
    let has_many = breakages.len() > 1;
    for (index, breakage) in breakages.iter().enumerate() {
        let is_new_parent = index == 0 || breakages[index - 1].parent != breakage.parent;
        if is_new_parent && let Some(parent) = &breakage.parent {
            let of_parent: Vec<&ReportedBreakage> =
                breakages[index..].iter().take_while(|other| other.parent == breakage.parent).collect();
            let (before, with) = match of_parent.iter().all(|other| other.cases.is_empty()) {
                true => ("are run", "are not"),
                false => ("pass", "fail"),
            };
            sentences.push(format!(
                "Proof: the same tests {before} with {} and {with} with {}.",
                short(parent),
                short(change)
            ));
        }
        if breakage.runs.is_empty() {
            continue;
        }
        let is_lost = breakage.cases.is_empty() && !breakage.lost.is_empty();
        let counts: Vec<String> = breakage.runs.iter().map(|runs| runs.words(is_lost)).collect();
        let counts = counts.join("; ");
        let project = breakage.project.as_deref().unwrap_or("toolchain");
        sentences.push(match has_many {
            true => format!("{project} on {}: {counts}.", breakage.target()),
            false => format!("{}.", capitalized(&counts)),
        });
    }
    let mut workers: Vec<&str> =
        breakages.iter().flat_map(|breakage| &breakage.runs).map(|runs| runs.worker.as_str()).collect();
    workers.sort_unstable();
    workers.dedup();
    if let [_] = workers.as_slice() {
        sentences.push("All of it was seen on one machine.".to_string());
    }
    sentences
}

/// The first digits of a commit, as far as it is one.
pub fn short(sha: &str) -> &str {
    sha.get(..12).unwrap_or(sha)
}
