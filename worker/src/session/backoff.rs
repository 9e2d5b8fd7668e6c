//! How long to wait before the next dial. A thousand workers that lost one master must not come back in one second.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// Somebody is about to type `worker approve`.
const REFUSED: Duration = Duration::from_secs(5);
/// Exponential up to here: 0.5 s doubled seven times is past the longest.
const DOUBLINGS: u32 = 7;

/// Exponential, with full jitter: anything from nothing to the ceiling.
#[derive(Debug, Clone)]
pub struct Backoff {
    failures: u32,
    /// The state of a splitmix64 generator: equal seeds wait equally, so that tests are exact.
    seed: u64,
}

impl Backoff {
    pub fn new(seed: u64) -> Backoff {
        Backoff { failures: 0, seed }
    }

    /// After a connection that never worked, or no longer does.
    pub fn after_failure(&mut self) -> Duration {
        let ceiling = LONGEST.min(FIRST * 2_u32.pow(self.failures.min(DOUBLINGS)));
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(self.chance())
    }

    /// After a refusal that a person can lift soon.
    pub fn after_refusal(&mut self) -> Duration {
        REFUSED.mul_f64(0.8 + 0.4 * self.chance())
    }

    /// After a refusal that only a new program or a person's decision lifts.
    pub fn after_dead_end(&mut self) -> Duration {
        LONGEST.mul_f64(0.8 + 0.2 * self.chance())
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// From 0 to below 1. Constants of splitmix64 (Steele, Lea, Flood 2014).
    fn chance(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_ceiling(seed: u64) {
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
    fn two_workers_do_not_wait_alike() {
        assert_ne!(Backoff::new(1).after_failure(), Backoff::new(2).after_failure());
    }
}
