//! Builds: asked for once, handed to one worker, finished once.

use protocol::PackedToolchain;

use domain::schedule::needed::ChangeStanding;

use super::*;
use domain::words::BuildState;

const GIVEN: Sha256 = Sha256([7; 32]);

async fn waiting(farm: &Farm, at: Timestamp) -> Vec<BuildId> {
    ask!(farm, read => read.waiting_builds(at)).unwrap().iter().map(|build| build.id).collect()
}

#[tokio::test]
async fn a_build_reads_back_as_it_was_queued() {
    let farm = Farm::new().await;
    let new = farm.suite(2, Reason::Backfill);
    let id = farm.queue(new.clone()).await;
    let build = ask!(farm, read => read.build(id)).unwrap();
    let expected = Build {
        toolchain_inputs: None,
        id,
        builder: new.builder,
        change: new.change,
        pin: new.pin,
        recipe: new.recipe,
        reason: new.reason,
        breakage: None,
        only_worker: None,
        inputs: Some(new.inputs),
        artifact: None,
        state: domain::words::BuildState::Queued,
        attempts: 0,
        queued_at: AT,
        finished_at: None,
        outcome: None,
        same_as: None,
        attempt: None,
    };
    assert_eq!(build, expected);
    assert_eq!(refusal(ask!(farm, read => read.build(BuildId(99)))), "there is no such build");
}

#[tokio::test]
async fn a_cell_makes_history_once() {
    let farm = Farm::new().await;
    let first = farm.queue(farm.suite(1, Reason::Tip)).await;
    for reason in [Reason::Tip, Reason::Backfill, Reason::Baseline] {
        let new = farm.suite(1, reason);
        let second = put!(farm, tx => tx.enqueue_build(&new, AT));
        assert_eq!(refusal(second), "the change has a history build of this builder already", "{reason}");
    }
    // What is evidence only may be repeated.
    for reason in [Reason::Probe, Reason::Probe, Reason::Null, Reason::Force] {
        farm.queue(farm.suite(1, reason)).await;
    }
    // What decided nothing leaves the cell free.
    farm.finish(first, Outcome::Infra).await;
    let second = farm.queue(farm.suite(1, Reason::Tip)).await;
    farm.finish(second, Outcome::Failed).await;
    let new = farm.suite(1, Reason::Tip);
    assert!(put!(farm, tx => tx.enqueue_build(&new, AT)).is_err());
}

#[tokio::test]
async fn a_row_with_an_unknown_reference_is_an_error_and_not_a_second_history_build() {
    let farm = Farm::new().await;
    let new = NewBuild { change: ChangeId(99), ..farm.suite(1, Reason::Tip) };
    assert!(matches!(put!(farm, tx => tx.enqueue_build(&new, AT)), Err(Error::Database(_))));
}

#[tokio::test]
async fn only_a_build_that_no_worker_had_is_superseded() {
    let farm = Farm::new().await;
    let build = farm.queue(farm.suite(1, Reason::Tip)).await;
    put!(farm, tx => tx.supersede_build(build, AT)).unwrap();
    assert!(ask!(farm, read => read.build(build)).is_err());
    assert_eq!(refusal(put!(farm, tx => tx.supersede_build(build, AT))), "the build is no longer queued");

    let build = farm.queue(farm.suite(1, Reason::Tip)).await;
    farm.lease(build).await;
    assert_eq!(refusal(put!(farm, tx => tx.supersede_build(build, AT))), "the build is no longer queued");
    put!(farm, tx => tx.requeue_build(build, AT, AT)).unwrap();
    assert_eq!(refusal(put!(farm, tx => tx.supersede_build(build, AT))), "the build is no longer queued");
}

/// Otherwise a caller that read the id before would lease, or show, another build.
#[tokio::test]
async fn the_id_of_a_superseded_build_is_never_used_again() {
    let farm = Farm::new().await;
    let superseded = farm.queue(farm.suite(1, Reason::Tip)).await;
    put!(farm, tx => tx.supersede_build(superseded, AT)).unwrap();
    assert!(farm.queue(farm.suite(2, Reason::Tip)).await > superseded);
}

