//! A step's log: one file of compressed blocks that grows while the step runs and is its own index, so that
//! any window of a log of any size opens with a few small reads and in memory that does not grow with it.
//!
//! # How it is used
//!
//! A [`LogWriter`] appends blocks and returns after each how far the file goes: a [`LogExtent`]. The caller syncs, and
//! commits the extent to the database; only then does the log go that far. What lies after the committed extent was
//! never written: a [`LogReader`] is given the extent and does not read past it, so it may read while another handle
//! appends, and the next [`LogWriter::open`] truncates it. When the step has ended, [`seal`] packs the committed part
//! into large blocks and replaces the file by a rename. All calls are synchronous and may wait for the disk.
//!
//! # The format, version 1
//!
//! Numbers are little-endian. A file is a head of 36 bytes, then blocks without gaps between them.
//!
//! | head | |
//! |---|---|
//! | 0 | `TFLOG1` and a newline |
//! | 7 | `L` live, `S` sealed |
//! | 8 | the extent: bytes, lines, stored bytes (u64 each); zeros in a live file, whose extent is in the database |
//! | 32 | CRC-32 of the above |
//!
//! | block | |
//! |---|---|
//! | 0 | `TB` |
//! | 2 | payload (u8): 0 text, 1 text as a zstd frame, 2 a cut: the bytes and lines left out here (u64 each) |
//! | 3 | 1 when the log's last line is still open after this block, else 0 |
//! | 4 | number of the block (u32), from 1 |
//! | 8 | length of its text (u32), at most 256 KiB; a cut has none |
//! | 12 | length of its payload (u32) |
//! | 16 | newlines in its text (u32) |
//! | 20 | cuts before it (u32) |
//! | 24 | bytes of text before it (u64) |
//! | 32 | newlines before it (u64) |
//! | 40 | jump (u64): where an earlier block begins; 0 in the first |
//! | 48 | CRC-32 of the payload |
//! | 52 | CRC-32 of the 52 bytes above |
//! | 56 | the payload |
//! | last 4 | length of the whole block (u32), so that it can be found from its end |
//!
//! Each block knows what came before it, the one before it lies right before it, and its jump leads further
//! back, in the pattern of E. W. Myers, *An applicative random-access stack* (1983). So from the end any byte,
//! line or cut is found in a number of steps that grows with the logarithm of the number of blocks, and an
//! append-only file needs no index beside it. Header and payload have a CRC each: a corrupt payload
//! corrupts its own text only.

mod block;
mod blocks;
mod end;
mod head;
mod reader;
mod seal;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use block::{LogDamage, LogFlaw};
pub use reader::{LogChunk, LogCut, LogGap, LogPosition, LogReader, LogStream, LogWindow, WindowEnd};
pub use seal::seal;
pub use writer::LogWriter;

/// How far a log goes: what the database row commits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogExtent {
    /// Bytes of text, as the step wrote them; what was cut is not counted.
    pub raw_bytes: u64,
    /// Lines of text; a last line without its newline counts.
    pub lines: u64,
    /// Bytes of the file.
    pub stored_bytes: u64,
}

/// The file of a step's log below the folder of logs. A thousand attempts share a folder, so that none
/// grows too long to list.
pub fn path(logs: &Path, attempt: i64, step: u16) -> PathBuf {
    logs.join(format!("{}", attempt / 1000)).join(format!("{attempt}.{step}.log"))
}
