//! The first bytes of a log file: what it is, and whether it may still grow.

use super::LogExtent;

/// Where the first block begins.
pub(super) const HEAD_BYTES: u64 = 36;
/// The same as the length of an array.
pub(super) const HEAD_LEN: usize = 36;
const LIVE: &[u8; 8] = b"TFLOG1\nL";
const SEALED: &[u8; 8] = b"TFLOG1\nS";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// Only the database knows how far it goes.
    Live,
    Sealed(LogExtent),
}

impl Head {
    pub fn to_bytes(self) -> [u8; HEAD_LEN] {
        let (magic, extent) = match self {
            Head::Live => (LIVE, LogExtent::default()),
            Head::Sealed(extent) => (SEALED, extent),
        };
        let mut bytes = [0; HEAD_LEN];
        bytes[0..8].copy_from_slice(magic);
        bytes[8..16].copy_from_slice(&extent.raw_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&extent.lines.to_le_bytes());
        bytes[24..32].copy_from_slice(&extent.stored_bytes.to_le_bytes());
        let crc = crc32fast::hash(&bytes[0..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// None when these bytes are no whole head of this version.
    pub fn from_bytes(bytes: &[u8; HEAD_LEN]) -> Option<Head> {
        let (hashed, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(hashed) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (magic, rest) = hashed.split_first_chunk::<8>()?;
        let (raw_bytes, rest) = rest.split_first_chunk::<8>()?;
        let (lines, rest) = rest.split_first_chunk::<8>()?;
        let extent = LogExtent {
            raw_bytes: u64::from_le_bytes(*raw_bytes),
            lines: u64::from_le_bytes(*lines),
            stored_bytes: u64::from_le_bytes(*rest.first_chunk()?),
        };
        match magic {
            LIVE => Some(Head::Live),
            SEALED => Some(Head::Sealed(extent)),
            _ => None,
        }
    }
}
