//! Retention: logs are deleted by their age, and toolchains by their value if there are too many of them.

use std::time::Duration;

use protocol::Sha256;

use crate::outcome::Outcome;
use crate::words::ids::Timestamp;

/// How long logs and how many toolchains are stored, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long the logs of builds that passed are stored.
    pub green_logs: Duration,
    /// How long the logs of all other builds are stored.
    pub red_logs: Duration,
    /// The most bytes of all toolchains together.
    pub artifacts_bytes: u64,
    /// With less free disk space no builds are offered.
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
    /// Whether the logs of a finished build may be deleted. Logs that an open breakage needs stay until it is closed.
    pub fn is_past(&self, outcome: Outcome, ended_at: Timestamp, is_needed: bool, now: Timestamp) -> bool {
        let kept = match outcome {
            Outcome::Passed => self.green_logs,
            Outcome::Failed | Outcome::Infra | Outcome::Cancelled | Outcome::Blocked => self.red_logs,
        };
        !is_needed && ended_at + kept < now
    }
}

/// A packed toolchain on the master's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredToolchain {
    /// Its hash.
    pub sha256: Sha256,
    /// The archive's length.
    pub bytes: u64,
    /// By a build that is not finished, by an open range, or as an end of its branch.
    pub is_needed: bool,
    /// Whether only the worker that made it can use it.
    pub is_bare: bool,
    /// When it was last used.
    pub used_at: Timestamp,
}

/// The toolchains to delete so that the rest fits: first those that only one worker can use, then the least recently used.
/// Those that are needed stay, even if they alone are too large.
pub fn least_valued(mut toolchains: Vec<StoredToolchain>, bound_bytes: u64) -> Vec<Sha256> {
    let mut bytes: u64 = toolchains.iter().map(|toolchain| toolchain.bytes).sum();
    toolchains.retain(|toolchain| !toolchain.is_needed);
    toolchains.sort_by_key(|it| (!it.is_bare, it.used_at, it.sha256.0));
    let mut deleted = Vec::new();
    for toolchain in toolchains {
        if bytes <= bound_bytes {
            break;
        }
        bytes -= toolchain.bytes;
        deleted.push(toolchain.sha256);
    }
    deleted
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;

    /// For how many days the logs of a build with this outcome are stored.
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
    fn logs_that_an_open_breakage_needs_stay() {
        let late = Timestamp(10_000 * DAY);
        assert!(!Retention::default().is_past(Outcome::Passed, Timestamp(0), true, late));
    }

    /// Toolchains as a picture, the least recently used first: `o` can be used by any worker, `b` only by its maker, and
    /// capital letters are needed. Each has one byte. The answer shows those that are left; `.` is deleted.
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
    fn nothing_is_deleted_while_all_fits() {
        assert_eq!(left("oboO", 4), "oboO");
        assert_eq!(left("", 0), "");
    }

    #[test]
    fn the_least_recently_used_is_deleted_first() {
        assert_eq!(left("ooooo", 3), "..ooo");
    }

    #[test]
    fn a_toolchain_for_one_worker_is_deleted_before_one_for_all() {
        assert_eq!(left("oobob", 4), "oo.ob");
        assert_eq!(left("oobob", 2), ".o.o.");
    }

    #[test]
    fn a_needed_toolchain_stays_even_if_it_is_too_large() {
        assert_eq!(left("OoObOo", 4), "O.O.Oo");
        assert_eq!(left("OOO", 0), "OOO");
        assert_eq!(left("OoBb", 0), "O.B.");
    }
}
