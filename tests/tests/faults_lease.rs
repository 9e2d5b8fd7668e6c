//! Whose a build is when its worker falls silent, told by workers that say exactly what the test wants said.

use std::time::Duration;

use protocol::{Event, FromWorker, HeldAttempt, PackedToolchain, Resume, ResumeAction, StepEnd};
use trunkfarm_tests::counting::{attempts, impatient, let_pass};
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::wire::{Stranger, Wire};

/// SHA-256 of `right`, which is what every toolchain here is made of.
const OF_RIGHT: &str = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9";

/// A farm that bears three seconds of silence, and two workers that were let in.
struct Stage {
    farm: Farm,
    first: Stranger,
    second: Stranger,
}

impl Stage {
    fn set() -> Stage {
        let farm = Farm::lay();
        impatient(&farm);
        Stage::raise(farm)
    }

    fn raise(mut farm: Farm) -> Stage {
        farm.serve();
        let (first, second) = (Stranger::number(1), Stranger::number(2));
        first.join_and_be_approved(&farm, "first");
        second.join_and_be_approved(&farm, "second");
        Stage { farm, first, second }
    }

    /// The first worker takes the only build, begins it, and is heard no more.
    fn the_first_falls_silent(&mut self) -> i64 {
        let mut wire = self.first.greet(&self.farm, 1);
        let attempt = wire.offered();
        wire.say(&FromWorker::Accept { attempt });
        wire.tell_started(attempt);
        wire.acknowledged(attempt, 1);
        drop(wire);
        attempt
    }

    fn attempts(&self) -> anyhow::Result<String> {
        Ok(attempts(&self.farm.json("/builds/1")?))
    }
}

fn holds(attempt: i64, written: u64) -> Vec<HeldAttempt> {
    vec![HeldAttempt { attempt, written }]
}

fn goes_on_from(attempt: i64, sequence: u64) -> Vec<Resume> {
    vec![Resume { attempt, then: ResumeAction::From(sequence) }]
}

/// All that is to be told of the build behind its first event.
fn tells_the_rest(wire: &mut Wire, attempt: i64, artifact: Option<PackedToolchain>) {
    let end = StepEnd::Exit { code: 0 };
    wire.tell(attempt, 2, Event::StepStarted { step: 0, name: "install".to_string() });
    wire.tell_log(attempt, 3, b"late\n".to_vec());
    wire.tell(attempt, 4, Event::StepEnded { step: 0, end, duration_ms: 1, warnings: vec![] });
    wire.tell(attempt, 5, Event::Finished { results: None, artifact, infra_failure: None });
    wire.acknowledged(attempt, 5);
}

#[test]
fn whoever_returns_before_another_has_accepted_keeps_his_build() {
    let mut stage = Stage::set();
    let attempt = stage.the_first_falls_silent();
    let_pass(&mut stage.farm, Duration::from_millis(3500));
    let mut second = stage.second.greet(&stage.farm, 1);
    let rival = second.offered();
    let (mut first, held) = stage.first.come_back(&stage.farm, 1, holds(attempt, 1));
    assert_eq!(held, goes_on_from(attempt, 1));
    assert_eq!(second.cancelled(rival), "its first worker is back");
    // His yes came too late, and so does what he tells; he may forget it all.
    second.say(&FromWorker::Accept { attempt: rival });
    assert_eq!(second.cancelled(rival), "the offer was taken back");
    second.tell_started(rival);
    second.acknowledged(rival, 1);
    first.tell(attempt, 2, Event::StepStarted { step: 0, name: "install".to_string() });
    first.acknowledged(attempt, 2);
    assert_eq!(stage.attempts().unwrap(), "running, declined");
}