#[tokio::test]
async fn a_build_is_leased_once_and_its_attempts_are_counted() {
    let farm = Farm::new().await;
    let (build, worker) = (farm.queue(farm.suite(1, Reason::Tip)).await, farm.worker);
    let first = farm.lease(build).await;
    let again = put!(farm, tx => tx.lease_build(build, worker, LATER, AT));
    assert_eq!(refusal(again), "the build is no longer queued");
    assert_eq!(waiting(&farm, LATER).await, []);

    put!(farm, tx => tx.end_attempt(first, AttemptState::Lost, Some("gone"), AT)).unwrap();
    put!(farm, tx => tx.requeue_build(build, LATER, AT)).unwrap();
    let twice = put!(farm, tx => tx.requeue_build(build, LATER, AT));
    assert_eq!(refusal(twice), "the build is not with a worker");
    let second = farm.lease(build).await;
    let attempt = ask!(farm, read => read.attempt(second)).unwrap().unwrap();
    assert_eq!((attempt.number, attempt.build, attempt.state), (2, build, AttemptState::Offered));
}

#[tokio::test]
async fn a_build_that_needs_a_breather_waits_for_its_time() {
    let farm = Farm::new().await;
    let build = farm.queue(farm.suite(1, Reason::Tip)).await;
    assert_eq!(ask!(farm, read => read.next_waiting(AT)).unwrap(), None);
    farm.lease(build).await;
    put!(farm, tx => tx.requeue_build(build, LATER, AT)).unwrap();
    assert_eq!(waiting(&farm, AT).await, []);
    assert_eq!(ask!(farm, read => read.next_waiting(AT)).unwrap(), Some(LATER));
    assert_eq!(waiting(&farm, LATER).await, [build]);
    assert_eq!(ask!(farm, read => read.next_waiting(LATER)).unwrap(), None);
}

#[tokio::test]
async fn a_build_is_finished_once() {
    let farm = Farm::new().await;
    let build = farm.queue(farm.suite(1, Reason::Tip)).await;
    let attempt = farm.finish(build, Outcome::Passed).await;
    let again = put!(farm, tx => tx.finish_build(build, &ended(Outcome::Failed), AT));
    assert_eq!(refusal(again), "the build is finished already");
    let row = ask!(farm, read => read.build(build)).unwrap();
    assert_eq!((row.outcome, row.attempt), (Some(Outcome::Passed), Some(attempt)));
    let unknown = put!(farm, tx => tx.finish_build(BuildId(99), &ended(Outcome::Failed), AT));
    assert_eq!(refusal(unknown), "the build is finished already");
}

#[tokio::test]
async fn a_build_that_makes_no_toolchain_keeps_the_one_it_used() {
    let farm = Farm::new().await;
    let (maker, made) = (farm.worker, PackedToolchain { sha256: GIVEN, bytes: 12 });
    put!(farm, tx => tx.put_artifact(made, maker, false, AT)).unwrap();
    let build = farm.queue(NewBuild { artifact: Some(GIVEN), ..farm.suite(1, Reason::Tip) }).await;
    farm.finish(build, Outcome::Passed).await;
    assert_eq!(ask!(farm, read => read.build(build)).unwrap().artifact, Some(GIVEN));
}

#[tokio::test]
async fn waiting_builds_are_listed_tips_first_and_null_runs_last_with_whether_the_change_is_newest() {
    let farm = Farm::new().await;
    let tip = farm.suite(5, Reason::Tip);
    farm.queue(farm.suite(5, Reason::Null)).await;
    put!(farm, tx => tx.enqueue_build(&tip, LATER)).unwrap();
    farm.queue(farm.suite(1, Reason::Backfill)).await;
    farm.queue(farm.suite(3, Reason::Probe)).await;
    let branch = farm.branch;
    let told = || async {
        let builds = ask!(farm, read => read.waiting_builds(LATER)).unwrap();
        let told = |build: &WaitingBuild| format!("{}{}", build.reason, if build.newest { "!" } else { "" });
        builds.iter().map(told).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told().await, "tip! backfill probe null!");
    put!(farm, tx => tx.mark_position_gone(branch, 5, LATER)).unwrap();
    assert_eq!(told().await, "tip backfill probe null");
    let build = ask!(farm, read => read.waiting_builds(LATER)).unwrap().remove(0);
    assert_eq!((build.project_name.as_deref(), build.platform), (Some("penlight"), farm.platform));
}

