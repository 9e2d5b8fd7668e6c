//! Windows on a log, live or sealed.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::LogExtent;
use super::block::{Counts, LogFlaw, in_memory, length};
use super::blocks::{Blocks, Body, Found, damage, read_head, wrap};
use super::head::{HEAD_BYTES, Head};

/// No reader needs more, and a worker that cuts without end must not fill the master's memory.
const MAX_GAPS: u32 = 1000;

/// Reads a log up to the extent with which it was opened. It takes the memory of one block, and of what it returns.
#[derive(Debug)]
pub struct LogReader {
    blocks: Blocks,
    extent: LogExtent,
    is_sealed: bool,
}

/// A place in a log. Text has its byte; a cut has none, so the cuts before the place are counted too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogPosition {
    /// Bytes of text before it.
    pub byte: u64,
    /// Cuts before it.
    pub cuts: u32,
}

/// What was left out of a log at some place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogCut {
    /// Bytes of text that were left out.
    pub bytes: u64,
    /// Lines of text that were left out.
    pub lines: u64,
}

/// A piece of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogChunk {
    /// Text as the step wrote it.
    Text(Vec<u8>),
    /// Text that was left out here.
    Cut(LogCut),
}

/// A part of a log. No two of its pieces of one kind are neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogWindow {
    /// The number of the line in which it begins, from 0.
    pub first_line: u64,
    /// Where it begins.
    pub from: LogPosition,
    /// Its text and cuts, in order.
    pub pieces: Vec<LogChunk>,
    /// Where [`LogReader::follow`] goes on.
    pub next: LogPosition,
    /// Why it ends where it does.
    pub stopped: WindowEnd,
}

/// Why a window ends where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowEnd {
    /// It has all the lines that were requested.
    Lines,
    /// It has all the bytes that were allowed; the line may go on.
    Bytes,
    /// The log ends here, so far.
    End,
}

/// A cut, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogGap {
    /// Bytes of text before it.
    pub byte: u64,
    /// The number of the line before or in which it is, from 0.
    pub line: u64,
    /// What was left out.
    pub cut: LogCut,
}

impl LogReader {
    /// Opens a log that is committed so far. A sealed one may be read by the extent that it had when it was live.
    ///
    /// # Errors
    /// `NotFound`; `InvalidData` if the file is no log, or holds less than was committed. Damage further in
    /// is an error of those reads only that touch it.
    pub fn open(path: &Path, committed: LogExtent) -> io::Result<LogReader> {
        let file = File::open(path).map_err(|error| wrap(error, "opening", path))?;
        let (extent, is_sealed) = if committed == LogExtent::default() {
            // Nothing was promised, not even a whole head.
            (LogExtent { stored_bytes: HEAD_BYTES, ..committed }, false)
        } else {
            match read_head(&file, path)? {
                Head::Live => (committed, false),
                Head::Sealed(extent) if extent.raw_bytes >= committed.raw_bytes => (extent, true),
                Head::Sealed(_) => return Err(damage(path, 0, LogFlaw::Misfit)),
            }
        };
        let blocks = Blocks { file, path: path.to_owned(), end: extent.stored_bytes };
        Ok(LogReader { blocks, extent, is_sealed })
    }

    /// How far the log goes.
    pub fn extent(&self) -> LogExtent {
        self.extent
    }

    /// Whether the file was packed for good.
    pub fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// The places where something was left out, at most the first thousand.
    pub fn gaps(&self) -> io::Result<Vec<LogGap>> {
        let cuts = self.blocks.before(self.blocks.end)?.map_or(0, |last| last.header.behind().cuts);
        let mut gaps = Vec::new();
        for number in 0..cuts.min(MAX_GAPS) {
            // The last block with no more cuts before it is the cut itself.
            let Some(found) = self.blocks.last_where(|before| before.cuts <= number)? else { break };
            let Counts { text: byte, newlines: line, .. } = found.header.before;
            match self.blocks.body(&found)? {
                Body::Cut { bytes, lines } => gaps.push(LogGap { byte, line, cut: LogCut { bytes, lines } }),
                Body::Text(_) => return Err(self.blocks.damage(found.at, LogFlaw::Misfit)),
            }
        }
        Ok(gaps)
    }

