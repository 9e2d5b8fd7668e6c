//! The operator lets workers in and throws them out: what runs on them goes back without blame, and each command that cannot be
//! obeyed says why.

use std::time::Duration;

use protocol::{SignedRequest, path};
use trunkfarm_tests::counting::{attempts, build, one_build_at_the_gate, open_the_gate, until_passed};
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::wire::Stranger;

/// What a command that cannot be obeyed prints.
fn refusal(farm: &Farm, arguments: &[&str]) -> String {
    let output = farm.run_master_command(arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).trim().to_string()
}

#[test]
fn a_disabled_worker_gives_its_build_back_without_blame_and_works_again_when_it_is_enabled() {
    let mut farm = one_build_at_the_gate();
    farm.master_says(&["worker", "disable", "w1"]);
    farm.until("the build waits again", |farm| Ok(build(farm, "counting")?["state"] == "queued"));
    assert_eq!(attempts(&build(&farm, "counting").unwrap()), "declined");
    farm.until("its session ends", |farm| {
        Ok(farm.worker_log("w1").contains("the operator has disabled this worker"))
    });
    assert!(farm.master_says(&["worker", "list"]).contains("disabled"));
    let page = farm.json("/workers/w1").unwrap();
    assert_eq!(page["idle"], "The operator has disabled it.");
    let already = refusal(&farm, &["worker", "disable", "w1"]);
    assert_eq!(already, "farm-master: w1: this worker is disabled already");
    farm.master_says(&["worker", "enable", "w1"]);
    // It would try again within a minute.
    farm.kill_worker("w1");
    farm.run_worker("w1");
    open_the_gate(&farm);
    assert_eq!(attempts(&until_passed(&mut farm, "counting")), "declined, ended");
}

#[test]
fn a_worker_that_is_removed_while_it_is_connected_is_forgotten_and_its_history_stays() {
    let mut farm = one_build_at_the_gate();
    open_the_gate(&farm);
    let passed = until_passed(&mut farm, "counting");
    farm.master_says(&["worker", "remove", "w1"]);
    farm.until("its session ends", |farm| {
        Ok(farm.worker_log("w1").contains("this machine was removed from the farm"))
    });
    assert_eq!(farm.answer("/workers/w1", &[]).0, 404);
    assert_eq!(farm.json("/workers").unwrap()["workers"], serde_json::json!([]));
    let after = farm.json(&format!("/builds/{}", passed["id"])).unwrap();
    assert_eq!(after["attempts"][0]["worker"], "w1");
    let (code, said) = farm.worker_refuses("w2", &["join", &farm.url(""), "--name", "w1"]);
    assert!(code == 1 && said.contains("another worker has this name"), "{said}");
}

