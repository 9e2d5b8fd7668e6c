//! What humans say of cases, and canaries.

use domain::breakage::mark::{Mark, MarkKind};
use domain::schedule::canary::Canary;
use domain::words::BreakageState;

use super::*;

fn mark(cases: &str, branch: Option<&str>) -> Mark {
    Mark {
        kind: MarkKind::Flaky,
        cases: cases.into(),
        branch: branch.map(Into::into),
        platform: None,
        variant: None,
        issue: "https://example.org/1".into(),
        until: LATER,
    }
}

#[tokio::test]
async fn marks_read_back_for_the_builders_they_speak_of() {
    let farm = Farm::new().await;
    let (project, suites, toolchains) = (farm.project, farm.suites, farm.toolchains);
    let marks = || async { ask!(farm, read => read.marks_of(suites)).unwrap() };
    let all = [mark("net*", None), mark("old*", Some("5.4")), mark("new*", Some("master"))];
    let put = all.clone();
    put!(farm, tx => tx.put_marks(project, &put)).unwrap();
    assert_eq!(marks().await, [all[0].clone(), all[2].clone()]);
    assert_eq!(ask!(farm, read => read.marks_of(toolchains)).unwrap(), []);
    assert_eq!(ask!(farm, read => read.marks_of_project(project)).unwrap(), all);
    put!(farm, tx => tx.put_marks(project, &[])).unwrap();
    assert_eq!(marks().await, []);
}

#[tokio::test]
async fn what_was_ever_harmed_is_read_as_it_is_now() {
    let farm = Farm::new().await;
    let suites = farm.suites;
    let now = || async { ask!(farm, read => read.bad_in_newest_build(suites)).unwrap() };
    assert_eq!(now().await, None);
    farm.run(1, "PFF").await;
    let newest = farm.run(2, "PFP").await;
    let said = [("b".to_string(), Verdict::Fail), ("c".to_string(), Verdict::Pass)].into();
    assert_eq!(now().await, Some((newest, said)));
}

#[tokio::test]
async fn cases_are_found_by_name() {
    let farm = Farm::new().await;
    farm.run(1, "PP").await;
    let (a, b) = (farm.case('a').await, farm.case('b').await);
    let names = ask!(farm, read => read.names_of_cases(&[a, b, CaseId(99)].into())).unwrap();
    assert_eq!(names, [(a, "a".to_string()), (b, "b".to_string())].into());
}

#[tokio::test]
async fn a_canary_has_the_result_of_its_last_run_and_whether_that_is_explained() {
    let farm = Farm::new().await;
    let project = farm.project;
    let canaries = || async { ask!(farm, read => read.canaries()).unwrap() };
    assert_eq!(canaries().await, []);
    put!(farm, tx => tx.set_canary(project, Some(Canary::MustPass))).unwrap();
    let before = canaries().await;
    assert_eq!((before.len(), before[0].last, before[0].canary), (1, None, Canary::MustPass));
    let passed = farm.run(1, "P").await;
    farm.point(3, passed).await;
    assert_eq!(canaries().await[0].last, Some((Outcome::Passed, AT)));
    farm.run(2, "F").await;
    let a = farm.case('a').await;
    let breakage = farm.open_breakage(1, 2, &[a]).await;
    let now = canaries().await.remove(0);
    assert_eq!((now.last.map(|(outcome, _)| outcome), now.explained), (Some(Outcome::Failed), false));
    let (culprit, parent) = (Some(farm.change(2)), Some(farm.change(1)));
    put!(farm, tx => tx.record_search_result(breakage, BreakageState::Named, culprit, parent, AT)).unwrap();
    assert!(canaries().await[0].explained);
    put!(farm, tx => tx.set_canary(project, None)).unwrap();
    assert_eq!(canaries().await, []);
}

#[tokio::test]
async fn a_canary_ignores_runs_that_do_not_show_whether_the_farm_works() {
    let farm = Farm::new().await;
    let (project, branch, recipe) = (farm.project, farm.branch, farm.recipe);
    put!(farm, tx => tx.set_canary(project, Some(Canary::MustPass))).unwrap();
    let last = || async { ask!(farm, read => read.canaries()).unwrap()[0].last.map(|(outcome, _)| outcome) };

    // Asking for a revision is no run of the suite.
    let latest = farm.queue(NewBuild { pin: None, ..farm.suite(1, Reason::Latest) }).await;
    farm.finish(latest, Outcome::Passed).await;
    assert_eq!(last().await, None);
    farm.run(1, "P").await;
    let latest = farm.queue(NewBuild { pin: None, ..farm.suite(1, Reason::Latest) }).await;
    farm.finish(latest, Outcome::Failed).await;
    assert_eq!(last().await, Some(Outcome::Passed));

    // Project inputs that are not in use, and the runs that confirm them, say nothing about the farm.
    let pin = put!(farm, tx => tx.propose_pin(project, branch, &project_inputs("r2", recipe), AT)).unwrap();
    for reason in [Reason::Baseline, Reason::Null] {
        let build = farm.queue(NewBuild { pin: Some(pin), ..farm.suite(1, reason) }).await;
        farm.finish(build, Outcome::Failed).await;
        assert_eq!(last().await, Some(Outcome::Passed), "{reason}");
    }
    let null = farm.queue(farm.suite(1, Reason::Null)).await;
    farm.finish(null, Outcome::Failed).await;
    assert_eq!(last().await, Some(Outcome::Failed), "its daily run is recorded");

    // Nor does a machine speak for the farm before it is known.
    put!(farm, tx => tx.approve_worker("01010101", "Ada", Trust::Probation, AT)).unwrap();
    assert_eq!(last().await, None);
}
