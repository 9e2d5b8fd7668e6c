//! How steps end, and that nothing of them is left.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

/// Runs one step everywhere and says how it ended.
fn ends(run: &str, expected: StepEnd) {
    for sandbox in sandboxes() {
        let seen = Trial::of(&sandbox, vec![step(run)]).run();
        assert_eq!(seen.ends, std::slice::from_ref(&expected), "{run} in {sandbox:?}: {}", seen.log);
    }
}

#[test]
fn a_step_ends_as_its_shell_does() {
    ends("true", exit(0));
    ends("exit 3", exit(3));
    ends("no-such-program", exit(127));
    ends("kill -SEGV $$", StepEnd::Signal { signal: 11 });
    ends("sh -c 'kill -ABRT $$'", StepEnd::Signal { signal: 6 });
}

/// Whoever runs this holds the pipe `held` open for as long as it lives, and its children with it.
const HOLD: &str = "mkfifo held; exec 9<>held; ";

fn assert_nobody_holds(pipe: &Path) {
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let mut pipe = OpenOptions::new().read(true).custom_flags(flags).open(pipe).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    // An empty pipe that somebody could still write to is an error, WouldBlock; the last one's death is its end.
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
        let trial = Trial::of(&sandbox, vec![slow]);
        let held = trial.job.source.join("held");
        let seen = trial.run();
        assert_eq!(seen.ends, [StepEnd::TimedOut]);
        assert_nobody_holds(&held);
    }
}

#[test]
fn a_step_that_takes_more_memory_than_its_recipe_may_is_killed_and_another_is_not() {
    // A shell's variable is memory of its own; it grows until somebody stops it, or to 64 MiB. With something left to do
    // behind the sleep the shell stays and holds it: else it would become the sleep, between two looks.
    let grow = "x=0123456789abcdef; while [ ${#x} -lt 67108864 ]; do x=$x$x; done; sleep $1; true";
    for sandbox in sandboxes() {
        for (mebibytes, run, expected) in [
            (32, grow.replace("$1", "600"), StepEnd::OutOfMemory),
            (32, format!("({}) | cat", grow.replace("$1", "600")), StepEnd::OutOfMemory),
            (1024, grow.replace("$1", "1"), exit(0)),
        ] {
            let mut trial = Trial::of(&sandbox, vec![step(&run)]);
            trial.job.plan.recipe.limits.memory_bytes = mebibytes << 20;
            assert_eq!(trial.run().ends, [expected], "{run} in {sandbox:?}");
        }
    }
}

#[test]
fn a_child_left_in_the_background_dies_with_its_step() {
    for sandbox in sandboxes() {
        let trial = Trial::of(&sandbox, vec![step(&format!("{HOLD} (sleep 600; true) & exit 0"))]);
        let held = trial.job.source.join("held");
        let seen = trial.run();
        assert_eq!(seen.ends, [exit(0)]);
        assert_nobody_holds(&held);
    }
}

#[test]
fn a_step_that_ignores_the_request_to_go_is_killed() {
    let mut stubborn = step("trap '' TERM; echo ready; while :; do sleep 0.1; done");
    stubborn.time_ms = Some(200);
    assert_eq!(Trial::of(&Sandbox::None, vec![stubborn]).run().ends, [StepEnd::TimedOut]);
}

#[test]
fn silence_is_counted_from_the_last_word() {
    for sandbox in sandboxes() {
        let mut silent = step("for i in 1 2 3 4 5; do echo $i; sleep 0.2; done; sleep 600");
        silent.silence_ms = Some(700);
        let seen = Trial::of(&sandbox, vec![silent]).run();
        assert_eq!((seen.ends, seen.log.as_str()), (vec![StepEnd::Silent], "1\n2\n3\n4\n5\n"));
    }
}

