//! What searches go by, and what they think.

use domain::culprit::{Purpose, Tally};
use domain::search::suspicion::{SuspicionClass, record};
use domain::search::{
    Belief, ExcludedWorker, MAX_RENEWED, PastSearches, PauseReason, WorkerProof, budget_since,
};
use domain::sentences::{RunCount, WorkerRuns};
use domain::words::BreakageState;

use super::*;

fn thought() -> Belief {
    Belief {
        environment: 0.02,
        flaky: 0.08,
        changes: vec![0.0, 0.7, 0.2, 0.000_01],
        intermittent: 0.1,
        probes_left: 4,
        left_out: vec![(WorkerId(1), ExcludedWorker::FailsThere)],
    }
}

/// A breakage between the first change and the fourth, with a probe of it that has ended.
async fn searched() -> (Farm, BreakageId, BuildId) {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    farm.run(4, "F").await;
    let breakage = farm.open_breakage(1, 4, &[farm.case('a').await]).await;
    let probe = farm.queue(NewBuild { breakage: Some(breakage), ..farm.suite(2, Reason::Probe) }).await;
    put!(farm, tx => tx.put_probe(probe, breakage, Purpose::Divide, 0.75)).unwrap();
    (farm, breakage, probe)
}

async fn think(farm: &Farm, breakage: BreakageId, at: Timestamp) {
    let changes = farm.changes[..4].to_vec();
    put!(farm, tx => async { let thought = thought(); tx.put_belief(breakage, &changes, &thought, at).await })
        .unwrap();
}

#[tokio::test]
async fn belief_is_shown_until_it_is_updated() {
    let (farm, breakage, _) = searched().await;
    assert_eq!(ask!(farm, read => read.search_row(breakage.0)).unwrap(), None);
    put!(farm, tx => tx.pause_search(breakage, PauseReason::NoWorker, AT)).unwrap();
    assert_eq!(
        ask!(farm, read => read.search_row(breakage.0)).unwrap().unwrap().paused,
        Some(PauseReason::NoWorker)
    );
    think(&farm, breakage, AT).await;
    let row = ask!(farm, read => read.search_row(breakage.0)).unwrap().unwrap();
    assert_eq!((row.flaky, row.probes_left, row.paused, row.changes), (0.08, 4, None, 3));
    assert_eq!(row.left_out, [("ada".to_string(), ExcludedWorker::FailsThere)]);
    let suspects = ask!(farm, read => read.suspects(breakage.0)).unwrap();
    assert_eq!(suspects, [(farm.change(2).0, 0.7), (farm.change(3).0, 0.2)].into());
    let of = ask!(farm, read => read.suspect_rows(farm.change(3).0, 9)).unwrap();
    assert_eq!(of.iter().map(|row| (row.breakage, row.posterior)).collect::<Vec<_>>(), [(breakage.0, 0.2)]);
}

#[tokio::test]
async fn a_probe_is_under_way_until_it_is_spent() {
    let (farm, breakage, probe) = searched().await;
    let under_way = ask!(farm, read => read.probes_under_way(breakage)).unwrap();
    assert_eq!(under_way, [(farm.change(2), None)]);
    assert_eq!(ask!(farm, read => read.search_cost(breakage, Timestamp(0))).unwrap(), SearchCost::default());
    farm.tell(probe, "F").await;
    assert_eq!(ask!(farm, read => read.probes_under_way(breakage)).unwrap(), []);
    assert_eq!(ask!(farm, read => read.search_cost(breakage, Timestamp(0))).unwrap().probes, 1);
    let pace = ask!(farm, read => read.builder_pace(farm.suites)).unwrap();
    assert_eq!((pace.built, pace.unbuilt), (0, 3));
    assert_eq!(ask!(farm, read => read.load_of(farm.worker)).unwrap(), 0);
}

#[tokio::test]
async fn the_first_splits_of_a_search_renew_its_budget_and_what_was_spent_before_is_shared() {
    let (farm, breakage, probe) = searched().await;
    farm.tell(probe, "F").await;
    let cost = async |breakage| {
        let splits = ask!(farm, read => read.splits_of(breakage, MAX_RENEWED)).unwrap();
        let since = budget_since(&splits);
        (since, ask!(farm, read => read.search_cost(breakage, since)).unwrap().probes)
    };
    assert_eq!(cost(breakage).await, (Timestamp(0), 1));
    let case = farm.case('a').await;
    let mut apart = None;
    for split in 1..=5 {
        let opened = NewBreakage { split_from: Some(breakage), ..farm.opened(1, 4, &[case]) };
        apart = Some(put!(farm, tx => tx.open_breakage(&opened, Timestamp(AT.0 + split))).unwrap());
    }
    assert_eq!(cost(breakage).await, (Timestamp(AT.0 + 3), 0), "the third split is the last that counts");
    assert_eq!(cost(apart.unwrap()).await, (Timestamp(0), 0));
    let again = NewBuild { breakage: Some(breakage), ..farm.suite(3, Reason::Probe) };
    let again = put!(farm, tx => tx.enqueue_build(&again, LATER)).unwrap();
    farm.tell(again, "F").await;
    assert_eq!(cost(breakage).await.1, 1);
}

#[tokio::test]
async fn past_searches_are_those_that_probed() {
    let (farm, breakage, _) = searched().await;
    let by_null_run = farm.open_breakage(1, 4, &[]).await;
    for id in [breakage, by_null_run] {
        put!(farm, tx => tx.record_search_result(id, BreakageState::Flaky, None, None, AT)).unwrap();
    }
    let past = ask!(farm, read => read.past_searches(farm.branch)).unwrap();
    assert_eq!(past, PastSearches { ended: 1, flaky: 1, environment: 0 });
}

