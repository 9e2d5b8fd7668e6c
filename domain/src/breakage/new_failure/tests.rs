//! Histories as pictures, one build for each character: `+` passed, `-` failed, `s` skipped, `m` missing, `u` not reached. A
//! `|` stands before the first build with other inputs.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::breakage::{BreakageAction, HistoryBuild, ListChange, settle};

/// The number of the case of the step, which fails with any case.
const STEP: i64 = 100;

fn verdict(letter: char) -> Verdict {
    match letter {
        '+' => Verdict::Pass,
        '-' => Verdict::Fail,
        's' => Verdict::Skip,
        'm' => Verdict::Missing,
        'u' => Verdict::Unreached,
        other => panic!("no verdict is drawn as {other}"),
    }
}

fn case_history(case: i64, picture: &str) -> CaseHistory {
    let mut baselines = BTreeSet::new();
    let mut verdicts = Vec::new();
    for letter in picture.chars() {
        match letter {
            '|' => drop(baselines.insert(verdicts.len())),
            letter => verdicts.push((ChangeId(verdicts.len() as i64), verdict(letter))),
        }
    }
    CaseHistory {
        case: CaseId(case),
        verdicts,
        baselines,
        takeovers: BTreeSet::new(),
        evidence_verdicts: vec![],
    }
}

/// The history of a suite of ten good cases and of the cases 1, 2, ...; and of its step, which fails wherever one of them
/// does.
fn history(pictures: &[&str]) -> BuilderHistory {
    let mut case_histories: Vec<CaseHistory> =
        (1..).zip(pictures).map(|(case, picture)| case_history(case, picture)).collect();
    let builds = case_histories[0].verdicts.len();
    let verdicts_at =
        |at: usize| -> Vec<Verdict> { case_histories.iter().map(|it| it.verdicts[at].1).collect() };
    let mut history_builds = Vec::new();
    let mut list_changes = BTreeMap::new();
    let mut step = String::new();
    for at in 0..builds {
        let now = verdicts_at(at);
        let bad = now.iter().any(|verdict| verdict.is_bad());
        step.push(if bad { '-' } else { '+' });
        let ran = 10 + now.iter().filter(|verdict| is_run(**verdict) == Some(true)).count() as u32;
        history_builds.push(HistoryBuild { change: ChangeId(at as i64), own: true, ran, green: !bad });
        let before = if at == 0 { now.clone() } else { verdicts_at(at - 1) };
        let count = |from: &[Verdict], to: &[Verdict]| {
            let pairs = from.iter().zip(to);
            pairs.filter(|(was, is)| **was == Verdict::Missing && **is != Verdict::Missing).count()
        };
        list_changes.insert(at, ListChange { came: count(&before, &now), went: count(&now, &before) });
    }
    let baselines = case_histories[0].baselines.clone();
    case_histories.push(CaseHistory { baselines, ..case_history(STEP, &step) });
    BuilderHistory {
        order: (0..builds as i64).map(ChangeId).collect(),
        history_builds,
        case_histories,
        steps: BTreeSet::from([CaseId(STEP)]),
        list_changes,
        ..BuilderHistory::default()
    }
}

/// `1 since 2 in 3 runs`, for each new failure.
fn found(history: &BuilderHistory) -> String {
    let line = |new: NewFailure| {
        let with = if new.with_inputs { " with inputs" } else { "" };
        format!("{} since {}{with} in {} runs", new.case, new.since, new.runs)
    };
    let lines: Vec<String> = history.new_failures(&BTreeSet::new()).into_iter().map(line).collect();
    if lines.is_empty() { "nothing".into() } else { lines.join(", ") }
}

