//! A log file as a row of blocks: read one, step to its neighbours, find one from the end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::block::{
    Counts, HEADER_BYTES, Header, LogDamage, LogFlaw, Payload, TAIL_BYTES, in_memory, length,
};
use super::end::{End, Link};
use super::head::{HEAD_BYTES, HEAD_LEN, Head};

/// The blocks before `end`; what follows is never read.
#[derive(Debug)]
pub(super) struct Blocks {
    pub file: File,
    pub path: PathBuf,
    /// Offset in the file.
    pub end: u64,
}

/// Where a block begins, and its header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub at: u64,
    pub header: Header,
}

pub(super) enum Body {
    Text(Vec<u8>),
    Cut { bytes: u64, lines: u64 },
}

pub(super) fn read_head(file: &File, path: &Path) -> io::Result<Head> {
    let mut bytes = [0; HEAD_LEN];
    read_exact(file, path, 0, &mut bytes)?;
    Head::from_bytes(&bytes).ok_or_else(|| damage(path, 0, LogFlaw::Head))
}

pub(super) fn damage(path: &Path, at: u64, flaw: LogFlaw) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, LogDamage { path: path.to_owned(), at, flaw })
}

/// Adds the log's path and the operation to an error; the kind stays.
pub(super) fn wrap(error: io::Error, doing: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{doing} the log {}: {error}", path.display()))
}

impl Blocks {
    /// The block that begins at `at`; none at the end.
    pub fn header(&self, at: u64) -> io::Result<Option<Found>> {
        if at == self.end {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_BYTES];
        self.read(at, &mut bytes)?;
        match Header::from_bytes(&bytes) {
            Some(header) if self.is_fit(at, &header) => Ok(Some(Found { at, header })),
            Some(_) => Err(self.damage(at, LogFlaw::Misfit)),
            None => Err(self.damage(at, LogFlaw::Header)),
        }
    }

    fn is_fit(&self, at: u64, header: &Header) -> bool {
        at + header.block_len() <= self.end && (at > HEAD_BYTES || header.before == Counts::default())
    }

    /// The block after this one; none at the end.
    pub fn next(&self, found: &Found) -> io::Result<Option<Found>> {
        let next = self.header(found.at + found.header.block_len())?;
        match next {
            Some(next) if next.header.before != found.header.behind() => {
                Err(self.damage(next.at, LogFlaw::Misfit))
            }
            next => Ok(next),
        }
    }

    /// The block that ends at `end`; none before the first.
    pub fn before(&self, end: u64) -> io::Result<Option<Found>> {
        if end == HEAD_BYTES {
            return Ok(None);
        }
        let misfit = || self.damage(end, LogFlaw::Misfit);
        let mut tail = [0; TAIL_BYTES];
        self.read(end.checked_sub(length(TAIL_BYTES)).ok_or_else(misfit)?, &mut tail)?;
        let at = end.checked_sub(u32::from_le_bytes(tail).into()).filter(|at| *at >= HEAD_BYTES);
        match self.header(at.ok_or_else(misfit)?)? {
            Some(found) if found.at + found.header.block_len() == end => Ok(Some(found)),
            _ => Err(misfit()),
        }
    }

    pub fn body(&self, found: &Found) -> io::Result<Body> {
        let header = &found.header;
        let mut payload = vec![0; in_memory(header.payload_len)];
        self.read(found.at + length(HEADER_BYTES), &mut payload)?;
        let spoilt = || self.damage(found.at, LogFlaw::Payload);
        if crc32fast::hash(&payload) != header.payload_crc {
            return Err(spoilt());
        }
        let text = match header.payload {
            Payload::Text => payload,
            Payload::Zstd => {
                zstd::bulk::decompress(&payload, in_memory(header.text_len)).map_err(|_| spoilt())?
            }
            Payload::Cut => {
                let [b, l]: [[u8; 8]; 2] = *payload.as_chunks().0.first_chunk().ok_or_else(spoilt)?;
                return Ok(Body::Cut { bytes: u64::from_le_bytes(b), lines: u64::from_le_bytes(l) });
            }
        };
        if text.len() != in_memory(header.text_len) {
            return Err(spoilt());
        }
        Ok(Body::Text(text))
    }

    /// The last block for which the condition holds on what lies before it; the condition must hold for all counts
    /// up to some position, and for none after it.
    ///
    /// A corrupt header hides what lies before it from a search that starts at the end. In that case the search
    /// starts at the beginning, which takes longer.
    pub fn last_where(&self, is_reached: impl Fn(Counts) -> bool) -> io::Result<Option<Found>> {
        match self.last_from_end(&is_reached) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => self.last_from_start(&is_reached),
            found => found,
        }
    }

    fn last_from_end(&self, is_reached: &impl Fn(Counts) -> bool) -> io::Result<Option<Found>> {
        let is_late = |found: &Found| !is_reached(found.header.before);
        let mut found = self.before(self.end)?;
        while let Some(late) = found.filter(is_late) {
            found = match self.jump(&late) {
                Ok(Some(target)) if is_late(&target) => Some(target),
                // A jump that leads too far, or to a corrupt block, is not taken; the step to the block before may
                // work.
                Ok(_) | Err(_) => self.before(late.at)?,
            };
        }
        Ok(found)
    }

    fn last_from_start(&self, is_reached: &impl Fn(Counts) -> bool) -> io::Result<Option<Found>> {
        let Some(mut found) = self.header(HEAD_BYTES)?.filter(|first| is_reached(first.header.before)) else {
            return Ok(None);
        };
        // What lies before the next block is known without reading it; it may be the corrupt one.
        while is_reached(found.header.behind()) {
            match self.next(&found)? {
                Some(next) => found = next,
                None => break,
            }
        }
        Ok(Some(found))
    }

    /// Where the block jumps to; none from the first. Always further back, so that a walk ends.
    fn jump(&self, from: &Found) -> io::Result<Option<Found>> {
        match from.header.jump {
            0 => Ok(None),
            at if HEAD_BYTES <= at && at < from.at => self.header(at),
            _ => Err(self.damage(from.at, LogFlaw::Misfit)),
        }
    }

    /// What a writer needs to continue after the last block, whose payload is verified.
    pub fn end(&self) -> io::Result<End> {
        let Some(last) = self.before(self.end)? else {
            return Ok(End::of_nothing());
        };
        self.body(&last)?;
        let mut jumps = Vec::new();
        let mut on_way = Some(last);
        while let Some(found) = on_way {
            jumps.push(Link { number: found.header.number, at: found.at });
            on_way = self.jump(&found)?;
        }
        jumps.reverse();
        Ok(End::behind(&last.header, last.at, jumps))
    }

    pub fn damage(&self, at: u64, flaw: LogFlaw) -> io::Error {
        damage(&self.path, at, flaw)
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        read_exact(&self.file, &self.path, at, bytes)
    }
}

fn read_exact(file: &File, path: &Path, at: u64, bytes: &mut [u8]) -> io::Result<()> {
    // No file is longer, and the system would call such a place an invalid argument.
    if at > i64::MAX as u64 - bytes.len() as u64 {
        return Err(damage(path, at, LogFlaw::Truncated));
    }
    file.read_exact_at(bytes, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damage(path, at, LogFlaw::Truncated),
        _ => wrap(error, "reading", path),
    })
}
