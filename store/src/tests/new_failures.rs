//! Cases that are new and fail from their first run on: what is recorded, read by the rules, and shown.

use std::collections::BTreeMap;

use domain::breakage::{ListChange, NewFailure, StoredNewFailure};

use super::histories::history;
use super::*;

async fn record(farm: &Farm, letter: char, position: usize) -> NewFailure {
    let new = NewFailure {
        case: farm.case(letter).await,
        since: farm.change(position),
        with_inputs: false,
        runs: 1,
    };
    let suites = farm.suites;
    put!(farm, tx => tx.put_new_failure(suites, &new, AT)).unwrap();
    new
}

async fn recorded(farm: &Farm) -> Vec<StoredNewFailure> {
    let suites = farm.suites;
    ask!(farm, read => read.new_failures(suites)).unwrap()
}

#[tokio::test]
async fn a_history_has_how_the_list_changed_where_a_case_failed_in_its_first_run() {
    let farm = Farm::new().await;
    farm.run(1, "PPSPPP").await;
    farm.run(2, "PPFPPP").await;
    farm.run(3, "P.FPPPFP").await;
    let found = history(&farm, farm.suites).await;
    let expected =
        BTreeMap::from([(1, ListChange { came: 0, went: 0 }), (2, ListChange { came: 2, went: 1 })]);
    assert_eq!(found.list_changes, expected);
    let new: Vec<CaseId> = found.new_failures(&BTreeSet::new()).iter().map(|new| new.case).collect();
    assert_eq!(new, [farm.case('c').await, farm.case('g').await]);
    assert_eq!(history(&farm, farm.toolchains).await.list_changes, BTreeMap::new());
}

#[tokio::test]
async fn names_that_come_and_go_are_known_to_the_rules() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    assert!(!history(&farm, farm.suites).await.has_unstable_names);
    let (suites, case) = (farm.suites, farm.case('a').await);
    put!(farm, tx => tx.put_unstable_cases(suites, &BTreeSet::from([case]), AT)).unwrap();
    let found = history(&farm, farm.suites).await;
    assert!(found.has_unstable_names && !found.has_unstable_faults);
}

#[tokio::test]
async fn a_new_failure_is_recorded_counted_confirmed_and_forgotten() {
    let farm = Farm::new().await;
    farm.run(1, "P.").await;
    farm.run(2, "PF").await;
    let (suites, change) = (farm.suites, farm.change(2));
    let NewFailure { case, .. } = record(&farm, 'b', 2).await;
    let stored = |since, reruns, is_confirmed| StoredNewFailure { case, since, reruns, is_confirmed };
    assert_eq!(recorded(&farm).await, [stored(change, 0, false)]);
    put!(farm, tx => tx.count_rerun_of_new_failures(suites, change, &BTreeSet::from([case]))).unwrap();
    put!(farm, tx => tx.count_rerun_of_new_failures(suites, change, &BTreeSet::new())).unwrap();
    let other = farm.change(1);
    put!(farm, tx => tx.count_rerun_of_new_failures(suites, other, &BTreeSet::from([case]))).unwrap();
    assert_eq!(recorded(&farm).await, [stored(change, 1, false)]);
    assert_eq!(ask!(farm, read => read.unmailed_new_failures()).unwrap(), []);
    assert_eq!(ask!(farm, read => read.new_failure_rows(None)).unwrap(), [], "it is not certain");

    put!(farm, tx => tx.confirm_new_failure(suites, case, AT)).unwrap();
    let unmailed = ask!(farm, read => read.unmailed_new_failures()).unwrap();
    let expected = UnmailedNewFailures {
        builder: suites,
        since: change,
        with_inputs: false,
        seen_at: AT,
        cases: BTreeSet::from([case]),
    };
    assert_eq!(unmailed, [expected.clone()]);
    let project = farm.project.0;
    for of in [None, Some(project)] {
        let rows = ask!(farm, read => read.new_failure_rows(of)).unwrap();
        assert!(rows.len() == 1 && rows[0].since.id == change.0, "{rows:?}");
    }
    assert_eq!(ask!(farm, read => read.new_failure_rows(Some(project + 1))).unwrap(), []);
    put!(farm, tx => tx.mark_new_failures_notified(&expected, AT)).unwrap();
    assert_eq!(ask!(farm, read => read.unmailed_new_failures()).unwrap(), []);

    // An older build shows that it is older: its contacts know of it all the same.
    record(&farm, 'b', 1).await;
    assert_eq!(recorded(&farm).await, [stored(other, 0, true)]);
    assert_eq!(ask!(farm, read => read.unmailed_new_failures()).unwrap(), []);
    // One that is past is not shown, and is not certain if it begins anew.
    put!(farm, tx => tx.end_new_failure(suites, case, AT)).unwrap();
    assert_eq!(recorded(&farm).await, []);
    assert_eq!(ask!(farm, read => read.new_failure_rows(None)).unwrap(), []);
    record(&farm, 'b', 2).await;
    assert_eq!(recorded(&farm).await, [stored(change, 0, false)]);
    put!(farm, tx => tx.forget_new_failure(suites, case)).unwrap();
    assert_eq!(recorded(&farm).await, []);
    assert_eq!(refusal(put!(farm, tx => tx.confirm_new_failure(suites, case, AT))), "the case is not new");
}
