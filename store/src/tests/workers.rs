//! Workers ask, are let in, and hold attempts one event after the other.

use protocol::Environment;

use super::*;

async fn join(farm: &Farm, key: [u8; 32], name: &'static str) -> Result<()> {
    put!(farm, tx => tx.register_join_request(&key, name, &WorkerFacts::default(), AT))
}

async fn approve(farm: &Farm, code: &'static str) -> Result<String> {
    put!(farm, tx => tx.approve_worker(code, "Bob", Trust::Counted, AT))
}

/// A key that begins with the bytes 0xAB and this one.
fn similar(last: u8) -> [u8; 32] {
    let mut key = [0xAB; 32];
    key[31] = last;
    key
}

#[tokio::test]
async fn a_machine_asks_to_join_is_approved_and_is_found_by_its_key() {
    let farm = Farm::new().await;
    join(&farm, key(2), "bob").await.unwrap();
    let row = ask!(farm, read => read.worker_by_key(&key(2))).unwrap().unwrap();
    assert_eq!((row.state, row.owner.as_deref(), row.trust), (WorkerState::Pending, None, None));
    assert_eq!(approve(&farm, "02020202").await.unwrap(), "bob");
    let row = ask!(farm, read => read.worker(row.id)).unwrap();
    assert_eq!(
        (row.state, row.owner.as_deref(), row.trust),
        (WorkerState::Approved, Some("Bob"), Some(Trust::Counted))
    );
    let names: Vec<_> = ask!(farm, read => read.workers()).unwrap().into_iter().map(|w| w.name).collect();
    assert_eq!(names, ["ada", "bob"]);
    assert_eq!(ask!(farm, read => read.worker_by_key(&key(9))).unwrap(), None);
    assert_eq!(refusal(ask!(farm, read => read.worker(WorkerId(99)))), "there is no such worker");
}

#[tokio::test]
async fn asking_again_is_no_second_worker() {
    let farm = Farm::new().await;
    join(&farm, key(2), "bob").await.unwrap();
    join(&farm, key(2), "bob").await.unwrap();
    assert_eq!(farm.count("worker").await, 2);
}

/// A public key is no secret: who knows it must not be able to say that its machine has a sandbox.
#[tokio::test]
async fn asking_again_does_not_change_the_facts_of_a_worker_that_was_let_in() {
    let farm = Farm::new().await;
    let lie = || WorkerFacts { sandbox: "a lie".to_string(), ..WorkerFacts::default() };
    let sandbox = |byte: u8| {
        let farm = &farm;
        async move { ask!(farm, read => read.worker_by_key(&key(byte))).unwrap().unwrap().facts.sandbox }
    };
    put!(farm, tx => tx.register_join_request(&key(1), "ada", &lie(), LATER)).unwrap();
    assert_eq!(sandbox(1).await, "");
    join(&farm, key(2), "bob").await.unwrap();
    put!(farm, tx => tx.register_join_request(&key(2), "bob", &lie(), LATER)).unwrap();
    assert_eq!(sandbox(2).await, "a lie", "nobody has been let in by this name yet");
}

#[tokio::test]
async fn a_name_belongs_to_the_first_who_took_it() {
    let farm = Farm::new().await;
    let taken = join(&farm, key(2), "ada").await;
    assert_eq!(refusal(taken), "another worker has this name; choose one with --name");
}

#[tokio::test]
async fn the_number_of_pending_machines_is_bounded() {
    let farm = Farm::new().await;
    for count in 0..200u8 {
        let mut key = [0xCD; 32];
        key[0] = count;
        put!(farm, tx => tx.register_join_request(&key, &format!("w{count}"), &WorkerFacts::default(), AT))
            .unwrap();
    }
    let more = join(&farm, [0xEE; 32], "late").await;
    assert_eq!(refusal(more), "too many machines wait for the operator's approval; try again later");
    assert!(join(&farm, key(1), "ada").await.is_ok(), "who is known already is not turned away");
    approve(&farm, "00CDCDCD").await.unwrap();
    assert!(join(&farm, [0xEE; 32], "late").await.is_ok());
}

#[tokio::test]
async fn a_code_names_one_machine_or_no_machine_is_approved() {
    let farm = Farm::new().await;
    join(&farm, similar(1), "one").await.unwrap();
    join(&farm, similar(2), "two").await.unwrap();
    assert_eq!(
        refusal(approve(&farm, "abababab").await),
        "several workers have that code; type more of the key"
    );
    let pending =
        ask!(farm, read => read.workers()).unwrap().into_iter().filter(|w| w.state == WorkerState::Pending);
    assert_eq!(pending.count(), 2);
    assert_eq!(refusal(approve(&farm, "99999999").await), "there is no such worker with that code");
    let whole = "abababababababababababababababababababababababababababababababab";
    assert_eq!(refusal(approve(&farm, whole).await), "there is no such worker with that code");
    let whole = "ababababababababababababababababababababababababababababababab02";
    assert_eq!(approve(&farm, whole).await.unwrap(), "two");
}

