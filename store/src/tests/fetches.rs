//! Builders that cannot fetch, and how far a fetch is.

use domain::outcome::Cause;
use domain::sentences::FetchFailure;

use super::*;

fn failure(is_checked: bool) -> FetchFailure {
    FetchFailure { step: "deps".into(), message: Some("no route to host".into()), is_checked }
}

#[tokio::test]
async fn a_builder_cannot_fetch_until_it_can_and_its_contacts_are_informed_once() {
    let farm = Farm::new().await;
    let builder = farm.suites;
    let id = farm.queue(farm.suite(1, Reason::Tip)).await;
    let build = ask!(farm, read => read.build(id)).unwrap();
    let failing = async |farm: &Farm| ask!(farm, read => read.failing_fetches()).unwrap();
    assert_eq!(failing(&farm).await, []);
    for (at, is_checked) in [(AT, false), (LATER, true)] {
        let build = build.clone();
        put!(farm, tx => async { tx.put_fetch_failure(&build, &failure(is_checked), at).await }).unwrap();
        let [row] = failing(&farm).await.try_into().unwrap();
        assert_eq!((row.name.as_str(), row.since, row.failure), ("penlight", AT, failure(is_checked)));
        assert_eq!(row.is_notified, is_checked, "the same inputs fail, of which the contacts know");
        put!(farm, tx => tx.mark_fetch_failure_notified(builder, at)).unwrap();
    }
    assert!(ask!(farm, read => read.is_fetch_failing(builder, build.pin)).unwrap());
    assert!(
        !ask!(farm, read => read.is_fetch_failing(builder, None)).unwrap(),
        "with other inputs nobody knows"
    );
    let page = ask!(farm, read => read.project_page("penlight")).unwrap();
    assert_eq!(page.unfetched, Some((AT, failure(true))));
    put!(farm, tx => tx.forget_fetch_failure(builder)).unwrap();
    assert_eq!(failing(&farm).await, []);
}

#[tokio::test]
async fn the_fetch_of_another_change_that_failed_ends_the_wait_for_it() {
    let farm = Farm::new().await;
    let (builder, worker) = (farm.suites, farm.worker);
    let waiting = farm.queue(farm.suite(2, Reason::Tip)).await;
    assert_eq!(ask!(farm, read => read.first_attempt_at(waiting)).unwrap(), None);
    let attempt = farm.lease(waiting).await;
    farm.store
        .write(move |tx| {
            Box::pin(async move {
                tx.accept_attempt(attempt, worker, AT).await?;
                tx.end_attempt(attempt, AttemptState::Ended, None, AT).await?;
                tx.requeue_build(waiting, LATER, AT).await
            })
        })
        .await
        .unwrap();
    assert_eq!(ask!(farm, read => read.first_attempt_at(waiting)).unwrap(), Some(AT));
    assert_eq!(ask!(farm, read => read.waiting_builds(AT)).unwrap().len(), 0);
    let has_failed =
        async |farm: &Farm, since| ask!(farm, read => read.has_failed_to_refetch(builder, since)).unwrap();
    let null = farm.queue(farm.suite(1, Reason::Null)).await;
    assert!(!has_failed(&farm, AT).await);
    let judged = BuildResult { outcome: Outcome::Infra, cause: Some(Cause::Fetch), step: None };
    let finish = Finish { judged, attempt: None, artifact: None, same_as: None };
    put!(farm, tx => async { tx.finish_build(null, &finish, AT).await }).unwrap();
    assert!(has_failed(&farm, AT).await && !has_failed(&farm, LATER).await);
    put!(farm, tx => tx.end_wait_for_fetch(builder, AT)).unwrap();
    assert_eq!(ask!(farm, read => read.waiting_builds(AT)).unwrap().len(), 1);
}

#[tokio::test]
async fn how_far_a_fetch_is_is_kept_of_running_attempts_of_the_same_worker_only() {
    let farm = Farm::new().await;
    let worker = farm.worker;
    let build = farm.queue(farm.suite(1, Reason::Tip)).await;
    let attempt = farm.lease(build).await;
    let shown = async |farm: &Farm| {
        let [row] = ask!(farm, read => read.attempt_rows(build.0)).unwrap().try_into().unwrap();
        row.progress
    };
    put!(farm, tx => tx.put_attempt_progress(attempt, worker, "fetching", AT)).unwrap();
    assert_eq!(shown(&farm).await, None, "it has not accepted the build");
    put!(farm, tx => tx.accept_attempt(attempt, worker, AT)).unwrap();
    put!(farm, tx => tx.put_attempt_progress(attempt, WorkerId(99), "fetching", AT)).unwrap();
    assert_eq!(shown(&farm).await, None, "it is another worker's");
    put!(farm, tx => tx.put_attempt_progress(attempt, worker, "fetching", AT)).unwrap();
    assert_eq!(shown(&farm).await.as_deref(), Some("fetching"));
    put!(farm, tx => tx.start_step(attempt, 0, "test", protocol::StepKind::Test, AT)).unwrap();
    assert_eq!(shown(&farm).await, None, "everything is there");
    let trunk = farm.trunk;
    put!(farm, tx => tx.put_trunk_progress(trunk, "fetching lua", AT)).unwrap();
    let progress = |rows: Vec<crate::pages::BranchRow>| rows.into_iter().find_map(|row| row.progress);
    assert_eq!(progress(ask!(farm, read => read.branch_rows()).unwrap()).as_deref(), Some("fetching lua"));
    put!(farm, tx => tx.record_trunk_poll(trunk, AT)).unwrap();
    assert_eq!(progress(ask!(farm, read => read.branch_rows()).unwrap()), None);
}
