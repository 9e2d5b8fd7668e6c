//! The writer: many jobs, one commit, and each job's fate its own.

use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::sync::oneshot;

use super::*;

/// Jobs that wait together while another one has the writer, as what became of each; and how many commits they took.
async fn together(farm: &Farm, labels: &'static [&'static str]) -> (String, u64) {
    let (begin, begun) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    let (store, before) = (farm.store.clone(), *farm.store.commits().borrow() + 1);
    let other = tokio::spawn(async move {
        let job = store.write(move |_| {
            Box::pin(async move {
                begin.send(()).unwrap();
                ended.await.unwrap();
                Ok(())
            })
        });
        job.await
    });
    begun.await.unwrap();
    let jobs = labels.iter().map(|&label| {
        farm.store.write(move |tx| {
            Box::pin(async move {
                let id = tx.put_platform(label).await?;
                match label {
                    "refused" => Err(Error::Conflict("refused by its own rule")),
                    "panics" => panic!("a mistake of the program"),
                    _ => Ok(id),
                }
            })
        })
    });
    // All are sent at the first look at them, before the other job may end.
    let (answers, ()) = join(join_all(jobs), async { end.send(()).unwrap() }).await;
    other.await.unwrap().unwrap();
    let word = |answer: &Result<PlatformId>| if answer.is_ok() { "kept" } else { "failed" };
    let answers: Vec<_> = answers.iter().map(word).collect();
    (answers.join(" "), *farm.store.commits().borrow() - before)
}

async fn labels(farm: &Farm) -> String {
    let platforms = ask!(farm, read => read.platforms()).unwrap();
    platforms.into_iter().map(|(_, label)| label).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn jobs_that_wait_together_share_one_commit() {
    let farm = Farm::new().await;
    assert_eq!(together(&farm, &["a", "b", "c"]).await, ("kept kept kept".to_string(), 1));
    assert_eq!(labels(&farm).await, "a b c linux-x86_64");
}

#[tokio::test]
async fn a_job_that_fails_is_rolled_back_alone() {
    let farm = Farm::new().await;
    assert_eq!(together(&farm, &["a", "refused", "c"]).await, ("kept failed kept".to_string(), 1));
    assert_eq!(labels(&farm).await, "a c linux-x86_64");
}

#[tokio::test]
async fn a_job_that_panics_is_rolled_back_alone_and_the_store_goes_on() {
    let farm = Farm::new().await;
    assert_eq!(together(&farm, &["a", "panics", "c"]).await, ("kept failed kept".to_string(), 1));
    assert_eq!(together(&farm, &["d"]).await, ("kept".to_string(), 1));
    assert_eq!(labels(&farm).await, "a c d linux-x86_64");
}

#[tokio::test]
async fn more_jobs_than_a_commit_takes_need_another_one() {
    const MANY: [&str; 100] = ["same"; 100];
    let farm = Farm::new().await;
    let (answers, commits) = together(&farm, &MANY).await;
    assert!(!answers.contains("failed"));
    assert!((2..=4).contains(&commits), "{commits}");
}

#[tokio::test]
async fn an_answer_comes_after_the_commit() {
    let farm = Farm::new().await;
    let mut commits = farm.store.commits();
    commits.mark_unchanged();
    let seen = farm.store.write(|tx| Box::pin(async move { tx.put_platform("new").await })).await.unwrap();
    assert!(commits.has_changed().unwrap());
    let platforms = ask!(farm, read => read.platforms()).unwrap();
    assert!(platforms.contains(&(seen, "new".to_string())));
}

#[tokio::test]
async fn a_snapshot_stays_at_its_moment() {
    let farm = Farm::new().await;
    let mut snapshot = farm.store.snapshot().await.unwrap();
    assert_eq!(snapshot.read().platforms().await.unwrap().len(), 1);
    put!(farm, tx => tx.put_platform("new")).unwrap();
    assert_eq!(snapshot.read().platforms().await.unwrap().len(), 1);
    assert_eq!(ask!(farm, read => read.platforms()).unwrap().len(), 2);
}

/// A long reader keeps the log of writes from being used again: it grows, costs nothing else, and stops growing when the
/// reader has gone.
#[tokio::test]
async fn a_long_reader_sees_its_moment_and_the_log_of_writes_is_used_again_behind_it() {
    const ROUNDS: usize = 30;
    let farm = Farm::new().await;
    let wal = || std::fs::metadata(farm.folder.path().join("farm.db-wal")).unwrap().len();
    let write = |round: usize| {
        let label = format!("{round} {}", "x".repeat(400_000));
        farm.store.write(move |tx| Box::pin(async move { tx.put_platform(&label).await }))
    };
    let mut reader = farm.store.snapshot().await.unwrap();
    assert_eq!(reader.read().platforms().await.unwrap().len(), 1);
    for round in 0..ROUNDS {
        write(round).await.unwrap();
    }
    let grown = wal();
    assert!(grown > 8 << 20, "{grown} bytes");
    assert_eq!(reader.read().platforms().await.unwrap().len(), 1);
    drop(reader);
    for round in 0..ROUNDS {
        write(ROUNDS + round).await.unwrap();
    }
    assert!(wal() < grown + (6 << 20), "it went on growing to {} bytes", wal());
    assert_eq!(ask!(farm, read => read.platforms()).unwrap().len(), 1 + 2 * ROUNDS);
}

#[tokio::test]
async fn a_caller_that_was_dropped_undoes_nothing() {
    let farm = Farm::new().await;
    {
        let write = farm.store.write(|tx| Box::pin(async move { tx.put_platform("orphan").await }));
        // Sent, and never asked for its answer.
        assert!(futures_util::FutureExt::now_or_never(write).is_none());
    }
    put!(farm, tx => tx.put_platform("next")).unwrap();
    assert_eq!(labels(&farm).await, "linux-x86_64 next orphan");
}

#[tokio::test]
async fn closing_finishes_what_waits_and_refuses_what_comes_after() {
    let farm = Farm::new().await;
    let (keeper, data) = (farm.store.clone(), farm.folder.path().to_path_buf());
    let last = farm.store.write(|tx| Box::pin(async move { tx.put_platform("last").await }));
    let (last, closed) =
        join(last, tokio::time::timeout(Duration::from_secs(20), farm.store.clone().close())).await;
    assert!(closed.is_ok(), "it waits for everybody who still holds the store");
    assert!(last.is_ok());
    let refused = keeper.write(|tx| Box::pin(async move { tx.put_platform("late").await })).await;
    assert_eq!(refusal(refused), "the store is closed");

    let again = Store::open(&data).await.unwrap();
    let mut snapshot = again.snapshot().await.unwrap();
    let platforms = snapshot.read().platforms().await.unwrap();
    assert_eq!(platforms.len(), 2);
}

#[tokio::test]
async fn a_part_that_fails_is_taken_back_alone() {
    let farm = Farm::new().await;
    let suite = |position| farm.suite(position, Reason::Tip);
    let (first, second, third) = (suite(1), suite(2), suite(3));
    let written = farm.store.write(move |tx| {
        Box::pin(async move {
            tx.enqueue_build(&first, AT).await?;
            tx.begin_savepoint().await?;
            tx.enqueue_build(&second, AT).await?;
            let again = tx.enqueue_build(&first, AT).await;
            assert!(again.is_err_and(|error| error.is_for_good()));
            tx.roll_back_savepoint().await?;
            tx.begin_savepoint().await?;
            tx.enqueue_build(&third, AT).await?;
            tx.release_savepoint().await
        })
    });
    written.await.unwrap();
    assert_eq!(farm.count("build").await, 2);
}
