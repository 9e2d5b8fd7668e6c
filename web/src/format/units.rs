//! Times, durations, sizes and counts: plain numbers in JSON, words on pages.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

/// A moment, in milliseconds since 1970 in UTC. Pages show UTC, since readers of one farm live in many time zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Moment(pub i64);

impl Moment {
    fn show(self, format: &str) -> String {
        match Timestamp::from_millisecond(self.0) {
            Ok(moment) => moment.strftime(format).to_string(),
            // Only a damaged row holds such a time; the page must still be printed.
            Err(_) => format!("{} ms", self.0),
        }
    }

    /// `07:58`
    pub fn clock(self) -> String {
        self.show("%H:%M")
    }

    /// `23 Nov`
    pub fn day(self) -> String {
        self.show("%-d %b")
    }

    /// For `<time datetime>`.
    pub fn iso(self) -> String {
        self.show("%Y-%m-%dT%H:%M:%SZ")
    }
}

/// `23 Nov 2026, 07:58:03`
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show("%-d %b %Y, %H:%M:%S"))
    }
}

/// A duration in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Span(pub i64);

/// At most two leading units: `37 ms`, `0.4 s`, `12 s`, `3 min 5 s`, `2 h 4 min`, `3 d 4 h`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.max(0);
        let s = ms / 1000;
        match s {
            0 if ms < 100 => write!(f, "{ms} ms"),
            0..10 => write!(f, "{}.{} s", s, ms % 1000 / 100),
            10..60 => write!(f, "{s} s"),
            60..3600 => write!(f, "{} min {} s", s / 60, s % 60),
            3600..86_400 => write!(f, "{} h {} min", s / 3600, s % 3600 / 60),
            _ => write!(f, "{} d {} h", s / 86_400, s % 86_400 / 3600),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ByteCount(pub u64);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..1024 => return write!(f, "{} bytes", self.0),
            1024..0x10_0000 => (1_u128 << 10, "KiB"),
            0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
            _ => (1 << 30, "GiB"),
        };
        let tenths = (u128::from(self.0) * 10 + unit / 2) / unit;
        write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// `1 case`, `3 cases`.
pub fn count<N: fmt::Display + PartialEq + From<u8>>(n: N, one: &str, many: &str) -> String {
    let noun = if n == N::from(1) { one } else { many };
    format!("{n} {noun}")
}

/// The number of rows or letters in memory, in the type in which the store counts.
pub fn row_count(len: usize) -> i64 {
    i64::try_from(len).expect("a length in memory fits into 63 bits")
}

/// A count of the store, as the rules count in memory. No count is negative.
pub fn in_memory(count: i64) -> usize {
    usize::try_from(count).unwrap_or(0)
}

/// How many of all rows of the store are not among those that are shown.
pub fn hidden(all: i64, shown: usize) -> usize {
    in_memory(all).saturating_sub(shown)
}

/// `a`, `a and b`, `a, b and c`; the names after the first `most` are counted instead.
pub fn listed(names: &[&str], most: usize) -> String {
    let (shown, rest) = names.split_at(names.len().min(most));
    let mut parts: Vec<String> = shown.iter().map(ToString::to_string).collect();
    if !rest.is_empty() {
        parts.push(format!("{} more", rest.len()));
    }
    match parts.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_in_two_units_at_most() {
        for (ms, text) in [
            (-5, "0 ms"),
            (37, "37 ms"),
            (420, "0.4 s"),
            (12_900, "12 s"),
            (185_000, "3 min 5 s"),
            (7_440_000, "2 h 4 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(Span(ms).to_string(), text);
        }
    }

    #[test]
    fn sizes_are_rounded_to_a_tenth_of_their_unit() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (912_120, "890.7 KiB"),
            (4_120_000, "3.9 MiB"),
            (16 << 30, "16.0 GiB"),
            (u64::MAX, "17179869184.0 GiB"),
        ] {
            assert_eq!(ByteCount(bytes).to_string(), text);
        }
    }

    #[test]
    fn a_moment_outside_the_calendar_is_still_printed() {
        assert_eq!(Moment(i64::MAX).clock(), format!("{} ms", i64::MAX));
        assert_eq!(Moment(0).to_string(), "1 Jan 1970, 00:00:00");
    }

    #[test]
    fn a_long_list_of_names_ends_in_a_number() {
        assert_eq!(listed(&[], 3), "");
        assert_eq!(listed(&["a"], 3), "a");
        assert_eq!(listed(&["a", "b"], 3), "a and b");
        assert_eq!(listed(&["a", "b", "c"], 3), "a, b and c");
        assert_eq!(listed(&["a", "b", "c", "d"], 2), "a, b and 2 more");
    }
}
