//! Evidence: what a build's own run said, of the cases in question, once.

use super::*;

/// What is known of case `a`: change, reason and verdict of each run.
async fn evidence(farm: &Farm) -> String {
    let (suites, cases) = (farm.suites, [farm.case('a').await].into());
    let runs = ask!(farm, read => read.evidence(suites, &cases)).unwrap();
    let at = |change| farm.changes.iter().position(|known| *known == change).unwrap() + 1;
    let told = |run: &Evidence| {
        assert_eq!(run.worker, farm.worker);
        let verdicts: Vec<_> = run.verdicts.values().map(|verdict| verdict.as_str()).collect();
        format!("{} {} {}", at(run.change), run.reason, verdicts.join(" "))
    };
    runs.iter().map(told).collect::<Vec<_>>().join(", ")
}

async fn keep(farm: &Farm, build: BuildId) {
    let case = farm.case('a').await;
    put!(farm, tx => tx.put_evidence(build, &[case].into())).unwrap();
}

#[tokio::test]
async fn a_run_is_evidence_once_whatever_its_reason() {
    let farm = Farm::new().await;
    let cover = farm.run(1, "P").await;
    let probe = farm.queue(farm.suite(1, Reason::Probe)).await;
    farm.tell(probe, "F").await;
    for build in [cover, probe, cover] {
        keep(&farm, build).await;
    }
    assert_eq!(evidence(&farm).await, "1 tip pass, 1 probe fail");
    assert_eq!(farm.count("evidence").await, 2);
}

#[tokio::test]
async fn an_equal_build_that_was_not_run_is_no_evidence() {
    let farm = Farm::new().await;
    let ran = farm.run(1, "F").await;
    let pointing = farm.point(2, ran).await;
    keep(&farm, pointing).await;
    assert_eq!(evidence(&farm).await, "");
}

#[tokio::test]
async fn what_a_run_does_not_tell_of_is_missing_there() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    let without = farm.run(2, ".P").await;
    keep(&farm, without).await;
    assert_eq!(evidence(&farm).await, "2 tip missing");
    let broken_off = farm.run(3, ".P~").await;
    keep(&farm, broken_off).await;
    assert_eq!(evidence(&farm).await, "2 tip missing, 3 tip unreached");
}

#[tokio::test]
async fn other_builders_evidence_is_not_ours() {
    let farm = Farm::new().await;
    let own = farm.run(1, "P").await;
    keep(&farm, own).await;
    let (toolchains, cases) = (farm.toolchains, [farm.case('a').await].into());
    assert_eq!(ask!(farm, read => read.evidence(toolchains, &cases)).unwrap(), []);
}

#[tokio::test]
async fn cases_are_in_question_while_their_search_is_open() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    let (suites, a) = (farm.suites, farm.case('a').await);
    let breakage = farm.open_breakage(1, 3, &[a]).await;
    let asked = || async { ask!(farm, read => read.cases_in_question(suites)).unwrap() };
    assert_eq!(asked().await, [a].into());
    put!(farm, tx => tx.breakage_is_gone(breakage, AT)).unwrap();
    assert_eq!(asked().await, [].into());
}

/// The whole history would be read again after each build otherwise.
#[tokio::test]
async fn history_from_the_good_end_on_that_is_no_evidence_yet_is_known() {
    let farm = Farm::new().await;
    let first = farm.run(1, "P").await;
    let second = farm.run(2, "P").await;
    let third = farm.run(3, "F").await;
    farm.point(4, first).await;
    let a = farm.case('a').await;
    let breakage = farm.open_breakage(2, 3, &[a]).await;
    let untold = || async { ask!(farm, read => read.covers_to_tell(breakage)).unwrap() };
    assert_eq!(untold().await, [second, third]);
    keep(&farm, second).await;
    assert_eq!(untold().await, [third]);
    keep(&farm, third).await;
    assert_eq!(untold().await, []);
}

#[tokio::test]
async fn what_a_silent_machine_told_too_late_is_a_run_of_its_own() {
    let farm = Farm::new().await;
    farm.run(1, "PP").await;
    let (suites, cases) = (farm.suites, [farm.case('a').await, farm.case('b').await].into());
    let (worker, build) = (farm.worker, farm.queue(farm.suite(2, Reason::Tip)).await);
    let attempt = farm.lease(build).await;
    put!(farm, tx => tx.accept_attempt(attempt, worker, AT)).unwrap();
    put!(farm, tx => tx.end_attempt(attempt, "lost", None, AT)).unwrap();
    let late = || async { ask!(farm, read => read.late_evidence(suites, &cases)).unwrap() };
    assert_eq!(late().await, []);
    let judged = Judged { outcome: Outcome::Failed, cause: None, step: None };
    put!(farm, tx => tx.put_late_report(attempt, &judged, Some(&told("PF")), AT)).unwrap();
    let said: Vec<(ChangeId, WorkerId, Vec<Verdict>)> = late()
        .await
        .into_iter()
        .map(|row| (row.change, row.worker, row.verdicts.into_values().collect()))
        .collect();
    assert_eq!(said, [(farm.change(2), farm.worker, vec![Verdict::Pass, Verdict::Fail])]);
    put!(farm, tx => tx.approve_worker("01010101", "Ada", Trust::Probation, AT)).unwrap();
    assert_eq!(late().await, [], "of a machine on probation nothing is believed");
}
