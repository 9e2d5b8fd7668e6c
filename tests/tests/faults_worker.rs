//! Workers that are stopped, killed, copied or have a full disk: their builds are finished once, by them or by another.

use std::process::Command;
use std::time::Duration;

use trunkfarm_tests::counting::{
    attempts, build, counting_farm, one_build_at_the_gate, open_the_gate, shorten_leases, until_at_the_gate,
    until_passed, wait,
};
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::lang::{commit_lang, farm_with_greetings, greeting, has_none, runs_of, until_idle};

#[test]
fn a_worker_that_hangs_for_a_while_continues_where_it_was() {
    let mut farm = one_build_at_the_gate();
    farm.worker_process("w1").signal("STOP").unwrap();
    open_the_gate(&farm);
    let over = farm.path("counting.over");
    farm.until("the suite is over", |_| Ok(over.exists()));
    farm.worker_process("w1").signal("CONT").unwrap();
    assert_eq!(attempts(&until_passed(&mut farm, "counting")), "ended");
}

/// The build makes a toolchain: without a sandbox it works on its own worker only, but any worker may make it.
#[test]
fn a_worker_that_hangs_past_its_lease_loses_its_build_to_an_idle_one_and_logs_why() {
    let mut farm = Farm::create();
    shorten_leases(&farm);
    let here = farm.path("").display().to_string();
    let waits = format!("touch {here}/begun; until [ -e {here}/gate ]; do sleep 0.1; done; install");
    farm.configure("run = \"install", &format!("run = \"{waits}"));
    farm.serve();
    farm.join_unsandboxed("w1", 1);
    farm.run_worker("w1");
    let begun = farm.path("begun");
    farm.until("it waits at the gate", |_| Ok(begun.exists()));
    farm.worker_process("w1").signal("STOP").unwrap();
    farm.until("it is away", |farm| Ok(farm.get("/workers")?.contains("0 of 1 worker")));
    wait(&mut farm, Duration::from_secs(4));
    assert_eq!(attempts(&build(&farm, "toolchain").unwrap()), "running", "there is nobody else");
    farm.join_unsandboxed("w2", 1);
    farm.run_worker("w2");
    farm.until("another has it", |farm| Ok(attempts(&build(farm, "toolchain")?) == "lost, running"));
    farm.worker_process("w1").signal("CONT").unwrap();
    farm.until("it was notified", |farm| Ok(farm.worker_log("w1").contains("decides nothing")));
    // Its reports were accepted, so that it need not send them forever.
    let spool = farm.path("w1/spool");
    farm.until("it has nothing more to say", |_| Ok(std::fs::read_dir(&spool)?.next().is_none()));
    open_the_gate(&farm);
    farm.until("it is built", |farm| Ok(build(farm, "toolchain")?["outcome"] == "passed"));
    let build = build(&farm, "toolchain").unwrap();
    assert_eq!(attempts(&build), "lost, ended");
    assert_eq!(build["attempts"][0]["late_outcome"], "infra", "it was stopped before its end: {build}");
    assert_eq!(build["attempts"][1]["worker"], "w2");
    let page = farm.get(&format!("/builds/{}", build["id"])).unwrap();
    assert!(page.contains("Late report, kept as evidence only: infra."), "{page}");
}

/// Stops the processes of a step that waits at a gate for longer than it may be silent, and its worker, too, if wanted. The
/// worker has run the suite before, so that its limits would be believed.
fn stop_a_step(with_worker: bool) {
    let mut farm = farm_with_greetings();
    farm.configure("null_runs = 4", "null_runs = 0");
    let here = farm.path("").display().to_string();
    farm.project(
        "patient",
        &format!(
            "echo $$ > {here}/step.pid; while [ -e {here}/closed ]; do echo '# waits'; touch {here}/waits; sleep 0.1; done
{}",
            greeting()
        ),
    );
    farm.replace_in(
        "projects/patient.toml",
        "time = \"20s\", silence = \"10s\"",
        "time = \"20s\", silence = \"3s\"",
    );
    farm.serve().unsandboxed_worker("w1", 1);
    until_idle(&mut farm, 2);
    farm.write("closed", "");
    let change = commit_lang(&farm, "hello", "bye", "Explain");
    let waits = farm.path("waits");
    farm.until("the suite waits at the gate", |_| Ok(waits.exists()));
    let step = std::fs::read_to_string(farm.path("step.pid")).unwrap();
    let signal = |farm: &mut Farm, name: &str| {
        if with_worker {
            farm.worker_process("w1").signal(name).unwrap();
        }
        let sent = Command::new("kill").args([format!("-{name}").as_str(), step.trim()]).status().unwrap();
        assert!(sent.success(), "sending SIG{name} to the step");
    };
    signal(&mut farm, "STOP");
    wait(&mut farm, Duration::from_secs(7));
    signal(&mut farm, "CONT");
    std::fs::remove_file(farm.path("closed")).unwrap();
    until_idle(&mut farm, 3);
    let runs = runs_of(&farm, &change, "patient").unwrap();
    let ends: Vec<(&str, String)> =
        runs.iter().map(|run| (run["outcome"].as_str().unwrap_or("?"), attempts(run))).collect();
    assert_eq!(ends, [("passed", "ended".to_string())], "{runs:#?}");
    assert!(has_none(&farm, "patient").unwrap());
}

