//! The cache of unpacked toolchains. Each is downloaded once, even if several builds need it at the same time, and kept
//! until space is needed: the least recently used is removed first, and none that a build uses.
//!
//! `SHA256/root` is the toolchain, `SHA256/bytes` its size; the time of that file is the time of its last use.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::SystemTime;

use anyhow::{Context, ensure};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use protocol::{Sha256, ToolchainFile};
use tokio_util::sync::CancellationToken;

use crate::execute::archive;
use crate::folder::remove_tree;
use crate::objects::{ObjectClient, UploadKind, partial_path};

/// A hello must stay far smaller than the largest message, however many small toolchains are cached.
const MAX_LISTED: usize = 1000;

pub struct ToolchainCache {
    folder: PathBuf,
    limit_bytes: u64,
    objects: ObjectClient,
    /// Ends downloads when the worker stops.
    stop: CancellationToken,
    state: Mutex<CacheState>,
}

#[derive(Default)]
struct CacheState {
    cached: HashMap<Sha256, CachedToolchain>,
    downloads: HashMap<Sha256, PendingDownload>,
    /// How many were removed; it makes the names of folders that are being removed unique.
    removed: u64,
}

struct CachedToolchain {
    bytes: u64,
    last_used: SystemTime,
    guard: Weak<ToolchainGuard>,
}

type PendingDownload = Shared<BoxFuture<'static, Result<Arc<ToolchainGuard>, String>>>;

/// A toolchain in use: it stays in the cache while this exists.
#[derive(Debug)]
pub struct ToolchainGuard {
    root: PathBuf,
}

impl ToolchainGuard {
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// How many partial downloads are kept for a later try: more would fill the disk.
const MAX_PARTIAL_DOWNLOADS: usize = 4;

impl ToolchainCache {
    /// Reads what is in the cache, and removes what a kill left incomplete. Blocks.
    pub fn open(
        folder: PathBuf,
        limit_bytes: u64,
        objects: ObjectClient,
        stop: CancellationToken,
    ) -> anyhow::Result<Arc<ToolchainCache>> {
        let mut state = CacheState::default();
        for entry in fs::read_dir(&folder).context("listing the cached toolchains")? {
            let path = entry?.path();
            match classify(&path) {
                CacheEntry::Complete(sha256, toolchain) => {
                    state.cached.insert(sha256, toolchain);
                }
                CacheEntry::PartialDownload => {}
                CacheEntry::Garbage => {
                    remove_tree(&path).with_context(|| format!("removing {}", path.display()))?;
                }
            }
        }
        Ok(Arc::new(ToolchainCache { folder, limit_bytes, objects, stop, state: Mutex::new(state) }))
    }

    /// Toolchains that need no download: the most recently used first, and no more than a hello can carry.
    pub fn cached(&self) -> Vec<Sha256> {
        let state = self.lock();
        let mut cached: Vec<_> =
            state.cached.iter().map(|(sha256, toolchain)| (Reverse(toolchain.last_used), *sha256)).collect();
        cached.sort_unstable();
        cached.into_iter().take(MAX_LISTED).map(|(_, sha256)| sha256).collect()
    }

    /// Returns a toolchain, after downloading it if necessary.
    pub async fn get(self: &Arc<Self>, toolchain: ToolchainFile) -> Result<Arc<ToolchainGuard>, String> {
        match self.find_or_download(toolchain) {
            Ok(guard) => Ok(guard),
            Err(download) => download.await,
        }
    }

    /// How many bytes of a toolchain have been downloaded; none if no download of it is under way.
    pub fn downloaded(&self, sha256: Sha256) -> Option<u64> {
        fs::metadata(partial_path(&self.folder, sha256)).ok().map(|part| part.len())
    }

