//! Self-diagnostics: the farm reports what is wrong with it to people, machines and systemd, and stops when asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use trunkfarm_tests::farm::Farm;

/// The status and body of `/healthz`.
fn health(farm: &Farm) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.get(farm.url("/healthz")).call().expect("the master answers");
    (answer.status().as_u16(), answer.body_mut().read_to_string().expect("it answers with text"))
}

/// Opens a connection and requests a path. Returns the status line and the connection.
fn ask(farm: &Farm, path: &str) -> (String, BufReader<TcpStream>) {
    let mut socket = TcpStream::connect(("127.0.0.1", farm.port)).expect("the master listens");
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nhost: farm\r\n\r\n").unwrap();
    let mut reader = BufReader::new(socket);
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    (status, reader)
}

#[test]
fn a_nearly_full_disk_stops_builds_and_the_pages_show_it_until_there_is_space() {
    let mut farm = Farm::create();
    farm.project("first", "echo 1..1; echo ok 1");
    farm.replace_in("farm.toml", "[search]", "[retention]\nfree = \"900000TiB\"\n\n[search]");
    farm.serve().worker("w1", 1);
    farm.until("healthz says that the disk is full", |farm| {
        let (status, said) = health(farm);
        Ok(status == 503 && said.contains("The disk is full: ") && said.contains("no new builds are offered"))
    });
    farm.until("every page says so", |farm| Ok(farm.get("/queue")?.contains("The disk is full: ")));
    farm.until("builds wait", |farm| Ok(!farm.json("/queue")?["builds"].as_array().unwrap().is_empty()));
    assert!(
        farm.json("/queue").unwrap()["sentence"].as_str().unwrap().starts_with("No builds are running; ")
    );

    farm.replace_in("farm.toml", "900000TiB", "0B");
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    assert_eq!(farm.finished_build(&base, "first")["outcome"], "passed");
    farm.until("all is well", |farm| Ok(health(farm) == (200, "All is well.\n".to_string())));
}

#[test]
fn an_unreachable_trunk_and_absent_workers_are_reported() {
    let mut farm = Farm::create();
    farm.serve().worker("w1", 1);
    farm.until("the worker is here", |farm| {
        Ok(farm.get("/metrics")?.contains("workers{state=\"connected\"} 1"))
    });
    std::fs::rename(farm.path("trunk"), farm.path("moved")).unwrap();
    farm.kill_worker("w1");
    farm.until("both are shown", |farm| {
        let (status, said) = health(farm);
        let both = said.contains("lang has not been polled since ")
            && said.contains("No workers are connected (last seen ");
        Ok(status == 200 && both)
    });
    let page = farm.get("/waterfall").unwrap();
    assert!(page.contains("lang has not been polled since "), "the banner is on every page");
    std::fs::rename(farm.path("moved"), farm.path("trunk")).unwrap();
    farm.run_worker("w1");
    farm.until("all is well", |farm| Ok(health(farm).1 == "All is well.\n"));
}

