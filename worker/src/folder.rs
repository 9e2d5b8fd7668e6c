//! The worker's folder. At most one worker runs in it: two would remove each other's builds.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::trash::remove_tree;

#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

/// Held while a worker runs in a folder. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _lock: File,
}

impl Folder {
    /// Creates what is missing. Only its owner may look inside.
    pub fn open(root: &Path) -> anyhow::Result<Folder> {
        let create = |path: &Path| {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .with_context(|| format!("cannot create the worker's folder {}", path.display()))
        };
        create(root)?;
        // Mounts and a step's working directory need a path that does not depend on our working directory.
        let root = root.canonicalize().with_context(|| format!("resolving the path {}", root.display()))?;
        let folder = Folder { root };
        for path in folder.inner() {
            create(&path)?;
        }
        Ok(folder)
    }

    /// Removes what [`Folder::open`] has created, if nothing was put into it. Whatever is in use stays.
    pub fn remove_if_unused(&self) {
        for path in self.inner().into_iter().chain([self.root.clone()]) {
            // A folder that is not empty is not removed.
            let _ = fs::remove_dir(path);
        }
    }

    /// The folders in it that are always there.
    fn inner(&self) -> [PathBuf; 7] {
        [
            self.spool(),
            self.work(),
            self.mirrors(),
            self.toolchains(),
            self.sources(),
            self.caches(),
            self.trash(),
        ]
    }

    /// Whether a worker runs in this folder now.
    pub fn is_locked(&self) -> bool {
        self.root.join("lock").exists() && self.lock().is_err()
    }

    /// Makes sure that no other worker runs in this folder.
    pub fn lock(&self) -> anyhow::Result<FolderLock> {
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
                    "another worker is already running in {}: stop it, or use another --folder for this one",
                    self.root.display()
                )
            }
            fs::TryLockError::Error(e) => anyhow::anyhow!("cannot lock {}: {e}", path.display()),
        })?;
        Ok(FolderLock { _lock: lock })
    }

    /// Removes the workspaces that an earlier process left behind. What cannot be removed stays: new builds have other names.
    pub fn remove_old_workspaces(&self) {
        for entry in fs::read_dir(self.work()).into_iter().flatten().flatten() {
            let path = entry.path();
            if let Err(e) = remove_tree(&path) {
                tracing::warn!("cannot remove the old workspace {}: {e}", path.display());
            }
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn configuration(&self) -> PathBuf {
        self.root.join("worker.toml")
    }

    pub fn key(&self) -> PathBuf {
        self.root.join("key")
    }

    /// The key that the operator has not approved yet.
    pub fn next_key(&self) -> PathBuf {
        self.root.join("key.next")
    }

    /// Through which the worker's other commands talk to the one that runs.
    pub fn control(&self) -> PathBuf {
        self.root.join("control")
    }

    /// Until when the owner has paused the worker.
    pub fn pause(&self) -> PathBuf {
        self.root.join("pause")
    }

    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Where old trees wait for their removal.
    pub fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    pub fn mirrors(&self) -> PathBuf {
        self.root.join("git")
    }

    pub fn toolchains(&self) -> PathBuf {
        self.root.join("toolchains")
    }

    pub fn caches(&self) -> PathBuf {
        self.root.join("caches")
    }

    pub fn sources(&self) -> PathBuf {
        self.root.join("sources")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_one_worker_runs_in_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(&root.path().join("new")).unwrap();
        let lock = folder.lock().unwrap();
        let second = folder.lock().unwrap_err().to_string();
        assert!(second.contains("another worker is already running in"), "{second}");
        drop(lock);
        folder.lock().unwrap();
    }

    #[test]
    fn only_its_owner_may_look_inside() {
        let root = tempfile::tempdir().unwrap();
        Folder::open(&root.path().join("new")).unwrap();
        let mode = fs::metadata(root.path().join("new")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn old_workspaces_are_removed_even_if_they_are_read_only_and_no_link_is_followed() {
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
        folder.remove_old_workspaces();
        assert_eq!(fs::read_dir(folder.work()).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "mine");
    }
}
