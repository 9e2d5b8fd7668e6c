//! Full disks: nothing that was acknowledged is lost, and everything continues by itself once there is space.

use std::time::Duration;

use trunkfarm_tests::counting::{
    attempts, build, counting_farm, open_the_gate, until_at_the_gate, until_passed, wait,
};
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::mount::SmallDisk;

/// A build at the gate, on a master with a small disk that is then filled except for `leave_bytes`.
fn farm_on_full_disk(leave_bytes: u64) -> Option<(SmallDisk, Farm)> {
    let mut farm = counting_farm(&["counting"]);
    farm.configure("[search]", "[retention]\nfree = \"1MiB\"\n\n[search]");
    let disk = SmallDisk::mount(&farm.path("data"), 24)?;
    farm.serve();
    farm.join_unsandboxed("w1", 1);
    farm.run_worker("w1");
    until_at_the_gate(&mut farm, &["counting"]);
    let half = |farm: &Farm| Ok(build(farm, "counting")?["attempts"][0]["steps"][0]["log_lines"] == 300);
    farm.until("half of it is reported", half);
    disk.fill(leave_bytes);
    Some((disk, farm))
}

fn assert_recovers(disk: &SmallDisk, farm: &mut Farm) {
    open_the_gate(farm);
    let log = farm.path("master.log");
    farm.until("the master says what is wrong", |_| {
        let said = std::fs::read_to_string(&log)?;
        Ok(said.contains("No space left on device") || said.contains("database or disk is full"))
    });
    wait(farm, Duration::from_secs(1));
    farm.until("the page says it, too", |farm| Ok(farm.get("/")?.contains("The disk is full")));
    assert_eq!(attempts(&build(farm, "counting").unwrap()), "running");
    disk.make_room();
    // No process is restarted.
    assert_eq!(attempts(&until_passed(farm, "counting")), "ended");
    farm.until("the page is content again", |farm| Ok(!farm.get("/")?.contains("The disk is")));
}

#[test]
fn a_master_recovers_from_a_full_disk_during_a_log_write() {
    let Some((disk, mut farm)) = farm_on_full_disk(0) else { return };
    assert_recovers(&disk, &mut farm);
}

/// A few pages are free: enough for a block of a log, and not enough for a commit.
#[test]
fn a_master_recovers_from_a_full_disk_during_a_commit() {
    let Some((disk, mut farm)) = farm_on_full_disk(8 << 10) else { return };
    assert_recovers(&disk, &mut farm);
}

#[test]
fn a_workers_full_disk_is_an_infra_failure_and_not_the_projects() {
    let mut farm = Farm::create();
    farm.configure("null_runs = 4", "null_runs = 0");
    farm.project("greedy", "cat /dev/zero > $TMPDIR/big\necho 1..1; echo 'ok 1 - has eaten'\n");
    farm.project("modest", "echo 1..1; echo 'ok 1 - is content'\n");
    let Some(_disk) = SmallDisk::mount(&farm.path("w1"), 80) else { return };
    farm.serve().worker("w1", 1);
    farm.until("both are decided", Farm::is_idle);
    let greedy = build(&farm, "greedy").unwrap();
    assert_eq!((&greedy["outcome"], &greedy["cause"]), (&"infra".into(), &"no-space".into()), "{greedy}");
    assert_eq!(build(&farm, "modest").unwrap()["outcome"], "passed");
    assert_eq!(farm.mails(), Vec::<String>::new());
}

/// The file's first page is intact, and nothing follows it.
#[test]
fn a_truncated_database_is_reported_in_one_line_with_its_own_exit_code() {
    let mut farm = Farm::create();
    farm.serve().stop_master();
    let path = farm.path("data/farm.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let output = farm.run_master_command(&["serve", "farm.toml"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    assert!(said.contains("farm.db: ") && said.contains("malformed"), "{said}");
}
