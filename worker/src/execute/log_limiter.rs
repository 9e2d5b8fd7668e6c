//! Limits a step's log: the first half is sent as it comes, and the last half waits in a ring buffer until the end.
//! A failure is explained at the end of a log and prepared at its beginning, so the middle is what we leave out.

use std::collections::VecDeque;

use crate::length;

/// Whatever limit a recipe sets, at most half of this waits in memory.
const MAX_LOG_BYTES: u64 = 128 << 20;
/// A step that prints this many times its limit will not stop by itself.
const RUNAWAY_FACTOR: u64 = 10;

/// Divides what a step prints into what is sent now, what is sent at the end, and what is only counted.
#[derive(Debug)]
pub struct LogLimiter {
    head_left_bytes: u64,
    tail_capacity: usize,
    tail: VecDeque<u8>,
    omitted: OmittedOutput,
    printed_bytes: u64,
    runaway_bytes: u64,
}

/// What was left out between the two halves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OmittedOutput {
    pub bytes: u64,
    /// Line ends among those bytes.
    pub lines: u64,
}

impl LogLimiter {
    pub fn new(limit_bytes: u64) -> LogLimiter {
        let limit = limit_bytes.min(MAX_LOG_BYTES);
        let tail_capacity = limit / 2;
        LogLimiter {
            head_left_bytes: limit - tail_capacity,
            tail_capacity: usize::try_from(tail_capacity).expect("half of MAX_LOG_BYTES is a usize"),
            tail: VecDeque::new(),
            omitted: OmittedOutput::default(),
            printed_bytes: 0,
            runaway_bytes: limit_bytes.saturating_mul(RUNAWAY_FACTOR),
        }
    }

    /// Takes what the step printed; returns the part of it that is to be sent now.
    pub fn feed<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        self.printed_bytes = self.printed_bytes.saturating_add(length::to_u64(bytes.len()));
        let now = usize::try_from(self.head_left_bytes).unwrap_or(usize::MAX).min(bytes.len());
        self.head_left_bytes -= length::to_u64(now);
        let (now, later) = bytes.split_at(now);
        self.buffer(later);
        now
    }

    /// Whether the step has printed more than ten times its limit.
    pub fn is_runaway(&self) -> bool {
        self.printed_bytes > self.runaway_bytes
    }

    /// After the step: what was left out, if anything was, and the end of the log that follows it.
    pub fn finish(self) -> (Option<OmittedOutput>, VecDeque<u8>) {
        ((self.omitted.bytes > 0).then_some(self.omitted), self.tail)
    }

    fn buffer(&mut self, bytes: &[u8]) {
        // Only the end of a piece can stay if the piece is longer than the ring.
        let (passing, staying) = bytes.split_at(bytes.len().saturating_sub(self.tail_capacity));
        let over = (self.tail.len() + staying.len()).saturating_sub(self.tail_capacity);
        let (front, back) = self.tail.as_slices();
        let oldest = over.min(front.len());
        self.omitted.lines +=
            line_ends(&front[..oldest]) + line_ends(&back[..over - oldest]) + line_ends(passing);
        self.omitted.bytes += length::to_u64(over + passing.len());
        self.tail.drain(..over);
        self.tail.extend(staying);
    }
}

fn line_ends(bytes: &[u8]) -> u64 {
    length::to_u64(bytes.iter().filter(|byte| **byte == b'\n').count())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a reader would see: the first half, what was left out as `[bytes/lines]`, the last half.
    fn log(limit_bytes: u64, pieces: &[&str]) -> String {
        let mut limiter = LogLimiter::new(limit_bytes);
        let mut log: String =
            pieces.iter().map(|piece| String::from_utf8_lossy(limiter.feed(piece.as_bytes()))).collect();
        let (omitted, tail) = limiter.finish();
        if let Some(OmittedOutput { bytes, lines }) = omitted {
            log += &format!("[{bytes}/{lines}]");
        }
        log + &String::from_utf8(tail.into()).unwrap()
    }

    #[test]
    fn a_log_within_its_limit_is_kept_whole() {
        for (limit, pieces, expected) in [
            (8, &["abcd"][..], "abcd"),
            (8, &["abcd", "efgh"], "abcdefgh"),
            (8, &["abcdefgh"], "abcdefgh"),
            (8, &[], ""),
        ] {
            assert_eq!(log(limit, pieces), expected);
        }
    }

    #[test]
    fn a_longer_log_loses_its_middle() {
        for (limit, pieces, expected) in [
            (8, &["abcdefghi"][..], "abcd[1/0]fghi"),
            (8, &["ab", "cd", "e\nf\n", "g\n"], "abcd[2/1]f\ng\n"),
            (8, &["abcdefghijklmnopqrstuvwxyz"], "abcd[18/0]wxyz"),
            (7, &["abcdefgh"], "abcd[1/0]fgh"),
            (0, &["a\n", "b"], "[3/1]"),
            (1, &["a\n", "b"], "a[2/1]"),
        ] {
            assert_eq!(log(limit, pieces), expected);
        }
    }

    #[test]
    fn a_step_is_a_runaway_above_ten_times_its_limit() {
        let mut limiter = LogLimiter::new(10);
        limiter.feed(&[b'x'; 100]);
        assert!(!limiter.is_runaway());
        limiter.feed(b"x");
        assert!(limiter.is_runaway());
    }

    #[test]
    fn one_line_of_200_mb_needs_no_more_memory_than_the_limit() {
        let piece = vec![b'x'; 64 << 10];
        let mut limiter = LogLimiter::new(1 << 20);
        for _ in 0..3200 {
            limiter.feed(&piece);
        }
        assert!(limiter.tail.capacity() <= 1 << 20);
        assert_eq!(limiter.finish().0, Some(OmittedOutput { bytes: (3200 << 16) - (1 << 20), lines: 0 }));
    }

    #[test]
    fn a_huge_limit_does_not_become_a_huge_ring() {
        assert_eq!(LogLimiter::new(u64::MAX).tail_capacity as u64, MAX_LOG_BYTES / 2);
    }

    proptest! {
        #[test]
        fn everything_that_is_left_out_is_counted(limit in 0u64..40, pieces in prop::collection::vec("[a-c\n]{0,30}", 0..8)) {
            let mut limiter = LogLimiter::new(limit);
            let mut sent: Vec<u8> = Vec::new();
            for piece in &pieces {
                sent.extend(limiter.feed(piece.as_bytes()));
            }
            let (omitted, tail) = limiter.finish();
            let omitted = omitted.unwrap_or_default();
            let whole = pieces.concat().into_bytes();
            prop_assert_eq!(sent.len() as u64 + omitted.bytes + tail.len() as u64, whole.len() as u64);
            prop_assert!(whole.starts_with(&sent));
            let tail: Vec<u8> = tail.into();
            prop_assert!(whole.ends_with(&tail));
            prop_assert_eq!(line_ends(&sent) + line_ends(&tail) + omitted.lines, line_ends(&whole));
            prop_assert!(sent.len() as u64 + tail.len() as u64 <= limit);
        }
    }
}