    /// At most `count` lines from `first_line` on (counted from 0), and at most `max_bytes` of them: one line may
    /// be as long as the whole log. After the last line the window is empty.
    pub fn lines(&self, first_line: u64, count: u64, max_bytes: usize) -> io::Result<LogWindow> {
        let found = match first_line {
            0 => self.blocks.header(HEAD_BYTES)?,
            line if line >= self.extent.lines => None,
            // The line begins after the newline that ends the one before it.
            line => self.blocks.last_where(|before| before.newlines < line)?,
        };
        let Some(found) = found else { return self.window_at_end() };
        let body = self.blocks.body(&found)?;
        let skip = match (&body, first_line - found.header.before.newlines) {
            (_, 0) => 0,
            (Body::Cut { .. }, _) => return Err(self.blocks.damage(found.at, LogFlaw::Misfit)),
            (Body::Text(text), nth) => {
                let newline = text
                    .iter()
                    .enumerate()
                    .filter(|(_, byte)| **byte == b'\n')
                    .nth(usize::try_from(nth - 1).unwrap_or(usize::MAX));
                newline.ok_or_else(|| self.blocks.damage(found.at, LogFlaw::Misfit))?.0 + 1
            }
        };
        self.window(
            WindowStart { found, body, skip, first_line },
            WindowLimits { lines: count, bytes: max_bytes },
        )
    }

    /// Everything from this position on, at most `max_bytes` of text: to continue a window, and to follow a live
    /// log.
    pub fn follow(&self, from: LogPosition, max_bytes: usize) -> io::Result<LogWindow> {
        let key = (from.byte, from.cuts);
        let Some(found) = self.blocks.last_where(|before| (before.text, before.cuts) <= key)? else {
            return self.window_at_end();
        };
        let behind = found.header.behind();
        if (behind.text, behind.cuts) <= key {
            return self.window_at_end();
        }
        let body = self.blocks.body(&found)?;
        let skip = bounded(from.byte - found.header.before.text, in_memory(found.header.text_len));
        let first_line = found.header.before.newlines
            + match &body {
                Body::Text(text) => newlines(&text[..skip]),
                Body::Cut { .. } => 0,
            };
        self.window(
            WindowStart { found, body, skip, first_line },
            WindowLimits { lines: u64::MAX, bytes: max_bytes },
        )
    }

    /// `len` bytes of text, fewer if the log ends before; cuts leave no trace in them.
    pub fn bytes(&self, from: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream(from..from.saturating_add(length(len)))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The same as something to read from, in the memory of one block: for downloads.
    pub fn stream(&self, range: Range<u64>) -> io::Result<LogStream<'_>> {
        let end = range.end.min(self.extent.raw_bytes);
        let mut stream = LogStream { blocks: &self.blocks, last: None, text: Vec::new(), read: 0, left: 0 };
        if range.start < end {
            let misfit = || self.blocks.damage(HEAD_BYTES, LogFlaw::Misfit);
            let found = self.blocks.last_where(|before| before.text <= range.start)?.ok_or_else(misfit)?;
            stream.load(found)?;
            stream.read = bounded(range.start - found.header.before.text, stream.text.len());
            stream.left = end - range.start;
        }
        Ok(stream)
    }

    fn window_at_end(&self) -> io::Result<LogWindow> {
        let behind =
            self.blocks.before(self.blocks.end)?.map_or(Counts::default(), |last| last.header.behind());
        let end = LogPosition { byte: behind.text, cuts: behind.cuts };
        Ok(LogWindow {
            first_line: behind.newlines,
            from: end,
            pieces: vec![],
            next: end,
            stopped: WindowEnd::End,
        })
    }