#[test]
fn a_command_that_cannot_be_obeyed_says_why() {
    let mut farm = Farm::create();
    farm.serve();
    for name in ["w1", "w2"] {
        let code = farm.join(name);
        farm.approve(&code, "counted");
    }
    farm.join("w3");
    for (arguments, expected) in [
        (&["disable", "nobody"][..], "there is no worker `nobody`; `farm-master worker list` lists them"),
        (&["remove", "nobody"], "there is no worker `nobody`"),
        (&["refuse", "nobody"], "there is no worker `nobody`"),
        (&["refuse"], "name one machine, or all of them with --all"),
        (&["refuse", "w3", "--all"], "name one machine, or all of them with --all"),
        (&["refuse", "w1"], "`worker disable` keeps it from working"),
        (&["enable", "w1"], "w1: this worker is enabled already"),
        (&["enable", "w3"], "w3: this machine waits for approval"),
        (&["disable", "w3"], "`worker refuse` turns it away"),
        (&["rename", "w1", "w2"], "w1: another worker has this name; choose another"),
        (&["rename", "w1", "../etc"], "`../etc` is not a name"),
        (&["rename", "nobody", "w9"], "there is no worker `nobody`"),
        (&["approve", "12345678"], "name the person who is responsible for the machine, with --owner NAME"),
        (&["approve", "12345678", "--owner", "Bob"], "there is no such worker with that code"),
        (&["approve", "12345678", "--owner", "Bob <bob>"], "`bob` is not a mail address"),
    ] {
        let said = refusal(&farm, &[&["worker"], arguments].concat());
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    assert!(farm.master_says(&["worker", "rename", "w1", "attic"]).contains("w1 is now called attic."));
    assert!(farm.get("/workers/attic").is_ok());
    assert!(farm.master_says(&["worker", "refuse", "w3"]).contains("Refused w3."));
    farm.run_worker("w3");
    farm.until("it is told so", |farm| Ok(farm.worker_log("w3").contains("the operator refused this key")));
}

#[test]
fn a_thousand_requests_from_one_address_leave_room_and_go_in_one_command() {
    let mut farm = Farm::create();
    farm.serve();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut taken = 0;
    let mut last = String::new();
    for number in 0..1000 {
        let join = protocol::Join {
            protocol: protocol::VERSION,
            key: Stranger::with_number(number).public(),
            name: format!("stranger{number}"),
            facts: protocol::WorkerFacts::default(),
        };
        let request = agent.post(farm.url(path::JOIN)).header("content-type", "application/json");
        let mut answer = request.send(protocol::encode(&join)).unwrap();
        match answer.status().as_u16() {
            202 => taken += 1,
            409 => last = answer.body_mut().read_to_string().unwrap(),
            status => panic!("{status}"),
        }
    }
    assert_eq!(taken, 20);
    assert!(last.contains("too many machines of this address wait"), "{last}");
    assert_eq!(farm.master_says(&["worker", "pending"]).lines().count(), 20);
    let (code, said) = farm.worker_refuses("honest", &["join", &farm.url("")]);
    assert!(code == 1 && said.contains("too many machines of this address wait"), "{said}");
    assert!(!farm.path("honest").exists(), "a join that fails leaves nothing behind");
    assert_eq!(farm.master_says(&["worker", "refuse", "--all"]).trim(), "Refused all that waited: 20.");
    assert_eq!(farm.master_says(&["worker", "pending"]).trim(), "No machine waits for approval.");
    farm.join("honest");
}

#[test]
fn a_worker_takes_its_new_key_when_the_operator_approves_it() {
    let mut farm = Farm::create();
    farm.serve();
    farm.worker("w1", 1);
    farm.until("it is here", |farm| Ok(farm.get("/workers")?.contains("1 worker is connected")));
    let code_of =
        |said: String| said.lines().find_map(|line| line.strip_prefix("code: ").map(str::to_string)).unwrap();
    let code = code_of(farm.worker_says("w1", &["rekey"]));
    let again = farm.worker_says("w1", &["rekey"]);
    assert!(again.contains("has asked for a new key before"), "{again}");
    assert_eq!(code_of(again), code);
    let pending = farm.master_says(&["worker", "pending"]);
    assert!(pending.contains(&format!("{code}  w1")) && pending.contains("asks for a new key"), "{pending}");
    // The old key is valid until then.
    farm.kill_worker("w1");
    farm.run_worker("w1");
    farm.until("it is back", |farm| Ok(farm.worker_status("w1")?["connection"] == "connected"));
    let old = std::fs::read_to_string(farm.path("w1/key")).unwrap();
    assert!(farm.master_says(&["worker", "approve", &code]).contains("Approved the new key of w1."));
    farm.worker_process("w1").terminate(Duration::from_secs(30)).unwrap();
    farm.run_worker("w1");
    farm.until("it has changed its key", |farm| Ok(!farm.path("w1/key.next").exists()));
    farm.until("it is back", |farm| Ok(farm.worker_status("w1")?["connection"] == "connected"));
    assert_ne!(std::fs::read_to_string(farm.path("w1/key")).unwrap(), old);
    assert_eq!(farm.json("/workers").unwrap()["workers"].as_array().unwrap().len(), 1);
}

#[test]
fn a_request_that_a_key_has_not_signed_now_changes_nothing() {
    let mut farm = Farm::create();
    farm.serve();
    let stranger = Stranger::with_number(1);
    stranger.join_and_be_approved(&farm, "w1");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let now = jiff::Timestamp::now().as_millisecond();
    let request = |at_ms: i64, next_key: Option<String>, signature: String| SignedRequest {
        protocol: protocol::VERSION,
        key: stranger.public(),
        at_ms,
        next_key,
        signature,
    };
    for (path, request, status) in [
        (path::LEAVE, request(now, None, "00".repeat(64)), 401),
        (path::LEAVE, request(now, None, "short".into()), 400),
        (path::LEAVE, request(now - 3_600_000, None, "00".repeat(64)), 400),
        (path::LEAVE, request(i64::MIN, None, "00".repeat(64)), 400),
        (path::REKEY, request(now, Some("11".repeat(32)), "00".repeat(64)), 401),
        (path::REKEY, request(now, None, "00".repeat(64)), 400),
    ] {
        let text = serde_json::to_string(&request).unwrap();
        let answer =
            agent.post(farm.url(path)).header("content-type", "application/json").send(text).unwrap();
        assert_eq!(answer.status().as_u16(), status, "{request:?}");
    }
    assert!(farm.get("/workers/w1").is_ok());
}
