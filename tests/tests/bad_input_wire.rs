//! Faulty or hostile workers: the master closes each connection with a reason, and another worker goes on building.

use std::io::Write;
use std::net::TcpStream;

use protocol::{
    Event, FetchProgress, FromWorker, LogFrame, MAX_LOG_BYTES, MAX_MESSAGE_BYTES, PackedToolchain, Sha256,
    StepEnd, VERSION,
};
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::wire::{Received, Stranger, Wire};

/// A farm with a worker that has built something.
fn farm() -> Farm {
    let mut farm = empty();
    farm.worker("good", 1);
    farm
}

/// A farm without a worker.
fn empty() -> Farm {
    let mut farm = Farm::create();
    farm.project("polite", "echo 1..1; echo 'ok 1 - greets'\n");
    farm.serve();
    farm
}

/// Asserts that the farm still works: the good worker builds the next change.
fn assert_farm_goes_on(farm: &mut Farm) {
    farm.edit("lang", "#!/bin/sh\n# once more\n. \"$1\"\n");
    let change = farm.commit("once more");
    assert_eq!(farm.finished_build(&change, "polite")["outcome"], "passed");
}

/// An approved worker to which no build is ever offered.
fn guest(farm: &Farm) -> Wire {
    let guest = Stranger::with_number(7);
    guest.join_and_be_approved(farm, "guest");
    guest.connect(farm, 0)
}

// Which workers are admitted.

#[test]
fn a_key_that_never_joined_is_refused() {
    let mut farm = farm();
    let (mut wire, nonce) = Wire::dial(&farm);
    wire.send(&Stranger::with_number(1).hello(&nonce, 1, vec![]));
    assert_eq!(wire.refusal(), "this key is unknown here; run `farm-worker join URL` first");
    assert_farm_goes_on(&mut farm);
}

#[test]
fn a_key_that_is_not_approved_yet_is_refused_with_how_to_approve_it() {
    let mut farm = farm();
    let stranger = Stranger::with_number(2);
    stranger.join(&farm, "waiting");
    let (mut wire, nonce) = Wire::dial(&farm);
    wire.send(&stranger.hello(&nonce, 1, vec![]));
    let approve = format!("farm-master worker approve {} --owner NAME", stranger.code());
    assert_eq!(wire.refusal(), format!("not approved yet; the operator runs `{approve}`"));
    assert_farm_goes_on(&mut farm);
}

#[test]
fn a_key_that_the_worker_does_not_hold_is_refused() {
    let mut farm = farm();
    let owner = Stranger::with_number(3);
    owner.join_and_be_approved(&farm, "owner");
    let said = "the signature is not this key's over the challenge";
    // The thief signs with its own key.
    let (mut wire, nonce) = Wire::dial(&farm);
    let FromWorker::Hello { signature, .. } = Stranger::with_number(4).hello(&nonce, 1, vec![]) else {
        panic!()
    };
    let mut hello = owner.hello(&nonce, 1, vec![]);
    if let FromWorker::Hello { signature: of, .. } = &mut hello {
        *of = signature;
    }
    wire.send(&hello);
    assert_eq!(wire.refusal(), said);
    // The thief has recorded the owner's answer to an earlier challenge.
    let (_earlier, nonce) = Wire::dial(&farm);
    let (mut wire, _) = Wire::dial(&farm);
    wire.send(&owner.hello(&nonce, 1, vec![]));
    assert_eq!(wire.refusal(), said);
    assert_farm_goes_on(&mut farm);
}