    /// Reads from a position inside a block on, as far as the limits allow.
    fn window(&self, start: WindowStart, limits: WindowLimits) -> io::Result<LogWindow> {
        let WindowStart { mut found, mut body, mut skip, first_line } = start;
        let WindowLimits { mut lines, mut bytes } = limits;
        let before = found.header.before;
        let from = LogPosition { byte: before.text + length(skip), cuts: before.cuts };
        let mut window = LogWindow { first_line, from, pieces: vec![], next: from, stopped: WindowEnd::End };
        loop {
            match body {
                Body::Text(text) => {
                    let wanted = first_lines(&text[skip..], lines);
                    let taken = &wanted[..wanted.len().min(bytes)];
                    lines -= newlines(taken);
                    bytes -= taken.len();
                    window.next.byte += length(taken.len());
                    window.push_text(taken);
                    skip = 0;
                }
                Body::Cut { bytes, lines } => {
                    window.next.cuts += 1;
                    window.push_cut(LogCut { bytes, lines });
                }
            }
            // A cut after the last line belongs to that line; a cut before a line that is not in the window does not.
            if window.next.byte < self.extent.raw_bytes && (lines == 0 || bytes == 0) {
                window.stopped = if lines == 0 { WindowEnd::Lines } else { WindowEnd::Bytes };
                return Ok(window);
            }
            let Some(next) = self.blocks.next(&found)? else { return Ok(window) };
            found = next;
            body = self.blocks.body(&found)?;
        }
    }
}

/// Where a window begins.
struct WindowStart {
    found: Found,
    body: Body,
    /// Bytes of the block's text that lie before the window.
    skip: usize,
    /// The number of the line in which the window begins, from 0.
    first_line: u64,
}

/// The most that a window may hold.
struct WindowLimits {
    lines: u64,
    bytes: usize,
}

/// A distance in a log as an offset in a text of this length.
fn bounded(distance: u64, len: usize) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX).min(len)
}

impl LogWindow {
    fn push_text(&mut self, more: &[u8]) {
        match self.pieces.last_mut() {
            _ if more.is_empty() => {}
            Some(LogChunk::Text(text)) => text.extend(more),
            Some(LogChunk::Cut(_)) | None => self.pieces.push(LogChunk::Text(more.to_vec())),
        }
    }

    fn push_cut(&mut self, more: LogCut) {
        match self.pieces.last_mut() {
            Some(LogChunk::Cut(cut)) => {
                cut.bytes = cut.bytes.saturating_add(more.bytes);
                cut.lines = cut.lines.saturating_add(more.lines);
            }
            Some(LogChunk::Text(_)) | None => self.pieces.push(LogChunk::Cut(more)),
        }
    }
}

fn newlines(text: &[u8]) -> u64 {
    length(text.iter().filter(|byte| **byte == b'\n').count())
}

/// So many lines, with their newlines.
fn first_lines(text: &[u8], count: u64) -> &[u8] {
    let Some(last) = count.checked_sub(1) else { return &[] };
    let last = usize::try_from(last).unwrap_or(usize::MAX);
    let mut ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.nth(last).map_or(text, |(newline, _)| &text[..=newline])
}

/// A part of a log's text, block by block.
#[derive(Debug)]
pub struct LogStream<'r> {
    blocks: &'r Blocks,
    /// The last block that was loaded.
    last: Option<Found>,
    text: Vec<u8>,
    /// How much of `text` has been read.
    read: usize,
    /// How many bytes the stream still has, in `text` and in later blocks.
    left: u64,
}

impl LogStream<'_> {
    fn load(&mut self, found: Found) -> io::Result<()> {
        (self.text, self.read) = match self.blocks.body(&found)? {
            Body::Text(text) => (text, 0),
            Body::Cut { .. } => (Vec::new(), 0),
        };
        self.last = Some(found);
        Ok(())
    }
}

impl Read for LogStream<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        if wanted == 0 {
            return Ok(0);
        }
        while self.read >= self.text.len() {
            let next = self.last.map_or(Ok(None), |last| self.blocks.next(&last))?;
            self.load(next.ok_or_else(|| self.blocks.damage(self.blocks.end, LogFlaw::Misfit))?)?;
        }
        let len = wanted.min(self.text.len() - self.read);
        out[..len].copy_from_slice(&self.text[self.read..][..len]);
        self.read += len;
        self.left -= length(len);
        Ok(len)
    }
}