#[tokio::test]
async fn an_invalid_code_approves_no_machine() {
    let farm = Farm::new().await;
    for code in ["", "%", "0", "0101", "________", "0101010%", "0101 0101"] {
        let said = refusal(approve(&farm, code).await);
        assert_eq!(
            said, "a code is at least the first eight hexadecimal digits of a worker's key",
            "{code:?}"
        );
    }
}

/// Trust is raised by the operator's word.
#[tokio::test]
async fn approving_again_changes_owner_and_trust() {
    let farm = Farm::new().await;
    assert_eq!(approve(&farm, "01010101").await.unwrap(), "ada");
    let worker = farm.worker;
    let row = ask!(farm, read => read.worker(worker)).unwrap();
    assert_eq!((row.owner.as_deref(), row.trust), (Some("Bob"), Some(Trust::Counted)));
}

#[tokio::test]
async fn a_session_opens_and_closes_and_a_master_that_starts_has_none() {
    let farm = Farm::new().await;
    let worker = farm.worker;
    let seen = || async {
        let row = ask!(farm, read => read.worker(worker)).unwrap();
        (row.connected, row.seen_at, row.facts.cpus)
    };
    let facts = WorkerFacts { cpus: 8, ..WorkerFacts::default() };
    let told = facts.clone();
    put!(farm, tx => tx.mark_worker_connected(worker, &told, "0.1.0", 2, AT)).unwrap();
    assert_eq!(seen().await, (true, Some(AT), 8));
    put!(farm, tx => tx.mark_worker_left(worker, LATER)).unwrap();
    assert_eq!(seen().await, (false, Some(LATER), 8));
    put!(farm, tx => tx.mark_worker_connected(worker, &facts, "0.1.0", 2, AT)).unwrap();
    put!(farm, tx => tx.mark_all_workers_left(AT)).unwrap();
    assert_eq!(seen().await, (false, Some(AT), 8));
    let unknown =
        put!(farm, tx => tx.mark_worker_connected(WorkerId(99), &WorkerFacts::default(), "0.1.0", 1, AT));
    assert_eq!(refusal(unknown), "the worker is not registered");
}

#[tokio::test]
async fn a_heartbeat_prolongs_what_runs_and_shortens_nothing() {
    let farm = Farm::new().await;
    let (worker, build) = (farm.worker, farm.queue(farm.suite(1, Reason::Tip)).await);
    let attempt = farm.lease(build).await;
    let lease = || async { ask!(farm, read => read.attempt(attempt)).unwrap().unwrap().lease_until };
    assert!(!put!(farm, tx => tx.heartbeat(worker, AT, AT)).unwrap(), "an offer is not held yet");
    put!(farm, tx => tx.accept_attempt(attempt, worker, AT)).unwrap();
    assert!(put!(farm, tx => tx.heartbeat(worker, Timestamp(LATER.0 + 5), AT)).unwrap());
    assert_eq!(lease().await, Timestamp(LATER.0 + 5));
    put!(farm, tx => tx.heartbeat(worker, AT, AT)).unwrap();
    assert_eq!(lease().await, Timestamp(LATER.0 + 5));
    put!(farm, tx => tx.end_attempt(attempt, AttemptState::Ended, None, AT)).unwrap();
    assert!(!put!(farm, tx => tx.heartbeat(worker, AT, AT)).unwrap(), "it holds no more");
}

#[tokio::test]
async fn last_seen_times_are_recorded_together_but_not_for_a_worker_that_left() {
    let farm = Farm::new().await;
    let here = farm.worker;
    put!(farm, tx => tx.register_join_request(&key(2), "bob", &WorkerFacts::default(), AT)).unwrap();
    let gone = ask!(farm, read => read.worker_by_key(&key(2))).unwrap().unwrap().id;
    for worker in [here, gone] {
        put!(farm, tx => tx.mark_worker_connected(worker, &WorkerFacts::default(), "0.1.0", 2, AT)).unwrap();
    }
    put!(farm, tx => tx.mark_worker_left(gone, AT)).unwrap();
    put!(farm, tx => tx.record_workers_seen(&[(here, LATER), (gone, LATER)])).unwrap();
    let seen = async |worker| ask!(farm, read => read.worker(worker)).unwrap().seen_at;
    assert_eq!([seen(here).await, seen(gone).await], [Some(LATER), Some(AT)]);
}

/// Otherwise an offer that was lost on its way would stay with a worker that never received it.
#[tokio::test]
async fn a_heartbeat_prolongs_no_offer() {
    let farm = Farm::new().await;
    let (worker, build) = (farm.worker, farm.queue(farm.suite(1, Reason::Tip)).await);
    let attempt = farm.lease(build).await;
    put!(farm, tx => tx.heartbeat(worker, Timestamp(LATER.0 + 5), AT)).unwrap();
    assert_eq!(ask!(farm, read => read.attempt(attempt)).unwrap().unwrap().lease_until, LATER);
}

