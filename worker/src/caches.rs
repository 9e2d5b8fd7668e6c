//! Declared caches: folders that some steps fill and later builds find again. Only the steps of a build see what is in them;
//! the worker counts and removes it, and opens none of it.
//!
//! `KEY-N/data` is the folder, `KEY-N/bytes` its size; the time of that file is the time of its last use. While a step may
//! write, `KEY-N/writing-M` is there, so what a killed step or worker left half written is never given out.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::SystemTime;

use anyhow::{Context, ensure};
use protocol::Sha256;

use crate::trash::remove_tree;

/// A cache of more files than this costs more than it saves.
const MAX_ENTRIES: u64 = 500_000;
/// A file uses whole blocks of its disk, and so does a folder.
const BLOCK_BYTES: u64 = 4096;
const MARKER: &str = "writing-";

pub struct CacheStore {
    folder: PathBuf,
    limit_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: HashMap<Sha256, KeptCache>,
    /// The number of the newest folder.
    newest: u64,
}

struct KeptCache {
    folder: PathBuf,
    bytes: u64,
    last_used: SystemTime,
    in_use: Weak<CacheFolder>,
}

/// A cache in use. One that was dropped meanwhile stays until its last build has ended.
#[derive(Debug)]
pub struct CacheFolder {
    folder: PathBuf,
    key: Sha256,
    is_dropped: AtomicBool,
    /// How often a step began to write.
    writings: AtomicU64,
}

/// A cache of one build, and its bound.
#[derive(Clone)]
pub struct CacheGuard {
    folder: Arc<CacheFolder>,
    store: Arc<CacheStore>,
    max_bytes: u64,
}

/// A step that may write to a cache. If it does not end by itself, the cache is dropped.
pub struct Writing {
    guard: CacheGuard,
    marker: PathBuf,
    has_ended: bool,
}

impl CacheStore {
    /// Finds what is kept in this folder, and removes what may be incomplete. Blocks.
    pub fn open(folder: PathBuf, limit_bytes: u64) -> anyhow::Result<Arc<CacheStore>> {
        let mut state = State::default();
        for entry in fs::read_dir(&folder).context("listing the declared caches")? {
            let path = entry?.path();
            let Some((key, number, cache)) = whole(&path) else {
                remove_or_warn(&path);
                continue;
            };
            state.newest = state.newest.max(number);
            if let Some(older) = state.kept.insert(key, cache) {
                // A kill came between the new one and the removal of the old one. Either may be the old one: both begin anew.
                state.kept.remove(&key);
                [&older.folder, &path].into_iter().for_each(|path| remove_or_warn(path));
            }
        }
        let store = Arc::new(CacheStore { folder, limit_bytes, state: Mutex::new(state) });
        store.make_room();
        Ok(store)
    }

