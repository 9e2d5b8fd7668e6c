//! Writes a revision's tree as plain files. `.git` is left out, and every file has the same time, so that nothing of
//! this machine or this moment gets into what is built from the files. Where submodules are, it says, and leaves them out.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use git2::{ObjectType, Oid, Repository, Tree};

use super::deadline::SourceDeadline;
use crate::length;
use crate::source_date::SOURCE_DATE_EPOCH;

const MAX_ENTRIES: usize = 500_000;
const MAX_BYTES: u64 = 8 << 30;

/// How much one source has, in all its repositories.
#[derive(Default)]
pub struct ExportedSize {
    entries: usize,
    bytes: u64,
}

/// Where a tree has the commit of another repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmodulePlace {
    /// Its path in the tree.
    pub path: PathBuf,
    pub commit: Oid,
}

pub struct Export<'a> {
    repository: &'a Repository,
    until: &'a SourceDeadline,
    size: &'a mut ExportedSize,
}

impl<'a> Export<'a> {
    pub fn new(
        repository: &'a Repository,
        until: &'a SourceDeadline,
        size: &'a mut ExportedSize,
    ) -> Export<'a> {
        Export { repository, until, size }
    }

    /// Writes the tree into the new folder `root`. A hostile tree may contain a link and a folder with the same name.
    /// Since nothing that already exists is ever opened or entered, no write follows a link out of `root`.
    /// Returns where its submodules are.
    pub fn run(&mut self, tree: Tree<'_>, root: &Path) -> anyhow::Result<Vec<SubmodulePlace>> {
        let mut submodules = Vec::new();
        let mut folders = vec![(tree, root.to_path_buf())];
        while let Some((tree, folder)) = folders.pop() {
            fs::create_dir(&folder).with_context(|| format!("creating {}", folder.display()))?;
            for entry in &tree {
                self.until.check().context("writing the source")?;
                self.size.entries += 1;
                ensure!(
                    self.size.entries <= MAX_ENTRIES,
                    "the source contains more than {MAX_ENTRIES} files and folders"
                );
                let path = folder.join(file_name(entry.name_bytes())?);
                match (entry.kind(), entry.filemode()) {
                    (Some(ObjectType::Tree), _) => {
                        folders.push((self.repository.find_tree(entry.id())?, path));
                    }
                    (Some(ObjectType::Blob), mode) => {
                        self.blob(entry.id(), mode, &path)
                            .with_context(|| format!("writing {}", path.display()))?;
                    }
                    // The commit of a submodule, which is not in this repository.
                    (Some(ObjectType::Commit), _) => {
                        let path = path.strip_prefix(root).context("a path below its root")?.to_path_buf();
                        submodules.push(SubmodulePlace { path, commit: entry.id() });
                    }
                    (kind, _) => bail!("the source contains {kind:?} at {}", path.display()),
                }
            }
        }
        Ok(submodules)
    }

    fn blob(&mut self, id: Oid, mode: i32, path: &Path) -> anyhow::Result<()> {
        let (size, _) = self.repository.odb()?.read_header(id)?;
        self.size.bytes = self.size.bytes.saturating_add(length::to_u64(size));
        ensure!(self.size.bytes <= MAX_BYTES, "the source is larger than {} GiB", MAX_BYTES >> 30);
        let blob = self.repository.find_blob(id)?;
        if mode == i32::from(git2::FileMode::Link) {
            std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(blob.content()), path)?;
            return Ok(());
        }
        let executable = mode == i32::from(git2::FileMode::BlobExecutable);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if executable { 0o755 } else { 0o644 })
            .open(path)?;
        file.write_all(blob.content())?;
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(SOURCE_DATE_EPOCH))?;
        Ok(())
    }
}

/// The name of a tree's entry, if it stays inside its folder.
pub fn file_name(bytes: &[u8]) -> anyhow::Result<&Path> {
    let is_invalid = matches!(bytes, b"" | b"." | b"..")
        || bytes.eq_ignore_ascii_case(b".git")
        || bytes.iter().any(|b| matches!(b, b'/' | 0));
    ensure!(!is_invalid, "the source contains a file named `{}`", String::from_utf8_lossy(bytes));
    Ok(Path::new(std::ffi::OsStr::from_bytes(bytes)))
}
