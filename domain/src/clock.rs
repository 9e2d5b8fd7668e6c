//! Clocks that a stopped process and a jumping machine cannot deceive. Neither reads a clock: what a real one shows is passed.

use std::time::Duration;

use crate::words::ids::Timestamp;

/// How often a watcher looks at its [`RunClock`], at least.
pub const TICK: Duration = Duration::from_millis(250);
/// The most that one look counts. A watcher that looks later than this did not run: it was stopped, or its machine was
/// suspended or had no time for it, and so perhaps for what it watches.
const MAX_TICK: Duration = Duration::from_millis(500);

/// Counts the time in which a watcher ran itself. Only this is the silence of what it watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunClock {
    read_at: Duration,
    ran: Duration,
}

impl RunClock {
    /// Begins at 0. `at` is what a monotonic clock shows.
    pub fn new(at: Duration) -> RunClock {
        RunClock { read_at: at, ran: Duration::ZERO }
    }

    /// The time that the watcher has run until `at`.
    pub fn read(&mut self, at: Duration) -> Duration {
        self.ran += at.saturating_sub(self.read_at).min(MAX_TICK);
        self.read_at = self.read_at.max(at);
        self.ran
    }
}

/// In how many seconds a [`FarmClock`] makes up for one second.
const PACE: i64 = 4;

/// The farm's time. It follows the machine's clock, but never jumps and never goes back: where that clock jumps, or its
/// machine is suspended, this one goes a quarter faster or slower until both agree. So no wait, lease or budget ends early
/// or starts anew because of a clock that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FarmClock {
    micros: i64,
    ran_micros: i64,
}

impl FarmClock {
    /// Begins at the machine's time. `ran` is what a monotonic clock shows.
    pub fn new(wall: Timestamp, ran: Duration) -> FarmClock {
        FarmClock { micros: wall.0.saturating_mul(1000), ran_micros: micros(ran) }
    }

    /// The farm's time, and by how many milliseconds the machine's is ahead of it.
    pub fn read(&mut self, wall: Timestamp, ran: Duration) -> (Timestamp, i64) {
        let passed = micros(ran).saturating_sub(self.ran_micros).max(0);
        self.ran_micros = self.ran_micros.saturating_add(passed);
        let straight = self.micros.saturating_add(passed);
        let off = wall.0.saturating_mul(1000).saturating_sub(straight);
        let most = passed / PACE;
        self.micros = straight.saturating_add(off.clamp(-most, most));
        let time = Timestamp(self.micros / 1000);
        (time, wall.0.saturating_sub(time.0))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn a_stopped_watcher_counts_one_tick_for_the_time_that_it_missed() {
        let mut clock = RunClock::new(MS(1000));
        assert_eq!(clock.read(MS(1250)), MS(250));
        assert_eq!(clock.read(MS(1750)), MS(750));
        assert_eq!(clock.read(MS(3_600_000)), MS(1250));
        assert_eq!(clock.read(MS(3_600_100)), MS(1350));
        assert_eq!(clock.read(MS(10)), MS(1350), "a clock that goes back counts nothing");
    }

    #[test]
    fn a_farms_clock_makes_up_for_a_jump_of_a_minute_in_four() {
        let mut clock = FarmClock::new(Timestamp(0), MS(0));
        assert_eq!(clock.read(Timestamp(1000), MS(1000)), (Timestamp(1000), 0));
        assert_eq!(clock.read(Timestamp(61_000), MS(1000)), (Timestamp(1000), 60_000));
        assert_eq!(clock.read(Timestamp(181_000), MS(121_000)), (Timestamp(151_000), 30_000));
        assert_eq!(clock.read(Timestamp(301_000), MS(241_000)), (Timestamp(301_000), 0));
    }

    proptest! {
        /// Ticks of a watcher: how long after the one before each comes, and whether the watcher was stopped meanwhile.
        #[test]
        fn stops_of_any_length_count_next_to_nothing_and_running_time_counts_in_full(
            gaps in prop::collection::vec((1u64..=250, prop::option::weighted(0.2, 1000u64..100_000_000)), 0..60),
        ) {
            let mut clock = RunClock::new(Duration::ZERO);
            let (mut at, mut ran, mut stops) = (0, 0, 0);
            for (gap, stop) in gaps {
                at += gap + stop.unwrap_or(0);
                stops += u64::from(stop.is_some());
                ran += gap;
                let read = clock.read(MS(at));
                prop_assert!(read >= MS(ran) && read <= MS(ran) + MAX_TICK * stops as u32);
            }
        }

        #[test]
        fn a_farms_time_never_goes_back_and_its_spans_are_real_whatever_the_machines_clock_shows(
            steps in prop::collection::vec((0u64..10_000, -3 * DAY_MS..3 * DAY_MS), 1..60),
        ) {
            let mut clock = FarmClock::new(Timestamp(0), Duration::ZERO);
            let (mut ran, mut last) = (0, Timestamp(0));
            for (passed, wall) in steps {
                ran += passed;
                let (now, ahead) = clock.read(Timestamp(wall), MS(ran));
                let (least, most) = (passed - passed / 4, passed + passed / 4);
                let span = now.0 - last.0;
                prop_assert!(span >= least as i64 - 2 && span <= most as i64 + 2, "{} for {}", span, passed);
                prop_assert_eq!(now.0 + ahead, wall);
                last = now;
            }
        }

        #[test]
        fn after_a_jump_both_clocks_agree_again(jump in -DAY_MS..DAY_MS, period in 1u64..5000) {
            let mut clock = FarmClock::new(Timestamp(0), Duration::ZERO);
            let mut ran = 0;
            while ran < 4 * jump.unsigned_abs() + 10 * period {
                ran += period.max(jump.unsigned_abs() / 100);
                clock.read(Timestamp(ran as i64 + jump), MS(ran));
            }
            prop_assert_eq!(clock.read(Timestamp(ran as i64 + jump), MS(ran)).1, 0);
        }
    }
}
