//! Crowds: many workers at once, many readers that do not read, and no free file descriptors.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use domain::words::Trust;
use domain::words::ids::Timestamp;
use protocol::WorkerFacts;
use store::Store;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::wire::Stranger;

const CROWD: u16 = 200;

/// Approves workers directly in the database: two hundred commands would take longer than the test.
fn approve_all(farm: &Farm, strangers: &[Stranger]) {
    let known: Vec<([u8; 32], String)> =
        strangers.iter().map(|stranger| (stranger.key(), stranger.code())).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&farm.path("data")).await.unwrap();
        let let_in = store.write(move |tx| {
            Box::pin(async move {
                for (number, (key, code)) in known.iter().enumerate() {
                    tx.register_join_request(
                        key,
                        &format!("crowd{number}"),
                        &WorkerFacts::default(),
                        Timestamp(0),
                    )
                    .await?;
                    tx.approve_worker(code, "Eve", Trust::Counted, Timestamp(0)).await?;
                }
                Ok(())
            })
        });
        let_in.await.unwrap();
        store.close().await;
    });
}

/// Real workers wait a random time before they dial (`worker/src/session/backoff.rs`); these do not, which is worse.
#[test]
fn two_hundred_workers_reconnect_at_once_after_a_restart_while_pages_are_served() {
    let mut farm = Farm::create();
    farm.serve();
    let crowd: Vec<Stranger> = (1..=CROWD).map(Stranger::with_number).collect();
    approve_all(&farm, &crowd);
    let here = |farm: &Farm| Ok(farm.get("/workers")?.contains(&format!("{CROWD} workers are connected")));
    let first: Vec<_> = crowd.iter().map(|stranger| stranger.connect(&farm, 0)).collect();
    farm.until("all are here", here);
    farm.kill_master();
    farm.serve();
    drop(first);
    let (all_at_once, begun) = (Barrier::new(crowd.len() + 1), Instant::now());
    let (wires, slowest) = std::thread::scope(|scope| {
        let (farm, all_at_once) = (&farm, &all_at_once);
        let dialling: Vec<_> = crowd
            .iter()
            .map(|stranger| {
                scope.spawn(move || {
                    all_at_once.wait();
                    stranger.connect(farm, 0)
                })
            })
            .collect();
        all_at_once.wait();
        let mut slowest = Duration::ZERO;
        while !dialling.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let asked = Instant::now();
            farm.get("/").expect("the page is shown");
            slowest = slowest.max(asked.elapsed());
        }
        let wires: Vec<_> =
            dialling.into_iter().map(|thread| thread.join().expect("it was let in")).collect();
        (wires, slowest)
    });
    println!("{CROWD} workers were back after {:?}; the slowest page took {slowest:?}", begun.elapsed());
    farm.until("all are here again", here);
    drop(wires);
}

/// A reader of the farm's events that reads the first bytes of the answer and then nothing more.
fn idle_reader(farm: &Farm) -> std::io::Result<TcpStream> {
    let mut reader = TcpStream::connect(("127.0.0.1", farm.port))?;
    reader.set_read_timeout(Some(Duration::from_secs(60)))?;
    reader.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: farm\r\naccept: text/event-stream\r\n\r\n")?;
    let mut answer = [0; 12];
    reader.read_exact(&mut answer)?;
    assert_eq!(&answer, b"HTTP/1.1 200");
    Ok(reader)
}

fn resident_bytes(farm: &mut Farm) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", farm.master().id())).unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    held.and_then(|held| held.parse::<u64>().ok()).expect("a status says VmRSS in kB") << 10
}

#[test]
fn a_thousand_readers_that_do_not_read_block_nothing() {
    let mut farm = Farm::create();
    farm.project("polite", "echo 1..1; echo 'ok 1 - greets'\n");
    farm.serve().worker("w1", 2);
    let readers: Vec<TcpStream> = (0..1000).map(|_| idle_reader(&farm).expect("there is a seat")).collect();
    let before = resident_bytes(&mut farm);
    for number in 0..5 {
        farm.edit("lang", &format!("#!/bin/sh\n# {number}\n. \"$1\"\n"));
        let change = farm.commit("Go on");
        assert_eq!(farm.finished_build(&change, "polite")["outcome"], "passed");
    }
    let grown = resident_bytes(&mut farm).saturating_sub(before);
    assert!(grown < 64 << 20, "it grew by {} MiB while nobody read", grown >> 20);
    drop(readers);
}

/// A number of descriptors so small that the readers use all of them.
#[test]
fn a_master_out_of_file_descriptors_recovers_when_some_are_free() {
    let mut farm = Farm::create();
    farm.project("polite", "echo 1..1; echo 'ok 1 - greets'\n");
    farm.limit_master_to_descriptors(80);
    farm.serve();
    let readers: Vec<TcpStream> = (0..100)
        .map_while(|_| {
            let mut reader = TcpStream::connect(("127.0.0.1", farm.port)).ok()?;
            reader.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
            reader.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: farm\r\n\r\n").ok()?;
            reader.read_exact(&mut [0; 12]).ok()?;
            Some(reader)
        })
        .collect();
    assert!(readers.len() < 100, "it ran out of descriptors");
    assert!(farm.master().is_running());
    drop(readers);
    farm.worker("w1", 1);
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    assert_eq!(farm.finished_build(&base, "polite")["outcome"], "passed");
}
