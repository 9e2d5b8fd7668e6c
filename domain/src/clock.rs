//! Clocks that a stopped process and a jumping machine cannot deceive. Neither reads a clock: what a real one shows is passed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::backoff;
use crate::settle;
use crate::words::ids::Timestamp;

/// How often a watcher looks at its [`RunClock`], at least.
pub const TICK: Duration = Duration::from_millis(250);
/// The most that one look counts. A watcher that looks later than this did not run: it was stopped, or its machine was
/// suspended or had no time for it, and so perhaps for what it watches.
const MAX_TICK: Duration = Duration::from_millis(500);

/// Counts the time in which a watcher ran itself, and what it watches could run. Only this is the silence of what it watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunClock {
    read_at: Duration,
    ran: Duration,
    /// For how much longer what is watched may be stopped without that being held against it.
    stops_left: Duration,
}

impl RunClock {
    /// Begins at 0. `at` is what a monotonic clock shows. What is watched may be stopped for `stops` in all: who has
    /// stopped it cannot be seen, and a program that stops itself must not last for ever.
    pub fn new(at: Duration, stops: Duration) -> RunClock {
        RunClock { read_at: at, ran: Duration::ZERO, stops_left: stops }
    }

    /// The time until `at` in which the watcher ran and what it watches could run. `is_stopped` tells whether it has been
    /// stopped since the last look.
    pub fn read(&mut self, at: Duration, is_stopped: bool) -> Duration {
        let passed = at.saturating_sub(self.read_at).min(MAX_TICK);
        let excused = if is_stopped { passed.min(self.stops_left) } else { Duration::ZERO };
        self.stops_left -= excused;
        self.ran += passed - excused;
        self.read_at = self.read_at.max(at);
        self.ran
    }
}

/// A process of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepProcess {
    /// Its id.
    pub id: i32,
    /// The id of its parent.
    pub parent: i32,
    /// What it does.
    pub activity: ProcessActivity,
}

/// What a process does, as far as stops go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessActivity {
    /// It runs, or waits for something.
    Runs,
    /// A signal has stopped it, and it waits for another one that continues it.
    Stopped,
    /// It has ended, and its parent does not know that yet.
    Ended,
}

/// Whether a step cannot run because its processes are stopped: each process that has no child, and so is not one that
/// waits for a child, is stopped.
pub fn is_stopped(processes: &[StepProcess]) -> bool {
    let alive = || processes.iter().filter(|process| process.activity != ProcessActivity::Ended);
    let parents: BTreeSet<i32> = alive().map(|process| process.parent).collect();
    let mut leaves = alive().filter(|process| !parents.contains(&process.id)).peekable();
    leaves.peek().is_some() && leaves.all(|process| process.activity == ProcessActivity::Stopped)
}

/// The latest that the stamps of a store can be. A farm whose clock was set back while its master did not run finds later
/// ones, and would wait for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatestStamps {
    /// When something has happened.
    pub past: Timestamp,
    /// Until when a worker may be silent.
    pub lease: Timestamp,
    /// When a build may be offered again.
    pub offer: Timestamp,
    /// When a mail is tried again.
    pub mail: Timestamp,
}

impl LatestStamps {
    /// What a farm can have written until `now`, if a worker may be silent for so long.
    pub fn at(now: Timestamp, silence: Duration) -> LatestStamps {
        LatestStamps {
            past: now,
            lease: now + silence,
            offer: now + settle::MAX_OFFER_DELAY,
            mail: now + backoff::LONGEST,
        }
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
        let mut clock = RunClock::new(MS(1000), MS(0));
        assert_eq!(clock.read(MS(1250), false), MS(250));
        assert_eq!(clock.read(MS(1750), false), MS(750));
        assert_eq!(clock.read(MS(3_600_000), false), MS(1250));
        assert_eq!(clock.read(MS(3_600_100), false), MS(1350));
        assert_eq!(clock.read(MS(10), false), MS(1350), "a clock that goes back counts nothing");
    }

    /// Processes as a picture, each the child of the one before it: `+` runs, `-` is stopped, `.` has ended. A space begins
    /// another child of the first.
    fn family(picture: &str) -> bool {
        let mut processes = Vec::new();
        for (branch, line) in picture.split(' ').enumerate() {
            for (depth, letter) in line.chars().enumerate() {
                let id = 100 * branch as i32 + depth as i32 + 10;
                let activity = match letter {
                    '+' => ProcessActivity::Runs,
                    '-' => ProcessActivity::Stopped,
                    _ => ProcessActivity::Ended,
                };
                let parent = if depth > 0 {
                    id - 1
                } else if branch > 0 {
                    10
                } else {
                    1
                };
                processes.push(StepProcess { id, parent, activity });
            }
        }
        is_stopped(&processes)
    }

    #[test]
    fn a_step_is_stopped_if_each_process_that_waits_for_no_child_is() {
        for stopped in ["-", "--", "+-", "++-", "++- -", "+-.", "+- .", "-+-"] {
            assert!(family(stopped), "{stopped}");
        }
        for not in ["+", ".", "-+", "++- +", "+.", "-. +", ". .+"] {
            assert!(!family(not), "{not}");
        }
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
            let mut clock = RunClock::new(Duration::ZERO, Duration::ZERO);
            let (mut at, mut ran, mut stops) = (0, 0, 0);
            for (gap, stop) in gaps {
                at += gap + stop.unwrap_or(0);
                stops += u64::from(stop.is_some());
                ran += gap;
                let read = clock.read(MS(at), false);
                prop_assert!(read >= MS(ran) && read <= MS(ran) + MAX_TICK * stops as u32);
            }
        }

        /// Looks at something that is stopped now and then.
        #[test]
        fn time_in_which_something_is_stopped_counts_only_beyond_its_bound(
            looks in prop::collection::vec((1u64..=500, any::<bool>()), 0..200),
            bound in 0u64..30_000,
        ) {
            let mut clock = RunClock::new(Duration::ZERO, MS(bound));
            let (mut at, mut ran, mut stopped) = (0, 0, 0);
            for (gap, is_stopped) in looks {
                at += gap;
                if is_stopped { stopped += gap } else { ran += gap }
                prop_assert_eq!(clock.read(MS(at), is_stopped), MS(ran + stopped.saturating_sub(bound)));
            }
        }

        #[test]
        fn no_stamp_of_a_farm_is_later_than_the_latest_one(now in -DAY_MS..DAY_MS, failures in 0u32..300, unit in 0.0..1.0f64) {
            let now = Timestamp(now);
            let latest = LatestStamps::at(now, Duration::from_secs(60));
            let retry = now + backoff::backoff(Duration::from_secs(5), failures, unit);
            prop_assert!(retry <= latest.mail);
            prop_assert!(latest.past <= now && latest.past <= latest.lease && latest.past <= latest.offer);
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
