//! The volunteer's day: joining, pausing, limits, leaving, and what the owner sees and hears.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;
use store::Store;
use trunkfarm_tests::counting::{
    attempts, build, counting_farm, one_build_at_the_gate, open_the_gate, until_passed,
};
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::process::{free_port, program};
use trunkfarm_tests::wire::Stranger;

/// Waits until the page of `w1` shows this state.
fn until_status(farm: &mut Farm, wanted: &str) {
    let what = format!("the page says {wanted}");
    farm.until(&what, |farm| {
        Ok(farm.json("/workers/w1")?["status"].as_str().is_some_and(|it| it.contains(wanted)))
    });
}

#[test]
fn a_join_that_fails_leaves_nothing_behind() {
    let farm = Farm::create();
    let nothing = format!("http://127.0.0.1:{}", free_port());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = format!("http://{}", listener.local_addr().unwrap());
    // A site that is content with everything, and no farm.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 8192]);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
        }
    });
    for (url, code, expected) in [
        (nothing.as_str(), 1, "cannot reach the farm at"),
        (site.as_str(), 1, "does not answer as a farm does"),
        ("farm.example.org", 2, "is not a farm's URL"),
    ] {
        let (exit, said) = farm.worker_refuses("w1", &["join", url, "--name", "w1"]);
        assert!(exit == code && said.contains(expected), "{exit} {said}");
        assert!(
            !farm.path("w1").exists(),
            "{url} left {:?}",
            std::fs::read_dir(farm.path("w1")).unwrap().count()
        );
    }
}

#[test]
fn a_paused_worker_stands_still_and_goes_on() {
    let mut farm = one_build_at_the_gate();
    let said = farm.worker_says("w1", &["pause", "2h"]);
    assert!(said.starts_with("w1 is paused until "), "{said}");
    until_status(&mut farm, "paused by its owner until");
    until_status(&mut farm, "the owner's command");
    let page = farm.json("/workers/w1").unwrap();
    assert!(page["idle"].as_str().unwrap().starts_with("It is paused by its owner until"), "{page}");
    farm.until("its build stands still", |farm| Ok(farm.worker_status("w1")?["frozen"] == true));
    let status = farm.worker_status("w1").unwrap();
    assert_eq!(status["builds"][0]["steps"][0]["name"], "test");
    let text = farm.worker_says("w1", &["status"]);
    assert!(text.contains("running builds stand still") && text.contains("1 of 1 builds running"), "{text}");
    assert!(!farm.get("/").unwrap().contains("w1 is offline"));
    open_the_gate(&farm);
    let over = farm.path("counting.over");
    assert!(!over.exists());
    assert!(farm.worker_says("w1", &["resume"]).contains("w1 works again"));
    assert_eq!(attempts(&until_passed(&mut farm, "counting")), "ended");
    assert!(farm.worker_says("w1", &["resume"]).contains("is not paused by command"));
    until_status(&mut farm, "idle");
}

#[test]
fn a_worker_that_does_not_run_says_so_and_keeps_a_pause_for_its_start() {
    let mut farm = Farm::create();
    farm.serve();
    let code = farm.join("w1");
    farm.approve(&code, "maker");
    let (exit, said) = farm.worker_refuses("w1", &["status"]);
    assert!(exit == 1 && said.contains("No worker runs in"), "{said}");
    assert_eq!(farm.worker_status("w1").unwrap()["running"], false);
    for bad in ["soon", "0s", "-1h", "9999d"] {
        let (exit, said) = farm.worker_refuses("w1", &["pause", "--", bad]);
        assert!(exit == 2 && said.contains("is not a time"), "{said}");
    }
    let said = farm.worker_says("w1", &["pause"]);
    assert!(said.contains("No worker runs in") && said.contains("until `farm-worker resume`"), "{said}");
    let (exit, said) = farm.worker_refuses("w1", &["drain"]);
    assert!(exit == 1 && said.contains("no worker runs in"), "{said}");
    let (exit, said) = farm.worker_refuses("elsewhere", &["pause"]);
    assert!(exit == 2 && said.contains("run `farm-worker join URL` first"), "{said}");
    farm.run_worker("w1");
    until_status(&mut farm, "paused by its owner: the owner's command");
    let (exit, said) = farm.worker_refuses("w1", &["run", "--as-root"]);
    assert!(exit == 1 && said.contains("another worker is already running in"), "{said}");
    assert_eq!(farm.column("toolchain").unwrap(), ["queued"]);
    farm.worker_says("w1", &["resume"]);
    farm.until("it works", |farm| Ok(farm.column("toolchain")? == ["passed"]));
}