#[test]
fn metrics_count_what_an_operator_watches() {
    let mut farm = Farm::create();
    farm.project("first", "echo 1..1; echo ok 1");
    farm.serve().worker("w1", 1);
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.finished_build(&base, "first");
    let text = farm.get("/metrics").unwrap();
    for line in [
        "# TYPE trunkfarm_builds_enqueued counter",
        "trunkfarm_workers{state=\"connected\"} 1",
        "trunkfarm_problems{severity=\"grave\"} 0",
        "trunkfarm_disk_free_bytes ",
        "trunkfarm_builds_finished_last_hour{outcome=\"passed\"} ",
        "# EOF",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
}

#[test]
fn readers_and_workers_over_the_limit_are_refused_with_a_reason() {
    let mut farm = Farm::create();
    farm.replace_in("farm.toml", "data   = ", "max_readers = 1\nmax_workers = 1\ndata   = ");
    farm.serve().worker("w1", 1);
    let (status, first) = ask(&farm, "/api/v1/events");
    assert!(status.contains("200"), "{status}");
    let (status, mut second) = ask(&farm, "/api/v1/events");
    assert!(status.contains("503"), "{status}");
    let mut said = vec![0; 4096];
    let read = second.read(&mut said).unwrap();
    assert!(String::from_utf8_lossy(&said[..read]).contains("Too many readers"));
    drop(first);
    farm.until("a place is free again", |farm| Ok(ask(farm, "/api/v1/events").0.contains("200")));

    farm.until("the first worker is here", |farm| {
        Ok(farm.get("/metrics")?.contains("workers{state=\"connected\"} 1"))
    });
    farm.worker("w2", 1);
    farm.until("the second worker hears why it may not come in", |farm| {
        let log = std::fs::read_to_string(farm.path("w2.log"))?;
        Ok(log.contains("this farm has as many workers as it may have at once (1); try again later"))
    });
}

#[test]
fn the_master_ends_within_ten_seconds_with_readers_and_workers_connected() {
    let mut farm = Farm::create();
    farm.project(
        "first",
        "for i in 1 2 3 4 5 6 7 8 9; do echo '# works'; sleep 1; done; echo 1..1; echo ok 1",
    );
    farm.serve().worker("w1", 1);
    farm.until("the suite runs", |farm| {
        let queue = farm.json("/queue")?;
        let builds = queue["builds"].as_array().unwrap();
        Ok(builds
            .iter()
            .any(|build| build["builder"]["name"] == "first" && build["status_style"] == "running"))
    });
    let streams: Vec<_> = (0..20).map(|_| ask(&farm, "/api/v1/events")).collect();
    // One connection without a request, one in the middle of a request, and one that is kept alive.
    let silent = TcpStream::connect(("127.0.0.1", farm.port)).unwrap();
    let mut halfway = TcpStream::connect(("127.0.0.1", farm.port)).unwrap();
    write!(halfway, "GET / HTTP/1.1\r\nhost: ").unwrap();
    let kept = ask(&farm, "/queue");
    let status = farm.master().terminate(Duration::from_secs(10)).expect("it is out in time");
    assert!(status.success(), "{status}");
    drop((streams, silent, halfway, kept));

    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.serve();
    assert_eq!(farm.finished_build(&base, "first")["outcome"], "passed", "its worker kept building");
}

#[test]
fn systemd_is_notified_when_the_master_is_ready_reloads_lives_and_stops() {
    let mut farm = Farm::create();
    let path = farm.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    farm.variable("NOTIFY_SOCKET", path.to_str().unwrap());
    let hear = |word: &str| {
        let mut said = Vec::new();
        loop {
            let mut message = vec![0; 1024];
            let len = socket.recv(&mut message).unwrap_or_else(|e| panic!("no {word} after {said:?}: {e}"));
            said.push(String::from_utf8_lossy(&message[..len]).into_owned());
            if said.last().is_some_and(|last| last.contains(word)) {
                return said;
            }
        }
    };
    farm.serve();
    hear("READY=1");
    hear("WATCHDOG=1");
    farm.master().signal("HUP").unwrap();
    let reloading = hear("RELOADING=1");
    assert!(reloading.last().unwrap().contains("MONOTONIC_USEC="), "{reloading:?}");
    hear("READY=1");
    farm.stop_master();
    hear("STOPPING=1");
}

#[test]
fn mail_that_no_server_accepts_is_reported_until_it_is_sent() {
    let mut farm = Farm::create();
    let nobody = trunkfarm_tests::process::free_port();
    let mail =
        format!("[mail]\nsmtp = \"smtp://127.0.0.1:{nobody}\"\nfrom = \"farm@example.org\"\n\n[search]");
    farm.replace_in("farm.toml", "[search]", &mail);
    let say = |farm: &Farm, word: &str| {
        farm.edit("lang", &format!("#!/bin/sh\ngreet() {{ echo {word}; }}\n. \"$1\"\n"));
        farm.commit(word)
    };
    say(&farm, "hello");
    farm.project("polite", "echo 1..1; [ $(greet) = hello ] && echo ok 1 || echo not ok 1");
    farm.serve().worker("w1", 2);
    farm.until("all is built", Farm::is_idle);
    say(&farm, "hullo");
    farm.until("the pages say since when mail fails", |farm| {
        Ok(farm.get("/queue")?.contains("No mail has been sent since "))
    });
    assert_eq!(health(&farm).0, 200, "the farm does what it is for all the same");
    // A farm without a mail server keeps its mails itself.
    farm.replace_in("farm.toml", &mail, "[search]");
    farm.until("the mail is there", |farm| Ok(farm.mails().len() == 1));
    farm.until("all is well", |farm| Ok(health(farm).1 == "All is well.\n"));
}

/// Whether the banner of `/` and `/healthz` both have a sentence with all these parts, and the farm itself works.
fn is_reported(farm: &Farm, parts: &[&str]) -> anyhow::Result<bool> {
    let (status, text) = health(farm);
    let page = farm.get("/")?.replace("&#96;", "`");
    Ok(status == 200
        && text.lines().any(|line| parts.iter().all(|part| line.contains(part)))
        && parts.iter().all(|part| page.contains(part)))
}

#[test]
fn an_empty_farm_is_not_well_until_it_has_tested_something() {
    let mut farm = Farm::create();
    farm.project("first", "echo 1..1; echo ok 1");
    farm.serve();
    farm.until("nobody is approved", |farm| {
        is_reported(farm, &["No worker is approved", "farm-worker join"])
    });
    let json = farm.json("/healthz").unwrap();
    assert_eq!(
        (json["well"].as_bool(), json["problems"][0]["severity"].as_str()),
        (Some(false), Some("warning"))
    );
    farm.until("nothing is tested", |farm| {
        let sentence = farm.json("/status")?["sentence"].to_string();
        Ok(sentence.contains("No change of lang master has been tested yet."))
    });

    let code = farm.join("w1");
    farm.until("it waits for approval", |farm| is_reported(farm, &["; w1 waits for approval", "approve"]));
    farm.approve(&code, "counted");
    farm.run_worker("w1");
    farm.until("there is no maker", |farm| {
        is_reported(farm, &["No maker is approved for linux-", "--trust maker"])
    });
    farm.approve(&code, "maker");
    farm.until("all is well", |farm| Ok(health(farm) == (200, "All is well.\n".to_string())));
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.finished_build(&base, "first");
    let tested = format!(
        "No change of lang master is known to break anything today. Tested: 1 project on 1 platform at the newest change, {}.",
        &base[..7]
    );
    farm.until("the page names how much is tested", |farm| {
        Ok(farm.json("/status")?["sentence"] == tested.as_str())
    });
}

#[test]
fn unmet_wants_and_a_platform_that_no_worker_is_of_are_reported_until_they_are_corrected() {
    let mut farm = Farm::create();
    farm.project("first", "echo 1..1; echo ok 1");
    farm.replace_in("projects/first.toml", "[recipe]", "wants = [\"postgresql\"]\n[recipe]");
    let platform = format!("\"linux-{}\"]", std::env::consts::ARCH);
    farm.replace_in("farm.toml", &platform, &platform.replace(']', ", \"linux-riscv64\"]"));
    farm.serve().worker("w1", 1);
    farm.until("the wants are unmet", |farm| {
        is_reported(
            farm,
            &["first is not tested on linux-", "it wants postgresql, which no approved worker there offers"],
        )
    });
    farm.until("the platform has nobody", |farm| {
        is_reported(
            farm,
            &["No approved worker is of platform linux-riscv64", "correct `platforms` in farm.toml"],
        )
    });
    farm.replace_in("farm.toml", ", \"linux-riscv64\"]", "]");
    farm.replace_in("projects/first.toml", "wants = [\"postgresql\"]\n", "");
    farm.until("all is well", |farm| Ok(health(farm).1 == "All is well.\n"));
}

#[test]
fn a_renamed_branch_is_reported_with_what_is_there_until_it_is_back_or_the_configuration_is_corrected() {
    let mut farm = Farm::create();
    farm.project("first", "echo 1..1; echo ok 1");
    farm.serve().worker("w1", 1);
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.finished_build(&base, "first");
    farm.until("all is well", |farm| Ok(health(farm).1 == "All is well.\n"));
    let trunk = farm.path("trunk");
    farm.git(&trunk, &["branch", "-m", "master", "main"]);
    farm.edit("level", "2");
    let two = farm.commit("two");
    let parts = [
        "lang has no branch `master`",
        "its HEAD points to `main`; it has the branches `main`",
        "Correct `branches`",
    ];
    farm.until("the branch is missing", |farm| is_reported(farm, &parts));
    let line = farm.json("/status").unwrap()["trunks"][0]["problem"].to_string();
    assert!(line.contains("lang has no branch `master`"), "{line}");

    farm.git(&trunk, &["branch", "-m", "main", "master"]);
    farm.until("it is back", |farm| Ok(health(farm).1 == "All is well.\n"));
    farm.git(&trunk, &["branch", "-m", "master", "main"]);
    farm.until("it is missing again", |farm| is_reported(farm, &parts));
    farm.replace_in("farm.toml", "branches  = [\"master\"]", "branches  = [\"main\"]");
    farm.until("the configuration is corrected", |farm| Ok(health(farm).1 == "All is well.\n"));
    farm.finished_build(&two, "first");
}

#[test]
fn a_misspelt_branch_or_tag_is_reported_with_the_names_most_like_it_also_where_head_is_detached() {
    let mut farm = Farm::create();
    farm.project("first", "echo 1..1; echo ok 1");
    farm.project("second", "echo 1..1; echo ok 1");
    farm.git(&farm.path("first"), &["branch", "devel"]);
    farm.git(&farm.path("second"), &["tag", "v1.2"]);
    farm.replace_in("projects/first.toml", "follow  = \"master\"", "follow  = \"mastre\"");
    farm.replace_in("projects/second.toml", "follow  = \"master\"", "tag     = \"v1.20\"");
    farm.replace_in("farm.toml", "branches  = [\"master\"]", "branches  = [\"master\", \"3.14\"]");
    farm.git(&farm.path("trunk"), &["checkout", "-q", "--detach"]);
    farm.serve().worker("w1", 1);
    farm.until("all three are missing", |farm| {
        Ok(is_reported(
            farm,
            &["first has no branch `mastre`", "it has the branches `master`, `devel`", "Correct `follow`"],
        )? && is_reported(farm, &["second has no tag `v1.20`", "it has the tags `v1.2`"])?
            && is_reported(
                farm,
                &["lang has no branch `3.14`", "it has the branches `master`. Correct `branches`"],
            )?)
    });
    farm.replace_in("projects/first.toml", "\"mastre\"", "\"master\"");
    farm.replace_in("projects/second.toml", "v1.20", "v1.2");
    farm.replace_in("farm.toml", ", \"3.14\"]", "]");
    farm.until("all is well", |farm| Ok(health(farm).1 == "All is well.\n"));
}
