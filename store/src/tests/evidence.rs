//! Evidence: what cases did in a build's own run.

use super::*;

/// What speaks of a breakage of case `a`: change, reason and verdict of each run.
async fn evidence(farm: &Farm, of: BreakageId) -> String {
    let of = ask!(farm, read => read.breakage(of)).unwrap();
    let runs = ask!(farm, read => read.evidence(&of, &farm.changes)).unwrap();
    let at = |change| farm.changes.iter().position(|known| *known == change).unwrap() + 1;
    let told = |run: &Evidence| {
        assert_eq!(run.worker, farm.worker);
        let verdicts: Vec<_> = run.verdicts.values().map(|verdict| verdict.as_str()).collect();
        format!("{} {} {}", at(run.change), run.reason, verdicts.join(" "))
    };
    runs.iter().map(told).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn a_run_is_evidence_whatever_its_reason() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    let probe = farm.queue(farm.suite(1, Reason::Probe)).await;
    farm.tell(probe, "F").await;
    farm.queue(farm.suite(2, Reason::Tip)).await;
    let breakage = farm.open_breakage(1, 3, &[farm.case('a').await]).await;
    assert_eq!(evidence(&farm, breakage).await, "1 tip pass, 1 probe fail");
    let of = ask!(farm, read => read.breakage(breakage)).unwrap();
    let elsewhere = [farm.change(2)];
    assert_eq!(ask!(farm, read => read.evidence(&of, &elsewhere)).unwrap(), []);
}

/// What was run before says nothing of the machine as it is today.
#[tokio::test]
async fn runs_outside_the_history_before_the_alarm_are_no_evidence() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    let before = farm.queue(farm.suite(1, Reason::Null)).await;
    farm.tell(before, "P").await;
    let opened = farm.opened(1, 3, &[farm.case('a').await]);
    let breakage = put!(farm, tx => tx.open_breakage(&opened, LATER)).unwrap();
    assert_eq!(evidence(&farm, breakage).await, "1 tip pass");
    let earlier = farm.open_breakage(1, 3, &[farm.case('a').await]).await;
    let apart = NewBreakage { split_from: Some(earlier), ..farm.opened(1, 3, &[farm.case('a').await]) };
    let apart = put!(farm, tx => tx.open_breakage(&apart, LATER)).unwrap();
    assert_eq!(evidence(&farm, apart).await, "1 tip pass, 1 null pass", "the alarm was raised for both");
}

#[tokio::test]
async fn a_probe_is_compared_with_the_history_before_its_change_unless_that_is_part_of_it() {
    let farm = Farm::new().await;
    let suites = ask!(farm, read => read.builder(farm.suites)).unwrap();
    let probe = farm.queue(farm.suite(2, Reason::Probe)).await;
    farm.tell(probe, "F").await;
    let probe = ask!(farm, read => read.build(probe)).unwrap();
    assert_eq!(ask!(farm, read => read.verdicts_before(&suites, &probe)).unwrap(), None, "nothing is before");
    farm.run(1, "P").await;
    farm.run(3, "F").await;
    let a = farm.case('a').await;
    let before = ask!(farm, read => read.verdicts_before(&suites, &probe)).unwrap();
    assert_eq!(before, Some([(a, Verdict::Pass)].into()));
    farm.queue(farm.suite(2, Reason::Backfill)).await;
    assert_eq!(ask!(farm, read => read.verdicts_before(&suites, &probe)).unwrap(), None, "it is queued");
}

#[tokio::test]
async fn a_change_is_repeated_when_a_null_run_of_it_has_a_verdict() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    let (suites, change) = (farm.suites, farm.change(1));
    let again = farm.queue(farm.suite(1, Reason::Null)).await;
    assert!(!ask!(farm, read => read.is_repeated(suites, change)).unwrap());
    farm.tell(again, "P").await;
    assert!(ask!(farm, read => read.is_repeated(suites, change)).unwrap());
}

#[tokio::test]
async fn an_equal_build_that_was_not_run_is_no_evidence() {
    let farm = Farm::new().await;
    let ran = farm.run(1, "F").await;
    farm.point(2, ran).await;
    let breakage = farm.open_breakage(1, 3, &[farm.case('a').await]).await;
    assert_eq!(evidence(&farm, breakage).await, "1 tip fail");
}

#[tokio::test]
async fn what_a_run_does_not_tell_of_is_missing_there() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    farm.run(2, ".P").await;
    farm.run(3, ".P~").await;
    let breakage = farm.open_breakage(1, 3, &[farm.case('a').await]).await;
    assert_eq!(evidence(&farm, breakage).await, "1 tip pass, 2 tip missing, 3 tip unreached");
}

#[tokio::test]
async fn other_builders_evidence_is_not_ours() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    let opened = NewBreakage { builder: farm.toolchains, ..farm.opened(1, 3, &[farm.case('a').await]) };
    let breakage = put!(farm, tx => tx.open_breakage(&opened, AT)).unwrap();
    assert_eq!(evidence(&farm, breakage).await, "");
}

#[tokio::test]
async fn runs_of_a_machine_on_probation_are_no_evidence_yet() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    let breakage = farm.open_breakage(1, 3, &[farm.case('a').await]).await;
    put!(farm, tx => tx.approve_worker("01010101", "Ada", Trust::Probation, AT)).unwrap();
    assert_eq!(evidence(&farm, breakage).await, "");
}

#[tokio::test]
async fn a_late_report_of_a_silent_machine_is_a_run_of_its_own() {
    let farm = Farm::new().await;
    farm.run(1, "PP").await;
    let (suites, cases) = (farm.suites, [farm.case('a').await, farm.case('b').await].into());
    let (worker, build) = (farm.worker, farm.queue(farm.suite(2, Reason::Tip)).await);
    let attempt = farm.lease(build).await;
    put!(farm, tx => tx.accept_attempt(attempt, worker, AT)).unwrap();
    put!(farm, tx => tx.end_attempt(attempt, AttemptState::Lost, None, AT)).unwrap();
    let late = || async { ask!(farm, read => read.late_evidence(suites, &cases)).unwrap() };
    assert_eq!(late().await, []);
    let judged = BuildResult { outcome: Outcome::Failed, cause: None, step: None };
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
