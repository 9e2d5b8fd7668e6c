//! What a step prints, as it reaches a reader.

use super::*;

#[test]
fn both_outputs_are_the_log_in_their_order() {
    for sandbox in sandboxes() {
        let seen = Trial::of(&sandbox, vec![step("echo one; echo two >&2; echo three; printf four")]).run();
        assert_eq!(seen.log, "one\ntwo\nthree\nfour");
    }
}

#[test]
fn a_log_comes_while_its_step_runs() {
    for sandbox in sandboxes() {
        let trial =
            Trial::of(&sandbox, vec![step("echo early; while ! test -e $FARM_OUT/go; do sleep 0.01; done")]);
        let go = trial.job.folder.join("out/go");
        let seen = trial.run_until(|log, _| {
            if log.contains("early") {
                fs::write(&go, "").unwrap();
            }
        });
        assert_eq!(seen.ends, [exit(0)]);
    }
}

#[test]
fn a_log_over_its_limit_loses_its_middle_and_the_step_goes_on() {
    for sandbox in sandboxes() {
        let seen = Trial::of(&sandbox, vec![step("seq 1 1000")]).limits(|l| l.log_bytes = 1000).run();
        assert_eq!(seen.ends, [exit(0)]);
        assert_eq!(seen.log.len(), 1000);
        assert!(seen.log.starts_with("1\n2\n") && seen.log.ends_with("999\n1000\n"));
        let [(bytes, lines)] = seen.cuts[..] else { panic!("{:?}", seen.cuts) };
        assert_eq!(bytes, 3893 - 1000);
        assert_eq!(lines + seen.log.matches('\n').count() as u64, 1000);
    }
}

#[test]
fn a_step_that_prints_for_ever_is_killed() {
    let seen = Trial::of(&Sandbox::None, vec![step("yes")]).limits(|l| l.log_bytes = 100_000).run();
    assert_eq!(seen.ends, [StepEnd::LogLimit]);
    assert_eq!(seen.log.len(), 100_000);
}
