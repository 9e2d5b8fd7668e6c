//! How long to wait before dialing again. A thousand workers that lost one master must not return in one second.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// The operator is about to type `worker approve`.
const REFUSED: Duration = Duration::from_secs(5);
/// Exponential up to here: 0.5 s doubled seven times is longer than the longest pause.
const MAX_DOUBLINGS: u32 = 7;

/// Exponential, with full jitter: anything between zero and the ceiling.
#[derive(Debug, Clone)]
pub struct Backoff {
    failures: u32,
    /// The state of a splitmix64 generator. Equal seeds give equal pauses, so that tests are exact.
    seed: u64,
}

impl Backoff {
    pub fn new(seed: u64) -> Backoff {
        Backoff { failures: 0, seed }
    }

    /// After a connection that could not be opened, or broke.
    pub fn after_failure(&mut self) -> Duration {
        let ceiling = LONGEST.min(FIRST * 2_u32.pow(self.failures.min(MAX_DOUBLINGS)));
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(self.random_fraction())
    }

    /// After a refusal that a person may soon lift.
    pub fn after_refusal(&mut self) -> Duration {
        REFUSED.mul_f64(0.8 + 0.4 * self.random_fraction())
    }

    /// After a refusal that only another program version or a person's decision lifts.
    pub fn after_dead_end(&mut self) -> Duration {
        LONGEST.mul_f64(0.8 + 0.2 * self.random_fraction())
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// At least 0 and below 1. The constants are those of splitmix64 (Steele, Lea, Flood 2014).
    fn random_fraction(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high_bits = u32::try_from((z ^ (z >> 31)) >> 32).expect("32 of 64 bits are left");
        f64::from(high_bits) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_pause_is_longer_than_its_ceiling(seed: u64) {
            let mut backoff = Backoff::new(seed);
            for ceiling in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0] {
                prop_assert!(backoff.after_failure().as_secs_f64() <= ceiling);
            }
            backoff.succeeded();
            prop_assert!(backoff.after_failure().as_secs_f64() <= 0.5);
            let refused = backoff.after_refusal().as_secs_f64();
            prop_assert!((4.0..=6.0).contains(&refused));
            prop_assert!((48.0..=60.0).contains(&backoff.after_dead_end().as_secs_f64()));
        }
    }

    #[test]
    fn two_workers_do_not_wait_equally_long() {
        assert_ne!(Backoff::new(1).after_failure(), Backoff::new(2).after_failure());
    }
}