#[test]
fn a_build_is_cancelled_in_the_middle_of_a_step() {
    for sandbox in sandboxes() {
        let steps = vec![step("echo started; sleep 600"), step("echo never")];
        let seen = Trial::suite(&sandbox, steps).run_until(|log, stop| {
            if log.contains("started") {
                stop.cancel();
            }
        });
        assert_eq!((seen.ends, seen.log.as_str()), (vec![StepEnd::Cancelled], "started\n"));
        assert!(seen.ending.results.is_none() && seen.ending.infra_failure.is_none());
    }
}

#[test]
fn whoever_no_longer_listens_ends_the_build() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (out, happened) = mpsc::channel(4);
        drop(happened);
        let trial = Trial::suite(&Sandbox::None, vec![step("echo hello; sleep 600")]);
        let ending = execute(trial.job, out, CancellationToken::new()).await;
        assert!(ending.results.is_none());
    });
}

#[test]
fn a_failed_test_lets_later_tests_run_and_any_other_failure_does_not() {
    let of = |kind, run: &str| RecipeStep { kind, ..step(run) };
    let after = |kind| {
        let steps = vec![of(kind, "exit 1"), of(StepKind::Test, "true")];
        Trial::suite(&Sandbox::None, steps).run().ends
    };
    assert_eq!(after(StepKind::Test), [exit(1), exit(0)]);
    for kind in [StepKind::Fetch, StepKind::Compile, StepKind::Install] {
        assert_eq!(after(kind), [exit(1)]);
    }
}

#[test]
fn a_reader_who_does_not_read_keeps_no_step_alive() {
    for sandbox in sandboxes() {
        let mut endless = step(&format!("{HOLD} yes"));
        endless.time_ms = Some(300);
        let trial = Trial::of(&sandbox, vec![endless]).limits(|limits| limits.log_bytes = 1 << 30);
        let held = trial.job.source.join("held");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (out, mut happened) = mpsc::channel(1);
        let building = runtime.spawn(execute(trial.job, out, CancellationToken::new()));
        while !matches!(happened.blocking_recv(), Some(ExecutionEvent::Log { .. })) {}
        assert_nobody_holds(&held);
        let mut last = None;
        while let Some(next) = happened.blocking_recv() {
            last = Some(next);
        }
        assert!(
            matches!(last, Some(ExecutionEvent::Event(Event::StepEnded { end: StepEnd::TimedOut, .. }))),
            "{last:?}"
        );
        runtime.block_on(building).unwrap();
    }
}

#[test]
fn a_fetch_step_may_write_a_lock_where_there_is_none() {
    let fetch = |run: &str| RecipeStep { kind: StepKind::Fetch, ..step(run) };
    let written = |steps: Vec<RecipeStep>| {
        let seen = Trial::suite(&Sandbox::None, steps).run();
        seen.ending.lock.map(|path| fs::read_to_string(path).unwrap())
    };
    let choose = "echo chosen > $FARM_OUT/lock";
    assert_eq!(written(vec![fetch(choose), step("true")]).as_deref(), Some("chosen\n"));
    assert_eq!(written(vec![fetch("true"), step(choose)]), None, "only a fetch step chooses");
    assert_eq!(written(vec![fetch(&format!("{choose}; false"))]), None, "what failed has not chosen");
    let mut locked = Trial::suite(&Sandbox::None, vec![fetch(choose)]);
    locked.job.lock = Some(locked.folder.path().join("locked"));
    assert_eq!(locked.run().ending.lock, None);
}

#[test]
fn the_last_step_answers_what_the_plan_asks() {
    let mut trial = Trial::suite(&Sandbox::None, vec![step("echo 1.2; echo 1.1; echo words >&2")]);
    trial.job.plan.answer = true;
    let seen = trial.run();
    assert_eq!(seen.ending.answer.as_deref(), Some("1.2"));
    assert!(seen.log.contains("words"), "{}", seen.log);
    let mut fails =
        Trial::suite(&Sandbox::None, vec![RecipeStep { kind: StepKind::Fetch, ..step("echo 1.2; false") }]);
    fails.job.plan.answer = true;
    assert_eq!(fails.run().ending.answer, None);
}