#[tokio::test]
async fn a_waiting_build_shows_whether_its_inputs_have_a_lock_or_a_verdict() {
    let farm = Farm::new().await;
    let (project, branch, recipe) = (farm.project, farm.branch, farm.recipe);
    let untried = |build| {
        let farm = &farm;
        async move {
            let builds = ask!(farm, read => read.waiting_builds(LATER)).unwrap();
            builds.into_iter().find(|waiting| waiting.id == build).unwrap().untried
        }
    };
    let null = farm.queue(farm.suite(1, Reason::Null)).await;
    assert_eq!(untried(null).await, None, "a null run writes no lock");
    let first = farm.queue(farm.suite(1, Reason::Tip)).await;
    let second = farm.queue(farm.suite(2, Reason::Backfill)).await;
    assert_eq!((untried(first).await, untried(second).await), (Some(farm.pin), Some(farm.pin)));
    farm.finish(first, Outcome::Passed).await;
    assert_eq!(untried(second).await, None, "it wrote none, so there is none to wait for");

    let pin = put!(farm, tx => tx.propose_pin(project, branch, &project_inputs("r2", recipe), AT)).unwrap();
    let baseline = farm.queue(NewBuild { pin: Some(pin), ..farm.suite(1, Reason::Baseline) }).await;
    assert_eq!(untried(baseline).await, Some(pin));
    put!(farm, tx => tx.lock_pin(pin, Sha256([5; 32]), 9, AT)).unwrap();
    assert_eq!(untried(baseline).await, None);
    farm.lease(baseline).await;
    assert_eq!(ask!(farm, read => read.running_builds()).unwrap()[0].pin, Some(pin));
}

/// The middle of a long queue is not read; what people wait for must not be in it.
#[tokio::test]
async fn tips_are_listed_however_long_the_queue_is() {
    let farm = Farm::new().await;
    let (null, tip) = (farm.suite(1, Reason::Null), farm.suite(5, Reason::Tip));
    let tip = farm
        .store
        .write(move |tx| {
            Box::pin(async move {
                for _ in 0..5_001 {
                    tx.enqueue_build(&null, AT).await?;
                }
                tx.enqueue_build(&tip, LATER).await
            })
        })
        .await
        .unwrap();
    let told = waiting(&farm, LATER).await;
    assert_eq!(told.len(), 5_000);
    assert!(told.contains(&tip));
}

#[tokio::test]
async fn null_runs_keep_no_platform_busy() {
    let farm = Farm::new().await;
    let platform = farm.platform;
    let waited = || async { ask!(farm, read => read.is_waited_for(platform)).unwrap() };
    farm.queue(farm.suite(1, Reason::Null)).await;
    assert!(!waited().await);
    let build = farm.queue(farm.suite(1, Reason::Tip)).await;
    assert!(waited().await);
    assert!(!ask!(farm, read => read.is_waited_for(PlatformId(99))).unwrap());
    farm.lease(build).await;
    assert!(!waited().await);
}

#[tokio::test]
async fn unfinished_builds_are_those_that_wait_or_run() {
    let farm = Farm::new().await;
    let unfinished = || async { ask!(farm, read => read.unfinished_builds()).unwrap() };
    let build = farm.queue(farm.suite(1, Reason::Tip)).await;
    farm.lease(farm.queue(farm.suite(2, Reason::Tip)).await).await;
    assert_eq!(unfinished().await, 2);
    farm.finish(build, Outcome::Failed).await;
    assert_eq!(unfinished().await, 1);
}

