//! A disk that is slow stalls the sessions that wait for it, and nothing else.

use protocol::{Event, FromWorker};
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::slow_disk::SlowDisk;
use trunkfarm_tests::wire::Stranger;

#[test]
fn a_log_that_is_not_synced_stalls_no_page_and_no_other_worker() {
    let mut farm = Farm::create();
    // With a single thread for all tasks, one task that blocks stalls all the others.
    farm.variable("TOKIO_WORKER_THREADS", "1");
    let disk = SlowDisk::serve(&mut farm);
    let stranger = Stranger::with_number(1);
    stranger.join_and_be_approved(&farm, "stuck");
    let mut wire = stranger.connect(&farm, 1);
    let attempt = wire.offered();
    wire.send(&FromWorker::Accept { attempt });
    wire.send_started(attempt);
    wire.send_event(attempt, 2, Event::StepStarted { step: 0, name: "install".into() });
    wire.acknowledged(attempt, 2);
    disk.hang(attempt);
    wire.send_log(attempt, 3, b"a line\n".to_vec());
    farm.until("the sync hangs", |_| Ok(disk.has_begun(attempt)));

    assert_eq!(farm.answer("/healthz", &[]).0, 200);
    let change = farm.commit("next");
    farm.worker("free", 1);
    assert_eq!(farm.finished_build(&change, "toolchain")["outcome"], "passed");
    farm.until("all that the free worker reported is acknowledged", |farm| {
        // A worker deletes the spool of an attempt once its last event is acknowledged.
        Ok(std::fs::read_dir(farm.path("free/spool"))?.next().is_none())
    });
    assert_eq!(farm.answer("/healthz", &[]).0, 200);
    let stuck = farm.json("/builds/1").unwrap();
    assert_eq!(stuck["attempts"][0]["steps"][0]["log_lines"], 0, "what is not synced is not committed");

    disk.let_go(attempt);
    wire.acknowledged(attempt, 3);
    assert_eq!(farm.get("/builds/1/log/0/raw").unwrap(), "a line\n");
}
