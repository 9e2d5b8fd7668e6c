//! Workers that share builds, disconnect, come back and wait for approval: no build is lost, and none is done twice.

use std::time::Duration;

use trunkfarm_tests::counting::{attempts, build, one_build_at_the_gate, open_the_gate, until_passed};
use trunkfarm_tests::farm::Farm;

#[test]
fn makers_build_each_toolchain_once_and_others_fetch_it() {
    let mut farm = Farm::create();
    for name in ["one", "two"] {
        farm.project(name, "echo 1..1\necho 'ok 1 - is there'\n");
        let path = format!("projects/{name}.toml");
        let recipe = std::fs::read_to_string(farm.path(&path)).unwrap();
        farm.write(&path, &recipe.replace("[recipe]", "wants   = [\"room\"]\n[recipe]"));
    }
    farm.edit("lang", "#!/bin/sh\n# second\n. \"$1\"\n");
    farm.commit("second");
    farm.serve();
    let code = farm.join("helper");
    farm.approve(&code, "counted");
    farm.configure_worker("helper", "offers", "[\"room\"]");
    farm.run_worker("helper");
    farm.until("the helper is here", |farm| Ok(farm.get("/workers")?.contains("1 worker is connected")));
    farm.until("both toolchains are asked for", |farm| {
        Ok(farm.json("/queue")?["builds"].as_array().is_some_and(|builds| builds.len() == 2))
    });
    assert_eq!(farm.column("toolchain").unwrap(), ["queued", "queued"], "the helper makes none");
    farm.worker("maker", 2);
    farm.until("all is decided", Farm::is_idle);

    let page = farm.json("/waterfall").unwrap();
    for (at, worker) in [(0, "maker"), (1, "helper"), (2, "helper")] {
        for row in page["rows"].as_array().unwrap() {
            let build = farm.json(&format!("/builds/{}", row["cells"][at]["build"])).unwrap();
            assert_eq!(build["outcome"], "passed", "{build}");
            assert_eq!(attempts(&build), "ended");
            assert_eq!(build["attempts"][0]["worker"], worker, "{build}");
        }
    }
}

#[test]
fn a_killed_worker_hands_its_build_back_when_it_returns() {
    for remembers in [true, false] {
        let mut farm = one_build_at_the_gate();
        farm.kill_worker("w1");
        if !remembers {
            std::fs::remove_dir_all(farm.path("w1/spool")).unwrap();
        }
        open_the_gate(&farm);
        farm.run_worker("w1");
        let build = until_passed(&mut farm, "counting");
        assert_eq!(attempts(&build), if remembers { "ended, ended" } else { "lost, ended" });
        let trouble = build["attempts"].as_array().unwrap().iter().find_map(|a| a["failure"].as_str());
        let expected = if remembers { "the worker was restarted" } else { "its worker came back without it" };
        assert!(trouble.is_some_and(|said| said.contains(expected)), "{build}");
    }
}

#[test]
fn a_stopped_worker_hands_its_build_back_at_once() {
    let mut farm = one_build_at_the_gate();
    let ended = farm.worker_process("w1").terminate(Duration::from_secs(30)).unwrap();
    assert!(ended.success(), "{ended}");
    farm.until("the build waits for another try", |farm| Ok(build(farm, "counting")?["state"] == "queued"));
    open_the_gate(&farm);
    farm.run_worker("w1");
    until_passed(&mut farm, "counting");
}

#[test]
fn a_build_goes_on_while_the_master_is_killed_and_started_again() {
    let mut farm = one_build_at_the_gate();
    farm.kill_master();
    farm.serve();
    farm.until("the worker is back", |farm| Ok(farm.get("/workers")?.contains("1 worker is connected")));
    open_the_gate(&farm);
    assert_eq!(attempts(&until_passed(&mut farm, "counting")), "ended");
}

#[test]
fn a_build_that_ends_while_the_master_is_away_is_reported_when_it_is_back() {
    let mut farm = one_build_at_the_gate();
    farm.stop_master();
    open_the_gate(&farm);
    let over = farm.path("counting.over");
    farm.until("the suite is over", |_| Ok(over.exists()));
    farm.serve();
    assert_eq!(attempts(&until_passed(&mut farm, "counting")), "ended");
}

#[test]
fn a_worker_waits_for_approval_and_then_works_without_being_started_again() {
    let mut farm = Farm::create();
    farm.serve();
    let code = farm.join("w1");
    farm.run_worker("w1");
    let wanted = format!("farm-master worker approve {code} --owner NAME");
    let log = farm.path("w1.log");
    let says = |wanted: &str| Ok(std::fs::read_to_string(&log).unwrap_or_default().contains(wanted));
    farm.until("the worker says what it waits for", |_| says(&wanted));
    let pages = ["/", "/workers", "/workers/w1", "/api/v1/status", "/api/v1/workers", "/api/v1/workers/w1"];
    assert!(
        pages.iter().all(|page| !farm.get(page).unwrap().contains(&code)),
        "the code is for the operator alone"
    );
    assert!(farm.master_says(&["worker", "pending"]).contains(&format!("{code}  w1")));
    assert_eq!(farm.column("toolchain").unwrap(), ["queued"]);
    farm.approve(&code, "maker");
    farm.until("it works", |farm| Ok(farm.column("toolchain")? == ["passed"]));
}

#[test]
fn a_key_that_never_joined_is_refused_with_what_to_do() {
    let (mut home, mut stranger) = (Farm::create(), Farm::create());
    home.serve();
    home.join("w1");
    stranger.serve();
    home.configure_worker("w1", "url", &format!("\"{}\"", stranger.url("")));
    home.run_worker("w1");
    let log = home.path("w1.log");
    home.until("it is refused", |_| {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        Ok(said.contains("this key is unknown here; run `farm-worker join URL` first"))
    });
    assert_eq!(stranger.json("/workers").unwrap()["workers"], serde_json::json!([]));
}
