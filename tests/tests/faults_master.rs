//! The master is killed or stopped at every critical moment: each build is finished once, its log is complete, and a mail
//! is sent once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use trunkfarm_tests::counting::{
    attempts, counting_farm, one_build_at_the_gate, open_the_gate, shorten_leases, until_at_the_gate,
    until_passed, wait,
};
use trunkfarm_tests::farm::Farm;

const THREE: [&str; 3] = ["counting", "numbering", "telling"];

/// Three builds at the gate on one worker, and another worker that is idle.
fn three_at_the_gate(farm: &mut Farm) {
    farm.serve();
    farm.join_unsandboxed("w1", 3);
    farm.run_worker("w1");
    until_at_the_gate(farm, &THREE);
    farm.join_unsandboxed("idle", 3);
    farm.run_worker("idle");
    farm.until("both are here", |farm| Ok(farm.get("/workers")?.contains("2 workers are connected")));
}

fn assert_all_pass_at_their_first_attempt(farm: &mut Farm) {
    open_the_gate(farm);
    for name in THREE {
        let build = until_passed(farm, name);
        assert_eq!(attempts(&build), "ended", "{build}");
        assert_eq!(build["attempts"][0]["worker"], "w1");
    }
}

#[test]
fn three_builds_go_on_when_the_master_is_killed_and_returns_within_the_grace_period() {
    let mut farm = counting_farm(&THREE);
    three_at_the_gate(&mut farm);
    farm.kill_master();
    farm.serve();
    assert_all_pass_at_their_first_attempt(&mut farm);
}

/// A worker's silence counts from the master's own start.
#[test]
fn three_builds_go_on_when_the_master_was_away_for_longer_than_the_grace_period() {
    let mut farm = counting_farm(&THREE);
    shorten_leases(&farm);
    three_at_the_gate(&mut farm);
    farm.kill_master();
    wait(&mut farm, Duration::from_secs(4));
    farm.serve();
    assert_all_pass_at_their_first_attempt(&mut farm);
}

#[test]
fn after_a_kill_of_master_and_worker_the_build_starts_again() {
    let mut farm = one_build_at_the_gate();
    farm.kill_master();
    farm.kill_worker("w1");
    farm.serve();
    open_the_gate(&farm);
    farm.run_worker("w1");
    assert_eq!(attempts(&until_passed(&mut farm, "counting")), "ended, ended");
}

/// A client that listens to events until the master closes the connection.
fn listen(farm: &Farm) -> TcpStream {
    let mut reader = TcpStream::connect(("127.0.0.1", farm.port)).expect("the master listens");
    reader
        .write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: farm\r\naccept: text/event-stream\r\n\r\n")
        .unwrap();
    let mut answer = [0; 12];
    reader.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    reader
}

#[test]
fn a_master_that_is_stopped_exits_in_time_despite_readers_and_builds_and_loses_nothing() {
    let mut farm = one_build_at_the_gate();
    let _readers = [listen(&farm), listen(&farm)];
    let told = Instant::now();
    farm.stop_master();
    assert!(told.elapsed() < Duration::from_secs(10), "it took {:?}", told.elapsed());
    let said = farm.worker_log("w1");
    assert!(said.contains("keep building"), "{said}");
    farm.serve();
    open_the_gate(&farm);
    assert_eq!(attempts(&until_passed(&mut farm, "counting")), "ended");
}

/// Starts the master with a failpoint, waits until it is reached, and starts the master again without it.
fn kill_at_failpoint(farm: &mut Farm, place: &str) {
    farm.variable("FARM_FAILPOINT", place);
    farm.serve();
    farm.unset_variable("FARM_FAILPOINT");
    farm.join_unsandboxed("w1", 1);
    open_the_gate(farm);
    farm.run_worker("w1");
    farm.wait_for_master_exit();
    farm.serve();
}

fn assert_build_survives(place: &str) {
    let mut farm = counting_farm(&["counting"]);
    kill_at_failpoint(&mut farm, place);
    let build = until_passed(&mut farm, "counting");
    // An offer may have been lost; a build that has begun was finished.
    assert!(["ended", "lost, ended"].contains(&attempts(&build).as_str()), "{build}");
    farm.until("all is decided", Farm::is_idle);
}

#[test]
fn a_build_survives_a_kill_before_a_commit() {
    for place in ["before-commit", "before-commit:3", "before-commit:6"] {
        assert_build_survives(place);
    }
}

#[test]
fn a_build_survives_a_kill_between_a_commit_and_its_ack() {
    for place in ["after-commit", "after-commit:4"] {
        assert_build_survives(place);
    }
}

#[test]
fn a_build_survives_a_kill_after_an_ack() {
    for place in ["after-ack:2", "after-ack:5"] {
        assert_build_survives(place);
    }
}

#[test]
fn a_build_survives_a_kill_between_a_lease_and_its_offer() {
    for place in ["after-lease", "after-lease:2"] {
        assert_build_survives(place);
    }
}

#[test]
fn a_build_survives_a_kill_during_and_after_an_upload() {
    for place in ["in-upload", "after-upload", "after-upload:3"] {
        assert_build_survives(place);
    }
}

#[test]
fn a_build_survives_a_kill_while_it_is_settled() {
    for place in ["in-settle", "in-settle:2"] {
        assert_build_survives(place);
    }
}

/// A change breaks a project, and the master dies at this failpoint before the one mail about it is done.
fn assert_mail_survives(place: &str) {
    let mut farm = Farm::create();
    farm.configure("null_runs = 4", "null_runs = 1");
    farm.edit("lang", "#!/bin/sh\ngreet() { echo hello; }\n. \"$1\"\n");
    farm.commit("first");
    let suite =
        "echo 1..1\n[ $(greet) = hello ] && echo 'ok 1 - greets' || { echo 'not ok 1 - greets'; exit 1; }\n";
    farm.project("polite", suite);
    farm.serve().worker("w1", 2);
    let is_ready = |farm: &Farm| Ok(farm.is_idle()? && !farm.first_results().is_empty());
    farm.until("the first changes are decided and the first result is mailed", is_ready);
    farm.stop_master();
    farm.variable("FARM_FAILPOINT", place);
    farm.serve();
    farm.unset_variable("FARM_FAILPOINT");
    farm.edit("lang", "#!/bin/sh\ngreet() { echo hullo; }\n. \"$1\"\n");
    farm.commit("Greet as in the north");
    farm.wait_for_master_exit();
    farm.serve();
    farm.until("a mail is out and all is decided", |farm| Ok(farm.is_idle()? && !farm.mails().is_empty()));
    wait(&mut farm, Duration::from_secs(1));
    let mails = farm.mails();
    assert_eq!(mails.len(), 1, "one mail: {mails:?}");
    assert_eq!(farm.breakages("polite").unwrap().len(), 1);
}

#[test]
fn a_mail_survives_a_kill_before_it_is_sent() {
    assert_mail_survives("before-post");
}

#[test]
fn a_mail_survives_a_kill_after_it_was_sent() {
    assert_mail_survives("after-post");
}
