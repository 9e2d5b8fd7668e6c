//! What a run shows that was asked for some cases only.

use std::collections::{BTreeMap, BTreeSet};

use super::repeats::repeated;
use super::{CaseList, FailureMessage, Results};
use crate::readers::is_fault;

/// What a run shows that was asked for these cases only: nothing about any other one, and nothing about its steps. Also
/// returns how many cases it reported in all.
pub fn of_selected(list: &CaseList, results: &Results, asked: &BTreeSet<String>) -> (CaseList, Results, u64) {
    let is_own = |name: &str| !name.starts_with("step:") && !is_fault(name) && repeated(name).is_none();
    let reported = list.names().filter(|name| is_own(name)).count();
    let mut names = Vec::new();
    let mut verdicts = Vec::new();
    let mut failure_messages = Vec::new();
    for (at, (name, verdict)) in list.names().zip(results.verdicts.iter()).enumerate() {
        if asked.contains(name) {
            let message = results.failure_message(at).cloned();
            let case = u32::try_from(names.len()).unwrap_or(u32::MAX);
            failure_messages.extend(message.map(|message| FailureMessage { case, ..message }));
            names.push(name.to_string());
            verdicts.push(verdict);
        }
    }
    let selected = CaseList::from_sorted(names.iter());
    let verdicts = verdicts.into_iter().collect();
    let cases = selected.sha256();
    let results = Results { cases, verdicts, complete: false, repeats: BTreeMap::new(), failure_messages };
    (selected, results, u64::try_from(reported).unwrap_or(u64::MAX))
}
