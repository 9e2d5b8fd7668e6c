//! What is kept and what may go: logs by their age, toolchains by their value when there are too many of them.

use std::time::Duration;

use protocol::Sha256;

use crate::outcome::Outcome;
use crate::words::ids::Timestamp;

/// For how long and how much, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub green_logs: Duration,
    pub red_logs: Duration,
    /// All toolchains together.
    pub artifacts_bytes: u64,
    /// Free disk below which no builds are offered.
    pub free_bytes: u64,
}

impl Default for Retention {
    fn default() -> Retention {
        const DAY: u64 = 24 * 3600;
        Retention {
            green_logs: Duration::from_secs(30 * DAY),
            red_logs: Duration::from_secs(365 * DAY),
            artifacts_bytes: 50 << 30,
            free_bytes: 2 << 30,
        }
    }
}

impl Retention {
    /// Whether the logs of a finished build may go. Those that an open breakage points to stay until it is closed.
    pub fn is_past(&self, outcome: Outcome, ended_at: Timestamp, is_needed: bool, now: Timestamp) -> bool {
        let kept = match outcome {
            Outcome::Passed => self.green_logs,
            Outcome::Failed | Outcome::Infra | Outcome::Cancelled | Outcome::Blocked => self.red_logs,
        };
        !is_needed && ended_at + kept < now
    }
}

/// A packed toolchain that lies on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredToolchain {
    pub sha256: Sha256,
    pub bytes: u64,
    /// By a build that is not finished, by an open range, or as an end of its branch.
    pub is_needed: bool,
    /// It is true on its maker only.
    pub is_bare: bool,
    pub used_at: Timestamp,
}

/// Those that must go so that the rest fits: first what only one worker can use, then what was not used for the
/// longest time. What is needed stays, even when it alone is too much.
pub fn least_valued(mut toolchains: Vec<StoredToolchain>, bound_bytes: u64) -> Vec<Sha256> {
    let mut bytes: u64 = toolchains.iter().map(|toolchain| toolchain.bytes).sum();
    toolchains.retain(|toolchain| !toolchain.is_needed);
    toolchains.sort_by_key(|it| (!it.is_bare, it.used_at, it.sha256.0));
    let mut going = Vec::new();
    for toolchain in toolchains {
        if bytes <= bound_bytes {
            break;
        }
        bytes -= toolchain.bytes;
        going.push(toolchain.sha256);
    }
    going
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;

    /// For how many days the logs of a build with this outcome stay.
    fn days(outcome: Outcome) -> i64 {
        let keep = Retention::default();
        (0..).find(|day| keep.is_past(outcome, Timestamp(0), false, Timestamp(day * DAY + 1))).unwrap()
    }

    #[test]
    fn logs_of_green_builds_stay_a_month_and_all_others_a_year() {
        assert_eq!(days(Outcome::Passed), 30);
        for other in [Outcome::Failed, Outcome::Infra, Outcome::Cancelled, Outcome::Blocked] {
            assert_eq!(days(other), 365, "{other}");
        }
    }

    #[test]
    fn what_an_open_breakage_points_to_stays() {
        let late = Timestamp(10_000 * DAY);
        assert!(!Retention::default().is_past(Outcome::Passed, Timestamp(0), true, late));
    }

    /// Toolchains as a picture, the one that was used longest ago first: `o` can be used by anybody, `b` by its maker
    /// only, capital letters are needed. Each has one byte. The answer shows what is left: `.` is gone.
    fn left(picture: &str, bound_bytes: u64) -> String {
        let toolchain = |(index, letter): (usize, char)| StoredToolchain {
            sha256: Sha256([index as u8; 32]),
            bytes: 1,
            is_needed: letter.is_ascii_uppercase(),
            is_bare: letter.eq_ignore_ascii_case(&'b'),
            used_at: Timestamp(index as i64),
        };
        let going = least_valued(picture.chars().enumerate().map(toolchain).collect(), bound_bytes);
        let letter = |(index, letter)| if going.contains(&Sha256([index as u8; 32])) { '.' } else { letter };
        picture.chars().enumerate().map(letter).collect()
    }

    #[test]
    fn nothing_goes_while_all_fits() {
        assert_eq!(left("oboO", 4), "oboO");
        assert_eq!(left("", 0), "");
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first() {
        assert_eq!(left("ooooo", 3), "..ooo");
    }

    #[test]
    fn what_one_worker_alone_can_use_goes_before_what_all_can() {
        assert_eq!(left("oobob", 4), "oo.ob");
        assert_eq!(left("oobob", 2), ".o.o.");
    }

    #[test]
    fn what_is_needed_stays_even_when_it_is_too_much() {
        assert_eq!(left("OoObOo", 4), "O.O.Oo");
        assert_eq!(left("OOO", 0), "OOO");
        assert_eq!(left("OoBb", 0), "O.B.");
    }
}