#[tokio::test]
async fn a_cell_is_the_newest_history_build_of_its_change() {
    let farm = Farm::new().await;
    let lost = farm.queue(farm.suite(1, Reason::Tip)).await;
    farm.finish(lost, Outcome::Infra).await;
    let second = farm.queue(farm.suite(1, Reason::Backfill)).await;
    let other = farm.queue(farm.suite(2, Reason::Tip)).await;
    farm.queue(farm.suite(3, Reason::Probe)).await;
    let suites = farm.suites;
    let cells = ask!(farm, read => read.history_cells(suites)).unwrap();
    let cells: Vec<_> = cells.iter().map(|cell| (cell.change, cell.build, cell.reason)).collect();
    assert_eq!(cells, [(farm.change(1), second, Reason::Backfill), (farm.change(2), other, Reason::Tip)]);
}

#[tokio::test]
async fn an_equal_build_is_one_with_a_complete_verdict_or_under_way() {
    let farm = Farm::new().await;
    let suites = farm.suites;
    let inputs = farm.suite(1, Reason::Tip).inputs;
    let equal = || async { ask!(farm, read => read.equal_build(suites, inputs)).unwrap().map(|b| b.id) };
    farm.tell(farm.queue(farm.suite(1, Reason::Probe)).await, "P").await;
    assert_eq!(equal().await, None, "a probe makes no history");

    let first = farm.queue(farm.suite(1, Reason::Tip)).await;
    assert_eq!(equal().await, Some(first), "under way");
    farm.finish(first, Outcome::Infra).await;
    assert_eq!(equal().await, None, "our own trouble is no verdict");

    let broken_off = farm.queue(NewBuild { inputs, ..farm.suite(1, Reason::Tip) }).await;
    farm.tell(broken_off, "PF~").await;
    assert_eq!(equal().await, None, "a run that broke off did not report all its cases");

    let whole = farm.queue(NewBuild { inputs, ..farm.suite(2, Reason::Tip) }).await;
    farm.tell(whole, "PF").await;
    let pointing = farm.queue(NewBuild { inputs, ..farm.suite(3, Reason::Tip) }).await;
    let finish = Finish { same_as: Some(whole), ..ended(Outcome::Failed) };
    put!(farm, tx => tx.finish_build(pointing, &finish, AT)).unwrap();
    farm.queue(NewBuild { inputs, ..farm.suite(4, Reason::Tip) }).await;
    assert_eq!(equal().await, Some(whole), "verdicts come before what is under way");

    let toolchains = farm.toolchains;
    assert_eq!(ask!(farm, read => read.equal_build(toolchains, inputs)).unwrap(), None);
}

#[tokio::test]
async fn who_ran_a_cell_is_known_through_the_build_it_points_to() {
    let farm = Farm::new().await;
    let ran = farm.run(1, "P").await;
    farm.point(2, ran).await;
    farm.queue(farm.suite(3, Reason::Tip)).await;
    let suites = farm.suites;
    for (position, who) in [(1, Some(farm.worker)), (2, Some(farm.worker)), (3, None), (4, None)] {
        let change = farm.change(position);
        assert_eq!(
            ask!(farm, read => read.worker_of_history_build(suites, change)).unwrap(),
            who,
            "{position}"
        );
    }
}

#[tokio::test]
async fn a_search_knows_its_builds_that_are_under_way() {
    let farm = Farm::new().await;
    let breakage = farm.open_breakage(1, 5, &[]).await;
    let running = || async { ask!(farm, read => read.running_probes(breakage)).unwrap() };
    let probe = farm.queue(NewBuild { breakage: Some(breakage), ..farm.suite(3, Reason::Probe) }).await;
    farm.queue(farm.suite(3, Reason::Probe)).await;
    assert_eq!(running().await, 1);
    farm.finish(probe, Outcome::Passed).await;
    assert_eq!(running().await, 0);
}

