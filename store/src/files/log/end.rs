//! Where a log ends, and how the next block is made.

use zstd::bulk::Compressor;

use super::LogExtent;
use super::block::{CUT_BYTES, Counts, Header, MAX_TEXT_BYTES, Payload};
use super::head::HEAD_BYTES;

/// Shorter texts do not pay for a zstd frame.
const MIN_ZSTD_BYTES: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub extent: LogExtent,
    counts: Counts,
    /// Blocks that the next one may jump to, the last block of the log at the end; each jumps to the one before
    /// it. About log2 of all blocks.
    jumps: Vec<Link>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub number: u32,
    pub at: u64,
}

impl End {
    /// The end of a log that holds nothing yet.
    pub fn of_nothing() -> End {
        let extent = LogExtent { stored_bytes: HEAD_BYTES, ..LogExtent::default() };
        End { extent, counts: Counts::default(), jumps: Vec::new() }
    }

    /// The end of a log whose last block begins at `at`.
    pub fn behind(last: &Header, at: u64, jumps: Vec<Link>) -> End {
        End { extent: last.extent(at), counts: last.behind(), jumps }
    }

    /// Adds blocks that hold this text to `out`.
    pub fn push_text(
        &mut self,
        out: &mut Vec<u8>,
        zstd: &mut Compressor<'_>,
        text: &[u8],
    ) -> std::io::Result<()> {
        for text in text.chunks(MAX_TEXT_BYTES) {
            let packed = if text.len() < MIN_ZSTD_BYTES { Vec::new() } else { zstd.compress(text)? };
            let (payload, bytes) = if packed.is_empty() || packed.len() >= text.len() {
                (Payload::Text, text)
            } else {
                (Payload::Zstd, packed.as_slice())
            };
            self.push(out, payload, text, bytes);
        }
        Ok(())
    }

    /// Adds a block to `out` that records what was left out here.
    pub fn push_cut(&mut self, out: &mut Vec<u8>, bytes: u64, lines: u64) {
        let mut payload = [0; CUT_BYTES];
        payload[..8].copy_from_slice(&bytes.to_le_bytes());
        payload[8..].copy_from_slice(&lines.to_le_bytes());
        self.push(out, Payload::Cut, &[], &payload);
    }

    fn push(&mut self, out: &mut Vec<u8>, payload: Payload, text: &[u8], bytes: &[u8]) {
        let at = self.extent.stored_bytes;
        let (number, jump) = self.link(at);
        let header = Header {
            payload,
            open_line: match text.last() {
                Some(last) => *last != b'\n',
                None => self.extent.lines > self.counts.newlines,
            },
            number,
            text_len: small(text.len()),
            payload_len: small(bytes.len()),
            newlines: small(text.iter().filter(|byte| **byte == b'\n').count()),
            before: self.counts,
            jump,
            payload_crc: crc32fast::hash(bytes),
        };
        out.extend(header.to_bytes());
        out.extend(bytes);
        let block_len = u32::try_from(header.block_len()).expect("a block is bounded");
        out.extend(block_len.to_le_bytes());
        *self = End::behind(&header, at, std::mem::take(&mut self.jumps));
    }

    /// Takes in the next block, which begins at `at`: its number, and where it jumps to.
    ///
    /// Two jumps of one length are taken together by the next block; so the lengths are those of a
    /// skew-binary number, and no way back is longer than about three times their count.
    fn link(&mut self, at: u64) -> (u32, u64) {
        let number = self.jumps.last().map_or(0, |last| last.number) + 1;
        if let [.., far, middle, near] = self.jumps[..]
            && near.number - middle.number == middle.number - far.number
        {
            self.jumps.truncate(self.jumps.len() - 2);
        }
        let jump = self.jumps.last().map_or(0, |target| target.at);
        self.jumps.push(Link { number, at });
        (number, jump)
    }
}

fn small(len: usize) -> u32 {
    u32::try_from(len).expect("a block is bounded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_follow_the_skew_binary_pattern() {
        let mut end = End::of_nothing();
        let jumps: Vec<u64> = (1..=16).map(|at| end.link(at).1).collect();
        assert_eq!(jumps, [0, 1, 2, 1, 4, 5, 4, 1, 8, 9, 8, 11, 12, 11, 8, 1]);
    }

    #[test]
    fn the_way_back_stays_short() {
        let mut end = End::of_nothing();
        for at in 1..=1_000_000 {
            end.link(at);
            assert!(end.jumps.len() <= 2 * 20);
        }
    }

    #[test]
    fn text_that_zstd_makes_longer_is_kept_as_it_is() {
        let mut zstd = Compressor::new(1).unwrap();
        let noise: Vec<u8> =
            (0..100u32).flat_map(|i| crc32fast::hash(&i.to_le_bytes()).to_le_bytes()).collect();
        for (text, payload) in [
            (b"short\n".to_vec(), Payload::Text),
            (noise, Payload::Text),
            (b"again and ".repeat(50), Payload::Zstd),
        ] {
            let mut out = Vec::new();
            End::of_nothing().push_text(&mut out, &mut zstd, &text).unwrap();
            assert_eq!(Header::from_bytes(out.first_chunk().unwrap()).unwrap().payload, payload);
        }
    }
}
