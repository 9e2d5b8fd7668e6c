//! The output of a step, as the farm receives it.

use super::*;

#[test]
fn both_outputs_are_in_the_log_in_order() {
    for sandbox in sandboxes() {
        let received =
            TestBuild::toolchain(&sandbox, vec![step("echo one; echo two >&2; echo three; printf four")])
                .run();
        assert_eq!(received.log, "one\ntwo\nthree\nfour");
    }
}

#[test]
fn a_log_is_sent_while_its_step_runs() {
    for sandbox in sandboxes() {
        let build = TestBuild::toolchain(
            &sandbox,
            vec![step("echo early; while ! test -e $FARM_OUT/go; do sleep 0.01; done")],
        );
        let go = build.job.folder.join("out/go");
        let received = build.run_until(|log, _| {
            if log.contains("early") {
                fs::write(&go, "").unwrap();
            }
        });
        assert_eq!(received.ends, [exit(0)]);
    }
}

#[test]
fn a_log_over_its_limit_loses_its_middle_and_the_step_goes_on() {
    for sandbox in sandboxes() {
        let received =
            TestBuild::toolchain(&sandbox, vec![step("seq 1 1000")]).limits(|l| l.log_bytes = 1000).run();
        assert_eq!(received.ends, [exit(0)]);
        assert_eq!(received.log.len(), 1000);
        assert!(received.log.starts_with("1\n2\n") && received.log.ends_with("999\n1000\n"));
        let [(bytes, lines)] = received.omitted[..] else { panic!("{:?}", received.omitted) };
        assert_eq!(bytes, 3893 - 1000);
        assert_eq!(lines + received.log.matches('\n').count() as u64, 1000);
    }
}

#[test]
fn a_step_that_prints_forever_is_killed() {
    let received =
        TestBuild::toolchain(&Sandbox::None, vec![step("yes")]).limits(|l| l.log_bytes = 100_000).run();
    assert_eq!(received.ends, [StepEnd::LogLimit]);
    assert_eq!(received.log.len(), 100_000);
}