#[test]
fn a_case_is_new_and_failing_from_its_first_run_until_it_passes_or_vanishes() {
    for (picture, expected) in [
        ("mm-", "1 since 2 in 1 runs"),
        ("mm---", "1 since 2 in 3 runs"),
        ("mm-u-", "1 since 2 in 2 runs"),
        ("ms-", "1 since 2 in 1 runs"),
        ("mm|--", "1 since 2 with inputs in 2 runs"),
        ("mm--+", "nothing"),
        ("mm--m", "nothing"),
        ("mm--s", "nothing"),
        ("mm+-", "nothing"),
        ("m-+-", "nothing"),
        ("m-m-", "nothing"),
        ("---", "nothing"),
        ("u--", "nothing"),
        ("+m-", "nothing"),
        ("mm+", "nothing"),
    ] {
        assert_eq!(found(&history(&[picture])), expected, "{picture}");
    }
}

#[test]
fn names_count_only_where_the_rest_of_the_list_stays() {
    for (came, went, has_unstable_names, expected) in [
        (1, 0, false, true),
        (5, 0, false, true),
        (6, 0, false, false),
        (1, 2, false, true),
        (1, 3, false, false),
        (1, 0, true, true),
        (1, 1, true, false),
    ] {
        let list_change = ListChange { came, went };
        assert_eq!(list_change.is_stable(10, has_unstable_names), expected, "{list_change:?}");
    }
}

#[test]
fn what_is_unstable_flaky_held_or_a_step_is_no_news() {
    let drawn = || history(&["mm-", "+++"]);
    assert_eq!(found(&drawn()), "1 since 2 in 1 runs");
    let case = BTreeSet::from([CaseId(1)]);
    assert_eq!(found(&BuilderHistory { unstable: case.clone(), ..drawn() }), "nothing");
    assert_eq!(found(&BuilderHistory { flaky: case.clone(), ..drawn() }), "nothing");
    assert_eq!(found(&BuilderHistory { steps: case.clone(), ..drawn() }), "nothing");
    assert_eq!(found(&BuilderHistory { faults: case.clone(), ..drawn() }), "nothing");
    assert_eq!(found(&BuilderHistory { list_changes: BTreeMap::new(), ..drawn() }), "nothing");
    assert_eq!(drawn().new_failures(&case), []);
}

