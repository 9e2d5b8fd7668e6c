//! What is asked for when something must go, what is needed then, and what stays of it.

use protocol::{PackedToolchain, StepEnd, StepKind};

use super::*;

/// A build that ran and left a log; its attempt.
async fn logged(farm: &Farm, position: usize, breakage: Option<BreakageId>) -> AttemptId {
    let reason = if breakage.is_some() { Reason::Probe } else { Reason::Tip };
    let build = farm.queue(NewBuild { breakage, ..farm.suite(position, reason) }).await;
    let attempt = farm.lease(build).await;
    let finish = Finish { attempt: Some(attempt), ..ended(Outcome::Passed) };
    let worker = farm.worker;
    farm.store
        .write(move |tx| {
            Box::pin(async move {
                tx.start_step(attempt, 0, "test", StepKind::Test, AT).await?;
                let log = LogExtentRow { bytes: 10, lines: 1, stored_bytes: 70, ..LogExtentRow::default() };
                tx.commit_log(attempt, 0, log).await?;
                let result = StepResult { end: &StepEnd::Exit { code: 0 }, duration_ms: 5, warnings: &[] };
                tx.end_step(attempt, 0, &result, AT).await?;
                tx.accept_attempt(attempt, worker, AT).await?;
                tx.end_attempt(attempt, AttemptState::Ended, None, AT).await?;
                tx.finish_build(build, &finish, AT).await
            })
        })
        .await
        .unwrap();
    attempt
}

async fn old(farm: &Farm, behind: (AttemptId, u16), limit: i64) -> Vec<OldLog> {
    ask!(farm, read => read.old_logs(behind, LATER, limit)).unwrap()
}

const START: (AttemptId, u16) = (AttemptId(0), 0);

#[tokio::test]
async fn old_logs_come_in_parts_until_they_are_pruned() {
    let farm = Farm::new().await;
    let (one, two) = (logged(&farm, 1, None).await, logged(&farm, 2, None).await);
    let first = old(&farm, START, 1).await;
    let expected =
        OldLog { attempt: one, position: 0, outcome: Outcome::Passed, ended_at: AT, is_needed: false };
    assert_eq!(first, [expected]);
    assert_eq!(old(&farm, (one, 0), 9).await[0].attempt, two);
    assert_eq!(ask!(farm, read => read.old_logs(START, AT, 9)).unwrap(), [], "they are not that old");

    put!(farm, tx => tx.mark_log_pruned(one, 0, LATER)).unwrap();
    assert_eq!(old(&farm, START, 9).await.iter().map(|log| log.attempt).collect::<Vec<_>>(), [two]);
    let step = ask!(farm, read => read.steps(one)).unwrap().remove(0);
    assert_eq!((step.log_pruned_at, step.log.lines), (Some(LATER), 1), "the row says what there was");
}

#[tokio::test]
async fn an_open_breakage_needs_its_ends_and_its_probes_until_it_is_over() {
    let farm = Farm::new().await;
    let breakage = farm.open_breakage(1, 4, &[]).await;
    for position in [1, 2, 4] {
        logged(&farm, position, None).await;
    }
    logged(&farm, 3, Some(breakage)).await;
    let needed = || async { old(&farm, START, 9).await.iter().map(|log| log.is_needed).collect::<Vec<_>>() };
    assert_eq!(needed().await, [true, false, true, true]);
    put!(farm, tx => tx.mark_breakage_gone(breakage, AT)).unwrap();
    assert_eq!(needed().await, [false; 4]);
}

/// A toolchain of a change, made by a history build.
async fn toolchain(farm: &Farm, position: usize) -> Sha256 {
    let sha256 = Sha256([position as u8 + 100; 32]);
    let new = NewBuild {
        builder: farm.toolchains,
        pin: None,
        inputs: Sha256([position as u8 + 50; 32]),
        ..farm.suite(position, Reason::Tip)
    };
    let build = farm.queue(new).await;
    let attempt = farm.lease(build).await;
    let (maker, made) = (farm.worker, PackedToolchain { sha256, bytes: position as u64 });
    let finish = Finish { attempt: Some(attempt), artifact: Some(sha256), ..ended(Outcome::Passed) };
    farm.store
        .write(move |tx| {
            Box::pin(async move {
                tx.accept_attempt(attempt, maker, AT).await?;
                tx.end_attempt(attempt, AttemptState::Ended, None, AT).await?;
                tx.put_artifact(made, maker, false, AT).await?;
                tx.finish_build(build, &finish, AT).await
            })
        })
        .await
        .unwrap();
    sha256
}

