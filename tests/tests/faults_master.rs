//! The master is killed or told to end, at every moment that matters: each build is finished once, its log is whole,
//! and a mail is sent once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use trunkfarm_tests::counting::{
    at_the_gate, attempts, impatient, lay, let_pass, one_at_the_gate, open_the_gate, passed,
};
use trunkfarm_tests::farm::Farm;

const THREE: [&str; 3] = ["counting", "numbering", "telling"];

/// Three builds at the gate on one worker, and another worker that has nothing to do.
fn three_at_the_gate(farm: &mut Farm) {
    farm.serve();
    farm.join_open("w1", 3);
    farm.run_worker("w1");
    at_the_gate(farm, &THREE);
    farm.join_open("idle", 3);
    farm.run_worker("idle");
    farm.until("both are here", |farm| Ok(farm.get("/workers")?.contains("2 workers are connected")));
}

fn all_pass_at_their_first_attempt(farm: &mut Farm) {
    open_the_gate(farm);
    for name in THREE {
        let build = passed(farm, name);
        assert_eq!(attempts(&build), "ended", "{build}");
        assert_eq!(build["attempts"][0]["worker"], "w1");
    }
}

#[test]
fn three_builds_go_on_when_the_master_is_killed_and_back_within_the_grace() {
    let mut farm = lay(&THREE);
    three_at_the_gate(&mut farm);
    farm.kill_master();
    farm.serve();
    all_pass_at_their_first_attempt(&mut farm);
}

/// Silence counts from the master's own start.
#[test]
fn three_builds_go_on_when_the_master_was_away_for_longer_than_the_grace() {
    let mut farm = lay(&THREE);
    impatient(&farm);
    three_at_the_gate(&mut farm);
    farm.kill_master();
    let_pass(&mut farm, Duration::from_secs(4));
    farm.serve();
    all_pass_at_their_first_attempt(&mut farm);
}

#[test]
fn both_are_killed_and_the_build_is_made_again_from_its_beginning() {
    let mut farm = one_at_the_gate();
    farm.kill_master();
    farm.kill_worker("w1");
    farm.serve();
    open_the_gate(&farm);
    farm.run_worker("w1");
    assert_eq!(attempts(&passed(&mut farm, "counting")), "ended, ended");
}

/// A browser that listens, as `curl` would, until the master closes.
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
fn a_master_told_to_end_is_out_in_time_with_readers_and_builds_open_and_loses_nothing() {
    let mut farm = one_at_the_gate();
    let _readers = [listen(&farm), listen(&farm)];
    let told = Instant::now();
    farm.stop_master();
    assert!(told.elapsed() < Duration::from_secs(10), "it took {:?}", told.elapsed());
    let said = farm.worker_said("w1");
    assert!(said.contains("keep building"), "{said}");
    farm.serve();
    open_the_gate(&farm);
    assert_eq!(attempts(&passed(&mut farm, "counting")), "ended");
}

/// Serves with a failpoint, lets the farm come to it, and serves again without.
fn dies_at(farm: &mut Farm, place: &str) {
    farm.variable("FARM_FAILPOINT", place);
    farm.serve();
    farm.unset_variable("FARM_FAILPOINT");
    farm.join_open("w1", 1);
    open_the_gate(farm);
    farm.run_worker("w1");
    farm.await_masters_end();
    farm.serve();
}

fn a_build_survives(place: &str) {
    let mut farm = lay(&["counting"]);
    dies_at(&mut farm, place);
    let build = passed(&mut farm, "counting");
    // An offer may have been lost on its way; what was begun was finished.
    assert!(["ended", "lost, ended"].contains(&attempts(&build).as_str()), "{build}");
    farm.until("all is decided", Farm::is_at_rest);
}

#[test]
fn killed_before_a_commit() {
    for place in ["before-commit", "before-commit:3", "before-commit:6"] {
        a_build_survives(place);
    }
}

#[test]
fn killed_between_a_commit_and_its_ack() {
    for place in ["after-commit", "after-commit:4"] {
        a_build_survives(place);
    }
}

#[test]
fn killed_after_an_ack() {
    for place in ["after-ack:2", "after-ack:5"] {
        a_build_survives(place);
    }
}

#[test]
fn killed_between_a_lease_and_its_offer() {
    for place in ["after-lease", "after-lease:2"] {
        a_build_survives(place);
    }
}

#[test]
fn killed_in_an_upload_and_behind_one() {
    for place in ["in-upload", "after-upload", "after-upload:3"] {
        a_build_survives(place);
    }
}

#[test]
fn killed_while_it_settles_a_build() {
    for place in ["in-settle", "in-settle:2"] {
        a_build_survives(place);
    }
}

/// A project that is broken by a change, with the master dying at this place on the way to the one mail about it.
fn a_mail_survives(place: &str) {
    let mut farm = Farm::lay();
    farm.configure("null_runs = 4", "null_runs = 1");
    farm.edit("lang", "#!/bin/sh\ngreet() { echo hello; }\n. \"$1\"\n");
    farm.commit("first");
    let suite =
        "echo 1..1\n[ $(greet) = hello ] && echo 'ok 1 - greets' || { echo 'not ok 1 - greets'; exit 1; }\n";
    farm.project("polite", suite);
    farm.variable("FARM_FAILPOINT", place);
    farm.serve();
    farm.unset_variable("FARM_FAILPOINT");
    farm.worker("w1", 2);
    farm.until("the first changes are decided", Farm::is_at_rest);
    farm.edit("lang", "#!/bin/sh\ngreet() { echo hullo; }\n. \"$1\"\n");
    farm.commit("Greet as in the north");
    farm.await_masters_end();
    farm.serve();
    farm.until("a mail is out and all is decided", |farm| Ok(farm.is_at_rest()? && !farm.mails().is_empty()));
    let_pass(&mut farm, Duration::from_secs(1));
    let mails = farm.mails();
    assert_eq!(mails.len(), 1, "one mail: {mails:?}");
    assert_eq!(farm.breakages("polite").unwrap().len(), 1);
}

#[test]
fn killed_before_a_mail_is_handed_over() {
    a_mail_survives("before-post");
}

#[test]
fn killed_after_a_mail_was_handed_over() {
    a_mail_survives("after-post");
}
