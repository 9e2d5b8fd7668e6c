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
