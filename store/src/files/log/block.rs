//! One block as bytes, and everything that can be wrong with one.

use std::path::PathBuf;

use super::LogExtent;

/// No block holds more text: a window is cut from whole blocks, so this bounds what a small one costs.
pub(super) const MAX_TEXT_BYTES: usize = 256 << 10;
pub(super) const HEADER_BYTES: usize = 56;
pub(super) const TAIL_BYTES: usize = 4;
const MAGIC: [u8; 2] = *b"TB";
/// No log is that long; below it, sums of counts cannot overflow.
const MAX_COUNT: u64 = 1 << 62;
pub(super) const CUT_BYTES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    Text,
    Zstd,
    Cut,
}

/// What stands before a block's payload. The fields are described where the format is, in [`super`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub payload: Payload,
    pub open_line: bool,
    pub number: u32,
    pub text_len: u32,
    pub payload_len: u32,
    pub newlines: u32,
    pub before: Counts,
    pub jump: u64,
    pub payload_crc: u32,
}

/// What a log holds up to some place between two blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Bytes.
    pub text: u64,
    pub newlines: u64,
    pub cuts: u32,
}

/// A block of a log file that cannot be read. The rest of the file still can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log {} is damaged at byte {at}: {flaw}; restore the file from a backup, or do without this part of it",
    path.display()
)]
pub struct LogDamage {
    /// The log file.
    pub path: PathBuf,
    /// Offset in the file.
    pub at: u64,
    /// What is wrong there.
    pub flaw: LogFlaw,
}

/// What is wrong with a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogFlaw {
    /// The file does not begin as a log of this version does.
    #[error("this is not the head of a log file")]
    Head,
    /// The file is shorter than the committed extent.
    #[error("the file ends here, before the committed end")]
    Truncated,
    /// A header's CRC or lengths are wrong.
    #[error("a block's header was expected here and is corrupt")]
    Header,
    /// A payload's CRC or length is wrong.
    #[error("the text of this block is corrupt")]
    Payload,
    /// Blocks are intact and contradict their neighbours or the committed extent.
    #[error("the blocks here contradict each other or the committed extent")]
    Misfit,
}

/// A length in memory as one in a file.
pub(super) fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("no machine addresses more than 64 bits")
}

/// A length in a block's header as one in memory.
pub(super) fn in_memory(bytes: u32) -> usize {
    usize::try_from(bytes).expect("the farm runs on machines that address 32 bits at least")
}

impl Header {
    /// The whole block's length in the file.
    pub fn block_len(&self) -> u64 {
        length(HEADER_BYTES) + u64::from(self.payload_len) + length(TAIL_BYTES)
    }

    /// What the log holds up to the end of this block.
    pub fn behind(&self) -> Counts {
        Counts {
            text: self.before.text + u64::from(self.text_len),
            newlines: self.before.newlines + u64::from(self.newlines),
            cuts: self.before.cuts + u32::from(self.payload == Payload::Cut),
        }
    }

    /// How far a log goes that ends with this block.
    pub fn extent(&self, at: u64) -> LogExtent {
        LogExtent {
            raw_bytes: self.behind().text,
            lines: self.behind().newlines + u64::from(self.open_line),
            stored_bytes: at + self.block_len(),
        }
    }

    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..2].copy_from_slice(&MAGIC);
        bytes[2] = match self.payload {
            Payload::Text => 0,
            Payload::Zstd => 1,
            Payload::Cut => 2,
        };
        bytes[3] = self.open_line.into();
        bytes[4..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.text_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.newlines.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.before.cuts.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.before.text.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.before.newlines.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.jump.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[0..52]);
        bytes[52..56].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// None if these bytes are no header, or one that no writer makes.
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if bytes[0..2] != MAGIC || crc32fast::hash(&bytes[0..52]) != u32_at(52) {
            return None;
        }
        let payload = match bytes[2] {
            0 => Payload::Text,
            1 => Payload::Zstd,
            2 => Payload::Cut,
            _ => return None,
        };
        let header = Header {
            payload,
            open_line: bytes[3] == 1,
            number: u32_at(4),
            text_len: u32_at(8),
            payload_len: u32_at(12),
            newlines: u32_at(16),
            before: Counts { text: u64_at(24), newlines: u64_at(32), cuts: u32_at(20) },
            jump: u64_at(40),
            payload_crc: u32_at(48),
        };
        header.is_sound().then_some(header)
    }

    /// Lengths decide how much memory is allocated, so they are checked even if the CRC is right.
    fn is_sound(&self) -> bool {
        let (text, payload) = (in_memory(self.text_len), in_memory(self.payload_len));
        if self.newlines > self.text_len || self.before.text > MAX_COUNT || self.before.newlines > MAX_COUNT {
            return false;
        }
        // One more cut must not overflow the count.
        if self.before.cuts == u32::MAX {
            return false;
        }
        match self.payload {
            Payload::Text => 0 < text && text <= MAX_TEXT_BYTES && payload == text,
            Payload::Zstd => 0 < text && text <= MAX_TEXT_BYTES && payload < text,
            Payload::Cut => text == 0 && payload == CUT_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        payload: Payload::Zstd,
        open_line: true,
        number: 7,
        text_len: 100,
        payload_len: 40,
        newlines: 3,
        before: Counts { text: 1 << 40, newlines: 1 << 33, cuts: 2 },
        jump: 36,
        payload_crc: 0xdead_beef,
    };

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        for payload in [Payload::Text, Payload::Zstd, Payload::Cut] {
            let (text_len, payload_len) = match payload {
                Payload::Text => (5, 5),
                Payload::Zstd => (100, 40),
                Payload::Cut => (0, 16),
            };
            let newlines = text_len / 4;
            let header = Header { payload, text_len, payload_len, newlines, ..HEADER };
            assert_eq!(Header::from_bytes(&header.to_bytes()), Some(header));
        }
    }

    #[test]
    fn no_flipped_bit_in_a_header_goes_unseen() {
        let good = HEADER.to_bytes();
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::from_bytes(&bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn a_header_whose_counts_nothing_can_be_added_to_is_refused() {
        for before in [
            Counts { text: u64::MAX, ..HEADER.before },
            Counts { newlines: u64::MAX, ..HEADER.before },
            Counts { cuts: u32::MAX, ..HEADER.before },
        ] {
            let header = Header { before, ..HEADER };
            assert_eq!(Header::from_bytes(&header.to_bytes()), None, "{header:?}");
        }
    }

    #[test]
    fn a_header_that_asks_for_too_much_memory_is_refused() {
        for (payload, text_len, payload_len) in [
            (Payload::Text, 300 << 10, 300 << 10),
            (Payload::Text, 10, 11),
            (Payload::Text, 0, 0),
            (Payload::Zstd, u32::MAX, 10),
            (Payload::Zstd, 10, 10),
            (Payload::Cut, 1, 16),
            (Payload::Cut, 0, u32::MAX),
        ] {
            let header = Header { payload, text_len, payload_len, newlines: 0, ..HEADER };
            assert_eq!(Header::from_bytes(&header.to_bytes()), None, "{header:?}");
        }
    }
}