/// An older worker would overlook the arguments of a variant and build another thing, so it gets no build at all.
#[test]
fn another_protocol_version_is_refused_and_both_versions_are_named() {
    let mut farm = farm();
    let stranger = Stranger::with_number(5);
    stranger.join_and_be_approved(&farm, "old");
    for theirs in [1, VERSION + 1] {
        let (mut wire, nonce) = Wire::dial(&farm);
        let mut hello = stranger.hello(&nonce, 1, vec![]);
        if let FromWorker::Hello { protocol, .. } = &mut hello {
            *protocol = theirs;
        }
        wire.send(&hello);
        assert_eq!(
            wire.refusal(),
            format!(
                "this farm speaks protocol {VERSION}, the worker {theirs}; install the farm-worker of the farm's version"
            )
        );
    }
    assert_farm_goes_on(&mut farm);
}

#[test]
fn any_message_before_a_hello_is_refused() {
    let mut farm = farm();
    let frame = LogFrame { attempt: 1, sequence: 1, step: 0, bytes: b"x".to_vec() };
    let sayings: [&dyn Fn(&mut Wire); 3] = [
        &|wire| wire.send(&FromWorker::Heartbeat),
        &|wire| wire.send(&FromWorker::Accept { attempt: 1 }),
        &|wire| wire.send_bytes(frame.to_bytes()),
    ];
    for say in sayings {
        let (mut wire, _) = Wire::dial(&farm);
        say(&mut wire);
        assert_eq!(wire.refusal(), "expected a hello before anything else");
    }
    assert_farm_goes_on(&mut farm);
}

#[test]
fn a_connection_that_sends_nothing_is_closed() {
    let mut farm = farm();
    let (wire, _) = Wire::dial(&farm);
    assert_eq!(wire.refusal(), "no hello came within 15 s");
    assert_farm_goes_on(&mut farm);
}

