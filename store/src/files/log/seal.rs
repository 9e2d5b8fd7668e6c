//! The last operation on a log: small blocks become large ones, and the file records its own extent.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use zstd::bulk::Compressor;

use super::LogExtent;
use super::block::{LogFlaw, MAX_TEXT_BYTES};
use super::blocks::{Blocks, Body, damage, read_head, wrap};
use super::end::End;
use super::head::{HEAD_BYTES, Head};
use super::writer::{lock, sync_folder};

/// zstd's own default: this is done once, and the file is kept for long.
const LEVEL: i32 = 3;

/// Packs a log whose step has ended, exactly as far as it is committed, and returns its new extent: the same text
/// and lines, in fewer bytes. Everything is on disk when it returns.
///
/// It may be repeated: a sealed log stays as it is, and what a crash left incomplete is redone.
///
/// # Errors
/// `InvalidData` if the log is damaged or does not fit the extent, which leaves the file as it was;
/// `WouldBlock` while a [`super::LogWriter`] has it.
pub fn seal(path: &Path, committed: LogExtent) -> io::Result<LogExtent> {
    let live = File::open(path).map_err(|error| wrap(error, "opening", path))?;
    let fits = |extent: LogExtent| (extent.raw_bytes, extent.lines) == (committed.raw_bytes, committed.lines);
    if let Head::Sealed(extent) = read_head(&live, path)? {
        if !fits(extent) {
            return Err(damage(path, 0, LogFlaw::Misfit));
        }
        // The rename may be visible and not yet on disk.
        sync_folder(path)?;
        return Ok(extent);
    }
    lock(&live, path)?;
    let blocks = Blocks { file: live, path: path.to_owned(), end: committed.stored_bytes.max(HEAD_BYTES) };
    let beside = beside(path);
    let packed = pack(&blocks, &beside).and_then(|extent| match fits(extent) {
        true => Ok(extent),
        false => Err(damage(path, committed.stored_bytes, LogFlaw::Misfit)),
    });
    let extent = packed.inspect_err(|_| {
        // It is of no use, and the next try would replace it.
        let _ = fs::remove_file(&beside);
    })?;
    fs::rename(&beside, path).map_err(|error| wrap(error, "replacing", path))?;
    sync_folder(path)?;
    Ok(extent)
}

/// Always the same name, so that a file that a crash left is replaced.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sealing");
    name.into()
}

fn pack(blocks: &Blocks, beside: &Path) -> io::Result<LogExtent> {
    let file = File::create(beside).map_err(|error| wrap(error, "making", beside))?;
    let mut packer = Packer { file, end: End::of_nothing(), zstd: Compressor::new(LEVEL)?, text: Vec::new() };
    let mut next = blocks.header(HEAD_BYTES)?;
    while let Some(found) = next {
        match blocks.body(&found)? {
            Body::Text(text) => packer.text(&text),
            Body::Cut { bytes, lines } => packer.cut(bytes, lines),
        }
        .map_err(|error| wrap(error, "writing", beside))?;
        next = blocks.next(&found)?;
    }
    packer.finish().map_err(|error| wrap(error, "writing", beside))
}

struct Packer {
    file: File,
    end: End,
    zstd: Compressor<'static>,
    /// Shorter than a block.
    text: Vec<u8>,
}

impl Packer {
    fn text(&mut self, mut text: &[u8]) -> io::Result<()> {
        while self.text.len() + text.len() >= MAX_TEXT_BYTES {
            let (head, rest) = text.split_at(MAX_TEXT_BYTES - self.text.len());
            self.text.extend(head);
            self.flush()?;
            text = rest;
        }
        self.text.extend(text);
        Ok(())
    }

    fn cut(&mut self, bytes: u64, lines: u64) -> io::Result<()> {
        self.flush()?;
        let (at, mut out) = (self.end.extent.stored_bytes, Vec::new());
        self.end.push_cut(&mut out, bytes, lines);
        self.file.write_all_at(&out, at)
    }

    fn flush(&mut self) -> io::Result<()> {
        let (at, mut out) = (self.end.extent.stored_bytes, Vec::new());
        self.end.push_text(&mut out, &mut self.zstd, &self.text)?;
        self.text.clear();
        self.file.write_all_at(&out, at)
    }

    fn finish(mut self) -> io::Result<LogExtent> {
        self.flush()?;
        self.file.write_all_at(&Head::Sealed(self.end.extent).to_bytes(), 0)?;
        self.file.sync_all()?;
        Ok(self.end.extent)
    }
}
