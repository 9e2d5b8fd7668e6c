//! Links that are cut, slow or half-open: no byte is lost or repeated, and no build starts again because of it.

use std::time::Duration;

use trunkfarm_tests::counting::{
    attempts, counting_farm, open_the_gate, shorten_leases, until_at_the_gate, until_passed,
};
use trunkfarm_tests::dice::Dice;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::proxy::Proxy;

/// A farm with one counting project, whose worker `w1` connects through a proxy.
fn behind_a_proxy() -> (Farm, Proxy) {
    let mut farm = counting_farm(&["counting"]);
    shorten_leases(&farm);
    farm.serve();
    farm.join_unsandboxed("w1", 1);
    let proxy = Proxy::to(farm.port);
    farm.run_worker_through(&proxy, "w1");
    (farm, proxy)
}

/// The log consists of characters of two to four bytes, so that many cuts are inside a character.
#[test]
fn wherever_the_link_is_cut_in_a_log_every_byte_arrives_once() {
    let mut dice = Dice::new("cuts in a log");
    let (mut farm, proxy) = behind_a_proxy();
    until_at_the_gate(&mut farm, &["counting"]);
    // From now on the second half of the log is sent, about 4,500 bytes, and sent again unless it was acknowledged.
    proxy.cut_after((0..5).map(|_| 600 + dice.below(900)));
    open_the_gate(&farm);
    let build = until_passed(&mut farm, "counting");
    assert_eq!(attempts(&build), "ended", "{build}");
    assert!(proxy.cuts_left() < 5, "the link was cut");
}

#[test]
fn an_upload_that_is_cut_repeatedly_resumes_where_it_was() {
    let mut dice = Dice::new("cuts in an upload");
    let mut farm = counting_farm(&["counting"]);
    // It cannot be compressed, so that the upload takes long.
    farm.git(&farm.path("trunk"), &["config", "core.compression", "0"]);
    let noise: String = (0..40_000).map(|_| format!("{:016x}", dice.next_u64())).collect();
    farm.edit("noise", &noise);
    farm.commit("Make some noise");
    farm.configure(
        "lang $FARM_PREFIX/bin/lang",
        "lang $FARM_PREFIX/bin/lang && install -D noise $FARM_PREFIX/noise",
    );
    farm.serve();
    farm.join_unsandboxed("w1", 1);
    let proxy = Proxy::to(farm.port);
    proxy.cut_after((0..5).map(|_| 20_000 + dice.below(60_000)));
    farm.run_worker_through(&proxy, "w1");
    open_the_gate(&farm);
    let build = until_passed(&mut farm, "counting");
    assert_eq!(attempts(&build), "ended", "{build}");
    assert_eq!(proxy.cuts_left(), 0, "the link was cut as often as it was to be");
}

#[test]
fn both_ends_notice_a_half_open_link_and_reconnect() {
    let (mut farm, proxy) = behind_a_proxy();
    until_at_the_gate(&mut farm, &["counting"]);
    farm.until("its connection stands", |farm| Ok(farm.get("/workers")?.contains("1 worker is connected")));
    proxy.go_silent();
    open_the_gate(&farm);
    let build = until_passed(&mut farm, "counting");
    assert_eq!(attempts(&build), "ended", "{build}");
    let said = farm.worker_log("w1");
    assert!(said.contains("the master sent nothing for"), "{said}");
}

/// The worker is suspended, so that only the master can notice.
#[test]
fn a_master_that_receives_nothing_closes_the_connection_and_shows_the_worker_as_away() {
    let (mut farm, _proxy) = behind_a_proxy();
    until_at_the_gate(&mut farm, &["counting"]);
    farm.worker_process("w1").signal("STOP").unwrap();
    farm.until("it is away", |farm| Ok(farm.get("/workers")?.contains("0 of 1 worker")));
    farm.worker_process("w1").signal("CONT").unwrap();
    open_the_gate(&farm);
    assert_eq!(attempts(&until_passed(&mut farm, "counting")), "ended");
}

#[test]
fn a_slow_link_is_not_a_fault() {
    let (mut farm, proxy) = behind_a_proxy();
    proxy.delay(Duration::from_millis(60));
    open_the_gate(&farm);
    assert_eq!(attempts(&until_passed(&mut farm, "counting")), "ended");
}
