//! The one handle that appends to a live log.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use zstd::bulk::Compressor;

use super::LogExtent;
use super::block::LogFlaw;
use super::blocks::{Blocks, damage, read_head, wrap};
use super::end::End;
use super::head::Head;

/// A live log is compressed fast; [`super::seal`] compresses it well.
const LEVEL: i32 = 1;

/// Appends to a live log. It holds the file's lock, so that no second one can.
pub struct LogWriter {
    file: File,
    path: PathBuf,
    end: End,
    zstd: Compressor<'static>,
}

impl LogWriter {
    /// Opens the log, or creates it if nothing of it is committed yet, and truncates it to the committed extent:
    /// what follows is the rest of a write that a crash kept from being committed.
    ///
    /// # Errors
    /// `InvalidData` if the file does not hold what was committed or is sealed; `WouldBlock` if another
    /// writer has it.
    pub fn open(path: &Path, committed: LogExtent) -> io::Result<LogWriter> {
        let is_new = committed == LogExtent::default();
        if is_new {
            make_folder(path)?;
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create(is_new)
            .truncate(false)
            .open(path)
            .map_err(|error| wrap(error, "opening", path))?;
        lock(&file, path)?;
        let end = if is_new {
            begin(&file, path)?;
            End::of_nothing()
        } else {
            committed_end(&file, path, committed)?
        };
        file.set_len(end.extent.stored_bytes).map_err(|error| wrap(error, "truncating", path))?;
        Ok(LogWriter { file, path: path.to_owned(), end, zstd: Compressor::new(LEVEL)? })
    }

    /// How far the log goes.
    pub fn extent(&self) -> LogExtent {
        self.end.extent
    }

    /// Appends a piece of text, not necessarily whole lines, and returns the log's new extent. After an error the
    /// extent is unchanged, and the same may be tried again.
    pub fn append(&mut self, text: &[u8]) -> io::Result<LogExtent> {
        let (mut end, mut out) = (self.end.clone(), Vec::new());
        end.push_text(&mut out, &mut self.zstd, text)?;
        self.write(end, &out)
    }

    /// Records that this much was left out here, and returns the log's new extent.
    pub fn cut(&mut self, bytes: u64, lines: u64) -> io::Result<LogExtent> {
        let (mut end, mut out) = (self.end.clone(), Vec::new());
        end.push_cut(&mut out, bytes, lines);
        self.write(end, &out)
    }

    /// Returns when all that was appended would survive a loss of power.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data().map_err(|error| wrap(error, "syncing", &self.path))
    }

    /// Writes at the known end, not at the file's end: so what a failed write left is overwritten.
    fn write(&mut self, end: End, blocks: &[u8]) -> io::Result<LogExtent> {
        let at = self.end.extent.stored_bytes;
        self.file.write_all_at(blocks, at).map_err(|error| wrap(error, "writing", &self.path))?;
        self.end = end;
        Ok(self.end.extent)
    }
}

/// Refuses a file that a [`LogWriter`] has. A file system without locks is taken as it is.
pub(super) fn lock(file: &File, path: &Path) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(error)) => Err(wrap(error, "locking", path)),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            format!(
                "the log {} is being written by another handle; only one may write at a time",
                path.display()
            ),
        )),
    }
}

/// Returns when the names in the file's folder would survive a loss of power.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| wrap(error, "syncing the folder of", path))
}

/// Writes the head of a log that has no committed extent; whatever the file holds was never committed.
fn begin(file: &File, path: &Path) -> io::Result<()> {
    if let Ok(Head::Sealed(_)) = read_head(file, path) {
        return Err(sealed(path));
    }
    file.write_all_at(&Head::Live.to_bytes(), 0).map_err(|error| wrap(error, "writing", path))?;
    sync_folder(path)
}

fn make_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.exists() => {
            fs::create_dir_all(folder).map_err(|error| wrap(error, "making the folder of", path))?;
            sync_folder(folder)
        }
        Some(_) | None => Ok(()),
    }
}

fn committed_end(file: &File, path: &Path, committed: LogExtent) -> io::Result<End> {
    match read_head(file, path)? {
        Head::Live => {}
        Head::Sealed(_) => return Err(sealed(path)),
    }
    let blocks = Blocks { file: file.try_clone()?, path: path.to_owned(), end: committed.stored_bytes };
    let end = blocks.end()?;
    if end.extent != committed {
        return Err(damage(path, committed.stored_bytes, LogFlaw::Misfit));
    }
    Ok(end)
}

fn sealed(path: &Path) -> io::Error {
    let message = format!("the log {} is sealed: its step has ended, nothing can be added", path.display());
    io::Error::new(io::ErrorKind::InvalidData, message)
}