#[tokio::test]
async fn builds_of_a_worker_that_is_away_go_to_another_but_for_those_that_only_it_can_run() {
    let farm = Farm::new().await;
    let only = |sha| PackedToolchain { sha256: Sha256([sha; 32]), bytes: 1 };
    let worker = farm.worker;
    put!(farm, tx => tx.put_artifact(only(1), worker, true, AT)).unwrap();
    put!(farm, tx => tx.put_artifact(only(2), worker, false, AT)).unwrap();
    let bound = |artifact: Option<u8>| NewBuild {
        only_worker: Some(worker),
        artifact: artifact.map(|sha| Sha256([sha; 32])),
        ..farm.suite(1, Reason::Probe)
    };
    let here = farm.queue(bound(Some(1))).await;
    let anywhere = farm.queue(bound(Some(2))).await;
    let none_yet = farm.queue(bound(None)).await;
    put!(farm, tx => tx.unbind_builds(worker)).unwrap();
    for (build, to) in [(here, Some(worker)), (anywhere, None), (none_yet, None)] {
        assert_eq!(ask!(farm, read => read.build(build)).unwrap().only_worker, to, "{build}");
    }
}

#[tokio::test]
async fn unwanted_builds_leave_the_queue() {
    let farm = Farm::new().await;
    let (branch, platform) = (farm.branch, farm.platform);
    let breakage = farm.open_breakage(1, 5, &[]).await;
    let probe = |position| NewBuild { breakage: Some(breakage), ..farm.suite(position, Reason::Probe) };
    let tip = farm.queue(farm.suite(5, Reason::Tip)).await;
    let (waits, runs) = (farm.queue(probe(2)).await, farm.queue(probe(3)).await);
    farm.lease(runs).await;
    assert_eq!(put!(farm, tx => tx.drop_unwanted_builds(AT, AT)).unwrap(), 0);

    put!(farm, tx => tx.mark_breakage_gone(breakage, AT)).unwrap();
    let end = ask!(farm, read => read.journal_end()).unwrap();
    assert_eq!(put!(farm, tx => tx.drop_unwanted_builds(AT, AT)).unwrap(), 1);
    assert!(ask!(farm, read => read.build(waits)).is_err());
    assert!(ask!(farm, read => read.build(runs)).is_ok());
    let told = ask!(farm, read => read.journal_after(end, 10)).unwrap();
    assert_eq!(told.iter().map(|entry| entry.subject).collect::<Vec<_>>(), [waits.0]);

    put!(farm, tx => tx.retire_builders()).unwrap();
    put!(farm, tx => tx.put_builder(branch, platform, None)).unwrap();
    assert_eq!(put!(farm, tx => tx.drop_unwanted_builds(AT, AT)).unwrap(), 1);
    assert!(ask!(farm, read => read.build(tip)).is_err());

    // One that was tried before is put back, and must not be tried again.
    put!(farm, tx => tx.requeue_build(runs, AT, AT)).unwrap();
    assert_eq!(put!(farm, tx => tx.drop_unwanted_builds(AT, LATER)).unwrap(), 1);
    let cancelled = ask!(farm, read => read.build(runs)).unwrap();
    assert_eq!((cancelled.state, cancelled.outcome), (BuildState::Finished, Some(Outcome::Cancelled)));
}

#[tokio::test]
async fn builds_of_a_rewound_change_are_taken_from_queue_and_workers() {
    let farm = Farm::new().await;
    let (stays, waits, runs) = (
        farm.queue(farm.suite(4, Reason::Tip)).await,
        farm.queue(farm.suite(5, Reason::Probe)).await,
        farm.queue(farm.suite(5, Reason::Tip)).await,
    );
    let attempt = farm.lease(runs).await;
    let in_doubt = || async { ask!(farm, read => read.builds_in_doubt()).unwrap() };
    assert_eq!(in_doubt().await, []);
    let branch = farm.branch;
    put!(farm, tx => tx.mark_position_gone(branch, 5, AT)).unwrap();
    let rewound = ChangeStanding::Rewound;
    assert_eq!(in_doubt().await, [(waits, Reason::Probe, rewound), (runs, Reason::Tip, rewound)]);
    assert_eq!(put!(farm, tx => tx.cancel_build(waits, "gone", AT)).unwrap(), []);
    assert_eq!(put!(farm, tx => tx.cancel_build(runs, "gone", AT)).unwrap(), [(attempt, farm.worker)]);
    assert_eq!(in_doubt().await, []);
    assert!(ask!(farm, read => read.build(waits)).is_err(), "nobody has tried it");
    assert_eq!(ask!(farm, read => read.build(runs)).unwrap().outcome, Some(Outcome::Cancelled));
    assert_eq!(ask!(farm, read => read.build(stays)).unwrap().state, BuildState::Queued);
}

