//! A builder's history as the rules of breakages read it, and what may be run once more to prove a repair.

use domain::breakage::{BuilderHistory, HistoryBuild, RepairProof};

use super::*;

pub(super) async fn history(farm: &Farm, builder: BuilderId) -> BuilderHistory {
    let row = ask!(farm, read => read.builder(builder)).unwrap();
    ask!(farm, read => read.breakage_inputs(&row, &HistoryNews::Any, EVER, AT)).unwrap().history
}

#[tokio::test]
async fn a_history_has_for_each_build_whether_it_ran_how_many_cases_and_whether_it_passed() {
    let farm = Farm::new().await;
    let first = farm.run(1, "PPS").await;
    farm.run(2, "PFS").await;
    farm.point(4, first).await;
    let found = history(&farm, farm.suites).await;
    let history_build =
        |position, own, ran, green| HistoryBuild { change: farm.change(position), own, ran, green };
    assert_eq!(
        found.history_builds,
        [history_build(1, true, 2, true), history_build(2, true, 2, false), history_build(4, false, 2, true)]
    );
    assert_eq!((found.order, found.proof), (farm.changes.clone(), RepairProof::Model));
    assert_eq!(history(&farm, farm.toolchains).await.proof, RepairProof::OneRun);
}

#[tokio::test]
async fn cases_that_stopped_running_have_histories_and_those_that_never_ran_have_none() {
    let farm = Farm::new().await;
    farm.run(1, "PPSP").await;
    farm.run(2, "PSP.").await;
    farm.run(3, "PSS.").await;
    let case_histories = history(&farm, farm.suites).await.case_histories;
    let cases: Vec<CaseId> = case_histories.iter().map(|case_history| case_history.case).collect();
    assert_eq!(cases, [farm.case('b').await, farm.case('c').await, farm.case('d').await]);
    let never = Farm::new().await;
    never.run(1, "PS").await;
    never.run(2, "P.").await;
    assert_eq!(history(&never, never.suites).await.case_histories, []);
}

#[tokio::test]
async fn verdicts_of_other_runs_on_open_breakages_are_added_to_the_history() {
    let farm = Farm::new().await;
    for (position, picture) in [(1, "P"), (2, "F"), (3, "P")] {
        farm.run(position, picture).await;
    }
    let a = farm.case('a').await;
    let breakage = farm.open_breakage(1, 2, &[a]).await;
    let runs =
        [(1, Reason::Null, "P"), (2, Reason::Probe, "F"), (3, Reason::Probe, "F"), (3, Reason::Null, "P")];
    for (position, reason, picture) in runs {
        let build = farm.queue(farm.suite(position, reason)).await;
        farm.tell(build, picture).await;
    }
    let evidence_verdicts =
        || async { history(&farm, farm.suites).await.case_histories[0].evidence_verdicts.clone() };
    let after = farm.change(3);
    assert_eq!(
        evidence_verdicts().await,
        [(after, Verdict::Fail), (after, Verdict::Pass)],
        "where it is seen good again"
    );
    put!(farm, tx => tx.approve_worker("01010101", "Ada", Trust::Probation, AT)).unwrap();
    assert_eq!(evidence_verdicts().await, [], "of a machine on probation nothing is believed");
    put!(farm, tx => tx.approve_worker("01010101", "Ada", Trust::Maker, AT)).unwrap();
    put!(farm, tx => tx.mark_breakage_gone(breakage, AT)).unwrap();
    assert_eq!(evidence_verdicts().await, []);
}

#[tokio::test]
async fn a_case_is_unstable_for_its_builder_and_recorded_once() {
    let farm = Farm::new().await;
    farm.run(1, "PP").await;
    let (suites, toolchains, b) = (farm.suites, farm.toolchains, farm.case('b').await);
    for _ in 0..2 {
        put!(farm, tx => tx.put_unstable_cases(suites, &[b].into(), AT)).unwrap();
    }
    assert_eq!(ask!(farm, read => read.unstable_cases(suites)).unwrap(), [b].into());
    assert_eq!(ask!(farm, read => read.unstable_cases(toolchains)).unwrap(), [].into());
}

