//! Power failures: of the master's folder only synced bytes survive, and everything that was acknowledged is among them.
//!
//! A library that is preloaded into the master (`power/durable.c`) copies each file when it is synced. The copy is what is
//! on a disk that keeps every synced byte and no other. It does not model disks that lie about syncs or write half a block.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the numbers of tests are small"
)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use protocol::{Event, FromWorker, HeldAttempt, MAX_LOG_BYTES, ResumeAction};
use trunkfarm_tests::dice::Dice;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::wire::Stranger;

/// Starts the master with the library. What already exists survives, too.
fn serve_recording_synced_bytes(farm: &mut Farm) {
    let (library, source) =
        (farm.path("durable.so"), concat!(env!("CARGO_MANIFEST_DIR"), "/power/durable.c"));
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(built.expect("running cc").success());
    fs::create_dir_all(farm.path("data")).unwrap();
    let (data, durable) = (farm.path("data").canonicalize().unwrap(), farm.path("durable"));
    keep(&data, &durable, &durable.join("names"));
    for (name, value) in [("LD_PRELOAD", &library), ("FARM_DURABLE_OF", &data), ("FARM_DURABLE_IN", &durable)]
    {
        farm.variable(name, value.to_str().expect("a path of ours"));
    }
    farm.serve();
    for name in ["LD_PRELOAD", "FARM_DURABLE_OF", "FARM_DURABLE_IN"] {
        farm.unset_variable(name);
    }
}

fn keep(from: &Path, durable: &Path, names: &Path) {
    for folder in [names, &durable.join("inodes")] {
        fs::create_dir_all(folder).unwrap();
    }
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = names.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            keep(&entry.path(), durable, &name);
        } else {
            let inode = entry.metadata().unwrap().ino().to_string();
            fs::copy(entry.path(), durable.join("inodes").join(&inode)).unwrap();
            fs::write(name, inode).unwrap();
        }
    }
}

/// Kills the master, and starts it again with only the synced bytes of its folder.
fn fail_power(farm: &mut Farm) {
    farm.kill_master();
    let (data, durable) = (farm.path("data"), farm.path("durable"));
    fs::remove_dir_all(&data).unwrap();
    restore(&durable, &durable.join("names"), &data);
    fs::remove_dir_all(&durable).unwrap();
    serve_recording_synced_bytes(farm);
}

fn restore(durable: &Path, names: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    for entry in fs::read_dir(names).unwrap() {
        let entry = entry.unwrap();
        let (name, to) = (entry.path(), into.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            restore(durable, &name, &to);
        } else if name.extension().is_none_or(|extension| extension != "part") || !is_half_written(&name) {
            let inode = fs::read_to_string(&name).unwrap();
            fs::copy(durable.join("inodes").join(inode), &to).unwrap();
        }
    }
}

/// Whether the library itself was killed while it wrote this name.
fn is_half_written(name: &Path) -> bool {
    fs::read_to_string(name).map_or(true, |inode| inode.parse::<u64>().is_err())
}

#[test]
fn what_was_acknowledged_survives_a_power_failure() {
    let mut dice = Dice::new("power");
    let mut farm = Farm::create();
    serve_recording_synced_bytes(&mut farm);
    let worker = Stranger::with_number(1);
    worker.join_and_be_approved(&farm, "worker");
    let mut wire = worker.connect(&farm, 1);
    let attempt = wire.offered();
    wire.send(&FromWorker::Accept { attempt });
    wire.send_started(attempt);
    wire.send_event(attempt, 2, Event::StepStarted { step: 0, name: "install".into() });
    let mut log = Vec::new();
    let mut sequence = 2;
    // The power fails between two acks.
    for _ in 0..3 {
        for _ in 0..10 {
            sequence += 1;
            let bytes = vec![b'a' + (sequence % 26) as u8; 1 + dice.below(MAX_LOG_BYTES as u64 / 8) as usize];
            wire.send_log(attempt, sequence, bytes.clone());
            log.extend(bytes);
        }
        wire.acknowledged(attempt, sequence);
        fail_power(&mut farm);
        let (again, held) =
            worker.reconnect(&farm, 1, vec![HeldAttempt { attempt, last_sequence: sequence }]);
        assert_eq!(
            held[0].action,
            ResumeAction::ResendAfter(sequence),
            "the farm knows all that it acknowledged"
        );
        let kept =
            ureq::get(farm.url("/builds/1/log/0/raw")).call().unwrap().body_mut().read_to_vec().unwrap();
        assert!(kept == log, "{} bytes of the log were acknowledged, {} are there", log.len(), kept.len());
        wire = again;
    }
}