#[test]
fn a_hello_that_cannot_be_read_is_refused() {
    let mut farm = farm();
    for (text, said) in [
        ("", "a message that cannot be read: EOF"),
        ("{", "a message that cannot be read: EOF"),
        ("[]", "a message that cannot be read: "),
        (r#"{"type":"dance"}"#, "a message that cannot be read: unknown variant `dance`"),
        (r#"{"type":"hello","protocol":1}"#, "a message that cannot be read: missing field"),
        (r#"{"type":"hello","protocol":-1}"#, "a message that cannot be read: "),
    ] {
        let (mut wire, _) = Wire::dial(&farm);
        wire.send_text(text);
        let reason = wire.refusal();
        assert!(reason.starts_with(said), "`{text}`: {reason}");
    }
    let (mut wire, _) = Wire::dial(&farm);
    wire.send_text(&"[".repeat(100_000));
    assert!(wire.refusal().starts_with("a message that cannot be read: "), "a deep message");
    assert_farm_goes_on(&mut farm);
}

#[test]
fn a_second_connection_with_the_same_key_ends_the_first() {
    let mut farm = farm();
    let first = guest(&farm);
    let _second = Stranger::with_number(7).connect(&farm, 0);
    assert_eq!(first.refusal(), "another connection with this key took over");
    assert_farm_goes_on(&mut farm);
}

// What an admitted worker may send.

#[test]
fn a_second_hello_is_refused() {
    let mut farm = farm();
    let mut wire = guest(&farm);
    wire.send(&Stranger::with_number(7).hello("any", 0, vec![]));
    assert_eq!(wire.refusal(), "a second hello on one connection");
    assert_farm_goes_on(&mut farm);
}

#[test]
fn a_message_that_cannot_be_read_closes_the_connection() {
    let mut farm = farm();
    let mut wire = guest(&farm);
    wire.send_text(r#"{"type":"event","attempt":"#);
    let reason = wire.refusal();
    assert!(reason.starts_with("a message that cannot be read: EOF"), "{reason}");
    assert_farm_goes_on(&mut farm);
}

#[test]
fn an_invalid_log_frame_closes_the_connection() {
    let mut farm = farm();
    guest(&farm);
    let frame =
        |bytes: usize| LogFrame { attempt: 1, sequence: 1, step: 0, bytes: vec![b'x'; bytes] }.to_bytes();
    for bytes in [vec![], vec![0; 17], frame(0), frame(MAX_LOG_BYTES + 1)] {
        let mut wire = Stranger::with_number(7).connect(&farm, 0);
        let said = format!("a log frame of {} bytes: expected 18 bytes of header", bytes.len());
        wire.send_bytes(bytes);
        let reason = wire.refusal();
        assert!(reason.starts_with(&said), "{reason}");
    }
    assert_farm_goes_on(&mut farm);
}

#[test]
fn a_message_larger_than_the_limit_closes_the_connection() {
    let mut farm = farm();
    guest(&farm);
    for more in [1, MAX_MESSAGE_BYTES / 2] {
        let mut wire = Stranger::with_number(7).connect(&farm, 0);
        wire.send_text(&" ".repeat(MAX_MESSAGE_BYTES + more));
        let bytes = MAX_MESSAGE_BYTES + more;
        assert_eq!(
            wire.refusal(),
            format!("a message of {bytes} bytes: expected at most {MAX_MESSAGE_BYTES}")
        );
    }
    // A far larger message is not even read; the connection may be closed before the sender can read the reason.
    let mut wire = Stranger::with_number(7).connect(&farm, 0);
    wire.send_bytes(vec![0; 64 << 20]);
    while wire.receive() != Received::Closed {}
    assert_farm_goes_on(&mut farm);
    assert!(farm.master().peak_memory_bytes() < 200 << 20);
}

// What a worker may report about an attempt.

/// The only worker of a farm, with the first attempt, which it has begun.
fn holder(farm: &Farm) -> (Stranger, Wire, i64) {
    let holder = Stranger::with_number(9);
    holder.join_and_be_approved(farm, "holder");
    let mut wire = holder.connect(farm, 1);
    let attempt = wire.offered();
    wire.send(&FromWorker::Accept { attempt });
    wire.send_started(attempt);
    wire.acknowledged(attempt, 1);
    (holder, wire, attempt)
}

/// Reconnects the holder without its attempt, so that a good worker gets the build.
fn abandon_attempt(farm: &mut Farm, holder: &Stranger) {
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    let _came_back_empty = holder.connect(farm, 0);
    farm.worker("good", 1);
    assert_eq!(farm.finished_build(&base, "polite")["outcome"], "passed");
    assert_farm_goes_on(farm);
}

#[test]
fn an_event_after_a_gap_closes_the_connection() {
    let mut farm = empty();
    let (holder, mut wire, attempt) = holder(&farm);
    wire.send_event(attempt, 3, Event::StepStarted { step: 0, name: "install".to_string() });
    assert_eq!(wire.refusal(), format!("event 3 of attempt {attempt} came after 1: one is missing"));
    abandon_attempt(&mut farm, &holder);
}

#[test]
fn an_event_for_the_attempt_of_another_worker_changes_nothing() {
    let mut farm = empty();
    let (holder, mut wire, attempt) = holder(&farm);
    let mut thief = guest(&farm);
    let finished = Event::Finished { results: None, artifact: None, infra_failure: None };
    thief.send_event(attempt, 2, finished);
    thief.send_log(attempt, 2, b"forged".to_vec());
    thief.send(&FromWorker::Decline { attempt, reason: "forged".to_string() });
    for _ in 0..2 {
        thief.cancelled(attempt);
    }
    // The same holds for an attempt that does not exist.
    thief.send_started(i64::MAX);
    thief.cancelled(i64::MAX);
    // If the forgery counted, this would be a repeated event.
    wire.send_event(attempt, 2, Event::StepStarted { step: 0, name: "install".to_string() });
    wire.acknowledged(attempt, 2);
    let attempts = &farm.json("/builds/1").unwrap()["attempts"];
    assert_eq!(attempts.as_array().map(Vec::len), Some(1));
    assert_eq!(attempts[0]["steps"][0]["name"], "install", "{attempts}");
    abandon_attempt(&mut farm, &holder);
}

/// The infra failure of the first attempt of the first build.
fn first_infra_failure(farm: &Farm) -> String {
    let attempts = farm.json("/builds/1").unwrap()["attempts"].clone();
    attempts[0]["failure"].as_str().unwrap_or_else(|| panic!("{attempts}")).to_string()
}

fn step_ended(step: u16) -> Event {
    Event::StepEnded { step, end: StepEnd::Exit { code: 0 }, duration_ms: u64::MAX, warnings: vec![] }
}

/// Otherwise it would be sent again on each new connection, forever.
#[test]
fn an_invalid_event_ends_its_attempt_as_an_infra_failure_and_the_connection_goes_on() {
    let started = |sequence| (sequence, Event::StepStarted { step: 0, name: "install".to_string() });
    let senseless: [(Vec<(u64, Event)>, &str); 6] = [
        (vec![(2, step_ended(0))], "the step is not running"),
        (
            vec![(2, Event::LogTruncated { step: 3, bytes: u64::MAX, lines: u64::MAX })],
            "the step has no log that is open",
        ),
        (vec![started(2), started(3)], "the step has started already"),
        (vec![(2, Event::StepStarted { step: 9, name: "more".to_string() })], "the recipe has no such step"),
        (
            vec![started(2), (3, step_ended(0)), (4, Event::LogTruncated { step: 0, bytes: 1, lines: 1 })],
            "step 0 has ended",
        ),
        (vec![started(2), (3, step_ended(0)), (4, finished())], "it made no toolchain"),
    ];
    for (events, why) in senseless {
        let mut farm = empty();
        let (holder, mut wire, attempt) = holder(&farm);
        let count = events.len();
        for (at, (sequence, said)) in events.into_iter().enumerate() {
            wire.send_event(attempt, sequence, said);
            if at + 1 < count {
                wire.acknowledged(attempt, sequence);
            }
        }
        if !why.starts_with("it made") {
            wire.cancelled(attempt);
        }
        farm.until("the attempt has ended", |farm| {
            Ok(farm.json("/builds/1")?["attempts"][0]["failure"].is_string())
        });
        let trouble = first_infra_failure(&farm);
        assert!(trouble.contains(why), "{trouble}");
        abandon_attempt(&mut farm, &holder);
    }
}

#[test]
fn a_log_longer_than_its_recipe_allows_ends_the_attempt_before_the_disk_is_full() {
    let mut farm = Farm::create();
    farm.project("polite", "echo 1..1; echo 'ok 1 - greets'\n");
    farm.configure("[trunk.recipe]", "[trunk.recipe]\nlimits = { log = \"64KiB\" }");
    farm.serve();
    let (holder, mut wire, attempt) = holder(&farm);
    wire.send_event(attempt, 2, Event::StepStarted { step: 0, name: "install".to_string() });
    for sequence in 3..6 {
        let bytes = vec![b'x'; MAX_LOG_BYTES];
        wire.send_log(attempt, sequence, bytes);
    }
    wire.cancelled(attempt);
    let trouble = first_infra_failure(&farm);
    assert!(trouble.contains("the log of step 0 is longer than its recipe's limit"), "{trouble}");
    abandon_attempt(&mut farm, &holder);
}

fn finished() -> Event {
    Event::Finished { results: None, artifact: None, infra_failure: None }
}

#[test]
fn an_end_that_names_what_was_never_uploaded_is_an_infra_failure() {
    let mut farm = empty();
    let (holder, mut wire, attempt) = holder(&farm);
    let made = PackedToolchain { sha256: Sha256([1; 32]), bytes: 1 << 40 };
    let ended = Event::StepEnded {
        step: 0,
        end: StepEnd::Exit { code: 0 },
        duration_ms: 1,
        warnings: vec!["w".repeat(2000); 150],
    };
    wire.send_event(attempt, 2, Event::StepStarted { step: 0, name: "install".to_string() });
    wire.send_event(attempt, 3, ended);
    wire.send_event(attempt, 4, Event::Finished { results: None, artifact: Some(made), infra_failure: None });
    wire.acknowledged(attempt, 4);
    let attempts = farm.json("/builds/1").unwrap()["attempts"].clone();
    assert!(
        attempts[0]["failure"].as_str().unwrap().contains("its toolchain was not uploaded completely"),
        "{attempts}"
    );
    let warnings = attempts[0]["steps"][0]["warnings"].as_array().unwrap();
    assert_eq!((warnings.len(), warnings[0].as_str().unwrap().len()), (100, 1000), "bounded");
    drop(wire);
    abandon_attempt(&mut farm, &holder);
}

// Objects.

/// SHA-256 of no bytes, and of `right`.
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OF_RIGHT: &str = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9";

/// `PUT kind/name` with a token. Returns the status.
fn put(farm: &Farm, token: &str, object: &str, bytes: &[u8]) -> u16 {
    let url = farm.url(&format!("{}/{object}", protocol::path::OBJECT));
    status(ureq::put(url).header("authorization", format!("Bearer {token}")).send(bytes))
}

fn get(farm: &Farm, token: &str, object: &str) -> u16 {
    let url = farm.url(&format!("{}/{object}", protocol::path::OBJECT));
    status(ureq::get(url).header("authorization", format!("Bearer {token}")).call())
}

fn status<B>(answer: Result<ureq::http::Response<B>, ureq::Error>) -> u16 {
    match answer {
        Ok(answer) => answer.status().as_u16(),
        Err(ureq::Error::StatusCode(status)) => status,
        Err(error) => panic!("no answer: {error}"),
    }
}

#[test]
fn objects_require_a_session() {
    let mut farm = farm();
    let object = format!("artifact/{OF_NOTHING}");
    for token in ["", "wrong", &"0".repeat(64)] {
        assert_eq!(put(&farm, token, &object, b""), 401);
        assert_eq!(get(&farm, token, &object), 401);
    }
    let wire = guest(&farm);
    let token = wire.token.clone();
    assert_eq!(get(&farm, &token, &object), 404);
    assert_eq!(put(&farm, &token, &object, b""), 201);
    assert_eq!(get(&farm, &token, &object), 200);
    drop(wire);
    farm.until("the token ends with its session", |farm| Ok(get(farm, &token, &object) == 401));
    assert_farm_goes_on(&mut farm);
}

#[test]
fn an_object_that_does_not_match_its_name_is_refused_and_dropped() {
    let mut farm = farm();
    let wire = guest(&farm);
    for kind in ["artifact", "results", "cases"] {
        let object = format!("{kind}/{OF_RIGHT}");
        assert_eq!(put(&farm, &wire.token, &object, b"wrong"), 400, "{kind}");
        assert_eq!(get(&farm, &wire.token, &object), 404, "{kind}");
        assert_eq!(
            put(&farm, &wire.token, &format!("{object}?from=5"), b"more"),
            409,
            "{kind}: nothing is left of it"
        );
    }
    assert_eq!(put(&farm, &wire.token, &format!("artifact/{OF_RIGHT}"), b"right"), 201);
    assert_farm_goes_on(&mut farm);
}

#[test]
fn an_upload_that_begins_after_the_end_of_what_is_there_is_refused() {
    let mut farm = farm();
    let wire = guest(&farm);
    for (from, answer) in [("1", 409), ("18446744073709551615", 409), ("-1", 400), ("x", 400), ("1e9", 400)] {
        assert_eq!(
            put(&farm, &wire.token, &format!("artifact/{OF_RIGHT}?from={from}"), b"right"),
            answer,
            "{from}"
        );
    }
    assert_farm_goes_on(&mut farm);
}

#[test]
fn an_upload_in_progress_is_safe_from_another() {
    let mut farm = farm();
    let wire = guest(&farm);
    let object = format!("results/{OF_RIGHT}");
    let mut slow = TcpStream::connect(("127.0.0.1", farm.port)).unwrap();
    let (path, token) = (protocol::path::OBJECT, &wire.token);
    let head = "HTTP/1.1\r\nhost: farm\r\ncontent-length: 5\r\n";
    write!(slow, "PUT {path}/{object} {head}authorization: Bearer {token}\r\n\r\nwr").unwrap();
    farm.until("the slow upload has begun", |farm| {
        Ok(std::fs::metadata(farm.path(&format!("data/objects/{object}.part")))?.len() == 2)
    });
    assert_eq!(put(&farm, token, &object, b"right"), 409);
    drop(slow);
    farm.until("whoever comes after it has the place", |farm| Ok(put(farm, token, &object, b"right") == 201));
    assert_farm_goes_on(&mut farm);
}

#[test]
fn an_object_with_an_unknown_kind_or_a_path_as_its_name_is_refused() {
    let mut farm = farm();
    let wire = guest(&farm);
    for (object, answer) in [
        (format!("secret/{OF_NOTHING}"), 404),
        (format!("..%2fartifact/{OF_NOTHING}"), 404),
        ("artifact/..%2f..%2ffarm.db".to_string(), 400),
        ("artifact/%2e%2e".to_string(), 400),
        (format!("artifact/{OF_NOTHING}.part"), 400),
        (format!("artifact/{}", OF_NOTHING.to_uppercase()), 400),
        (format!("artifact/{}", &OF_NOTHING[1..]), 400),
        (format!("artifact/{OF_NOTHING}%00"), 400),
    ] {
        assert_eq!(get(&farm, &wire.token, &object), answer, "{object}");
        assert_eq!(put(&farm, &wire.token, &object, b""), answer, "{object}");
    }
    assert_farm_goes_on(&mut farm);
}

#[test]
fn an_object_larger_than_its_kind_allows_is_refused_during_the_upload() {
    let mut farm = farm();
    let wire = guest(&farm);
    let object = format!("results/{OF_RIGHT}");
    let url = farm.url(&format!("{}/{object}", protocol::path::OBJECT));
    let sent = ureq::put(url)
        .header("authorization", format!("Bearer {}", wire.token))
        .send(&vec![0_u8; (64 << 20) + (1 << 16)][..]);
    // The connection may be closed while the worker still sends.
    match sent {
        Err(ureq::Error::StatusCode(status)) => assert_eq!(status, 413),
        Err(_) => {}
        Ok(answer) => panic!("{}", answer.status()),
    }
    assert_eq!(get(&farm, &wire.token, &object), 404);
    let kept =
        std::fs::metadata(farm.path(&format!("data/objects/{object}.part"))).map_or(0, |meta| meta.len());
    assert!(kept <= 64 << 20, "{kept} bytes are kept");
    assert_farm_goes_on(&mut farm);
}

// Joining.

#[test]
fn an_invalid_join_request_is_refused() {
    let mut farm = farm();
    let key = Stranger::with_number(1).public();
    let facts = r#"{"os":"","arch":"","libc":"","distribution":"","kernel":"","cpus":0,"memory_bytes":0,"sandbox":""}"#;
    let join = |protocol: &str, key: &str, name: &str| {
        format!(r#"{{"protocol":{protocol},"key":"{key}","name":"{name}","facts":{facts}}}"#)
    };
    let post = |body: &str| {
        let post = ureq::post(farm.url(protocol::path::JOIN)).header("content-type", "application/json");
        status(post.send(body))
    };
    for (body, answer) in [
        (join("1", &key, "w"), 400),
        (join("3", &key, "w"), 400),
        (join("2", "abc", "w"), 400),
        (join("2", &"z".repeat(64), "w"), 400),
        (join("2", &"é".repeat(32), "w"), 400),
        (join("2", &key, ""), 400),
        (join("2", &key, "../w"), 400),
        (join("2", &key, "<script>"), 400),
        (join("2", &key, &"w".repeat(65)), 400),
        // A second request for the name `good` gets no key admitted either.
        (join("2", &key, "good"), 409),
        ("{".to_string(), 400),
        ("{}".to_string(), 422),
        (join("2", &key, &"w".repeat(100_000)), 413),
    ] {
        let shown: String = body.chars().take(100).collect();
        assert_eq!(post(&body), answer, "{shown}");
    }
    assert_eq!(
        farm.json("/workers").unwrap()["workers"].as_array().map(Vec::len),
        Some(1),
        "nobody was noted"
    );
    assert_farm_goes_on(&mut farm);
}

#[test]
fn a_join_with_the_key_of_an_approved_worker_changes_nothing() {
    let mut farm = farm();
    let _guest = guest(&farm);
    let of = |farm: &Farm| farm.json("/workers").unwrap()["workers"][1]["machine"].clone();
    let before = of(&farm);
    let key = Stranger::with_number(7).public();
    let facts = r#"{"os":"forged","arch":"","libc":"","distribution":"","kernel":"","cpus":0,"memory_bytes":0,"sandbox":"none"}"#;
    let join = format!(r#"{{"protocol":2,"key":"{key}","name":"guest","facts":{facts}}}"#);
    let post = ureq::post(farm.url(protocol::path::JOIN)).header("content-type", "application/json");
    assert_eq!(status(post.send(&join)), 202);
    assert_eq!(of(&farm), before);
    assert_farm_goes_on(&mut farm);
}

/// The page of a build shows how far its worker has fetched, in the farm's own words, until the first step starts. Reports for
/// another worker's attempt, and those that come too often, are dropped.
#[test]
fn how_far_a_worker_has_fetched_is_shown_and_bounded() {
    let mut farm = empty();
    let maker = Stranger::with_number(8);
    maker.join_and_be_approved(&farm, "maker");
    let mut wire = maker.connect(&farm, 1);
    let attempt = wire.offered();
    wire.send(&FromWorker::Accept { attempt });
    let other = Stranger::with_number(9);
    other.join_and_be_approved(&farm, "other");
    let mut thief = other.connect(&farm, 0);
    let report = |what: &str, objects| FromWorker::Progress {
        attempt,
        progress: FetchProgress {
            what: what.to_string(),
            bytes: 61_400_000,
            total_bytes: None,
            objects,
            total_objects: Some(9_000),
        },
    };
    let shown = |farm: &Farm| -> Option<String> {
        let sha = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
        let change = farm.json(&format!("/changes/{sha}")).ok()?;
        let build =
            change["builders"].as_array()?.iter().find_map(|one| one["builds"][0]["build"].as_i64())?;
        let build = farm.json(&format!("/builds/{build}")).ok()?;
        Some(build["attempts"][0]["progress"].as_str()?.to_string())
    };
    let wires = std::cell::RefCell::new((&mut wire, &mut thief));
    farm.until("the page shows how far the fetch is", |farm| {
        let (wire, thief) = &mut *wires.borrow_mut();
        thief.send(&report("nothing of the kind", 8_999));
        wire.send(&report(&format!("lua\u{1b}[31m{}", "x".repeat(10_000)), 4_211));
        Ok(shown(farm).is_some())
    });
    let text = shown(&farm).expect("it was there");
    assert!(text.starts_with("fetching lua[31mxxx"), "{text}");
    assert!(text.contains("61 MB") && text.ends_with("of 9,000 objects") && text.len() < 200, "{text}");
    wire.send_started(attempt);
    wire.send_event(attempt, 2, Event::StepStarted { step: 0, name: "install".into() });
    farm.until("a step has started, and nothing is fetched any more", |farm| Ok(shown(farm).is_none()));
}
