//! The cache of unpacked toolchains. Each is downloaded once, even if several builds need it at the same time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use anyhow::{Context, ensure};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use protocol::{Sha256, ToolchainFile};
use tokio_util::sync::CancellationToken;

use crate::execute::archive;
use crate::objects::{ObjectClient, UploadKind, partial_path};
use crate::trees::{TreeGuard, TreeStore};

/// A hello must stay far smaller than the largest message, however many small toolchains are cached.
const MAX_LISTED: usize = 1000;
/// How many partial downloads are kept for a later try: more would fill the disk.
const MAX_PARTIAL_DOWNLOADS: usize = 4;

pub struct ToolchainCache {
    folder: PathBuf,
    trees: TreeStore,
    objects: ObjectClient,
    /// Ends downloads when the worker stops.
    stop: CancellationToken,
    downloads: Mutex<HashMap<Sha256, PendingDownload>>,
}

type PendingDownload = Shared<BoxFuture<'static, Result<Arc<TreeGuard>, String>>>;

impl ToolchainCache {
    /// Reads what is in the cache, and removes what a kill left incomplete. Blocks.
    pub fn open(
        folder: PathBuf,
        limit_bytes: u64,
        objects: ObjectClient,
        stop: CancellationToken,
    ) -> anyhow::Result<Arc<ToolchainCache>> {
        let trees = TreeStore::open(folder.clone(), limit_bytes, is_partial_download)?;
        Ok(Arc::new(ToolchainCache { folder, trees, objects, stop, downloads: Mutex::default() }))
    }

    /// Toolchains that need no download: the most recently used first, and no more than a hello can carry.
    pub fn cached(&self) -> Vec<Sha256> {
        let mut cached = self.trees.keys();
        cached.truncate(MAX_LISTED);
        cached
    }

    /// Returns a toolchain, after downloading it if necessary.
    pub async fn get(self: &Arc<Self>, toolchain: ToolchainFile) -> Result<Arc<TreeGuard>, String> {
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
            let downloads = self.lock();
            if self.trees.find(toolchain.sha256).is_some() || downloads.contains_key(&toolchain.sha256) {
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
    ) -> Result<Arc<TreeGuard>, PendingDownload> {
        let mut downloads = self.lock();
        // A download is in the list until its toolchain is kept.
        if let Some(guard) = self.trees.find(toolchain.sha256) {
            return Ok(guard);
        }
        if let Some(download) = downloads.get(&toolchain.sha256) {
            return Err(download.clone());
        }
        // A task of its own, since it must complete even if the build that started it is cancelled.
        let this = Arc::clone(self);
        let task = tokio::spawn(async move {
            let unpacked = this.download(toolchain).await;
            this.lock().remove(&toolchain.sha256);
            unpacked.map_err(|e| format!("{e:#}"))
        });
        let download = task
            .map(|done| {
                done.unwrap_or_else(|e| Err(format!("internal error: downloading the toolchain failed: {e}")))
            })
            .boxed()
            .shared();
        downloads.insert(toolchain.sha256, download.clone());
        Err(download)
    }

    /// Downloads and unpacks a toolchain.
    async fn download(self: &Arc<Self>, toolchain: ToolchainFile) -> anyhow::Result<Arc<TreeGuard>> {
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
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let unpack =
                |root: &Path| Ok(archive::unpack(std::io::BufReader::new(File::open(&part)?), root)?);
            let unpacked = this.trees.add(sha256, unpack);
            let _ = fs::remove_file(&part);
            unpacked.with_context(|| format!("unpacking the toolchain {sha256}"))
        })
        .await
        .context("internal error: unpacking failed")?
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sha256, PendingDownload>> {
        self.downloads.lock().expect("no holder of this lock panics")
    }
}

/// Removes all partial downloads but the newest few, which a later try continues.
fn sweep_partial_downloads(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut parts: Vec<(SystemTime, PathBuf)> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_partial_download))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    parts.sort_unstable();
    for (_, path) in parts.iter().rev().skip(MAX_PARTIAL_DOWNLOADS) {
        // What cannot be removed now is removed after the next download that fails.
        let _ = fs::remove_file(path);
    }
}

/// A download that can be resumed.
fn is_partial_download(name: &str) -> bool {
    name.strip_suffix(".part").is_some_and(|name| name.parse::<Sha256>().is_ok())
}

#[cfg(test)]
mod tests;