/// Each run of a suite whose names hold random words brings new ones: what is read does not grow, and a name that goes on
/// differing stays.
#[tokio::test]
async fn the_unstable_cases_of_a_builder_are_bounded_and_those_that_go_on_differing_stay() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    let (suites, steady) = (farm.suites, farm.case('a').await);
    for round in 0..5_i64 {
        let names: String = (0..400).map(|n| format!("word {round} {n:03}\n")).collect();
        let list = CaseList::from_text(names).unwrap();
        put!(farm, tx => async move {
            let (_, words) = tx.put_case_list(&list).await?;
            let cases = words.into_iter().chain([steady]).collect();
            tx.put_unstable_cases(suites, &cases, Timestamp(AT.0 + round)).await
        })
        .unwrap();
    }
    let kept = ask!(farm, read => read.unstable_cases(suites)).unwrap();
    assert!(kept.len() == 1000 && kept.contains(&steady), "{} cases", kept.len());
}

#[tokio::test]
async fn contacts_are_informed_of_an_unstable_suite_once() {
    let farm = Farm::new().await;
    farm.run(1, "PP").await;
    let (project, builder, example) = (farm.project, farm.suites, farm.case('a').await);
    let suite = UnstableSuite { project, builder, example };
    put!(farm, tx => tx.put_unstable_suite(suite, AT)).unwrap();
    assert_eq!(ask!(farm, read => read.unmailed_unstable_suites()).unwrap(), [suite]);
    put!(farm, tx => tx.mark_unstable_suite_notified(project, AT)).unwrap();
    put!(farm, tx => tx.put_unstable_suite(suite, LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.unmailed_unstable_suites()).unwrap(), []);
}

#[tokio::test]
async fn a_breakage_has_which_of_its_cases_are_not_run_and_keeps_that_when_others_leave() {
    let farm = Farm::new().await;
    farm.run(1, "PPP").await;
    let (a, b, c) = (farm.case('a').await, farm.case('b').await, farm.case('c').await);
    let (good, bad) = (farm.change(1), farm.change(2));
    let opened = NewBreakage { not_run: [b, c].into(), ..farm.opened(1, 2, &[a, b, c]) };
    let id = put!(farm, tx => tx.open_breakage(&opened, AT)).unwrap();
    let update = BreakageUpdate {
        good,
        bad,
        cases: [a, c].into(),
        not_run: [c].into(),
        repaired: [a].into(),
        fixed: None,
    };
    put!(farm, tx => tx.update_breakage(id, &update, AT)).unwrap();
    let row = ask!(farm, read => read.breakage(id)).unwrap();
    assert_eq!((row.cases, row.not_run, row.repaired), ([a, c].into(), [c].into(), [a].into()));
    let suites = farm.suites;
    assert_eq!(ask!(farm, read => read.cases_of_open_breakages(suites)).unwrap(), [a, c].into());
    assert_eq!(
        ask!(farm, read => read.breakage_cases(id.0, 10)).unwrap(),
        [("a".into(), false), ("c".into(), true)]
    );
}

#[tokio::test]
async fn a_change_is_run_once_more_at_a_time_and_not_too_often() {
    let farm = Farm::new().await;
    let history_build = farm.run(2, "P").await;
    let (suites, change) = (farm.suites, farm.change(2));
    let asked = |most| {
        let farm = &farm;
        async move {
            ask!(farm, read => read.history_build_to_repeat(suites, change, EVER, most))
                .unwrap()
                .map(|b| b.id)
        }
    };
    assert_eq!(asked(2).await, Some(history_build));
    let null = farm.queue(farm.suite(2, Reason::Null)).await;
    assert_eq!(asked(2).await, None, "one waits");
    assert!(ask!(farm, read => read.is_repeating(suites)).unwrap());
    farm.tell(null, "P").await;
    assert!(!ask!(farm, read => read.is_repeating(suites)).unwrap());
    assert_eq!(asked(2).await, Some(history_build));
    assert_eq!(asked(1).await, None, "that was enough for now");
    let other = farm.change(3);
    assert_eq!(ask!(farm, read => read.history_build_to_repeat(suites, other, EVER, 1)).unwrap(), None);
}
