//! How noisy cases are: which runs count, and against what.

use domain::breakage::flaky::NoiseHistory;

use domain::words::BreakageState;

use super::*;

/// What is known of a case, as `failed/runs where good, passed/runs where bad`.
async fn known(farm: &Farm, letter: char, since: Timestamp) -> String {
    let (suites, case) = (farm.suites, farm.case(letter).await);
    let found = ask!(farm, read => read.flake_history(suites, &[case].into(), since)).unwrap();
    let NoiseHistory { good, bad } = found[&case];
    format!("{}/{}, {}/{}", good.odd, good.runs, bad.odd, bad.runs)
}

#[tokio::test]
async fn history_and_null_runs_show_noise_but_probes_and_equal_builds_do_not() {
    let farm = Farm::new().await;
    let first = farm.run(1, "PP").await;
    farm.run(2, "PF").await;
    farm.point(3, first).await;
    for (reason, picture) in [(Reason::Null, "PP"), (Reason::Null, "PF"), (Reason::Probe, "FF")] {
        let build = farm.queue(farm.suite(1, reason)).await;
        farm.tell(build, picture).await;
    }
    assert_eq!(known(&farm, 'a', EVER).await, "0/4, 0/0");
    assert_eq!(known(&farm, 'b', EVER).await, "2/4, 0/0");
    assert_eq!(known(&farm, 'b', LATER).await, "0/0, 0/0");
    put!(farm, tx => tx.approve_worker("01010101", "Ada", Trust::Probation, AT)).unwrap();
    assert_eq!(known(&farm, 'b', EVER).await, "0/0, 0/0", "of a machine on probation nothing is believed");
}

#[tokio::test]
async fn a_fault_has_passed_where_a_whole_run_does_not_tell_of_it() {
    let farm = Farm::new().await;
    for (position, is_bad, complete) in
        [(1, false, true), (2, true, true), (3, false, false), (4, false, true)]
    {
        let build = farm.queue(farm.suite(position, Reason::Tip)).await;
        farm.finish(build, Outcome::Failed).await;
        let fault = is_bad.then(|| CaseRun::of_broken_off("test", &[]));
        let step = CaseRun::of_step("test", Verdict::Pass);
        let (list, results) = results::collect(fault.into_iter().chain([step]), complete);
        put!(farm, tx => tx.put_results(build, &list, &results)).unwrap();
    }
    let (suites, fault) = (farm.suites, farm.named(CaseRun::of_broken_off("test", &[]).name).await);
    let found = ask!(farm, read => read.flake_history(suites, &[fault].into(), EVER)).unwrap();
    assert_eq!((found[&fault].good.odd, found[&fault].good.runs), (1, 3));
}

#[tokio::test]
async fn what_a_breakage_explains_is_no_noise_unless_it_was_found_flaky() {
    let farm = Farm::new().await;
    for (position, picture) in [(1, "PP"), (2, "FP"), (3, "PP"), (4, "FF"), (5, "PP")] {
        farm.run(position, picture).await;
    }
    let (a, b) = (farm.case('a').await, farm.case('b').await);
    let broken = farm.open_breakage(1, 2, &[a]).await;
    assert_eq!(known(&farm, 'a', EVER).await, "0/1, 2/4");
    assert_eq!(known(&farm, 'b', EVER).await, "1/5, 0/0");
    put!(farm, tx => tx.record_search_result(broken, BreakageState::Flaky, None, None, AT)).unwrap();
    assert_eq!(known(&farm, 'a', EVER).await, "2/5, 0/0");
    let gone = farm.open_breakage(3, 4, &[b]).await;
    put!(farm, tx => tx.mark_breakage_gone(gone, AT)).unwrap();
    assert_eq!(known(&farm, 'b', EVER).await, "1/5, 0/0");
}

#[tokio::test]
async fn what_a_case_does_throughout_with_other_inputs_is_no_noise() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    farm.run(2, "P").await;
    let (project, branch, inputs) = (farm.project, farm.branch, project_inputs("r2", farm.recipe));
    let pin = put!(farm, tx => async move {
        let pin = tx.propose_pin(project, branch, &inputs, AT).await?;
        tx.take_pin(pin, AT).await?;
        Ok(pin)
    })
    .unwrap();
    for position in [3, 4] {
        let build = farm.queue(NewBuild { pin: Some(pin), ..farm.suite(position, Reason::Tip) }).await;
        farm.tell(build, "F").await;
    }
    assert_eq!(known(&farm, 'a', EVER).await, "0/2, 0/0");
    let passing = farm.queue(NewBuild { pin: Some(pin), ..farm.suite(3, Reason::Null) }).await;
    farm.tell(passing, "P").await;
    assert_eq!(known(&farm, 'a', EVER).await, "2/5, 0/0", "identical inputs differ");
}
