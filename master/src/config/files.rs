//! Reads the files: anything else than a small text file is a problem, and neither a crash nor a wait. All of it blocks.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::problem::{ConfigProblem, FilePosition};
use super::table::{self, Table};

const MAX_FILE_BYTES: u64 = 1 << 20;
/// More than any known ecosystem has; a folder that holds more is not the one that was meant.
pub(super) const MAX_PROJECTS: usize = 10_000;

/// A file as it was read.
pub(super) struct File {
    /// As the user would name it.
    pub path: PathBuf,
    /// Its folder as an absolute path.
    pub folder: PathBuf,
    pub bytes: io::Result<Vec<u8>>,
}

/// All files of a configuration.
pub(super) struct Files {
    pub farm: File,
    /// Sorted by name.
    pub projects: Vec<File>,
    /// The lists of names beside them.
    pub lists: Vec<File>,
}

/// Reads the farm's file and those of its projects. A farm without projects needs no folder for them.
pub(super) fn read(path: &Path) -> Files {
    let folder = path.parent().unwrap_or(Path::new("")).join("projects");
    let (projects, lists) = match project_paths(&folder) {
        Ok(paths) => paths.into_iter().map(File::read).partition(|file| is_toml(&file.path)),
        Err(error) => (vec![File { folder: PathBuf::new(), path: folder, bytes: Err(error) }], vec![]),
    };
    Files { farm: File::read(path.to_path_buf()), projects, lists }
}

fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// The metadata of a configuration's files: it stays equal as long as nothing writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesStamp(Vec<(PathBuf, Option<FileStamp>)>);

/// Editors write a file in place or replace it by a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl FilesStamp {
    #[expect(clippy::disallowed_methods, reason = "runs at the start, in commands, or on a blocking thread")]
    pub fn read(path: &Path) -> FilesStamp {
        let folder = path.parent().unwrap_or(Path::new("")).join("projects");
        // A folder that cannot be listed has the stamp of an empty one; reading it reports the problem.
        let projects = project_paths(&folder).unwrap_or_default();
        let stamps = std::iter::once(path.to_path_buf()).chain(projects).map(|path| {
            let stamp = fs::metadata(&path).ok().map(|about| FileStamp {
                inode: about.ino(),
                bytes: about.len(),
                modified: (about.mtime(), about.mtime_nsec()),
            });
            (path, stamp)
        });
        FilesStamp(stamps.collect())
    }
}

/// The files of projects, and the lists of names beside them.
#[expect(clippy::disallowed_methods, reason = "runs at the start, in commands, or on a blocking thread")]
fn project_paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut paths = vec![];
    for entry in entries {
        let path = entry?.path();
        // Editors leave hidden files beside the one that they write.
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let is_list = path.extension().is_some_and(|extension| extension == "txt");
        if !is_hidden && (is_toml(&path) || is_list) {
            paths.push(path);
        }
        if paths.len() > MAX_PROJECTS {
            return Err(io::Error::other(format!("it holds more than {MAX_PROJECTS} files")));
        }
    }
    paths.sort();
    Ok(paths)
}

impl File {
    fn read(path: PathBuf) -> File {
        let folder = std::path::absolute(path.parent().unwrap_or(Path::new("")).join("."));
        let bytes = read_bytes(&path, MAX_FILE_BYTES);
        match folder {
            Ok(folder) => File { path, folder, bytes },
            Err(error) => File { path, folder: PathBuf::new(), bytes: Err(error) },
        }
    }

    /// The file's text, or what keeps it from being read.
    pub fn text(&self) -> Result<&str, ConfigProblem> {
        let bytes = match &self.bytes {
            Ok(bytes) => bytes,
            Err(error) => return Err(file_problem(&self.path, cannot_be_read(error))),
        };
        std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n');
            let at = Some(FilePosition { line: before.count(), column: 1 });
            let message = "not UTF-8; expected a text file in UTF-8".to_string();
            ConfigProblem { at, ..file_problem(&self.path, message) }
        })
    }

    /// Reads the file's text with `reader`; none if the file has no text, or is not TOML.
    pub fn parse<T>(
        &self,
        problems: &mut Vec<ConfigProblem>,
        reader: impl FnOnce(&Table, &Path) -> T,
    ) -> Option<T> {
        match self.text() {
            Ok(text) => {
                let (value, reported) = table::read(&self.path, text, |table| reader(table, &self.folder));
                problems.extend(reported);
                value
            }
            Err(problem) => {
                problems.push(problem);
                None
            }
        }
    }
}

/// Reads a small file's text.
pub(super) fn read_text(path: &Path, max_bytes: u64) -> io::Result<String> {
    String::from_utf8(read_bytes(path, max_bytes)?).map_err(|_| io::Error::other("it is not UTF-8"))
}

#[expect(clippy::disallowed_methods, reason = "runs at the start, in commands, or on a blocking thread")]
fn read_bytes(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = vec![];
    fs::File::open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).expect("a length in memory fits into 64 bits") > max_bytes {
        return Err(io::Error::other(format!("it is larger than {max_bytes} bytes")));
    }
    Ok(bytes)
}

fn cannot_be_read(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

fn file_problem(path: &Path, message: String) -> ConfigProblem {
    ConfigProblem { file: path.to_path_buf(), at: None, key: String::new(), message }
}
