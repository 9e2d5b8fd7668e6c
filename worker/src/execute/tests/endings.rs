//! How steps end, and that no process of theirs is left.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

/// Runs one step in every sandbox and asserts how it ends.
fn assert_ends(run: &str, expected: StepEnd) {
    for sandbox in sandboxes() {
        let received = TestBuild::toolchain(&sandbox, vec![step(run)]).run();
        assert_eq!(received.ends, std::slice::from_ref(&expected), "{run} in {sandbox:?}: {}", received.log);
    }
}

#[test]
fn a_step_ends_as_its_shell_does() {
    assert_ends("true", exit(0));
    assert_ends("exit 3", exit(3));
    assert_ends("no-such-program", exit(127));
    assert_ends("kill -SEGV $$", StepEnd::Signal { signal: 11 });
    assert_ends("sh -c 'kill -ABRT $$'", StepEnd::Signal { signal: 6 });
}

/// A shell that runs this keeps the pipe `held` open as long as it runs, and so do its children.
const HOLD: &str = "mkfifo held; exec 9<>held; ";

fn assert_no_process_holds(pipe: &Path) {
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let mut pipe = OpenOptions::new().read(true).custom_flags(flags).open(pipe).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    // Reading an empty pipe fails with WouldBlock as long as a process can write to it. When the last one has ended, the
    // read returns 0.
    while !pipe.read(&mut [0]).is_ok_and(|read| read == 0) {
        assert!(Instant::now() < deadline, "a child of the step outlived it");
        std::thread::yield_now();
    }
}

#[test]
fn a_step_that_takes_too_long_is_stopped_with_all_its_children() {
    for sandbox in sandboxes() {
        let mut slow = step(&format!("{HOLD} (sleep 600; true) & sleep 600"));
        slow.time_ms = Some(300);
        let build = TestBuild::toolchain(&sandbox, vec![slow]);
        let held = build.own_source().join("held");
        let received = build.run();
        assert_eq!(received.ends, [StepEnd::TimedOut]);
        assert_no_process_holds(&held);
    }
}

#[test]
fn a_step_that_uses_more_memory_than_its_recipe_allows_is_killed_and_others_are_not() {
    // A shell's variable is memory of its own. It grows to 64 MiB, unless the shell is stopped earlier. Since a command
    // follows the sleep, the shell stays and keeps the memory; otherwise it would replace itself by the sleep, perhaps
    // between two measurements.
    let grow = "x=0123456789abcdef; while [ ${#x} -lt 67108864 ]; do x=$x$x; done; sleep $1; true";
    for sandbox in sandboxes() {
        for (mebibytes, run, expected) in [
            (32, grow.replace("$1", "600"), StepEnd::OutOfMemory),
            (32, format!("({}) | cat", grow.replace("$1", "600")), StepEnd::OutOfMemory),
            (1024, grow.replace("$1", "1"), exit(0)),
        ] {
            let mut build = TestBuild::toolchain(&sandbox, vec![step(&run)]);
            build.job.plan.recipe.limits.memory_bytes = mebibytes << 20;
            assert_eq!(build.run().ends, [expected], "{run} in {sandbox:?}");
        }
    }
}

#[test]
fn a_child_left_in_the_background_is_killed_with_its_step() {
    for sandbox in sandboxes() {
        let build = TestBuild::toolchain(&sandbox, vec![step(&format!("{HOLD} (sleep 600; true) & exit 0"))]);
        let held = build.own_source().join("held");
        let received = build.run();
        assert_eq!(received.ends, [exit(0)]);
        assert_no_process_holds(&held);
    }
}

#[test]
fn a_step_that_ignores_sigterm_is_killed() {
    let mut stubborn = step("trap '' TERM; echo ready; while :; do sleep 0.1; done");
    stubborn.time_ms = Some(200);
    assert_eq!(TestBuild::toolchain(&Sandbox::None, vec![stubborn]).run().ends, [StepEnd::TimedOut]);
}

#[test]
fn silence_is_counted_from_the_last_output() {
    for sandbox in sandboxes() {
        let mut silent = step("for i in 1 2 3 4 5; do echo $i; sleep 0.2; done; sleep 600");
        silent.silence_ms = Some(700);
        let received = TestBuild::toolchain(&sandbox, vec![silent]).run();
        assert_eq!((received.ends, received.log.as_str()), (vec![StepEnd::Silent], "1\n2\n3\n4\n5\n"));
    }
}

