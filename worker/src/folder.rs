//! Where the worker keeps things. One folder, one running worker: two would sweep away each other's builds.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

/// Held for as long as a worker runs in a folder; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _lock: File,
}

impl Folder {
    /// Makes what is missing of it. Nobody but its owner may look inside.
    pub fn open(root: &Path) -> anyhow::Result<Folder> {
        let make = |path: &Path| {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .with_context(|| format!("the worker's folder {} cannot be made", path.display()))
        };
        make(root)?;
        // Mounts and a step's own working directory need a path that does not depend on ours.
        let root = root.canonicalize().with_context(|| format!("looking for {}", root.display()))?;
        let folder = Folder { root };
        for path in [folder.spool(), folder.work(), folder.mirrors(), folder.toolchains()] {
            make(&path)?;
        }
        Ok(folder)
    }

    pub fn occupy(&self) -> anyhow::Result<FolderLock> {
        let path = self.root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        lock.try_lock().map_err(|e| match e {
            fs::TryLockError::WouldBlock => {
                anyhow::anyhow!(
                    "another worker runs in {} already: stop it, or give this one a --folder of its own",
                    self.root.display()
                )
            }
            fs::TryLockError::Error(e) => anyhow::anyhow!("{} cannot be locked: {e}", path.display()),
        })?;
        Ok(FolderLock { _lock: lock })
    }

    /// Throws away what builds of an earlier process left behind.
    pub fn sweep(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(self.work()).context("looking for workspaces left behind")? {
            let path = entry?.path();
            remove_tree(&path).with_context(|| format!("removing the old workspace {}", path.display()))?;
        }
        Ok(())
    }

    pub fn configuration(&self) -> PathBuf {
        self.root.join("worker.toml")
    }

    pub fn key(&self) -> PathBuf {
        self.root.join("key")
    }

    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    pub fn mirrors(&self) -> PathBuf {
        self.root.join("git")
    }

    pub fn toolchains(&self) -> PathBuf {
        self.root.join("toolchains")
    }
}

/// Removes a tree, also one in which a build took away its own right to write.
pub fn remove_tree(path: &Path) -> std::io::Result<()> {
    match remove(path) {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            remove(path)
        }
        done => done,
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match gone {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn make_writable(root: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // The entry's own type: a link is never followed out of the tree.
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_holds_one_worker() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(&root.path().join("new")).unwrap();
        let occupied = folder.occupy().unwrap();
        let second = folder.occupy().unwrap_err().to_string();
        assert!(second.contains("another worker runs in"), "{second}");
        drop(occupied);
        folder.occupy().unwrap();
    }

    #[test]
    fn nobody_else_may_look_inside() {
        let root = tempfile::tempdir().unwrap();
        Folder::open(&root.path().join("new")).unwrap();
        let mode = fs::metadata(root.path().join("new")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_sweep_removes_read_only_trees_and_follows_no_link() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let outside = root.path().join("precious");
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("file"), "mine").unwrap();
        let inner = folder.work().join("7/a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, folder.work().join("7/a/link")).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o500)).unwrap();
        folder.sweep().unwrap();
        assert_eq!(fs::read_dir(folder.work()).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "mine");
    }
}