/// As on a laptop whose lid is closed, or in a virtual machine that is paused: nobody was silent, for nobody ran.
#[test]
fn time_in_which_worker_and_step_are_stopped_is_nobodys_silence() {
    stop_a_step(true);
}

/// As by an owner who needs his machine for a while.
#[test]
fn time_in_which_a_step_is_stopped_is_not_its_silence() {
    stop_a_step(false);
}

#[test]
fn a_stopped_worker_finishes_first_if_its_owner_wants_it() {
    let mut farm = one_build_at_the_gate();
    farm.kill_worker("w1");
    farm.configure_worker("w1", "when_stopped", "\"finish\"");
    std::fs::remove_file(farm.path("counting.begun")).unwrap();
    farm.run_worker("w1");
    until_at_the_gate(&mut farm, &["counting"]);
    farm.worker_process("w1").signal("TERM").unwrap();
    farm.until("it says so", |farm| {
        Ok(farm.worker_log("w1").contains("once the running builds are finished"))
    });
    open_the_gate(&farm);
    let ended = farm.worker_process("w1").wait(Duration::from_secs(60)).unwrap();
    assert!(ended.success(), "{ended}");
    assert_eq!(attempts(&until_passed(&mut farm, "counting")), "ended, ended");
}

/// Two processes with one key, as when a virtual machine is copied while it runs.
#[test]
fn two_workers_with_one_key_do_each_build_once() {
    let mut farm = one_build_at_the_gate();
    let copied = Command::new("cp").arg("-a").arg(farm.path("w1")).arg(farm.path("w2")).status().unwrap();
    assert!(copied.success());
    farm.run_worker("w2");
    farm.until("the first one was notified", |farm| {
        Ok(farm.worker_log("w1").contains("another connection with this key took over"))
    });
    open_the_gate(&farm);
    let build = until_passed(&mut farm, "counting");
    farm.until("all is decided", Farm::is_idle);
    assert_eq!(build["outcome"], "passed");
    assert_eq!(build["attempts"].as_array().unwrap().iter().filter(|it| it["state"] == "running").count(), 0);
}

fn is_alive(process: &str) -> bool {
    // A zombie has ended, even if its parent has not waited for it yet.
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.trim())).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

#[test]
fn processes_that_a_killed_worker_left_running_are_ended_before_its_next_build() {
    let mut farm = Farm::create();
    let here = farm.path("").display().to_string();
    // A child that leaves its session, ignores every signal that it can, and runs for a long time.
    farm.project(
        "leaving",
        &format!(
            "if [ -e {here}/child ]; then kill -0 $(cat {here}/child) 2>/dev/null && touch {here}/met; else
setsid sh -c 'trap \"\" HUP TERM; echo $$ > {here}/child; exec sleep 1000' > /dev/null 2>&1 < /dev/null &
while [ ! -s {here}/child ]; do sleep 0.1; done; sleep 1000; fi
echo 1..1; echo 'ok 1 - leaves nobody'\n"
        ),
    );
    farm.replace_in(
        "projects/leaving.toml",
        "time = \"20s\", silence = \"10s\"",
        "time = \"10m\", silence = \"5m\"",
    );
    farm.serve();
    farm.join_unsandboxed("w1", 1);
    farm.run_worker("w1");
    let child = farm.path("child");
    farm.until("the child is there", |_| Ok(std::fs::metadata(&child).is_ok_and(|file| file.len() > 0)));
    let process = std::fs::read_to_string(&child).unwrap();
    farm.kill_worker("w1");
    assert!(is_alive(&process), "nothing else ends it");
    farm.run_worker("w1");
    farm.until("it is built", |farm| Ok(build(farm, "leaving")?["outcome"] == "passed"));
    assert!(!is_alive(&process));
    assert!(!farm.path("met").exists(), "the next build met it");
    assert!(farm.worker_log("w1").contains("an earlier worker left running"));
}

/// The worker's clock does not matter: leases, order and times follow the master's clock.
#[test]
fn a_worker_whose_clock_is_off_by_a_day_works_like_any_other() {
    for offset in ["-1d", "+1d"] {
        let mut farm = counting_farm(&["counting"]);
        shorten_leases(&farm);
        farm.serve();
        farm.join_unsandboxed("w1", 1);
        farm.shift_clock(offset);
        farm.run_worker("w1");
        until_at_the_gate(&mut farm, &["counting"]);
        wait(&mut farm, Duration::from_secs(4));
        open_the_gate(&farm);
        assert_eq!(attempts(&until_passed(&mut farm, "counting")), "ended", "{offset}");
    }
}
