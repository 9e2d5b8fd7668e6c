//! How far a fetch is, in words; and how often it may be reported.

use std::time::{Duration, Instant};

use protocol::FetchProgress;

/// How often a page may change by it.
const PERIOD: Duration = Duration::from_secs(1);
/// A longer name is cut.
const MAX_WHAT_CHARS: usize = 80;

/// `fetching the source: 61 of 101 MB`, `fetching lua: 61 MB, 4,211 of 9,000 objects`. A total that is not known, or that
/// cannot be, is not mentioned.
pub fn sentence(progress: &FetchProgress) -> String {
    let FetchProgress { what, bytes, total_bytes, objects, total_objects } = progress;
    let what: String = what.chars().filter(|c| !c.is_control()).take(MAX_WHAT_CHARS).collect();
    let bytes = match total_bytes {
        Some(total) if total >= bytes && *total > 0 => {
            let unit = Unit::fitting(*total);
            format!("{} of {} {}", unit.count(*bytes), unit.count(*total), unit.name)
        }
        Some(_) | None => {
            let unit = Unit::fitting(*bytes);
            format!("{} {}", unit.count(*bytes), unit.name)
        }
    };
    let objects = match total_objects {
        Some(total) if total >= objects && *total > 0 => {
            format!(", {} of {} objects", grouped(*objects), grouped(*total))
        }
        Some(_) | None if *objects > 0 => format!(", {} objects", grouped(*objects)),
        Some(_) | None => String::new(),
    };
    format!("fetching {what}: {bytes}{objects}")
}

struct Unit {
    name: &'static str,
    bytes: u64,
}

impl Unit {
    fn fitting(bytes: u64) -> Unit {
        match bytes {
            0..1_000_000 => Unit { name: "kB", bytes: 1_000 },
            1_000_000..10_000_000_000 => Unit { name: "MB", bytes: 1_000_000 },
            _ => Unit { name: "GB", bytes: 1_000_000_000 },
        }
    }

    fn count(&self, bytes: u64) -> String {
        grouped(bytes / self.bytes)
    }
}

/// A number with a comma after each group of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Admits one report a period: transfers report thousands of times a second.
#[derive(Debug, Default)]
pub struct Throttle {
    last: Option<Instant>,
}

impl Throttle {
    /// Whether a report may pass now. The first one of a fetch waits for a period, too: most fetches are over by then.
    pub fn admits(&mut self, now: Instant) -> bool {
        match self.last {
            Some(last) if now.saturating_duration_since(last) >= PERIOD => {
                self.last = Some(now);
                true
            }
            Some(_) => false,
            None => {
                self.last = Some(now);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sentence_says_what_is_known() {
        let git = FetchProgress {
            what: "lua".into(),
            bytes: 61_400_000,
            objects: 4_211,
            total_objects: Some(9_000),
            ..FetchProgress::default()
        };
        assert_eq!(sentence(&git), "fetching lua: 61 MB, 4,211 of 9,000 objects");
        let file = FetchProgress {
            what: "the toolchain".into(),
            bytes: 61_000_000,
            total_bytes: Some(101_000_000),
            ..FetchProgress::default()
        };
        assert_eq!(sentence(&file), "fetching the toolchain: 61 of 101 MB");
        let begun = FetchProgress { what: "the source".into(), ..FetchProgress::default() };
        assert_eq!(sentence(&begun), "fetching the source: 0 kB");
    }

    proptest! {
        /// No sentence claims that more has arrived than there is, and none is long, whatever a worker sends.
        #[test]
        fn nothing_false_is_said(
            what in "(?s).{0,300}",
            bytes in any::<u64>(),
            total_bytes in prop::option::of(any::<u64>()),
            objects in any::<u64>(),
            total_objects in prop::option::of(any::<u64>()),
        ) {
            let progress = FetchProgress { what, bytes, total_bytes, objects, total_objects };
            let text = sentence(&progress);
            prop_assert!(text.chars().count() < 250 && !text.chars().any(char::is_control));
            let counts = text.rsplit_once(": ").map_or("", |(_, counts)| counts);
            let is_known = |total: Option<u64>, of: u64| total.is_some_and(|total| total >= of && total > 0);
            let known = [is_known(total_bytes, bytes), is_known(total_objects, objects)];
            let claimed = counts.matches(" of ").count();
            prop_assert_eq!(claimed, known.into_iter().filter(|known| *known).count(), "{}", text);
        }

        /// Of any reports, at most one a period passes, and one passes in each period in which there are reports.
        #[test]
        fn at_most_one_report_a_period_passes(gaps in prop::collection::vec(0_u64..3_000, 1..200)) {
            let start = Instant::now();
            let (mut throttle, mut now, mut passed) = (Throttle::default(), start, Vec::new());
            for gap in &gaps {
                now += Duration::from_millis(*gap);
                if throttle.admits(now) {
                    passed.push(now);
                }
            }
            prop_assert!(passed.windows(2).all(|pair| pair[1] - pair[0] >= PERIOD));
            let longest = PERIOD + Duration::from_millis(3_000);
            prop_assert!(passed.windows(2).all(|pair| pair[1] - pair[0] < longest));
        }
    }
}