#[tokio::test]
async fn an_attempt_is_accepted_once_and_ends_once() {
    let farm = Farm::new().await;
    let build = farm.queue(farm.suite(1, Reason::Tip)).await;
    let attempt = farm.lease(build).await;
    let live = || async { ask!(farm, read => read.live_attempts()).unwrap().len() };
    let (worker, another) = (farm.worker, WorkerId(99));
    let accept = async |worker| put!(farm, tx => tx.accept_attempt(attempt, worker, AT)).unwrap();
    assert_eq!(accept(another).await, None, "it is on offer to somebody else");
    assert_eq!(accept(worker).await, Some(1), "it is the first try");
    assert_eq!(accept(worker).await, None, "it is on offer no more");
    assert_eq!(live().await, 1);
    put!(farm, tx => tx.end_attempt(attempt, AttemptState::Lost, Some("not heard"), AT)).unwrap();
    let late = put!(farm, tx => tx.end_attempt(attempt, AttemptState::Ended, None, AT));
    assert_eq!(refusal(late), "the attempt has ended already");
    assert_eq!(live().await, 0);
    let avoid = ask!(farm, read => read.workers_to_avoid(build)).unwrap();
    assert_eq!(avoid, [farm.worker]);
    assert_eq!(ask!(farm, read => read.attempt(AttemptId(99))).unwrap(), None);
}

/// (what is kept already, as the session believes, and the event that came) against what the store says of it.
#[tokio::test]
async fn events_are_acknowledged_one_after_the_other() {
    let farm = Farm::new().await;
    let attempt = farm.lease(farm.queue(farm.suite(1, Reason::Tip)).await).await;
    let cases = [(0, 3, true), (0, 4, false), (2, 4, false), (3, 3, false), (3, 2, false), (3, 4, true)];
    for (before, sequence, kept) in cases {
        let done = put!(farm, tx => tx.acknowledge(attempt, before, sequence, AT));
        assert_eq!(done.is_ok(), kept, "{before} to {sequence}");
        if !kept {
            assert_eq!(refusal(done), "the event is out of its sequence");
        }
    }
    assert_eq!(ask!(farm, read => read.attempt(attempt)).unwrap().unwrap().sequence, 4);
    put!(farm, tx => tx.end_attempt(attempt, AttemptState::Lost, None, AT)).unwrap();
    let late = put!(farm, tx => tx.acknowledge(attempt, 4, 5, AT));
    assert_eq!(refusal(late), "the event is out of its sequence");
}

#[tokio::test]
async fn a_worker_that_reports_events_has_accepted() {
    let farm = Farm::new().await;
    let attempt = farm.lease(farm.queue(farm.suite(1, Reason::Tip)).await).await;
    let state = || async { ask!(farm, read => read.attempt(attempt)).unwrap().unwrap().state };
    assert_eq!(state().await, AttemptState::Offered);
    put!(farm, tx => tx.acknowledge(attempt, 0, 1, AT)).unwrap();
    assert_eq!(state().await, AttemptState::Running);
}

#[tokio::test]
async fn an_offer_that_was_not_accepted_costs_no_try() {
    let farm = Farm::new().await;
    let (worker, build) = (farm.worker, farm.queue(farm.suite(1, Reason::Tip)).await);
    for (taken, ended, spent) in [
        (false, AttemptState::Declined, 0),
        (false, AttemptState::Lost, 0),
        (true, AttemptState::Lost, 1),
        (true, AttemptState::Ended, 2),
    ] {
        let attempt = farm.lease(build).await;
        if taken {
            put!(farm, tx => tx.accept_attempt(attempt, worker, AT)).unwrap();
        }
        put!(farm, tx => tx.end_attempt(attempt, ended, None, AT)).unwrap();
        put!(farm, tx => tx.requeue_build(build, AT, AT)).unwrap();
        assert_eq!(ask!(farm, read => read.spent_attempts(build)).unwrap(), spent, "{ended}");
    }
}

#[tokio::test]
async fn equal_environments_are_stored_once() {
    let farm = Farm::new().await;
    let environment = Environment { sha256: Sha256([4; 32]), properties: vec!["cc=gcc 12".to_string()] };
    for position in [1, 2] {
        let attempt = farm.lease(farm.queue(farm.suite(position, Reason::Tip)).await).await;
        let told = environment.clone();
        put!(farm, tx => tx.put_environment(attempt, &told)).unwrap();
        let row = ask!(farm, read => read.attempt(attempt)).unwrap().unwrap();
        assert_eq!(row.environment, Some(environment.sha256));
    }
    let build = farm.queue(farm.suite(3, Reason::Tip)).await;
    let attempt = farm.finish(build, Outcome::Passed).await;
    let told = environment.clone();
    put!(farm, tx => tx.put_environment(attempt, &told)).unwrap();
    let machine = ask!(farm, read => read.machine_of(build)).unwrap();
    assert_eq!(machine, Some((farm.worker, Some(environment.sha256))));
    assert_eq!(farm.count("environment").await, 1);
}