#[test]
fn a_build_can_be_cancelled_in_the_middle_of_a_step() {
    for sandbox in sandboxes() {
        let steps = vec![step("echo started; sleep 600"), step("echo never")];
        let received = TestBuild::suite(&sandbox, steps).run_until(|log, stop| {
            if log.contains("started") {
                stop.cancel();
            }
        });
        assert_eq!((received.ends, received.log.as_str()), (vec![StepEnd::Cancelled], "started\n"));
        assert!(received.result.results.is_none() && received.result.infra_failure.is_none());
    }
}

#[test]
fn a_build_ends_when_nobody_listens() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (out, events) = mpsc::channel(4);
        drop(events);
        let build = TestBuild::suite(&Sandbox::None, vec![step("echo hello; sleep 600")]);
        let result = execute(build.job, out, CancellationToken::new()).await;
        assert!(result.results.is_none());
    });
}

#[test]
fn later_steps_run_after_a_failed_test_but_not_after_any_other_failed_step() {
    let step_of = |kind, run: &str| RecipeStep { kind, ..step(run) };
    let after = |kind| {
        let steps = vec![step_of(kind, "exit 1"), step_of(StepKind::Test, "true")];
        TestBuild::suite(&Sandbox::None, steps).run().ends
    };
    assert_eq!(after(StepKind::Test), [exit(1), exit(0)]);
    for kind in [StepKind::Fetch, StepKind::Compile, StepKind::Install] {
        assert_eq!(after(kind), [exit(1)]);
    }
}

#[test]
fn a_receiver_that_does_not_read_keeps_no_step_alive() {
    for sandbox in sandboxes() {
        let mut endless = step(&format!("{HOLD} yes"));
        endless.time_ms = Some(300);
        let build = TestBuild::toolchain(&sandbox, vec![endless]).limits(|limits| limits.log_bytes = 1 << 30);
        let held = build.own_source().join("held");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (out, mut events) = mpsc::channel(1);
        let executing = runtime.spawn(execute(build.job, out, CancellationToken::new()));
        while !matches!(events.blocking_recv(), Some(ExecutionEvent::Log { .. })) {}
        assert_no_process_holds(&held);
        let mut last = None;
        while let Some(next) = events.blocking_recv() {
            last = Some(next);
        }
        assert!(
            matches!(last, Some(ExecutionEvent::Event(Event::StepEnded { end: StepEnd::TimedOut, .. }))),
            "{last:?}"
        );
        runtime.block_on(executing).unwrap();
    }
}

#[test]
fn a_fetch_step_may_write_a_lock_if_there_is_none() {
    let fetch = |run: &str| RecipeStep { kind: StepKind::Fetch, ..step(run) };
    let written = |steps: Vec<RecipeStep>| {
        let received = TestBuild::suite(&Sandbox::None, steps).run();
        received.result.lock.map(|path| fs::read_to_string(path).unwrap())
    };
    let choose = "echo chosen > $FARM_OUT/lock";
    assert_eq!(written(vec![fetch(choose), step("true")]).as_deref(), Some("chosen\n"));
    assert_eq!(written(vec![fetch("true"), step(choose)]), None, "only a fetch step writes a lock");
    assert_eq!(written(vec![fetch(&format!("{choose}; false"))]), None, "a failed step writes no lock");
    let mut locked = TestBuild::suite(&Sandbox::None, vec![fetch(choose)]);
    locked.job.inputs.lock = Some(locked.folder.path().join("locked"));
    assert_eq!(locked.run().result.lock, None);
}

#[test]
fn the_last_step_answers_if_the_plan_asks() {
    let mut build = TestBuild::suite(&Sandbox::None, vec![step("echo 1.2; echo 1.1; echo words >&2")]);
    build.job.plan.answer = true;
    let received = build.run();
    assert_eq!(received.result.answer.as_deref(), Some("1.2"));
    assert!(received.log.contains("words"), "{}", received.log);
    let mut fails = TestBuild::suite(
        &Sandbox::None,
        vec![RecipeStep { kind: StepKind::Fetch, ..step("echo 1.2; false") }],
    );
    fails.job.plan.answer = true;
    assert_eq!(fails.run().result.answer, None);
}
