//! A store whose farm had a clock that was ahead.

use std::time::Duration;

use domain::clock::LatestStamps;
use protocol::PackedToolchain;

use super::*;

/// Every time that a rule compares with the present. The rest is shown, or compared with other stored times only.
const COMPARED: &[(&str, &str)] = &[
    ("attempt where ended_at_ms is null", "max(offered_at_ms, started_at_ms, lease_until_ms)"),
    ("build where state <> 'finished'", "max(queued_at_ms, not_before_ms)"),
    ("build where state = 'finished'", "max(finished_at_ms, queued_at_ms)"),
    ("notice", "max(decided_at_ms, next_try_at_ms)"),
    ("breakage", "max(opened_at_ms, coalesce(found_at_ms, 0))"),
    ("pin", "max(proposed_at_ms, since_ms)"),
    ("worker", "seen_at_ms"),
    ("trunk", "polled_at_ms"),
    ("builder", "since_ms"),
    ("artifact", "made_at_ms"),
    ("change", "found_at_ms"),
];

const AHEAD: Timestamp = Timestamp(400 * 86_400_000);

async fn newest(farm: &Farm, (table, stamps): (&str, &str)) -> Option<i64> {
    let sql = format!("select max(stamp) from (select {stamps} as stamp from {table})");
    let row = sqlx::query_scalar::<_, Option<i64>>(sqlx::AssertSqlSafe(sql));
    ask!(farm, read => row.fetch_one(&mut *read.connection)).unwrap()
}

#[tokio::test]
async fn times_of_a_clock_that_was_ahead_are_bounded_and_others_stay() {
    let farm = Farm::new().await;
    let worker = farm.worker;
    let held = farm.queue(farm.suite(1, Reason::Tip)).await;
    let attempt = farm.lease(held).await;
    put!(farm, tx => tx.accept_attempt(attempt, worker, AHEAD)).unwrap();
    put!(farm, tx => tx.mark_all_workers_left(AHEAD)).unwrap();
    farm.queue(farm.suite(2, Reason::Tip)).await;
    let done = farm.queue(farm.suite(3, Reason::Tip)).await;
    farm.finish(done, Outcome::Passed).await;
    put!(farm, tx => tx.record_workers_seen(&[(worker, AHEAD)])).unwrap();
    let stamped = move |sql: &'static str| sqlx::query(sql).bind(AHEAD.0);
    for sql in [
        "update build set not_before_ms = ?1, queued_at_ms = ?1 where state = 'queued'",
        "update build set finished_at_ms = ?1, queued_at_ms = ?1 where state = 'finished'",
        "update change set found_at_ms = ?",
        "update worker set seen_at_ms = ?",
        "update trunk set polled_at_ms = ?",
        "update builder set since_ms = ?",
        "update pin set proposed_at_ms = ?1, since_ms = ?1",
    ] {
        farm.store
            .write(move |tx| {
                Box::pin(async move { Ok(stamped(sql).execute(&mut *tx.connection).await?.rows_affected()) })
            })
            .await
            .unwrap();
    }
    let latest = LatestStamps::at(LATER, Duration::from_secs(60));
    put!(farm, tx => tx.bound_stamps(&latest)).unwrap();
    for column in COMPARED {
        let found = newest(&farm, *column).await;
        let most = latest.lease.0.max(latest.offer.0).max(latest.mail.0);
        assert!(found.is_none_or(|found| found <= most), "{column:?}: {found:?}");
    }
    assert_eq!(newest(&farm, COMPARED[2]).await, Some(LATER.0));
    assert_eq!(ask!(farm, read => read.attempt(attempt)).unwrap().unwrap().lease_until, latest.lease);
    assert_eq!(ask!(farm, read => read.next_waiting(LATER)).unwrap(), Some(latest.offer));

    // What is not ahead stays.
    let earlier = LatestStamps::at(AHEAD, Duration::from_secs(60));
    let before = [newest(&farm, COMPARED[0]).await, newest(&farm, COMPARED[6]).await];
    put!(farm, tx => tx.bound_stamps(&earlier)).unwrap();
    assert_eq!([newest(&farm, COMPARED[0]).await, newest(&farm, COMPARED[6]).await], before);
}

/// A toolchain that was made, or used, by a clock that was ahead would be the last to be deleted for as long.
#[tokio::test]
async fn toolchains_of_a_clock_that_was_ahead_are_not_the_most_recently_used() {
    let farm = Farm::new().await;
    let (worker, made) = (farm.worker, |n: u8| PackedToolchain { sha256: Sha256([n; 32]), bytes: 1 });
    let ahead = farm.queue(NewBuild { artifact: Some(made(2).sha256), ..farm.suite(1, Reason::Tip) });
    put!(farm, tx => async move {
        tx.put_artifact(made(1), worker, false, AHEAD).await?;
        tx.put_artifact(made(2), worker, false, AT).await?;
        tx.put_artifact(made(3), worker, false, AT).await
    })
    .unwrap();
    let build = ahead.await;
    farm.finish(build, Outcome::Passed).await;
    let stamp = sqlx::query("update build set queued_at_ms = ?1, finished_at_ms = ?1").bind(AHEAD.0);
    put!(farm, tx => async move { Ok(stamp.execute(&mut *tx.connection).await?.rows_affected()) }).unwrap();
    let latest = LatestStamps::at(LATER, Duration::from_secs(60));
    put!(farm, tx => tx.bound_stamps(&latest)).unwrap();
    put!(farm, tx => tx.put_artifact(made(4), worker, false, Timestamp(LATER.0 + 1))).unwrap();
    let mut kept = ask!(farm, read => read.kept_toolchains()).unwrap();
    kept.sort_by_key(|toolchain| toolchain.used_at);
    let newest = kept.pop().map(|toolchain| toolchain.sha256);
    assert_eq!(newest, Some(made(4).sha256), "what is made from now on is the newest: {kept:?}");
}
