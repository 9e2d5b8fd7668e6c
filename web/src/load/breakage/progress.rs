//! The progress of a breakage's search, in sentences.

use std::collections::BTreeMap;

use domain::search::suspicion::{ClassRecord, SuspicionClass, Weights};
use domain::search::{ExcludedWorker, PauseReason};
use domain::words::BreakageState;
use store::pages::{BreakageRow, SearchRow};

use crate::format::units::count;
use crate::pages::breakage::{SearchProgress, percent};

pub fn progress(
    row: &BreakageRow,
    search: SearchRow,
    records: &BTreeMap<SuspicionClass, ClassRecord>,
) -> SearchProgress {
    let is_open = row.found.is_none() && row.ended_at.is_none();
    let mut sentences = vec![effort(&search, is_open)];
    if is_open {
        sentences.extend(alternatives(&search));
    }
    let is_blamed = matches!(row.found, Some(BreakageState::Named | BreakageState::OneOfK));
    if is_blamed && search.intermittent > 0.5 {
        sentences.push("The culprit made it flaky: it has failed intermittently since then.".into());
    }
    sentences.extend(search.left_out.iter().map(|(worker, why)| excluded(worker, *why)));
    if let [only] = search.workers.as_slice() {
        sentences.push(format!("All probes with a result ran on one worker, {only}."));
    }
    if search.probes > 0 {
        sentences.extend(suspicion(records));
    }
    sentences.extend(selection(&search));
    sentences.extend(search.paused.map(|reason| pause(reason).to_string()));
    if search.reopened > 0 {
        let times = count(search.reopened, "time", "times");
        sentences.push(format!("Later evidence disagreed with an answer {times}, and the search continued."));
    }
    SearchProgress {
        sentences,
        environment: search.environment,
        flaky: search.flaky,
        intermittent: search.intermittent,
        probes: search.probes,
        probes_left: if is_open { search.probes_left } else { 0 },
        changes: search.changes,
    }
}

/// What the suspicion of a change was learnt from; none while nothing is.
fn suspicion(records: &BTreeMap<SuspicionClass, ClassRecord>) -> Option<String> {
    let culprits: u32 = records.values().map(|record| record.culprits).sum();
    let weights = Weights::learn(records);
    let unrelated = weights.of(SuspicionClass::Unrelated);
    let times = |class: SuspicionClass| format!("{:.0}", weights.of(class) / unrelated);
    (culprits > 0).then(|| {
        format!(
            "After {} of this trunk, a change is {} times as suspicious as others if the output names a file of it, {} times \
             if it names a module, {} times if it names a folder.",
            count(i64::from(culprits), "confirmed culprit", "confirmed culprits"),
            times(SuspicionClass::Named),
            times(SuspicionClass::SameModule),
            times(SuspicionClass::SameFolder),
        )
    })
}

/// How many probes ran the cases in question only, and whether that was a mistake.
fn selection(search: &SearchRow) -> Option<String> {
    match (search.selected, search.withdrawn) {
        (0, None) => None,
        (selected, None) => {
            let probes = count(selected, "probe was", "probes were");
            Some(format!("{probes} asked for the cases in question only."))
        }
        (_, Some(why)) => Some(format!(
            "The suite was asked for the cases in question only, and is so no more: {}. Such runs do not count.",
            why.clause()
        )),
    }
}

/// How many probes there were, and how many are left.
fn effort(search: &SearchRow, is_open: bool) -> String {
    let probes = count(search.probes, "probe", "probes");
    let changes = count(search.changes, "change", "changes");
    match is_open {
        true => {
            let left = count(search.probes_left, "more is", "more are");
            format!("{probes} so far among {changes}; about {left} expected.")
        }
        false if search.probes == 0 => {
            format!("No probes of its own among {changes}: builds made for other reasons decided it.")
        }
        false => {
            format!("{probes} among {changes}; a pure bisection would take {}.", halvings(search.changes))
        }
    }
}

/// How many steps bisection takes if nothing is noisy and nothing needs confirmation.
fn halvings(changes: i64) -> u32 {
    u64::try_from(changes).unwrap_or(0).max(1).next_power_of_two().ilog2()
}

/// The hypotheses that do not blame a change of the range.
fn alternatives(search: &SearchRow) -> Option<String> {
    let hypotheses = [
        (search.environment, "that it now fails at the good end as well, so that the trunk is not to blame"),
        (search.flaky, "that it is flaky and no change is to blame"),
        (search.intermittent, "that the culprit made it flaky"),
    ];
    let hypotheses: Vec<String> =
        hypotheses.iter().filter_map(|(p, what)| Some(format!("{} {what}", percent(*p)?))).collect();
    (!hypotheses.is_empty()).then(|| format!("Besides the changes below: {}.", hypotheses.join("; ")))
}

fn excluded(worker: &str, why: ExcludedWorker) -> String {
    match why {
        ExcludedWorker::Unproven => {
            format!("{worker} has not passed at the good end yet: its runs do not count until it does.")
        }
        ExcludedWorker::FailsThere => {
            format!(
                "It fails on {worker} at the good end as well, where others pass: that worker is left out."
            )
        }
        ExcludedWorker::PassesThere => {
            format!("It passes on {worker} at the bad end, where others fail: that worker is left out.")
        }
    }
}

fn pause(reason: PauseReason) -> &'static str {
    match reason {
        PauseReason::Retired => {
            "The search is paused: its project, platform or variant is no longer in the configuration."
        }
        PauseReason::Rewound => {
            "The search is paused: the branch was rewound, and an end of the range is no longer on it."
        }
        PauseReason::NoWorker => "The search is paused: no worker that may run its probes is connected.",
        PauseReason::NoResult => {
            "The search was given up: its probes failed again and again without a result."
        }
        PauseReason::BudgetSpent => {
            "The search has used up its budget: the answer is all that the evidence allows."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_suspicion_has_learnt_is_shown_once_a_culprit_is_confirmed() {
        assert_eq!(suspicion(&BTreeMap::new()), None);
        let records =
            domain::search::suspicion::record(&[SuspicionClass::Unrelated, SuspicionClass::Named], 1);
        let sentence = suspicion(&records).unwrap();
        assert!(sentence.starts_with("After 1 confirmed culprit of this trunk"), "{sentence}");
        assert!(sentence.contains("times as suspicious"), "{sentence}");
    }

    #[test]
    fn a_search_that_is_paused_has_a_reason() {
        for (reason, text) in [
            (PauseReason::Retired, "no longer in the configuration"),
            (PauseReason::Rewound, "was rewound"),
            (PauseReason::NoWorker, "no worker that may run its probes is connected"),
            (PauseReason::NoResult, "failed again and again"),
            (PauseReason::BudgetSpent, "has used up its budget"),
        ] {
            assert!(pause(reason).contains(text), "{reason}: {}", pause(reason));
        }
    }

    #[test]
    fn bisection_takes_the_logarithm_of_the_range() {
        assert_eq!([0, 1, 2, 3, 4, 5, 8, 9].map(halvings), [0, 0, 1, 2, 2, 3, 3, 4]);
    }
}