#[test]
fn what_is_told_of_a_build_that_another_has_accepted_is_kept_and_decides_nothing() {
    let mut stage = Stage::set();
    let attempt = stage.the_first_falls_silent();
    let_pass(&mut stage.farm, Duration::from_millis(3500));
    let mut second = stage.second.greet(&stage.farm, 1);
    let rival = second.offered();
    second.say(&FromWorker::Accept { attempt: rival });
    stage.farm.until("it is the second's", |farm| Ok(attempts(&farm.json("/builds/1")?) == "lost, running"));
    let (mut first, held) = stage.first.come_back(&stage.farm, 0, holds(attempt, 5));
    assert_eq!(held, goes_on_from(attempt, 1));
    let refusal = first.cancelled(attempt);
    assert!(refusal.contains("is kept, but decides nothing"), "{refusal}");
    tells_the_rest(&mut first, attempt, None);
    // Told again, it is acknowledged again and kept once.
    tells_the_rest(&mut first, attempt, None);
    let build = stage.farm.json("/builds/1").unwrap();
    assert_eq!(attempts(&build), "lost, running");
    assert_eq!(build["attempts"][0]["late_outcome"], "passed", "{build}");
    assert_eq!(build["attempts"][0]["steps"][0]["log_lines"], 1, "{build}");
    assert_eq!(build["outcome"], serde_json::Value::Null);
    let (_first, held) = stage.first.come_back(&stage.farm, 0, holds(attempt, 5));
    assert!(matches!(held[0].then, ResumeAction::Drop(_)), "{held:?}");
}

#[test]
fn an_offer_that_is_declined_leaves_the_build_with_its_silent_worker() {
    let mut stage = Stage::set();
    let attempt = stage.the_first_falls_silent();
    let_pass(&mut stage.farm, Duration::from_millis(3500));
    let mut second = stage.second.greet(&stage.farm, 1);
    let rival = second.offered();
    second.say(&FromWorker::Decline { attempt: rival, reason: "not now".to_string() });
    stage.farm.until("it was declined", |farm| {
        Ok(attempts(&farm.json("/builds/1")?).starts_with("running, declined"))
    });
    drop(second);
    let (_first, held) = stage.first.come_back(&stage.farm, 1, holds(attempt, 1));
    assert_eq!(held, goes_on_from(attempt, 1));
}

#[test]
fn with_nobody_else_a_build_stays_with_its_silent_worker_until_its_time_limit() {
    let farm = Farm::lay();
    impatient(&farm);
    farm.configure("[trunk.recipe]", "[trunk.recipe]\nlimits = { time = \"6s\", silence = \"6s\" }");
    let mut stage = Stage::raise(farm);
    stage.the_first_falls_silent();
    let_pass(&mut stage.farm, Duration::from_millis(3500));
    assert_eq!(stage.attempts().unwrap(), "running");
    stage.farm.until("it waits for whoever comes", |farm| {
        let build = farm.json("/builds/1")?;
        Ok(attempts(&build) == "lost" && build["state"] == "queued")
    });
    // It has a moment's rest before it is tried again.
    let_pass(&mut stage.farm, Duration::from_millis(3500));
    let mut second = stage.second.greet(&stage.farm, 1);
    second.offered();
}

#[test]
fn the_same_result_told_twice_is_one_result() {
    let mut stage = Stage::set();
    let attempt = stage.the_first_falls_silent();
    let (mut first, held) = stage.first.come_back(&stage.farm, 1, holds(attempt, 5));
    assert_eq!(held, goes_on_from(attempt, 1));
    let put = ureq::put(stage.farm.url(&format!("/worker/v1/object/artifact/{OF_RIGHT}")))
        .header("authorization", format!("Bearer {}", first.token))
        .send(&b"right"[..]);
    assert_eq!(put.unwrap().status(), 201);
    let made = Some(PackedToolchain { sha256: OF_RIGHT.parse().unwrap(), bytes: 5 });
    tells_the_rest(&mut first, attempt, made);
    tells_the_rest(&mut first, attempt, made);
    drop(first);
    let (_first, held) = stage.first.come_back(&stage.farm, 1, holds(attempt, 5));
    assert!(matches!(held[0].then, ResumeAction::Drop(_)), "{held:?}");
    let build = stage.farm.json("/builds/1").unwrap();
    assert_eq!((attempts(&build).as_str(), &build["outcome"]), ("ended", &"passed".into()), "{build}");
}
