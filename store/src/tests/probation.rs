//! Machines on probation: what they may repeat, and what they are believed for.

use super::*;

/// A second machine, on probation.
async fn newcomer(farm: &Farm) -> WorkerId {
    farm.store
        .write(|tx| {
            Box::pin(async move {
                tx.register_join_request(&key(2), "bob", &WorkerFacts::default(), AT).await?;
                tx.approve_worker("02020202", "Bob", Trust::Probation, AT).await?;
                Ok(tx.worker_by_key(&key(2)).await?.unwrap().id)
            })
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_newcomer_may_repeat_complete_runs_of_workers_that_count() {
    let farm = Farm::new().await;
    let (worker, platform) = (newcomer(&farm).await, farm.platform);
    let choice = |platforms: Vec<PlatformId>| {
        let farm = &farm;
        async move {
            let found = ask!(farm, read => read.runs_of_others(worker, &platforms)).unwrap();
            found.into_iter().map(|(build, project)| (build.id, project)).collect::<Vec<_>>()
        }
    };
    assert_eq!(choice(vec![platform]).await, []);
    let whole = farm.run(1, "PF").await;
    farm.run(2, "P~").await;
    farm.point(3, whole).await;
    assert_eq!(choice(vec![platform]).await, [(whole, "penlight".to_string())]);
    assert_eq!(choice(vec![PlatformId(99)]).await, []);
}

#[tokio::test]
async fn a_build_that_waits_for_a_worker_binds_it() {
    let farm = Farm::new().await;
    let worker = newcomer(&farm).await;
    let bound = || async { ask!(farm, read => read.is_worker_bound(worker)).unwrap() };
    assert!(!bound().await);
    let new = NewBuild { only_worker: Some(worker), ..farm.suite(1, Reason::Null) };
    farm.queue(new).await;
    assert!(bound().await);
}

#[tokio::test]
async fn agreements_are_counted_in_a_row_and_end_a_probation_only() {
    let farm = Farm::new().await;
    let (worker, maker) = (newcomer(&farm).await, farm.worker);
    for (agreed, expected) in [(true, 1), (true, 2), (false, 0), (true, 1)] {
        assert_eq!(put!(farm, tx => tx.record_agreement(worker, agreed, AT)).unwrap(), expected);
    }
    for worker in [worker, maker] {
        put!(farm, tx => tx.end_probation(worker, AT)).unwrap();
    }
    assert_eq!(ask!(farm, read => read.worker(worker)).unwrap().trust, Some(Trust::Counted));
    assert_eq!(ask!(farm, read => read.worker(maker)).unwrap().trust, Some(Trust::Maker));
}