    /// The cache of this name, empty if there is none yet. Blocks.
    pub fn get(self: &Arc<Self>, key: Sha256, max_bytes: u64) -> anyhow::Result<CacheGuard> {
        let mut state = self.lock();
        let state = &mut *state;
        let cache = match state.kept.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                state.newest += 1;
                let folder = self.folder.join(format!("{key}-{}", state.newest));
                fs::create_dir_all(folder.join("data"))
                    .and_then(|()| fs::write(folder.join("bytes"), "0\n"))
                    .with_context(|| format!("creating the cache {}", folder.display()))?;
                entry.insert(KeptCache {
                    folder,
                    bytes: 0,
                    last_used: SystemTime::now(),
                    in_use: Weak::new(),
                })
            }
        };
        let folder = cache.open(key);
        // Its owner may have removed it.
        fs::create_dir_all(folder.folder.join("data")).context("creating the cache's folder")?;
        Ok(CacheGuard { folder, store: Arc::clone(self), max_bytes })
    }

    /// Takes a cache out of the store. Its folder is removed when no build uses it any more.
    fn drop_cache(&self, cache: &CacheFolder) {
        let mut state = self.lock();
        if state.kept.get(&cache.key).is_some_and(|kept| kept.folder == cache.folder) {
            state.kept.remove(&cache.key);
        }
        cache.is_dropped.store(true, Ordering::Relaxed);
        // So that a kill before that does not bring it back.
        let _ = fs::remove_file(cache.folder.join("bytes"));
    }

    /// Removes caches until the others are within the limit: the least recently used first, and none in use. Blocks.
    fn make_room(&self) {
        let mut removed = Vec::new();
        {
            let mut state = self.lock();
            let mut bytes: u64 = state.kept.values().map(|cache| cache.bytes).sum();
            let unused = state.kept.iter().filter(|(_, cache)| cache.in_use.strong_count() == 0);
            let mut unused: Vec<_> = unused.map(|(key, cache)| (cache.last_used, *key)).collect();
            unused.sort_unstable();
            for (_, key) in unused {
                if bytes <= self.limit_bytes {
                    break;
                }
                if let Some(cache) = state.kept.remove(&key) {
                    bytes -= cache.bytes;
                    let _ = fs::remove_file(cache.folder.join("bytes"));
                    removed.push(cache.folder);
                }
            }
        }
        removed.iter().for_each(|folder| remove_or_warn(folder));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl KeptCache {
    fn open(&mut self, key: Sha256) -> Arc<CacheFolder> {
        self.last_used = SystemTime::now();
        // Only the order of removal depends on this time.
        let _ = File::options()
            .write(true)
            .open(self.folder.join("bytes"))
            .and_then(|file| file.set_modified(self.last_used));
        self.in_use.upgrade().unwrap_or_else(|| {
            let folder = Arc::new(CacheFolder {
                folder: self.folder.clone(),
                key,
                is_dropped: AtomicBool::new(false),
                writings: AtomicU64::new(0),
            });
            self.in_use = Arc::downgrade(&folder);
            folder
        })
    }
}

impl Drop for CacheFolder {
    fn drop(&mut self) {
        if *self.is_dropped.get_mut() {
            remove_or_warn(&self.folder);
        }
    }
}

impl CacheGuard {
    /// What steps see.
    pub fn data(&self) -> PathBuf {
        self.folder.folder.join("data")
    }

    /// Call this before a step may write. Blocks.
    pub fn begin_writing(&self) -> std::io::Result<Writing> {
        let number = self.folder.writings.fetch_add(1, Ordering::Relaxed);
        let marker = self.folder.folder.join(format!("{MARKER}{number}"));
        File::create(&marker)?;
        Ok(Writing { guard: self.clone(), marker, has_ended: false })
    }
}

impl Writing {
    /// Call this when the step has ended by itself, with whatever exit code. Returns why the cache was emptied, if it was.
    /// Blocks.
    pub fn end(mut self) -> Option<String> {
        let guard = self.guard.clone();
        let data = guard.data();
        let measured = measure(&data, guard.max_bytes).and_then(|bytes| {
            // Renamed, so that a kill leaves the old size or the new one.
            let new = self.marker.with_extension("bytes");
            fs::write(&new, format!("{bytes}\n"))?;
            fs::rename(new, guard.folder.folder.join("bytes"))?;
            Ok(bytes)
        });
        let bytes = match measured {
            Ok(bytes) => bytes,
            // It is dropped with `self`.
            Err(e) => return Some(format!("{e:#}")),
        };
        if fs::remove_file(&self.marker).is_err() {
            return Some("its marker cannot be removed".into());
        }
        self.has_ended = true;
        let store = &guard.store;
        if guard.folder.is_dropped.load(Ordering::Relaxed) {
            // Another build dropped it meanwhile; it must not come back with the new size.
            let _ = fs::remove_file(guard.folder.folder.join("bytes"));
            return None;
        }
        if let Some(cache) = store.lock().kept.get_mut(&guard.folder.key) {
            cache.bytes = bytes;
        }
        store.make_room();
        None
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.has_ended {
            self.guard.store.drop_cache(&self.guard.folder);
        }
    }
}

fn remove_or_warn(folder: &Path) {
    if let Err(e) = remove_tree(folder) {
        tracing::warn!("cannot remove {}: {e}; the next start tries again", folder.display());
    }
}

/// A cache that no step was writing to when its worker ended.
fn whole(path: &Path) -> Option<(Sha256, u64, KeptCache)> {
    let (key, number) = path.file_name()?.to_str()?.split_once('-')?;
    let size = path.join("bytes");
    let bytes = fs::read_to_string(&size).ok()?.trim().parse().ok()?;
    let last_used = fs::metadata(&size).and_then(|metadata| metadata.modified()).ok()?;
    for entry in fs::read_dir(path).ok()? {
        if entry.ok()?.file_name().to_string_lossy().starts_with(MARKER) {
            return None;
        }
    }
    let cache = KeptCache { folder: path.to_path_buf(), bytes, last_used, in_use: Weak::new() };
    Some((key.parse().ok()?, number.parse().ok()?, cache))
}

/// What a cache uses of the disk, at least, if that is within its bounds. No link is followed, and nothing is opened but
/// folders.
fn measure(data: &Path, max_bytes: u64) -> anyhow::Result<u64> {
    let (mut bytes, mut entries) = (0u64, 0u64);
    let mut folders = vec![data.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).context("one of its folders cannot be read")? {
            let entry = entry?;
            let metadata = entry.metadata().context("it changes while it is measured")?;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            bytes = bytes.saturating_add(metadata.len().max(1).next_multiple_of(BLOCK_BYTES));
            entries += 1;
            ensure!(entries <= MAX_ENTRIES, "it holds more than {MAX_ENTRIES} files and folders");
            ensure!(bytes <= max_bytes, "it holds more than its {max_bytes} bytes");
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use proptest::prelude::*;

    use super::*;

    const MAX: u64 = 1 << 20;

    fn key(number: u8) -> Sha256 {
        Sha256([number; 32])
    }

    fn open(folder: &Path, limit_bytes: u64) -> Arc<CacheStore> {
        CacheStore::open(folder.to_path_buf(), limit_bytes).unwrap()
    }

    fn fill(guard: &CacheGuard, name: &str, bytes: usize) -> Option<String> {
        let writing = guard.begin_writing().unwrap();
        fs::write(guard.data().join(name), vec![b'x'; bytes]).unwrap();
        writing.end()
    }

    fn names(guard: &CacheGuard) -> Vec<String> {
        let entries = fs::read_dir(guard.data()).unwrap();
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_step_wrote_is_there_for_the_next_build_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), u64::MAX);
        assert_eq!(fill(&store.get(key(1), MAX).unwrap(), "a", 3), None);
        assert_eq!(names(&store.get(key(1), MAX).unwrap()), ["a"]);
        assert_eq!(names(&store.get(key(2), MAX).unwrap()), [""; 0]);
        drop(store);
        assert_eq!(names(&open(folder.path(), u64::MAX).get(key(1), MAX).unwrap()), ["a"]);
    }

    #[test]
    fn a_step_that_did_not_end_by_itself_leaves_an_empty_cache() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), u64::MAX);
        let guard = store.get(key(1), MAX).unwrap();
        fill(&guard, "whole", 3);
        let other = store.get(key(1), MAX).unwrap();
        let writing = guard.begin_writing().unwrap();
        fs::write(guard.data().join("half"), "x").unwrap();
        drop(writing);
        assert_eq!(names(&store.get(key(1), MAX).unwrap()), [""; 0]);
        // A build that uses it goes on with it.
        drop(guard);
        assert_eq!(names(&other), ["half", "whole"]);
        drop(other);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_worker_that_is_killed_while_a_step_writes_begins_with_an_empty_cache() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), u64::MAX);
        let guard = store.get(key(1), MAX).unwrap();
        fill(&guard, "whole", 3);
        // As after SIGKILL: nothing is dropped.
        let _killed = ManuallyDrop::new(guard.begin_writing().unwrap());
        fs::write(guard.data().join("half"), "x").unwrap();
        let again = open(folder.path(), u64::MAX);
        assert_eq!(names(&again.get(key(1), MAX).unwrap()), [""; 0]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_cache_over_its_bound_is_emptied_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), u64::MAX);
        let guard = store.get(key(1), 8192).unwrap();
        assert_eq!(fill(&guard, "a", 8192), None);
        let reason = fill(&guard, "b", 1).unwrap();
        assert_eq!(reason, "it holds more than its 8192 bytes");
        assert_eq!(names(&store.get(key(1), 8192).unwrap()), [""; 0]);
    }

    #[test]
    fn hostile_content_is_counted_and_removed_and_nothing_outside_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("large"), vec![b'x'; 1 << 16]).unwrap();
        let caches = folder.path().join("caches");
        fs::create_dir(&caches).unwrap();
        let store = open(&caches, u64::MAX);
        let guard = store.get(key(1), 1 << 15).unwrap();
        let writing = guard.begin_writing().unwrap();
        symlink(outside.path(), guard.data().join("out")).unwrap();
        symlink("/dev/zero", guard.data().join("zero")).unwrap();
        nix::unistd::mkfifo(&guard.data().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(writing.end(), None, "neither a link nor a pipe is followed or opened");
        let writing = guard.begin_writing().unwrap();
        fs::create_dir(guard.data().join("locked")).unwrap();
        fs::set_permissions(guard.data().join("locked"), fs::Permissions::from_mode(0o0)).unwrap();
        drop(writing);
        drop(guard);
        assert_eq!(fs::read_dir(&caches).unwrap().count(), 0);
        assert!(outside.path().join("large").exists());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Whatever is used and however it ends: a cache is never given out with what an unfinished step wrote, caches in use
        /// stay, and what is not in use stays within the limit.
        #[test]
        fn only_what_finished_steps_wrote_is_given_out(
            uses in prop::collection::vec((0u8..4, 0u8..3, any::<bool>()), 1..30),
        ) {
            const LIMIT: u64 = 4 * BLOCK_BYTES;
            let folder = tempfile::tempdir().unwrap();
            let mut store = open(folder.path(), LIMIT);
            let mut held = Vec::new();
            for (number, (cache, how, hold)) in uses.into_iter().enumerate() {
                let guard = store.get(key(cache), MAX).unwrap();
                prop_assert!(names(&guard).iter().all(|name| name.starts_with("whole")), "{:?}", names(&guard));
                match how {
                    0 => prop_assert_eq!(fill(&guard, &format!("whole-{number}"), 1), None),
                    1 => {
                        let writing = guard.begin_writing().unwrap();
                        fs::write(guard.data().join("half"), "x").unwrap();
                        drop(writing);
                    }
                    _ => {
                        let _killed = ManuallyDrop::new(guard.begin_writing().unwrap());
                        fs::write(guard.data().join("half"), "x").unwrap();
                        held.clear();
                        drop(guard);
                        store = open(folder.path(), LIMIT);
                        continue;
                    }
                }
                if hold {
                    held.push(guard);
                }
                prop_assert!(held.iter().all(|guard| guard.data().is_dir()));
            }
            held.clear();
            store.make_room();
            let kept: u64 = store.lock().kept.values().map(|cache| cache.bytes).sum();
            prop_assert!(kept <= LIMIT);
            let folders = fs::read_dir(folder.path()).unwrap().count();
            prop_assert_eq!(folders, store.lock().kept.len());
        }
    }
}