#[tokio::test]
async fn builds_of_a_branch_that_is_deleted_are_in_doubt() {
    let farm = Farm::new().await;
    let build = farm.queue(farm.suite(4, Reason::Tip)).await;
    let branch = farm.branch;
    let standing = || async { ask!(farm, read => read.builds_in_doubt()).unwrap() };
    put!(farm, tx => tx.mark_branch_gone(branch, true)).unwrap();
    let deleted = |is_searched| [(build, Reason::Tip, ChangeStanding::BranchDeleted { is_searched })];
    assert_eq!(standing().await, deleted(false));
    let breakage = farm.open_breakage(1, 5, &[]).await;
    assert_eq!(standing().await, deleted(true));
    put!(farm, tx => tx.mark_breakage_gone(breakage, AT)).unwrap();
    assert_eq!(standing().await, deleted(false));
    put!(farm, tx => tx.mark_branch_gone(branch, false)).unwrap();
    assert_eq!(standing().await, []);
}

#[tokio::test]
async fn probes_that_came_to_nothing_are_counted_from_the_last_that_did_not() {
    let farm = Farm::new().await;
    let breakage = farm.open_breakage(1, 5, &[]).await;
    let in_vain = || async { ask!(farm, read => read.fruitless_probes(breakage)).unwrap() };
    assert_eq!(in_vain().await, (0, None));
    for (outcome, count) in [
        (Outcome::Infra, 1),
        (Outcome::Infra, 2),
        (Outcome::Failed, 0),
        (Outcome::Cancelled, 1),
        (Outcome::Passed, 0),
    ] {
        let probe = farm.queue(NewBuild { breakage: Some(breakage), ..farm.suite(3, Reason::Probe) }).await;
        farm.finish(probe, outcome).await;
        assert_eq!(in_vain().await, (count, (count > 0).then_some(AT)), "{outcome}");
    }
}

#[tokio::test]
async fn a_null_run_that_came_to_nothing_is_not_repeated_at_once() {
    let farm = Farm::new().await;
    let suites = farm.suites;
    let ran = farm.run(1, "P").await;
    let asked = |since| {
        let farm = &farm;
        async move { ask!(farm, read => read.build_to_repeat(suites, since)).unwrap().map(|(build, _)| build.id) }
    };
    assert_eq!(asked(AT).await, Some(ran));
    let null = farm.queue(farm.suite(1, Reason::Null)).await;
    assert_eq!(asked(AT).await, None, "one at a time");
    farm.finish(null, Outcome::Infra).await;
    assert_eq!(asked(Timestamp(AT.0 - 1)).await, None);
    assert_eq!(asked(AT).await, Some(ran));
    put!(farm, tx => tx.approve_worker("01010101", "Ada", Trust::Probation, AT)).unwrap();
    assert_eq!(asked(AT).await, None, "a machine on probation would not be believed");
}

#[tokio::test]
async fn what_is_bound_to_a_worker_that_is_away_keeps_no_platform_busy() {
    let farm = Farm::new().await;
    let (platform, worker) = (farm.platform, farm.worker);
    let waited = || async { ask!(farm, read => read.is_waited_for(platform)).unwrap() };
    farm.queue(NewBuild { only_worker: Some(worker), ..farm.suite(1, Reason::Probe) }).await;
    assert!(!waited().await);
    put!(farm, tx => tx.mark_worker_connected(worker, &WorkerFacts::default(), "1", 1, AT)).unwrap();
    assert!(waited().await);
}
