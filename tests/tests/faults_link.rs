//! Links that are cut, slow or half-open: no byte is lost, none is doubled, and no build is begun again for it.

use std::time::Duration;

use trunkfarm_tests::counting::{at_the_gate, attempts, impatient, lay, open_the_gate, passed};
use trunkfarm_tests::dice::Dice;
use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::proxy::Proxy;

/// A farm with one counting project, whose worker `w1` comes by a proxy.
fn behind_a_proxy() -> (Farm, Proxy) {
    let mut farm = lay(&["counting"]);
    impatient(&farm);
    farm.serve();
    farm.join_open("w1", 1);
    let proxy = Proxy::to(farm.port);
    farm.run_worker_through(&proxy, "w1");
    (farm, proxy)
}

/// The log is of characters of two to four bytes, so that many of the cuts fall inside of one.
#[test]
fn wherever_the_link_is_cut_in_a_log_every_byte_comes_over_once() {
    let mut dice = Dice::new("cuts in a log");
    let (mut farm, proxy) = behind_a_proxy();
    at_the_gate(&mut farm, &["counting"]);
    // From now on the other half of the log is told, some 4,500 bytes, and told again as far as it is not kept.
    proxy.cut_after((0..5).map(|_| 600 + dice.below(900)));
    open_the_gate(&farm);
    let build = passed(&mut farm, "counting");
    assert_eq!(attempts(&build), "ended", "{build}");
    assert!(proxy.cuts_left() < 5, "the link was cut");
}

#[test]
fn an_upload_that_is_cut_again_and_again_goes_on_where_it_was() {
    let mut dice = Dice::new("cuts in an upload");
    let mut farm = lay(&["counting"]);
    // Nothing can be made smaller of it, so that it is long on its way.
    farm.git(&farm.path("trunk"), &["config", "core.compression", "0"]);
    let noise: String = (0..40_000).map(|_| format!("{:016x}", dice.throw())).collect();
    farm.edit("noise", &noise);
    farm.commit("Make some noise");
    farm.configure(
        "lang $FARM_PREFIX/bin/lang",
        "lang $FARM_PREFIX/bin/lang && install -D noise $FARM_PREFIX/noise",
    );
    farm.serve();
    farm.join_open("w1", 1);
    let proxy = Proxy::to(farm.port);
    proxy.cut_after((0..5).map(|_| 20_000 + dice.below(60_000)));
    farm.run_worker_through(&proxy, "w1");
    open_the_gate(&farm);
    let build = passed(&mut farm, "counting");
    assert_eq!(attempts(&build), "ended", "{build}");
    assert_eq!(proxy.cuts_left(), 0, "the link was cut as often as it was to be");
}

#[test]
fn a_link_that_is_half_open_is_noticed_by_both_ends_and_made_anew() {
    let (mut farm, proxy) = behind_a_proxy();
    at_the_gate(&mut farm, &["counting"]);
    farm.until("its connection stands", |farm| Ok(farm.get("/workers")?.contains("1 worker is connected")));
    proxy.fall_silent();
    open_the_gate(&farm);
    let build = passed(&mut farm, "counting");
    assert_eq!(attempts(&build), "ended", "{build}");
    let said = farm.worker_said("w1");
    assert!(said.contains("nothing was heard from the master for"), "{said}");
}

/// The worker hangs, so that only the master can notice.
#[test]
fn a_master_that_hears_nothing_closes_and_shows_the_worker_as_away() {
    let (mut farm, _proxy) = behind_a_proxy();
    at_the_gate(&mut farm, &["counting"]);
    farm.worker_process("w1").signal("STOP").unwrap();
    farm.until("it is away", |farm| Ok(farm.get("/workers")?.contains("0 of 1 worker")));
    farm.worker_process("w1").signal("CONT").unwrap();
    open_the_gate(&farm);
    assert_eq!(attempts(&passed(&mut farm, "counting")), "ended");
}

#[test]
fn a_slow_link_is_slow_and_no_fault() {
    let (mut farm, proxy) = behind_a_proxy();
    proxy.delay(Duration::from_millis(60));
    open_the_gate(&farm);
    assert_eq!(attempts(&passed(&mut farm, "counting")), "ended");
}
