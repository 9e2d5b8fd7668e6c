//! How long to wait before a remote that did not answer is polled again: longer after each failure, and at random, so that
//! a server that comes back is not polled by every farm in the same second.

use std::time::Duration;

/// The longest wait: a remote that has been away for long is still polled twice an hour.
pub const LONGEST: Duration = Duration::from_secs(30 * 60);

/// The wait after `failures` failed polls in a row, for a remote that is polled every `period`.
///
/// It is uniform between `period` and a ceiling that doubles with each failure up to [`LONGEST`]: exponential backoff with
/// full jitter (M. Brooker, *Exponential Backoff and Jitter*, AWS Architecture Blog, 2015), above a floor, since a broken
/// remote must not be polled more often than a sound one. `unit` is the caller's random number, from 0 up to but not
/// including 1; anything that is not finite counts as 0.
pub fn backoff(period: Duration, failures: u32, unit: f64) -> Duration {
    let doubled = 2u32.checked_pow(failures).and_then(|factor| period.checked_mul(factor));
    let ceiling = doubled.unwrap_or(LONGEST).min(LONGEST).max(period);
    let unit = if unit.is_finite() { unit.clamp(0.0, 1.0) } else { 0.0 };
    period + (ceiling - period).mul_f64(unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Shortest and longest wait in seconds after some failures, polling once a minute.
    fn waits(failures: u32) -> (u64, u64) {
        let minute = Duration::from_secs(60);
        (backoff(minute, failures, 0.0).as_secs(), backoff(minute, failures, 1.0).as_secs())
    }

    #[test]
    fn the_longest_wait_doubles_up_to_half_an_hour() {
        assert_eq!(waits(0), (60, 60));
        assert_eq!(waits(1), (60, 120));
        assert_eq!(waits(2), (60, 240));
        assert_eq!(waits(4), (60, 960));
        assert_eq!(waits(5), (60, 1800));
        assert_eq!(waits(u32::MAX), (60, 1800));
    }

    #[test]
    fn a_remote_that_is_polled_rarely_is_not_polled_more_often_when_it_fails() {
        let day = Duration::from_secs(86_400);
        assert_eq!(backoff(day, 3, 0.7), day);
    }

    proptest! {
        #[test]
        fn any_wait_lies_between_the_period_and_the_longest(
            period in 0..=LONGEST.as_millis() as u64, failures: u32, unit: f64,
        ) {
            let period = Duration::from_millis(period);
            let wait = backoff(period, failures, unit);
            prop_assert!(period <= wait && wait <= LONGEST, "{:?}", wait);
        }

        #[test]
        fn one_more_failure_never_shortens_the_wait(
            period in 0u64..3_600_000, failures in 0u32..40, unit in 0.0..1.0,
        ) {
            let period = Duration::from_millis(period);
            prop_assert!(backoff(period, failures, unit) <= backoff(period, failures + 1, unit));
        }
    }
}