#[tokio::test]
async fn an_answer_is_examined_again_after_a_later_run_and_may_be_withdrawn() {
    let (farm, breakage, probe) = searched().await;
    think(&farm, breakage, Timestamp(1)).await;
    put!(farm, tx => tx.record_search_result(breakage, BreakageState::Flaky, None, None, AT)).unwrap();
    assert_eq!(ask!(farm, read => read.answers_with_news()).unwrap(), []);
    farm.tell(probe, "F").await;
    let (suites, within) = (farm.suites, farm.change(2));
    put!(farm, tx => tx.mark_answers_for_review(farm.toolchains, within)).unwrap();
    assert_eq!(ask!(farm, read => read.answers_with_news()).unwrap(), [], "another builder's run");
    put!(farm, tx => tx.mark_answers_for_review(suites, within)).unwrap();
    let answered = AnsweredSearch { breakage, found: BreakageState::Flaky, reopened: 0 };
    assert_eq!(ask!(farm, read => read.answers_with_news()).unwrap(), [answered]);
    think(&farm, breakage, LATER).await;
    assert_eq!(ask!(farm, read => read.answers_with_news()).unwrap(), []);
    put!(farm, tx => tx.reopen_search(breakage, LATER)).unwrap();
    let row = ask!(farm, read => read.breakage(breakage)).unwrap();
    assert_eq!((row.state, row.found, row.found_at), (BreakageState::Searching, None, None));
    assert_eq!(ask!(farm, read => read.reopened(breakage)).unwrap(), 1);
    let refused = put!(farm, tx => tx.reopen_search(breakage, LATER));
    assert_eq!(refusal(refused), "the breakage is not answered");
}

#[tokio::test]
async fn a_run_after_the_bad_end_is_evidence_only_for_what_may_be_flaky() {
    let (farm, breakage, _) = searched().await;
    let (suites, good, last, behind) = (farm.suites, farm.change(1), farm.change(4), farm.change(5));
    let doubted = async |change| {
        put!(farm, tx => tx.mark_answers_for_review(suites, change)).unwrap();
        let doubted = !ask!(farm, read => read.answers_with_news()).unwrap().is_empty();
        think(&farm, breakage, AT).await;
        doubted
    };
    think(&farm, breakage, AT).await;
    let (culprit, parent) = (Some(farm.change(3)), Some(farm.change(2)));
    put!(farm, tx => tx.record_search_result(breakage, BreakageState::Named, culprit, parent, AT)).unwrap();
    assert_eq!([doubted(good).await, doubted(last).await, doubted(behind).await], [true, true, false]);
    put!(farm, tx => tx.reopen_search(breakage, AT)).unwrap();
    put!(farm, tx => tx.record_search_result(breakage, BreakageState::Named, culprit, parent, AT)).unwrap();
    assert!(doubted(behind).await, "it was wrong once");
}

#[tokio::test]
async fn the_paths_of_changes_are_returned_by_change() {
    let farm = Farm::new().await;
    let paths = ask!(farm, read => read.paths_of(&farm.changes[..2])).unwrap();
    assert_eq!(paths.len(), 2);
    assert_eq!(paths[&farm.change(1)], ["lapi.c", "lapi.h"]);
}

#[tokio::test]
async fn suspicion_is_learnt_from_culprits_that_are_still_named() {
    let (farm, breakage, _) = searched().await;
    assert!(ask!(farm, read => read.suspicion_records(farm.branch)).unwrap().is_empty());
    let classes = [SuspicionClass::Unrelated, SuspicionClass::Named, SuspicionClass::Documents];
    // An answer that was taken back and given again counts once.
    for culprit in [0, 1] {
        let records = record(&classes, culprit);
        let (culprit, parent) = (Some(farm.change(2)), Some(farm.change(1)));
        put!(farm, tx => tx.record_search_result(breakage, BreakageState::Named, culprit, parent, AT))
            .unwrap();
        let stored = records.clone();
        put!(farm, tx => async move { tx.put_suspicion_records(breakage, &stored).await }).unwrap();
        assert_eq!(ask!(farm, read => read.suspicion_records(farm.branch)).unwrap(), records);
        put!(farm, tx => tx.reopen_search(breakage, AT)).unwrap();
        assert!(ask!(farm, read => read.suspicion_records(farm.branch)).unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_proof_of_an_answer_is_that_of_the_last_one_and_gone_with_it() {
    let (farm, breakage, _) = searched().await;
    let (worker, culprit, parent) = (farm.worker, Some(farm.change(2)), Some(farm.change(1)));
    let proof = move |passes, fails| WorkerProof {
        worker,
        before: Tally { fails: 0, passes },
        with: Tally { fails, passes: 1 },
    };
    for (passes, fails) in [(3, 3), (4, 5)] {
        put!(farm, tx => async move {
            tx.record_search_result(breakage, BreakageState::Named, culprit, parent, AT).await?;
            tx.put_proof(breakage, &[proof(passes, fails)]).await
        })
        .unwrap();
        let runs = WorkerRuns {
            worker: "Ada".into(),
            before: RunCount { good: passes, bad: 0 },
            with: RunCount { good: 1, bad: fails },
        };
        let found = ask!(farm, read => read.proof(breakage)).unwrap();
        assert_eq!(found, [WorkerRuns { worker: found[0].worker.clone(), ..runs }]);
        put!(farm, tx => tx.reopen_search(breakage, AT)).unwrap();
        assert_eq!(ask!(farm, read => read.proof(breakage)).unwrap(), [], "there is no answer");
    }
}