    /// Puts an archive that was built here into the cache, so that the suites that follow need no download.
    pub fn insert_built(self: &Arc<Self>, toolchain: ToolchainFile, archive: &Path) -> std::io::Result<()> {
        {
            let state = self.lock();
            if state.cached.contains_key(&toolchain.sha256) || state.downloads.contains_key(&toolchain.sha256)
            {
                return Ok(());
            }
            // As a partial download that is complete: getting it requests nothing from the master.
            fs::rename(archive, partial_path(&self.folder, toolchain.sha256))?;
        }
        // Nobody waits for it here: a build that needs the toolchain asks for it.
        drop(self.find_or_download(toolchain));
        Ok(())
    }

    fn find_or_download(
        self: &Arc<Self>,
        toolchain: ToolchainFile,
    ) -> Result<Arc<ToolchainGuard>, PendingDownload> {
        let mut state = self.lock();
        if let Some(cached) = state.cached.get_mut(&toolchain.sha256) {
            return Ok(cached.guard(&self.folder.join(toolchain.sha256.to_string())));
        }
        if let Some(download) = state.downloads.get(&toolchain.sha256) {
            return Err(download.clone());
        }
        // A task of its own, since it must complete even if the build that started it is cancelled.
        let this = Arc::clone(self);
        let task = tokio::spawn(async move {
            let unpacked = this.download(toolchain).await;
            this.finish_download(toolchain.sha256, unpacked).await.map_err(|e| format!("{e:#}"))
        });
        let download = task
            .map(|done| {
                done.unwrap_or_else(|e| Err(format!("internal error: downloading the toolchain failed: {e}")))
            })
            .boxed()
            .shared();
        state.downloads.insert(toolchain.sha256, download.clone());
        Err(download)
    }

    /// Downloads and unpacks a toolchain. Returns its unpacked size.
    async fn download(&self, toolchain: ToolchainFile) -> anyhow::Result<u64> {
        let ToolchainFile { sha256, bytes } = toolchain;
        ensure!(bytes <= archive::MAX_BYTES, "an artifact of {bytes} bytes is too large");
        let part = partial_path(&self.folder, sha256);
        let downloaded = self.objects.download(UploadKind::Artifact, sha256, bytes, &part, &self.stop).await;
        if downloaded.is_err() {
            // The next try continues after it.
            let folder = self.folder.clone();
            let _ = tokio::task::spawn_blocking(move || sweep_partial_downloads(&folder)).await;
        }
        downloaded?;
        let destination = self.folder.join(sha256.to_string());
        tokio::task::spawn_blocking(move || unpack(&part, &destination))
            .await
            .context("internal error: unpacking failed")?
    }

    async fn finish_download(
        &self,
        sha256: Sha256,
        unpacked: anyhow::Result<u64>,
    ) -> anyhow::Result<Arc<ToolchainGuard>> {
        let (guard, removed) = {
            let mut state = self.lock();
            state.downloads.remove(&sha256);
            let mut cached =
                CachedToolchain { bytes: unpacked?, last_used: SystemTime::now(), guard: Weak::new() };
            let guard = cached.guard(&self.folder.join(sha256.to_string()));
            state.cached.insert(sha256, cached);
            (guard, self.make_room(&mut state))
        };
        // A toolchain may have a hundred thousand files, so remove it without the lock, on a thread that may block.
        tokio::task::spawn_blocking(move || removed.iter().for_each(|folder| remove_cached(folder)))
            .await
            .context("internal error: removing old toolchains failed")?;
        Ok(guard)
    }

