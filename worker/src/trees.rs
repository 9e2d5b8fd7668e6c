//! Unpacked trees that builds share: toolchains and sources. Each is unpacked once, and kept until space is needed: the
//! least recently used is removed first, and none that a build uses.
//!
//! `KEY/root` is the tree, `KEY/bytes` its size; the time of that file is the time of its last use. A folder appears under
//! its key only when it is complete, and leaves that name before it is removed, so a kill leaves no incomplete tree.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::SystemTime;

use anyhow::Context;
use protocol::Sha256;

use crate::trash::remove_tree;

/// However small trees are, a disk has only so many names for files.
const MAX_TREES: usize = 1000;
/// A file uses whole blocks of its disk, and so does a folder.
const BLOCK_BYTES: u64 = 4096;

pub struct TreeStore {
    folder: PathBuf,
    limit_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: HashMap<Sha256, KeptTree>,
    /// How many were removed; it makes the names of folders that are being removed unique.
    removed: u64,
}

struct KeptTree {
    bytes: u64,
    last_used: SystemTime,
    guard: Weak<TreeGuard>,
}

/// A tree in use: it is kept while this exists.
#[derive(Debug)]
pub struct TreeGuard {
    root: PathBuf,
}

impl TreeGuard {
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl TreeStore {
    /// Finds what is kept in this folder, and removes everything else but the files that `is_other` names. Blocks.
    pub fn open(
        folder: PathBuf,
        limit_bytes: u64,
        is_other: impl Fn(&str) -> bool,
    ) -> anyhow::Result<TreeStore> {
        let mut state = State::default();
        for entry in
            fs::read_dir(&folder).with_context(|| format!("listing the trees in {}", folder.display()))?
        {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_str().unwrap_or_default();
            match complete(&path, name) {
                Some((key, tree)) => {
                    state.kept.insert(key, tree);
                }
                None if is_other(name) => {}
                None => remove_or_warn(&path),
            }
        }
        let store = TreeStore { folder, limit_bytes, state: Mutex::new(state) };
        // The owner may have lowered the limit.
        let removed = store.make_room(&mut store.lock());
        removed.iter().for_each(|folder| remove_or_warn(folder));
        Ok(store)
    }

    /// All that is kept, the most recently used first.
    pub fn keys(&self) -> Vec<Sha256> {
        let state = self.lock();
        let mut kept: Vec<_> = state.kept.iter().map(|(key, tree)| (Reverse(tree.last_used), *key)).collect();
        kept.sort_unstable();
        kept.into_iter().map(|(_, key)| key).collect()
    }

    /// None also for a tree that somebody else has removed: it can be made again.
    pub fn find(&self, key: Sha256) -> Option<Arc<TreeGuard>> {
        let folder = self.folder_of(key);
        let mut state = self.lock();
        if !folder.exists() {
            state.kept.remove(&key);
        }
        state.kept.get_mut(&key).map(|tree| tree.guard(&folder))
    }

    /// Keeps the tree that `make` writes into a new folder, whose name it gets. Blocks. At most one thread may add a tree
    /// of this key.
    pub fn add(
        &self,
        key: Sha256,
        make: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<Arc<TreeGuard>> {
        let (folder, new) = (self.folder_of(key), self.folder.join(format!("{key}.new")));
        remove_tree(&new).with_context(|| format!("clearing {}", new.display()))?;
        let made = (|| -> anyhow::Result<u64> {
            fs::create_dir(&new)?;
            make(&new.join("root"))?;
            let bytes = tree_bytes(&new)?;
            fs::write(new.join("bytes"), format!("{bytes}\n"))?;
            fs::rename(&new, &folder)?;
            Ok(bytes)
        })();
        if made.is_err() {
            // The first error is the one to report.
            let _ = remove_tree(&new);
        }
        let bytes = made?;
        let (guard, removed) = {
            let mut state = self.lock();
            let mut tree = KeptTree { bytes, last_used: SystemTime::now(), guard: Weak::new() };
            let guard = tree.guard(&folder);
            state.kept.insert(key, tree);
            (guard, self.make_room(&mut state))
        };
        // A tree may have a hundred thousand files, so they are removed without the lock.
        removed.iter().for_each(|folder| remove_or_warn(folder));
        Ok(guard)
    }

    fn folder_of(&self, key: Sha256) -> PathBuf {
        self.folder.join(key.to_string())
    }

    /// Gives up trees until the others are within the limits, and returns the folders that are to be removed.
    fn make_room(&self, state: &mut State) -> Vec<PathBuf> {
        let mut bytes: u64 = state.kept.values().map(|tree| tree.bytes).sum();
        let unused = state.kept.iter().filter(|(_, tree)| tree.guard.strong_count() == 0);
        let mut unused: Vec<(SystemTime, Sha256)> =
            unused.map(|(key, tree)| (tree.last_used, *key)).collect();
        unused.sort_unstable();
        let mut renamed = Vec::new();
        for (_, key) in unused {
            if bytes <= self.limit_bytes && state.kept.len() <= MAX_TREES {
                break;
            }
            let folder = self.folder_of(key);
            state.removed += 1;
            let gone = folder.with_extension(format!("gone-{}", state.removed));
            // Renamed first, so that a kill does not leave an incomplete tree under its own name.
            match fs::rename(&folder, &gone) {
                Ok(()) => renamed.push(gone),
                Err(e) => tracing::warn!("cannot remove the kept tree {}: {e}", folder.display()),
            }
            bytes -= state.kept.remove(&key).map_or(0, |tree| tree.bytes);
        }
        renamed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

fn remove_or_warn(folder: &Path) {
    if let Err(e) = remove_tree(folder) {
        tracing::warn!("cannot remove {}: {e}; the next start tries again", folder.display());
    }
}

impl KeptTree {
    fn guard(&mut self, folder: &Path) -> Arc<TreeGuard> {
        self.last_used = SystemTime::now();
        // Only the order of removal depends on this time.
        let _ = File::options()
            .write(true)
            .open(folder.join("bytes"))
            .and_then(|file| file.set_modified(self.last_used));
        self.guard.upgrade().unwrap_or_else(|| {
            let guard = Arc::new(TreeGuard { root: folder.join("root") });
            self.guard = Arc::downgrade(&guard);
            guard
        })
    }
}

/// A tree that stands under its key with its size.
fn complete(path: &Path, name: &str) -> Option<(Sha256, KeptTree)> {
    let key = name.parse().ok()?;
    let size = path.join("bytes");
    let bytes = fs::read_to_string(&size).ok()?.trim().parse().ok()?;
    let last_used = fs::metadata(&size).and_then(|metadata| metadata.modified()).ok()?;
    Some((key, KeptTree { bytes, last_used, guard: Weak::new() }))
}

/// What a tree uses of the disk, at least.
fn tree_bytes(root: &Path) -> std::io::Result<u64> {
    let mut bytes = BLOCK_BYTES;
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            bytes += match entry.file_type()? {
                kind if kind.is_dir() => {
                    folders.push(entry.path());
                    BLOCK_BYTES
                }
                kind if kind.is_file() => entry.metadata()?.len().next_multiple_of(BLOCK_BYTES),
                // A link's target is kept in its entry, if it is not very long.
                _ => 0,
            };
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn key(number: u8) -> Sha256 {
        Sha256([number; 32])
    }

    fn open(folder: &Path, limit_bytes: u64) -> TreeStore {
        TreeStore::open(folder.to_path_buf(), limit_bytes, |_| false).unwrap()
    }

    fn add(store: &TreeStore, number: u8) -> Arc<TreeGuard> {
        let make = |root: &Path| {
            fs::create_dir(root)?;
            Ok(fs::write(root.join("name"), number.to_string())?)
        };
        store.add(key(number), make).unwrap()
    }

    #[test]
    fn a_tree_that_could_not_be_made_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), u64::MAX);
        let half = |root: &Path| {
            fs::create_dir(root)?;
            anyhow::bail!("the connection broke")
        };
        assert!(store.add(key(1), half).unwrap_err().to_string().contains("the connection broke"));
        assert!(store.find(key(1)).is_none());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_tree_that_somebody_has_removed_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), u64::MAX);
        let removed = add(&store, 1);
        fs::remove_dir_all(folder.path().join(key(1).to_string())).unwrap();
        assert!(store.find(key(1)).is_none());
        drop(removed);
        assert_eq!(fs::read_to_string(add(&store, 1).root().join("name")).unwrap(), "1");
        assert!(store.find(key(1)).is_some());
    }

    #[test]
    fn what_a_kill_left_is_swept_and_never_given_out() {
        let folder = tempfile::tempdir().unwrap();
        drop(add(&open(folder.path(), u64::MAX), 1));
        for left in [format!("{}", key(2)), format!("{}.new", key(3)), format!("{}.gone-1", key(4))] {
            fs::create_dir_all(folder.path().join(left).join("root/half")).unwrap();
        }
        fs::write(folder.path().join("other"), "").unwrap();
        let store = TreeStore::open(folder.path().into(), u64::MAX, |name| name == "other").unwrap();
        assert_eq!(store.keys(), [key(1)]);
        let left: BTreeSet<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [key(1).to_string().as_str(), "other"].map(Into::into).into());
        assert_eq!(fs::read_to_string(store.find(key(1)).unwrap().root().join("name")).unwrap(), "1");
    }

    #[test]
    fn a_lower_limit_holds_from_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), u64::MAX);
        for number in 1..=3 {
            drop(add(&store, number));
        }
        assert_eq!(open(folder.path(), 0).keys(), []);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn small_trees_are_bounded_by_their_number() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), u64::MAX);
        let tree = || KeptTree { bytes: 1, last_used: SystemTime::UNIX_EPOCH, guard: Weak::new() };
        for number in 0..MAX_TREES {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(number as u64).to_le_bytes());
            store.lock().kept.insert(Sha256(key), tree());
        }
        drop(add(&store, 255));
        assert_eq!(store.keys().len(), MAX_TREES);
        assert!(store.find(key(255)).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever is used in whatever order: what is in use is there and whole, what is not stays within the limit, and
        /// of two unused trees the one that was used later is kept.
        #[test]
        fn the_least_recently_used_goes_first_and_none_in_use(
            uses in prop::collection::vec((0u8..8, any::<bool>()), 1..40),
        ) {
            const ROOM: usize = 3;
            let folder = tempfile::tempdir().unwrap();
            let one_tree = 3 * BLOCK_BYTES;
            let store = open(folder.path(), ROOM as u64 * one_tree);
            let mut held: HashMap<u8, Arc<TreeGuard>> = HashMap::new();
            let mut order: Vec<u8> = Vec::new();
            for (number, hold) in uses {
                let found = store.find(key(number));
                let is_new = found.is_none();
                let guard = found.unwrap_or_else(|| add(&store, number));
                order.retain(|other| *other != number);
                order.push(number);
                match hold {
                    true => drop(held.insert(number, guard)),
                    false => {
                        held.remove(&number);
                    }
                }
                let kept = store.keys();
                for (number, guard) in &held {
                    prop_assert!(kept.contains(&key(*number)));
                    let name = fs::read_to_string(guard.root().join("name")).unwrap();
                    prop_assert_eq!(name, number.to_string());
                }
                if is_new {
                    // The newest is in use while room is made.
                    let in_use = held.keys().copied().chain([number]).collect::<BTreeSet<u8>>();
                    prop_assert!(kept.len() <= ROOM.max(in_use.len()), "{kept:?}");
                    let unused: Vec<u8> =
                        order.iter().copied().filter(|number| !in_use.contains(number)).collect();
                    let first_kept = unused.iter().position(|number| kept.contains(&key(*number)));
                    let later = &unused[first_kept.unwrap_or(unused.len())..];
                    prop_assert!(later.iter().all(|number| kept.contains(&key(*number))));
                }
            }
        }
    }
}
