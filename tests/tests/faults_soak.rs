//! The short form of `farm-soak`: what takes hours by hand takes half a minute here, with another seed each time.

use std::time::Duration;

use trunkfarm_tests::soak::Soak;

#[test]
fn whatever_is_killed_stopped_and_cut_nothing_that_was_acknowledged_is_lost() {
    Soak::new().run(Duration::from_secs(30)).unwrap();
}