/// The actions for the recorded cases: each is a case, its change, its reruns, and whether it is confirmed.
fn actions(history: &BuilderHistory, stored: &[(i64, i64, u32, bool)]) -> String {
    let stored: Vec<StoredNewFailure> = stored
        .iter()
        .map(|&(case, since, reruns, is_confirmed)| StoredNewFailure {
            case: CaseId(case),
            since: ChangeId(since),
            reruns,
            is_confirmed,
        })
        .collect();
    let word = |action| match action {
        NewFailureAction::Record(new) => format!("record {}", new.case),
        NewFailureAction::Confirm(case) => format!("confirm {case}"),
        NewFailureAction::End(case) => format!("end {case}"),
        NewFailureAction::Forget(case) => format!("forget {case}"),
        NewFailureAction::Repeat(change) => format!("repeat {change}"),
    };
    let found = history.new_failures(&BTreeSet::new());
    history.settle_new_failures(&found, &stored).into_iter().map(word).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_second_run_confirms_a_new_failure_and_four_do_among_unstable_names() {
    assert_eq!(actions(&history(&["mm-"]), &[]), "record 1, repeat 2");
    assert_eq!(actions(&history(&["mm-"]), &[(1, 2, 0, false)]), "repeat 2");
    assert_eq!(actions(&history(&["mm-"]), &[(1, 2, 1, false)]), "confirm 1");
    assert_eq!(actions(&history(&["mm--"]), &[(1, 2, 0, false)]), "confirm 1");
    assert_eq!(actions(&history(&["mm--"]), &[]), "record 1, confirm 1");
    assert_eq!(actions(&history(&["mm--"]), &[(1, 2, 0, true)]), "");
    assert_eq!(actions(&history(&["mm-+"]), &[(1, 2, 0, true)]), "end 1");
    assert_eq!(actions(&history(&["mm--m"]), &[(1, 2, 0, true)]), "end 1");
    assert_eq!(actions(&history(&["mm-m"]), &[(1, 2, 0, false)]), "forget 1");
    assert_eq!(actions(&history(&["mmm"]), &[(1, 2, 0, true)]), "forget 1", "it was rewound");
    // An older build shows that it is older: what was repeated was not its first change.
    assert_eq!(actions(&history(&["m--"]), &[(1, 2, 5, true)]), "record 1");
    assert_eq!(actions(&history(&["m-"]), &[(1, 0, 5, false)]), "record 1, repeat 1");
    let unstable = |picture| BuilderHistory { has_unstable_names: true, ..history(&[picture]) };
    assert_eq!(actions(&unstable("mm--"), &[(1, 2, 1, false)]), "repeat 2");
    assert_eq!(actions(&unstable("mm--"), &[(1, 2, 2, false)]), "confirm 1");
}

/// The breakages of a history, each by its cases and its bad end.
fn opened(history: &BuilderHistory) -> Vec<(BTreeSet<CaseId>, ChangeId)> {
    let opened = settle(history, &[]).into_iter().filter_map(|action| match action {
        BreakageAction::Open { cases, bad, .. } => Some((cases, bad)),
        BreakageAction::Update { .. } | BreakageAction::Prove { .. } | BreakageAction::Gone(_) => None,
    });
    opened.collect()
}

#[test]
fn a_step_that_fails_along_with_a_new_case_accuses_no_change() {
    for picture in ["mm-", "mm--", "mm-++", "mm--mm", "ms--"] {
        assert_eq!(opened(&history(&[picture])), [], "{picture}");
    }
    // A name that is there once, and a step that goes on failing.
    let step = |bad| vec![(BTreeSet::from([CaseId(STEP)]), ChangeId(bad))];
    assert_eq!(opened(&history(&["mm-mm", "mmm-m", "mmmm-"])), step(2));
    let without_list = BuilderHistory { list_changes: BTreeMap::new(), ..history(&["mm-"]) };
    assert_eq!(opened(&without_list), step(2), "a toolchain's own change brought the case");
    // What goes bad beside it is a breakage of its own, with its step.
    let both = BTreeSet::from([CaseId(2), CaseId(STEP)]);
    let found = opened(&history(&["mm--", "+++-"]));
    assert!(found.len() == 1 && found[0].0.is_subset(&both) && found[0].1 == ChangeId(3), "{found:?}");
}

proptest! {
    /// In any history: what is new and failing was never good and never run before, fails today, and is in no breakage; and
    /// recording it again changes nothing.
    #[test]
    fn nobody_is_accused_of_what_never_worked(
        pictures in proptest::collection::vec("[+\\-smu]{6}", 1..5),
    ) {
        let pictures: Vec<&str> = pictures.iter().map(String::as_str).collect();
        let history = history(&pictures);
        let found = history.new_failures(&BTreeSet::new());
        for new in &found {
            let picture = pictures[new.case.0 as usize - 1];
            let (before, since) = picture.split_at(new.since.0 as usize);
            prop_assert!(!before.is_empty() && before.chars().all(|letter| "ms".contains(letter)), "{}", picture);
            prop_assert!(since.starts_with('-') && since.chars().all(|letter| "-u".contains(letter)), "{}", picture);
            prop_assert!(!opened(&history).iter().any(|(cases, _)| cases.contains(&new.case)), "{}", picture);
        }
        let stored: Vec<StoredNewFailure> = found.iter().map(|new| StoredNewFailure {
            case: new.case, since: new.since, reruns: 0, is_confirmed: true,
        }).collect();
        prop_assert_eq!(history.settle_new_failures(&found, &stored), []);
    }

    /// A suite that names its failing cases anew in each run has none that is confirmed.
    #[test]
    fn names_that_are_made_up_in_each_run_are_never_confirmed(builds in 2..8_usize) {
        let pictures: Vec<String> = (0..builds)
            .map(|own| (0..builds).map(|at| if at == own { '-' } else { 'm' }).collect())
            .collect();
        let pictures: Vec<&str> = pictures.iter().map(String::as_str).collect();
        let history = history(&pictures);
        prop_assert!(!actions(&history, &[]).contains("confirm"));
    }
}
