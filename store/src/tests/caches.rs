//! Runs with and without declared caches.

use super::*;

/// A finished run of the suite at position 1: with caches of this epoch, or without.
async fn run(farm: &Farm, reason: Reason, epoch: Option<i64>, picture: &str) -> BuildId {
    let build = farm.queue(farm.suite(1, reason)).await;
    let attempt = farm.lease(build).await;
    if let Some(epoch) = epoch {
        put!(farm, tx => tx.record_caches(attempt, epoch)).unwrap();
    }
    let (worker, finish) = (farm.worker, Finish { attempt: Some(attempt), ..ended(Outcome::Passed) });
    let (list, results) = told(picture);
    let ran = farm.store.write(move |tx| {
        Box::pin(async move {
            tx.accept_attempt(attempt, worker, AT).await?;
            tx.end_attempt(attempt, AttemptState::Ended, None, AT).await?;
            tx.finish_build(build, &finish, AT).await?;
            tx.put_results(build, &list, &results).await
        })
    });
    ran.await.unwrap();
    build
}

async fn compared(farm: &Farm, build: BuildId) -> Vec<(BuildId, bool)> {
    let inputs = farm.suite(1, Reason::Null).inputs;
    let runs = ask!(farm, read => read.comparable_runs(farm.suites, build, inputs)).unwrap();
    runs.into_iter().map(|run| (run.build, run.with_caches)).collect()
}

#[tokio::test]
async fn runs_are_compared_as_long_as_their_caches_were_not_dropped() {
    let farm = Farm::new().await;
    let with = run(&farm, Reason::Tip, Some(0), "P").await;
    let without = run(&farm, Reason::Null, None, "F").await;
    assert_eq!(compared(&farm, without).await, [(without, false), (with, true)]);
    assert_eq!(compared(&farm, with).await, [(with, true)], "only what ran before");
    assert!(ask!(farm, read => read.had_caches(with)).unwrap());
    assert!(!ask!(farm, read => read.had_caches(without)).unwrap());

    put!(farm, tx => tx.record_cache_disagreement(without, 1, "a", AT)).unwrap();
    let again = run(&farm, Reason::Null, None, "F").await;
    assert_eq!(compared(&farm, again).await, [(again, false), (without, false)]);
    let fresh = run(&farm, Reason::Probe, Some(1), "P").await;
    assert_eq!(compared(&farm, fresh).await, [(fresh, true), (again, false), (without, false)]);
}

#[tokio::test]
async fn a_build_counts_the_older_probes_of_its_cell_and_the_disagreements_of_its_project() {
    let farm = Farm::new().await;
    let mut probes = Vec::new();
    for position in [1, 1, 2, 1] {
        let probe = farm.queue(farm.suite(position, Reason::Probe)).await;
        probes.push(ask!(farm, read => read.cache_question(probe)).unwrap().earlier_probes);
    }
    assert_eq!(probes, [0, 1, 0, 2]);
    let null = run(&farm, Reason::Null, None, "P").await;
    let question = ask!(farm, read => read.cache_question(null)).unwrap();
    assert_eq!((question.own_epoch, question.trunk_epoch), (0, 0));
    let CacheQuestion { trunk, variant, project, .. } = &question;
    assert_eq!((trunk.as_str(), variant.as_str(), project.as_deref()), ("lua", "", Some("penlight")));
    put!(farm, tx => tx.record_cache_disagreement(null, 2, "a", AT)).unwrap();
    let question = ask!(farm, read => read.cache_question(null)).unwrap();
    assert_eq!((question.own_epoch, question.trunk_epoch), (1, 1));
    let toolchain =
        farm.queue(NewBuild { builder: farm.toolchains, pin: None, ..farm.suite(3, Reason::Tip) }).await;
    let question = ask!(farm, read => read.cache_question(toolchain)).unwrap();
    assert_eq!((question.project, question.own_epoch, question.trunk_epoch), (None, 0, 1));
    let shown = ask!(farm, read => read.cache_disagreements(EVER)).unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].owner.as_str(), shown[0].cases, shown[0].example.as_str()), ("penlight", 2, "a"));
    assert!(ask!(farm, read => read.cache_disagreements(AT)).unwrap().is_empty());
}
