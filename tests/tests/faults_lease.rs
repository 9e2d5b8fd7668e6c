//! Which worker holds a build when its worker goes silent, with workers that send exactly what the test wants.

use std::time::Duration;

use protocol::{Event, FromWorker, HeldAttempt, PackedToolchain, Resume, ResumeAction, StepEnd};
use trunkfarm_tests::counting::{attempts, shorten_leases, wait};
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::wire::{Stranger, Wire};

/// SHA-256 of `right`, the content of every toolchain here.
const OF_RIGHT: &str = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9";

/// A farm that tolerates three seconds of silence, and two approved workers.
struct Stage {
    farm: Farm,
    first: Stranger,
    second: Stranger,
}

impl Stage {
    fn set() -> Stage {
        let farm = Farm::create();
        shorten_leases(&farm);
        Stage::raise(farm)
    }

    fn raise(mut farm: Farm) -> Stage {
        farm.serve();
        let (first, second) = (Stranger::with_number(1), Stranger::with_number(2));
        first.join_and_be_approved(&farm, "first");
        second.join_and_be_approved(&farm, "second");
        Stage { farm, first, second }
    }

    /// The first worker accepts the only build, begins it, and then sends nothing more.
    fn first_worker_goes_silent(&mut self) -> i64 {
        let mut wire = self.first.connect(&self.farm, 1);
        let attempt = wire.offered();
        wire.send(&FromWorker::Accept { attempt });
        wire.send_started(attempt);
        wire.acknowledged(attempt, 1);
        drop(wire);
        attempt
    }

    fn attempts(&self) -> anyhow::Result<String> {
        Ok(attempts(&self.farm.json("/builds/1")?))
    }
}

fn holds(attempt: i64, written: u64) -> Vec<HeldAttempt> {
    vec![HeldAttempt { attempt, last_sequence: written }]
}

fn goes_on_from(attempt: i64, sequence: u64) -> Vec<Resume> {
    vec![Resume { attempt, action: ResumeAction::ResendAfter(sequence) }]
}

/// Reports everything about the build after its first event.
fn report_the_rest(wire: &mut Wire, attempt: i64, artifact: Option<PackedToolchain>) {
    let end = StepEnd::Exit { code: 0 };
    wire.send_event(attempt, 2, Event::StepStarted { step: 0, name: "install".to_string() });
    wire.send_log(attempt, 3, b"late\n".to_vec());
    wire.send_event(attempt, 4, Event::StepEnded { step: 0, end, duration_ms: 1, warnings: vec![] });
    wire.send_event(attempt, 5, Event::Finished { results: None, artifact, infra_failure: None });
    wire.acknowledged(attempt, 5);
}

#[test]
fn a_worker_that_returns_before_another_has_accepted_keeps_its_build() {
    let mut stage = Stage::set();
    let attempt = stage.first_worker_goes_silent();
    wait(&mut stage.farm, Duration::from_millis(3500));
    let mut second = stage.second.connect(&stage.farm, 1);
    let rival = second.offered();
    let (mut first, held) = stage.first.reconnect(&stage.farm, 1, holds(attempt, 1));
    assert_eq!(held, goes_on_from(attempt, 1));
    assert_eq!(second.cancelled(rival), "the first worker of this build is back");
    // Its Accept came too late, and so do its reports; it may forget the attempt.
    second.send(&FromWorker::Accept { attempt: rival });
    assert_eq!(second.cancelled(rival), "the offer was withdrawn");
    second.send_started(rival);
    second.acknowledged(rival, 1);
    first.send_event(attempt, 2, Event::StepStarted { step: 0, name: "install".to_string() });
    first.acknowledged(attempt, 2);
    assert_eq!(stage.attempts().unwrap(), "running, declined");
}

