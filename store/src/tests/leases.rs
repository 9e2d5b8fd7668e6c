//! A build with a silent worker: offered to another, kept by the first or taken over, and reported too late.

use super::*;

/// Two workers, and a build that the first one has begun.
async fn held() -> (Farm, WorkerId, BuildId, AttemptId) {
    let farm = Farm::new().await;
    put!(farm, tx => tx.register_join_request(&key(2), "bob", &WorkerFacts::default(), AT)).unwrap();
    put!(farm, tx => tx.approve_worker("02020202", "Bob", Trust::Maker, AT)).unwrap();
    let bob = ask!(farm, read => read.worker_by_key(&key(2))).unwrap().unwrap().id;
    let build = farm.queue(farm.suite(1, Reason::Tip)).await;
    let attempt = farm.lease(build).await;
    let worker = farm.worker;
    put!(farm, tx => tx.accept_attempt(attempt, worker, AT)).unwrap();
    (farm, bob, build, attempt)
}

async fn state(farm: &Farm, attempt: AttemptId) -> AttemptState {
    ask!(farm, read => read.attempt(attempt)).unwrap().unwrap().state
}

#[tokio::test]
async fn a_spare_build_is_on_offer_once() {
    let (farm, bob, build, _) = held().await;
    let spare = || async { ask!(farm, read => read.spare_build(build, AT)).unwrap().map(|row| row.id) };
    assert_eq!(spare().await, Some(build));
    let rival = put!(farm, tx => tx.offer_to_another_worker(build, bob, LATER, AT)).unwrap();
    assert_eq!(state(&farm, rival).await, AttemptState::Offered);
    assert_eq!(spare().await, None);
    let twice = put!(farm, tx => tx.offer_to_another_worker(build, bob, LATER, AT));
    assert_eq!(refusal(twice), "the build is offered already, or no worker holds it");
    put!(farm, tx => tx.end_attempt(rival, AttemptState::Declined, None, AT)).unwrap();
    put!(farm, tx => tx.delay_next_offer(build, LATER)).unwrap();
    assert_eq!(spare().await, None);
    let queued = farm.queue(farm.suite(2, Reason::Tip)).await;
    assert_eq!(ask!(farm, read => read.spare_build(queued, AT)).unwrap(), None, "nobody has it");
    let held = put!(farm, tx => tx.delay_next_offer(queued, LATER));
    assert_eq!(refusal(held), "the build is not with a worker");
}

#[tokio::test]
async fn an_offer_is_withdrawn_when_the_holder_responds() {
    let (farm, bob, build, attempt) = held().await;
    let rival = put!(farm, tx => tx.offer_to_another_worker(build, bob, LATER, AT)).unwrap();
    assert!(ask!(farm, read => read.has_rival(attempt)).unwrap());
    assert_eq!(put!(farm, tx => tx.withdraw_offers(bob, AT)).unwrap(), [], "it has only an offer");
    let worker = farm.worker;
    assert_eq!(put!(farm, tx => tx.withdraw_offers(worker, AT)).unwrap(), [(rival, bob)]);
    assert_eq!(state(&farm, rival).await, AttemptState::Declined);
    assert_eq!(state(&farm, attempt).await, AttemptState::Running);
    assert!(!ask!(farm, read => read.has_rival(attempt)).unwrap());
    assert_eq!(put!(farm, tx => tx.withdraw_offers(worker, AT)).unwrap(), []);
}

#[tokio::test]
async fn a_worker_that_accepts_takes_the_build_over_and_a_late_report_is_stored_once() {
    let (farm, bob, build, attempt) = held().await;
    let rival = put!(farm, tx => tx.offer_to_another_worker(build, bob, LATER, AT)).unwrap();
    put!(farm, tx => tx.accept_attempt(rival, bob, AT)).unwrap();
    let worker = farm.worker;
    assert_eq!(put!(farm, tx => tx.take_over(rival, AT)).unwrap(), [(attempt, worker)]);
    assert_eq!(put!(farm, tx => tx.take_over(rival, AT)).unwrap(), []);
    assert_eq!(
        (state(&farm, attempt).await, state(&farm, rival).await),
        (AttemptState::Lost, AttemptState::Running)
    );

    put!(farm, tx => tx.acknowledge_late(attempt, 0, 3)).unwrap();
    let gap = put!(farm, tx => tx.acknowledge_late(attempt, 4, 5));
    assert_eq!(refusal(gap), "the event is out of its sequence");
    let alive = put!(farm, tx => tx.acknowledge_late(rival, 0, 1));
    assert_eq!(refusal(alive), "the event is out of its sequence");

    let judged = || BuildResult { outcome: Outcome::Failed, cause: None, step: Some("test".into()) };
    assert!(!ask!(farm, read => read.has_late_report(attempt)).unwrap());
    put!(farm, tx => tx.put_late_report(attempt, &judged(), Some(&told("PF")), AT)).unwrap();
    assert!(ask!(farm, read => read.has_late_report(attempt)).unwrap());
    let rows = ask!(farm, read => read.attempt_rows(build.0)).unwrap();
    assert_eq!([rows[0].late, rows[1].late], [Some(Outcome::Failed), None]);
    let build = ask!(farm, read => read.build(build)).unwrap();
    assert_eq!(build.outcome, None, "it decides nothing");
    let alive = put!(farm, tx => tx.put_late_report(rival, &judged(), None, AT));
    assert_eq!(refusal(alive), "the attempt was not taken from its worker");
}
