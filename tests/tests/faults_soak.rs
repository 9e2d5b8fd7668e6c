//! A short run of `farm-soak`: half a minute instead of hours, with another seed each time.

use std::time::Duration;

use trunkfarm_tests::soak::Soak;

#[test]
fn nothing_that_was_acknowledged_is_lost_whatever_is_killed_stopped_and_cut() {
    Soak::create().run(Duration::from_secs(30)).unwrap();
}