    /// Takes toolchains out of the cache until the others fit, and returns the folders that are to be removed.
    fn make_room(&self, state: &mut CacheState) -> Vec<PathBuf> {
        let mut total: u64 = state.cached.values().map(|toolchain| toolchain.bytes).sum();
        let mut unused: Vec<(SystemTime, Sha256)> = state
            .cached
            .iter()
            .filter(|(_, toolchain)| toolchain.guard.strong_count() == 0)
            .map(|(sha256, toolchain)| (toolchain.last_used, *sha256))
            .collect();
        unused.sort_unstable();
        let mut renamed = Vec::new();
        for (_, sha256) in unused {
            if total <= self.limit_bytes {
                break;
            }
            let folder = self.folder.join(sha256.to_string());
            state.removed += 1;
            let gone = folder.with_extension(format!("gone-{}", state.removed));
            // Renamed first, so that a kill does not leave an incomplete toolchain under its own name.
            match fs::rename(&folder, &gone) {
                Ok(()) => renamed.push(gone),
                Err(e) => tracing::warn!("cannot remove the cached toolchain {}: {e}", folder.display()),
            }
            total -= state.cached.remove(&sha256).map_or(0, |toolchain| toolchain.bytes);
        }
        renamed
    }

    fn lock(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

/// Removes all partial downloads but the newest few, which a later try continues.
fn sweep_partial_downloads(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut parts: Vec<(SystemTime, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter(|path| matches!(classify(path), CacheEntry::PartialDownload))
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    parts.sort_unstable();
    for (_, path) in parts.iter().rev().skip(MAX_PARTIAL_DOWNLOADS) {
        // What cannot be removed now is removed after the next download that fails.
        let _ = fs::remove_file(path);
    }
}

fn remove_cached(folder: &Path) {
    if let Err(e) = remove_tree(folder) {
        tracing::warn!("cannot remove {}: {e}; the next start tries again", folder.display());
    }
}

impl CachedToolchain {
    fn guard(&mut self, folder: &Path) -> Arc<ToolchainGuard> {
        self.last_used = SystemTime::now();
        // Only the order of removal depends on this time.
        let _ = File::options()
            .write(true)
            .open(folder.join("bytes"))
            .and_then(|file| file.set_modified(self.last_used));
        self.guard.upgrade().unwrap_or_else(|| {
            let guard = Arc::new(ToolchainGuard { root: folder.join("root") });
            self.guard = Arc::downgrade(&guard);
            guard
        })
    }
}

enum CacheEntry {
    Complete(Sha256, CachedToolchain),
    /// A download that can be resumed.
    PartialDownload,
    /// What a kill left behind.
    Garbage,
}

fn classify(path: &Path) -> CacheEntry {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    if name.strip_suffix(".part").is_some_and(|name| name.parse::<Sha256>().is_ok()) {
        return CacheEntry::PartialDownload;
    }
    let size = path.join("bytes");
    let complete =
        name.parse().ok().zip(fs::read_to_string(&size).ok().and_then(|text| text.trim().parse().ok()));
    match (complete, fs::metadata(&size).and_then(|metadata| metadata.modified())) {
        (Some((sha256, bytes)), Ok(last_used)) => {
            CacheEntry::Complete(sha256, CachedToolchain { bytes, last_used, guard: Weak::new() })
        }
        (None, _) | (_, Err(_)) => CacheEntry::Garbage,
    }
}

/// Unpacks a verified archive so that `destination` appears only when it is complete. Removes the archive.
fn unpack(archive: &Path, destination: &Path) -> anyhow::Result<u64> {
    let new = destination.with_extension("new");
    remove_tree(&new).with_context(|| format!("clearing {}", new.display()))?;
    let unpacked = (|| -> anyhow::Result<u64> {
        fs::create_dir(&new)?;
        archive::unpack(std::io::BufReader::new(File::open(archive)?), &new.join("root"))?;
        let bytes = tree_bytes(&new)?;
        fs::write(new.join("bytes"), format!("{bytes}\n"))?;
        fs::rename(&new, destination)?;
        Ok(bytes)
    })();
    if unpacked.is_err() {
        // The first error is the one to report.
        let _ = remove_tree(&new);
    }
    let _ = fs::remove_file(archive);
    unpacked.with_context(|| format!("unpacking the toolchain {}", destination.display()))
}

fn tree_bytes(root: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false => bytes += entry.metadata()?.len(),
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