/// Which positions' toolchains are needed.
async fn needed(farm: &Farm) -> Vec<u64> {
    let mut kept = ask!(farm, read => read.kept_toolchains()).unwrap();
    kept.sort_by_key(|toolchain| toolchain.bytes);
    kept.into_iter().filter(|toolchain| toolchain.is_needed).map(|toolchain| toolchain.bytes).collect()
}

#[tokio::test]
async fn toolchains_are_needed_by_the_ends_of_a_branch_open_ranges_and_builds_to_come() {
    let farm = Farm::new().await;
    let mut made = Vec::new();
    for position in 1..=5 {
        made.push(toolchain(&farm, position).await);
    }
    assert_eq!(needed(&farm).await, [1, 5], "the oldest and the newest");
    let waiting = farm.queue(NewBuild { artifact: Some(made[1]), ..farm.suite(2, Reason::Tip) }).await;
    assert_eq!(needed(&farm).await, [1, 2, 5]);
    farm.finish(waiting, Outcome::Passed).await;
    let breakage = farm.open_breakage(3, 4, &[]).await;
    assert_eq!(needed(&farm).await, [1, 3, 4, 5]);
    put!(farm, tx => tx.mark_breakage_gone(breakage, AT)).unwrap();
    assert_eq!(needed(&farm).await, [1, 5]);
}

#[tokio::test]
async fn each_variant_has_ends_of_its_own() {
    let mut farm = Farm::new().await;
    for position in 1..=4 {
        toolchain(&farm, position).await;
    }
    assert_eq!(needed(&farm).await, [1, 4]);
    let (branch, platform) = (farm.branch, farm.platform);
    let jit = put!(farm, tx => tx.put_variant_builder(branch, platform, None, ("jit", Some("jit"))));
    farm.toolchains = jit.unwrap();
    toolchain(&farm, 3).await;
    assert_eq!(needed(&farm).await, [1, 3, 4], "the only one of the variant is its oldest and its newest");
}

#[tokio::test]
async fn a_pruned_toolchain_is_not_kept_until_it_is_made_again() {
    let farm = Farm::new().await;
    let (toolchains, change) = (farm.toolchains, farm.change(2));
    let sha256 = toolchain(&farm, 2).await;
    let artifact = || async { ask!(farm, read => read.history_cells(toolchains)).unwrap()[0].artifact };
    let waiting = farm.queue(NewBuild { artifact: Some(sha256), ..farm.suite(2, Reason::Tip) }).await;
    assert!(!put!(farm, tx => tx.prune_toolchain(sha256, LATER)).unwrap(), "a build waits for it");
    assert_eq!(artifact().await, Some(sha256));

    farm.finish(waiting, Outcome::Passed).await;
    assert!(put!(farm, tx => tx.prune_toolchain(sha256, LATER)).unwrap());
    assert_eq!(artifact().await, None);
    assert_eq!(ask!(farm, read => read.kept_toolchains()).unwrap(), []);

    // Made again by a build of its own, and with other bytes.
    assert_eq!(ask!(farm, read => read.forced_build(toolchains, change, None)).unwrap(), None);
    let new = NewBuild { builder: toolchains, pin: None, ..farm.suite(2, Reason::Force) };
    let build = farm.queue(new).await;
    assert_eq!(ask!(farm, read => read.forced_build(toolchains, change, None)).unwrap().unwrap().id, build);
    let attempt = farm.lease(build).await;
    let (maker, other) = (farm.worker, Sha256([77; 32]));
    farm.store
        .write(move |tx| {
            Box::pin(async move {
                tx.put_artifact(PackedToolchain { sha256: other, bytes: 9 }, maker, false, LATER).await?;
                let finish =
                    Finish { attempt: Some(attempt), artifact: Some(other), ..ended(Outcome::Passed) };
                tx.finish_build(build, &finish, LATER).await
            })
        })
        .await
        .unwrap();
    assert_eq!(artifact().await, Some(other));

    // And once more with the bytes that it had.
    put!(farm, tx => tx.put_artifact(PackedToolchain { sha256, bytes: 2 }, maker, false, LATER)).unwrap();
    assert_eq!(artifact().await, Some(sha256));
}

#[tokio::test]
async fn the_journal_goes_from_its_old_end() {
    let farm = Farm::new().await;
    let end = ask!(farm, read => read.journal_end()).unwrap();
    note(&farm, Topic::Build, 1, AT).await;
    note(&farm, Topic::Build, 2, LATER).await;
    while put!(farm, tx => tx.prune_journal(LATER, 1)).unwrap() > 0 {}
    let left = ask!(farm, read => read.journal_after(0, 99)).unwrap();
    assert_eq!(left.iter().map(|entry| entry.subject).collect::<Vec<_>>(), [2]);
    assert!(left[0].id > end, "numbers go on");
}
