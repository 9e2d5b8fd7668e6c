//! Steps start once, end once, and their logs grow until they are sealed.

use protocol::{StepEnd, StepKind};

use super::*;

async fn started(farm: &Farm) -> AttemptId {
    let attempt = farm.lease(farm.queue(farm.suite(1, Reason::Tip)).await).await;
    put!(farm, tx => tx.start_step(attempt, 0, "deps", StepKind::Fetch, AT)).unwrap();
    attempt
}

async fn ended(farm: &Farm, attempt: AttemptId) -> Result<()> {
    let warnings = ["no plan".to_string()];
    put!(farm, tx => tx.end_step(attempt, 0, &StepResult { end: &StepEnd::Exit { code: 3 }, duration_ms: 250, warnings: &warnings }, LATER))
}

#[tokio::test]
async fn a_step_reads_back_as_it_was_reported() {
    let farm = Farm::new().await;
    let attempt = started(&farm).await;
    put!(farm, tx => tx.start_step(attempt, 1, "test", StepKind::Test, AT)).unwrap();
    ended(&farm, attempt).await.unwrap();
    let steps = ask!(farm, read => read.steps(attempt)).unwrap();
    let deps = StepRecord {
        position: 0,
        name: "deps".to_string(),
        kind: StepKind::Fetch,
        started_at: AT,
        ended_at: Some(LATER),
        end: Some(StepEnd::Exit { code: 3 }),
        duration_ms: Some(250),
        warnings: vec!["no plan".to_string()],
        log: LogExtentRow::default(),
        log_pruned_at: None,
    };
    assert_eq!(steps[0], deps);
    assert_eq!((steps[1].position, steps[1].ended_at), (1, None));
    // The rules hear of those that ended.
    let runs = ask!(farm, read => read.step_runs(attempt)).unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].name.as_str(), &runs[0].end), ("deps", &StepEnd::Exit { code: 3 }));
}

#[tokio::test]
async fn a_step_starts_once_and_ends_once() {
    let farm = Farm::new().await;
    let attempt = started(&farm).await;
    let again = put!(farm, tx => tx.start_step(attempt, 0, "deps", StepKind::Fetch, AT));
    assert_eq!(refusal(again), "the step has started already");
    ended(&farm, attempt).await.unwrap();
    assert_eq!(refusal(ended(&farm, attempt).await), "the step is not running");
    let unknown = put!(farm, tx => tx.end_step(attempt, 9, &StepResult { end: &StepEnd::TimedOut, duration_ms: 0, warnings: &[] }, AT));
    assert_eq!(refusal(unknown), "the step is not running");
}

#[tokio::test]
async fn a_log_grows_until_it_is_sealed() {
    let farm = Farm::new().await;
    let attempt = started(&farm).await;
    let log = LogExtentRow { bytes: 10, lines: 2, stored_bytes: 8, cut_bytes: 1, sealed: false };
    put!(farm, tx => tx.commit_log(attempt, 0, log)).unwrap();
    let sealed = LogExtentRow { bytes: 20, lines: 4, stored_bytes: 9, cut_bytes: 1, sealed: true };
    put!(farm, tx => tx.commit_log(attempt, 0, sealed)).unwrap();
    assert_eq!(ask!(farm, read => read.steps(attempt)).unwrap()[0].log, sealed);

    assert_eq!(refusal(put!(farm, tx => tx.commit_log(attempt, 0, log))), "the step has no log that is open");
    assert_eq!(refusal(put!(farm, tx => tx.commit_log(attempt, 7, log))), "the step has no log that is open");
}

#[tokio::test]
async fn a_step_is_proven_on_a_machine_where_it_came_to_an_end_of_its_own() {
    let farm = Farm::new().await;
    let (suites, worker) = (farm.suites, farm.worker);
    let attempt = started(&farm).await;
    let later = farm.lease(farm.queue(farm.suite(2, Reason::Tip)).await).await;
    let proven = |step: &'static str, but| {
        let farm = &farm;
        async move { ask!(farm, read => read.is_proven_step(suites, step, worker, but)).unwrap() }
    };
    assert!(!proven("deps", later).await, "it has not ended");
    ended(&farm, attempt).await.unwrap();
    assert!(proven("deps", later).await);
    assert!(!proven("deps", attempt).await, "an attempt does not prove itself");
    assert!(!proven("test", later).await);
    put!(farm, tx => tx.start_step(later, 0, "slow", StepKind::Test, AT)).unwrap();
    put!(farm, tx => tx.end_step(later, 0, &StepResult { end: &StepEnd::Silent, duration_ms: 250, warnings: &[] }, LATER)).unwrap();
    assert!(!proven("slow", attempt).await, "it was stopped");
}

#[tokio::test]
async fn a_step_has_failed_before_if_it_failed_in_another_attempt_of_its_build() {
    let farm = Farm::new().await;
    let build = farm.queue(farm.suite(1, Reason::Tip)).await;
    let first = farm.lease(build).await;
    put!(farm, tx => tx.start_step(first, 0, "deps", StepKind::Fetch, AT)).unwrap();
    ended(&farm, first).await.unwrap();
    let failed = |step: &'static str, but| {
        let farm = &farm;
        async move { ask!(farm, read => read.has_failed_before(build, step, but)).unwrap() }
    };
    let other = AttemptId(first.0 + 1);
    assert!(!failed("deps", other).await, "its attempt has not ended");
    put!(farm, tx => tx.end_attempt(first, AttemptState::Ended, None, LATER)).unwrap();
    assert!(failed("deps", other).await);
    assert!(!failed("deps", first).await, "an attempt does not confirm itself");
    assert!(!failed("test", other).await);
}

#[tokio::test]
async fn a_fetch_that_succeeded_is_known_from_then_on() {
    let farm = Farm::new().await;
    let suites = farm.suites;
    let fetched = |since| {
        let farm = &farm;
        async move { ask!(farm, read => read.has_fetched_since(suites, since)).unwrap() }
    };
    let failing = started(&farm).await;
    ended(&farm, failing).await.unwrap();
    assert!(!fetched(AT).await);
    let attempt = farm.lease(farm.queue(farm.suite(2, Reason::Tip)).await).await;
    put!(farm, tx => tx.start_step(attempt, 0, "deps", StepKind::Fetch, AT)).unwrap();
    put!(farm, tx => tx.end_step(attempt, 0, &StepResult { end: &StepEnd::Exit { code: 0 }, duration_ms: 250, warnings: &[] }, LATER)).unwrap();
    assert!(fetched(AT).await && fetched(LATER).await);
    assert!(!fetched(Timestamp(LATER.0 + 1)).await);
}
