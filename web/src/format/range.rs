//! Which part of a file a request wants: one range of bytes, as RFC 9110 defines it in section 14.

use std::ops::Range;

use axum::http::{HeaderMap, header};

#[derive(Debug, PartialEq, Eq)]
pub enum RangePart {
    Whole,
    Bytes(Range<u64>),
    /// It begins after the end of the file.
    PastEnd,
}

/// The requested part of a file with this ETag and length. Anything but a single range of bytes is ignored, as the RFC
/// allows, and so is a range of a file that has changed since.
pub fn requested(headers: &HeaderMap, tag: &str, bytes: u64) -> RangePart {
    let has_changed =
        headers.get(header::IF_RANGE).is_some_and(|version| version.as_bytes() != tag.as_bytes());
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    match range {
        Some(range) if !has_changed => part(range, bytes),
        Some(_) | None => RangePart::Whole,
    }
}

fn part(range: &str, bytes: u64) -> RangePart {
    let Some((unit, range)) = range.split_once('=') else { return RangePart::Whole };
    let Some((first, last)) = range.trim().split_once('-') else { return RangePart::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return RangePart::Whole;
    }
    let range = match (first, number(first), number(last)) {
        // That many bytes at the end.
        ("", _, Some(suffix)) => bytes.saturating_sub(suffix)..bytes,
        (_, Some(first), Some(last)) if first <= last => first..bytes.min(last.saturating_add(1)),
        (_, Some(first), None) if last.is_empty() => first..bytes,
        (_, Some(_) | None, Some(_) | None) => return RangePart::Whole,
    };
    if range.is_empty() { RangePart::PastEnd } else { RangePart::Bytes(range) }
}

/// Digits only. A number that does not fit is past any end.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a range of a file of ten bytes is: `2..5`, `whole` or `past end`.
    fn of_ten(range: &str) -> String {
        match part(range, 10) {
            RangePart::Whole => "whole".into(),
            RangePart::Bytes(range) => format!("{}..{}", range.start, range.end),
            RangePart::PastEnd => "past end".into(),
        }
    }

    #[test]
    fn one_range_is_understood() {
        for (range, part) in [
            ("bytes=0-0", "0..1"),
            ("bytes=2-4", "2..5"),
            ("bytes=2-", "2..10"),
            ("bytes=2-99", "2..10"),
            ("bytes=9-99999999999999999999999", "9..10"),
            ("bytes=-3", "7..10"),
            ("bytes=-99", "0..10"),
            ("Bytes= 1-2 ", "1..3"),
        ] {
            assert_eq!(of_ten(range), part, "{range}");
        }
    }

    #[test]
    fn a_range_that_begins_after_the_end_is_past_the_end() {
        for range in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(of_ten(range), "past end", "{range}");
        }
        assert_eq!(part("bytes=0-", 0), RangePart::PastEnd);
    }

    #[test]
    fn anything_but_a_single_range_is_ignored() {
        for range in
            ["", "bytes", "bytes=", "bytes=-", "bytes=4-2", "bytes=1-2,4-5", "bytes=+1-2", "lines=1-2"]
        {
            assert_eq!(of_ten(range), "whole", "{range}");
        }
    }

    #[test]
    fn a_range_of_another_version_of_the_file_is_ignored() {
        let requested_with = |version: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, "bytes=2-4".parse().unwrap());
            headers.insert(header::IF_RANGE, version.parse().unwrap());
            requested(&headers, "\"now\"", 10)
        };
        assert_eq!(requested_with("\"now\""), RangePart::Bytes(2..5));
        for other in ["\"then\"", "W/\"now\"", "Thu, 26 Nov 2026 00:00:00 GMT"] {
            assert_eq!(requested_with(other), RangePart::Whole, "{other}");
        }
    }
}