#[test]
fn a_drained_worker_finishes_what_it_runs_and_ends() {
    let mut farm = one_build_at_the_gate();
    assert!(farm.worker_says("w1", &["drain"]).contains("ends when its build has ended"));
    open_the_gate(&farm);
    let ended = farm.worker_process("w1").wait(Duration::from_secs(60)).unwrap();
    assert!(ended.success(), "{ended}");
    assert_eq!(attempts(&until_passed(&mut farm, "counting")), "ended");
    let log = farm.worker_log("w1");
    assert!(log.contains("step test: exit 0 in") && log.contains("1 passed, 0 failed"), "{log}");
    assert!(log.contains(&farm.url("/builds/")), "the log links to the page of the build");
}

#[test]
fn whoever_leaves_is_forgotten_and_its_build_goes_back() {
    let mut farm = one_build_at_the_gate();
    farm.stop_master();
    let (exit, said) = farm.worker_refuses("w1", &["leave"]);
    assert!(exit == 1 && said.contains("nothing was changed: cannot reach the farm"), "{said}");
    assert!(farm.path("w1/key").exists() && farm.worker_process("w1").is_running());
    farm.serve();
    farm.until("it is back", |farm| Ok(farm.worker_status("w1")?["connection"] == "connected"));
    assert!(farm.worker_says("w1", &["leave"]).contains("has forgotten w1"));
    assert!(!farm.path("w1/key").exists() && !farm.path("w1/worker.toml").exists());
    assert!(farm.worker_process("w1").wait(Duration::from_secs(30)).unwrap().success());
    farm.until("its build waits for another", |farm| Ok(build(farm, "counting")?["state"] == "queued"));
    assert_eq!(attempts(&build(&farm, "counting").unwrap()), "declined");
    assert_eq!(farm.answer("/workers/w1", &[]).0, 404);
    let (exit, said) = farm.worker_refuses("w1", &["leave"]);
    assert!(exit == 2 && said.contains("run `farm-worker join URL` first"), "{said}");
}

#[test]
fn worker_toml_is_read_again_and_a_bad_one_changes_nothing() {
    let mut farm = Farm::create();
    farm.serve().worker("w1", 1);
    until_status(&mut farm, "idle");
    let day = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).weekday();
    let other = format!("{:?}", day.wrapping_add(3)).to_lowercase();
    farm.configure_worker("w1", "zone", "\"UTC\"");
    farm.configure_worker("w1", "hours", &format!("[\"{other}\"]"));
    until_status(&mut farm, "paused by its owner until");
    until_status(&mut farm, ": hours");
    farm.configure_worker("w1", "zone", "\"Europe/Atlantis\"");
    farm.until("it says what is wrong", |farm| {
        let error = farm.worker_status("w1")?["config_error"].as_str().unwrap_or_default().to_string();
        Ok(error.contains("`Europe/Atlantis` is not a time zone"))
    });
    let (exit, said) = farm.worker_refuses("w1", &["doctor"]);
    assert!(exit != 0 && said.contains("wrong  worker.toml: "), "{said}");
    assert!(said.contains("the configuration that was read before is in force"), "{said}");
    until_status(&mut farm, ": hours");
    farm.configure_worker("w1", "zone", "\"UTC\"");
    farm.configure_worker("w1", "hours", "[\"daily\"]");
    farm.configure_worker("w1", "slots", "2");
    until_status(&mut farm, "idle");
    farm.until("the farm knows of both slots", |farm| Ok(farm.worker_status("w1")?["slots"] == 2));
    farm.configure_worker("w1", "min_free", "\"99999TiB\"");
    until_status(&mut farm, "paused by its owner: the disk is nearly full");
}

#[test]
fn what_the_owner_refuses_is_not_offered_and_the_page_says_why() {
    let mut farm = counting_farm(&["counting"]);
    farm.serve();
    farm.join_unsandboxed("w1", 1);
    farm.configure_worker("w1", "refuse_projects", "[\"counting\"]");
    farm.run_worker("w1");
    farm.until("the toolchain is built", |farm| Ok(farm.column("toolchain")? == ["passed"]));
    farm.until("the page says why", |farm| {
        let page = farm.json("/workers/w1")?;
        Ok(page["idle"].as_str().is_some_and(|it| it.contains("not the projects counting")))
    });
    assert_eq!(build(&farm, "counting").unwrap()["state"], "queued");
    farm.configure_worker("w1", "refuse_projects", "[]");
    open_the_gate(&farm);
    assert_eq!(attempts(&until_passed(&mut farm, "counting")), "ended");
}

