//! How much of a step's log is kept: its first half as it comes, and its last half in a ring until the end.
//! A failure is explained at the end of a log and set up at its beginning, so the middle is what may go.

use std::collections::VecDeque;

/// However much a recipe wants to keep, the half that waits in memory stays below half of this.
const MAX_KEPT_BYTES: u64 = 128 << 20;
/// A step that prints this many times what may be kept is not going to stop by itself.
const RUNAWAY: u64 = 10;

/// Divides what a step prints into what is told now, what may be told at the end, and what is only counted.
#[derive(Debug)]
pub struct LogLimiter {
    head_left: u64,
    tail_capacity: usize,
    tail: VecDeque<u8>,
    cut: OmittedOutput,
    seen: u64,
    runaway: u64,
}

/// What was left out between the two halves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OmittedOutput {
    pub bytes: u64,
    /// Line ends among those bytes.
    pub lines: u64,
}

impl LogLimiter {
    pub fn new(keep_bytes: u64) -> LogLimiter {
        let kept = keep_bytes.min(MAX_KEPT_BYTES);
        let tail_capacity = kept / 2;
        LogLimiter {
            head_left: kept - tail_capacity,
            tail_capacity: usize::try_from(tail_capacity).expect("half of MAX_KEPT_BYTES is a usize"),
            tail: VecDeque::new(),
            cut: OmittedOutput::default(),
            seen: 0,
            runaway: keep_bytes.saturating_mul(RUNAWAY),
        }
    }

    /// Takes what the step printed; gives back the part of it that is to be told now.
    pub fn feed<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        let now = usize::try_from(self.head_left).unwrap_or(usize::MAX).min(bytes.len());
        self.head_left -= now as u64;
        let (now, later) = bytes.split_at(now);
        self.hold(later);
        now
    }

    /// Whether the step has printed ten times what may be kept.
    pub fn ran_away(&self) -> bool {
        self.seen > self.runaway
    }

    /// After the step: what was left out, if anything was, and the end of the log that comes behind it.
    pub fn finish(self) -> (Option<OmittedOutput>, VecDeque<u8>) {
        ((self.cut.bytes > 0).then_some(self.cut), self.tail)
    }

    fn hold(&mut self, bytes: &[u8]) {
        // Of a piece longer than the ring, only the end can stay.
        let (passing, staying) = bytes.split_at(bytes.len().saturating_sub(self.tail_capacity));
        let over = (self.tail.len() + staying.len()).saturating_sub(self.tail_capacity);
        let (front, back) = self.tail.as_slices();
        let oldest = over.min(front.len());
        self.cut.lines +=
            line_ends(&front[..oldest]) + line_ends(&back[..over - oldest]) + line_ends(passing);
        self.cut.bytes += (over + passing.len()) as u64;
        self.tail.drain(..over);
        self.tail.extend(staying);
    }
}

fn line_ends(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a reader would see: the first half, the cut as `[bytes/lines]`, the last half.
    fn told(keep_bytes: u64, pieces: &[&str]) -> String {
        let mut limiter = LogLimiter::new(keep_bytes);
        let mut told: String =
            pieces.iter().map(|piece| String::from_utf8_lossy(limiter.feed(piece.as_bytes()))).collect();
        let (cut, tail) = limiter.finish();
        if let Some(OmittedOutput { bytes, lines }) = cut {
            told += &format!("[{bytes}/{lines}]");
        }
        told + &String::from_utf8(tail.into()).unwrap()
    }

    #[test]
    fn a_log_within_its_limit_is_told_whole() {
        for (keep, pieces, expected) in [
            (8, &["abcd"][..], "abcd"),
            (8, &["abcd", "efgh"], "abcdefgh"),
            (8, &["abcdefgh"], "abcdefgh"),
            (8, &[], ""),
        ] {
            assert_eq!(told(keep, pieces), expected);
        }
    }

    #[test]
    fn a_longer_log_loses_its_middle() {
        for (keep, pieces, expected) in [
            (8, &["abcdefghi"][..], "abcd[1/0]fghi"),
            (8, &["ab", "cd", "e\nf\n", "g\n"], "abcd[2/1]f\ng\n"),
            (8, &["abcdefghijklmnopqrstuvwxyz"], "abcd[18/0]wxyz"),
            (7, &["abcdefgh"], "abcd[1/0]fgh"),
            (0, &["a\n", "b"], "[3/1]"),
            (1, &["a\n", "b"], "a[2/1]"),
        ] {
            assert_eq!(told(keep, pieces), expected);
        }
    }

    #[test]
    fn a_step_runs_away_at_ten_times_its_limit() {
        let mut limiter = LogLimiter::new(10);
        limiter.feed(&[b'x'; 100]);
        assert!(!limiter.ran_away());
        limiter.feed(b"x");
        assert!(limiter.ran_away());
    }

    #[test]
    fn memory_stays_flat_for_one_line_of_200_mb() {
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
        assert_eq!(LogLimiter::new(u64::MAX).tail_capacity as u64, MAX_KEPT_BYTES / 2);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_uncounted(keep in 0u64..40, pieces in prop::collection::vec("[a-c\n]{0,30}", 0..8)) {
            let mut limiter = LogLimiter::new(keep);
            let mut told: Vec<u8> = Vec::new();
            for piece in &pieces {
                told.extend(limiter.feed(piece.as_bytes()));
            }
            let (cut, tail) = limiter.finish();
            let cut = cut.unwrap_or_default();
            let whole = pieces.concat().into_bytes();
            prop_assert_eq!(told.len() as u64 + cut.bytes + tail.len() as u64, whole.len() as u64);
            prop_assert!(whole.starts_with(&told));
            let tail: Vec<u8> = tail.into();
            prop_assert!(whole.ends_with(&tail));
            prop_assert_eq!(line_ends(&told) + line_ends(&tail) + cut.lines, line_ends(&whole));
            prop_assert!(told.len() as u64 + tail.len() as u64 <= keep);
        }
    }
}