#[test]
fn reports_on_a_reassigned_attempt_are_kept_and_decide_nothing() {
    let mut stage = Stage::set();
    let attempt = stage.first_worker_goes_silent();
    wait(&mut stage.farm, Duration::from_millis(3500));
    let mut second = stage.second.connect(&stage.farm, 1);
    let rival = second.offered();
    second.send(&FromWorker::Accept { attempt: rival });
    stage.farm.until("it is the second's", |farm| Ok(attempts(&farm.json("/builds/1")?) == "lost, running"));
    let (mut first, held) = stage.first.reconnect(&stage.farm, 0, holds(attempt, 5));
    assert_eq!(held, goes_on_from(attempt, 1));
    let refusal = first.cancelled(attempt);
    assert!(refusal.contains("is kept, but decides nothing"), "{refusal}");
    report_the_rest(&mut first, attempt, None);
    // A repeated report is acknowledged again and stored once.
    report_the_rest(&mut first, attempt, None);
    let build = stage.farm.json("/builds/1").unwrap();
    assert_eq!(attempts(&build), "lost, running");
    assert_eq!(build["attempts"][0]["late_outcome"], "passed", "{build}");
    assert_eq!(build["attempts"][0]["steps"][0]["log_lines"], 1, "{build}");
    assert_eq!(build["outcome"], serde_json::Value::Null);
    let (_first, held) = stage.first.reconnect(&stage.farm, 0, holds(attempt, 5));
    assert!(matches!(held[0].action, ResumeAction::Drop(_)), "{held:?}");
}

#[test]
fn an_offer_that_is_declined_leaves_the_build_with_its_silent_worker() {
    let mut stage = Stage::set();
    let attempt = stage.first_worker_goes_silent();
    wait(&mut stage.farm, Duration::from_millis(3500));
    let mut second = stage.second.connect(&stage.farm, 1);
    let rival = second.offered();
    second.send(&FromWorker::Decline { attempt: rival, reason: "not now".to_string() });
    stage.farm.until("it was declined", |farm| {
        Ok(attempts(&farm.json("/builds/1")?).starts_with("running, declined"))
    });
    drop(second);
    let (_first, held) = stage.first.reconnect(&stage.farm, 1, holds(attempt, 1));
    assert_eq!(held, goes_on_from(attempt, 1));
}

#[test]
fn without_another_worker_a_build_stays_with_its_silent_worker_until_its_time_limit() {
    let farm = Farm::create();
    shorten_leases(&farm);
    farm.configure("[trunk.recipe]", "[trunk.recipe]\nlimits = { time = \"6s\", silence = \"6s\" }");
    let mut stage = Stage::raise(farm);
    stage.first_worker_goes_silent();
    wait(&mut stage.farm, Duration::from_millis(3500));
    assert_eq!(stage.attempts().unwrap(), "running");
    stage.farm.until("it waits for any worker", |farm| {
        let build = farm.json("/builds/1")?;
        Ok(attempts(&build) == "lost" && build["state"] == "queued")
    });
    // There is a short pause before the next attempt.
    wait(&mut stage.farm, Duration::from_millis(3500));
    let mut second = stage.second.connect(&stage.farm, 1);
    second.offered();
}

#[test]
fn the_same_result_reported_twice_is_one_result() {
    let mut stage = Stage::set();
    let attempt = stage.first_worker_goes_silent();
    let (mut first, held) = stage.first.reconnect(&stage.farm, 1, holds(attempt, 5));
    assert_eq!(held, goes_on_from(attempt, 1));
    let put = ureq::put(stage.farm.url(&format!("/worker/v1/object/artifact/{OF_RIGHT}")))
        .header("authorization", format!("Bearer {}", first.token))
        .send(&b"right"[..]);
    assert_eq!(put.unwrap().status(), 201);
    let made = Some(PackedToolchain { sha256: OF_RIGHT.parse().unwrap(), bytes: 5 });
    report_the_rest(&mut first, attempt, made);
    report_the_rest(&mut first, attempt, made);
    drop(first);
    let (_first, held) = stage.first.reconnect(&stage.farm, 1, holds(attempt, 5));
    assert!(matches!(held[0].action, ResumeAction::Drop(_)), "{held:?}");
    let build = stage.farm.json("/builds/1").unwrap();
    assert_eq!((attempts(&build).as_str(), &build["outcome"]), ("ended", &"passed".into()), "{build}");
}