#[test]
fn a_machine_without_bubblewrap_joins_only_if_its_owner_says_so() {
    let mut farm = Farm::create();
    farm.serve();
    let join = |more: &[&str]| {
        let mut command = std::process::Command::new(program("test-worker"));
        command.arg("--folder").arg(farm.path("w1")).args(["join", &farm.url(""), "--name", "w1"]).args(more);
        command.env("PATH", "/nowhere").output().expect("running farm-worker")
    };
    let refused = join(&[]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("bubblewrap is not installed") && said.contains("`join --no-sandbox`"), "{said}");
    assert!(!farm.path("w1").exists());
    assert!(join(&["--no-sandbox"]).status.success());
    let written = std::fs::read_to_string(farm.path("w1/worker.toml")).unwrap();
    assert!(written.contains("sandbox = \"none\""), "{written}");
}

#[test]
fn nobody_is_led_to_run_strangers_code_as_root() {
    let mut farm = Farm::create();
    farm.serve();
    farm.join("w1");
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    for command in ["run", "rehearse"] {
        let (exit, said) = farm.worker_refuses("w1", &[command]);
        assert!(exit == 2 && said.contains("useradd") && said.contains("--as-root"), "{command}: {said}");
    }
}

#[test]
fn a_rehearsal_builds_the_newest_change_and_sends_nothing() {
    let mut farm = Farm::create();
    farm.serve();
    farm.join("w2");
    farm.worker("w1", 1);
    farm.until("the toolchain is built", |farm| Ok(farm.column("toolchain")? == ["passed"]));
    let said = farm.worker_says("w2", &["rehearse", "--as-root"]);
    assert!(said.contains("install      exit 0") && said.contains("Nothing was sent."), "{said}");
    assert_eq!(std::fs::read_dir(farm.path("w2/work")).unwrap().count(), 0);
    farm.git(&farm.path("trunk"), &["mv", "lang", "tongue"]);
    farm.commit("cannot be installed");
    farm.until("the change is tried", |farm| Ok(farm.column("toolchain")?.contains(&"broken".to_string())));
    let (exit, said) = farm.worker_refuses("w2", &["rehearse", "--as-root"]);
    assert!(exit == 1 && said.contains("step install failed here (exit 1)"), "{said}");
}

#[test]
fn the_owner_hears_of_an_absence_and_of_an_old_program_and_nobody_else_does() {
    let mut farm = Farm::create();
    farm.serve();
    let stranger = Stranger::with_number(1);
    stranger.join(&farm, "w1");
    let approve = ["worker", "approve", &stranger.code(), "--owner", "Ada <ada@example.org>"];
    assert!(farm.master_says(&approve).contains("Mail about it goes to ada@example.org."));
    drop(stranger.connect(&farm, 0));
    farm.until("it has left", |farm| Ok(farm.json("/workers/w1")?["status"] == "offline"));
    farm.stop_master();
    farm.serve();
    farm.until("a mail about its version", |farm| Ok(farm.all_mails().len() == 1));
    let mail = farm.all_mails().remove(0);
    assert!(mail.contains("older than Test farm") && mail.contains("To: ada@example.org"), "{mail}");
    farm.stop_master();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Store::open(&farm.path("data")).await.unwrap();
        let day = 25 * 3600 * 1000;
        let added = store.write(move |tx| Box::pin(async move { tx.add_absence(day, "", 0.into()).await }));
        added.await.unwrap();
        store.close().await;
    });
    farm.serve();
    farm.until("a mail about its absence", |farm| Ok(farm.all_mails().len() == 2));
    let mail = farm.all_mails().remove(1);
    assert!(mail.contains("has been away from Test farm for a day"), "{mail}");
    for page in ["/", "/workers", "/workers/w1", "/api/v1/workers", "/api/v1/workers/w1"] {
        assert!(!farm.get(page).unwrap().contains("ada@example.org"), "{page} shows the address");
    }
    assert_eq!(farm.json("/workers/w1").unwrap()["owner"], json!("Ada"));
}

#[test]
fn the_unit_for_systemd_is_shown_without_systemd() {
    let farm = Farm::create();
    let unit = farm.worker_says("w1", &["service", "install", "--print"]);
    assert!(unit.contains("ExecStart=") && unit.contains("Delegate=yes"), "{unit}");
}
