//! Unpacked toolchains, each brought once however many builds want it at the same time, and kept until room is
//! needed: the least recently used goes first, and none that a build uses.
//!
//! `SHA256/root` is the toolchain, `SHA256/bytes` its size; that file's time is the time of its last use.

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
use crate::objects::{ObjectClient, UploadKind, part_of};

/// A hello must stay far below the largest message, however many small toolchains are kept.
const MAX_TOLD: usize = 1000;

pub struct ToolchainCache {
    folder: PathBuf,
    limit_bytes: u64,
    objects: ObjectClient,
    /// Ends what is being brought when the worker ends.
    stop: CancellationToken,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    kept: HashMap<Sha256, Kept>,
    coming: HashMap<Sha256, Coming>,
}

struct Kept {
    bytes: u64,
    used: SystemTime,
    lent: Weak<ToolchainGuard>,
}

type Coming = Shared<BoxFuture<'static, Result<Arc<ToolchainGuard>, String>>>;

/// A toolchain in use: it stays where it is for as long as this is held.
#[derive(Debug)]
pub struct ToolchainGuard {
    root: PathBuf,
}

impl ToolchainGuard {
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl ToolchainCache {
    pub fn open(
        folder: PathBuf,
        limit_bytes: u64,
        objects: ObjectClient,
        stop: CancellationToken,
    ) -> anyhow::Result<Arc<ToolchainCache>> {
        let mut shelf = Shelf::default();
        for entry in fs::read_dir(&folder).context("looking for cached toolchains")? {
            let path = entry?.path();
            match look(&path) {
                Found::Whole(sha256, kept) => {
                    shelf.kept.insert(sha256, kept);
                }
                Found::Part => {}
                Found::Rubbish => {
                    remove_tree(&path).with_context(|| format!("removing {}", path.display()))?
                }
            }
        }
        Ok(Arc::new(ToolchainCache { folder, limit_bytes, objects, stop, shelf: Mutex::new(shelf) }))
    }

    /// Toolchains that need not be brought: the last used ones first, and no more than a hello can carry.
    pub fn kept(&self) -> Vec<Sha256> {
        let shelf = self.shelf();
        let mut kept: Vec<_> =
            shelf.kept.iter().map(|(sha256, kept)| (Reverse(kept.used), *sha256)).collect();
        kept.sort_unstable();
        kept.into_iter().take(MAX_TOLD).map(|(_, sha256)| sha256).collect()
    }

    /// Lends a toolchain, after bringing it if need be.
    pub async fn bring(self: &Arc<Self>, toolchain: ToolchainFile) -> Result<Arc<ToolchainGuard>, String> {
        let coming = match self.lend_or_bring(toolchain) {
            Ok(lent) => return Ok(lent),
            Err(coming) => coming,
        };
        coming.await
    }

    /// Takes in an archive that was made here, so that the suites which follow need not bring it back.
    pub fn adopt(self: &Arc<Self>, toolchain: ToolchainFile, archive: &Path) -> std::io::Result<()> {
        {
            let shelf = self.shelf();
            if shelf.kept.contains_key(&toolchain.sha256) || shelf.coming.contains_key(&toolchain.sha256) {
                return Ok(());
            }
            // A part that is whole: bringing it asks the master nothing.
            fs::rename(archive, part_of(&self.folder, toolchain.sha256))?;
        }
        // Its end is nobody's concern: who wants the toolchain asks for it.
        drop(self.lend_or_bring(toolchain));
        Ok(())
    }

    fn lend_or_bring(self: &Arc<Self>, toolchain: ToolchainFile) -> Result<Arc<ToolchainGuard>, Coming> {
        let mut shelf = self.shelf();
        if let Some(kept) = shelf.kept.get_mut(&toolchain.sha256) {
            return Ok(kept.lend(&self.folder.join(toolchain.sha256.to_string())));
        }
        if let Some(coming) = shelf.coming.get(&toolchain.sha256) {
            return Err(coming.clone());
        }
        // A task, since it must come to its end also when the build that began it is cancelled.
        let this = Arc::clone(self);
        let task = tokio::spawn(async move {
            let unpacked = this.download(toolchain).await;
            this.arrived(toolchain.sha256, unpacked).map_err(|e| format!("{e:#}"))
        });
        let coming = task
            .map(|done| done.unwrap_or_else(|e| Err(format!("bringing the toolchain failed inside: {e}"))))
            .boxed()
            .shared();
        shelf.coming.insert(toolchain.sha256, coming.clone());
        Err(coming)
    }

    /// Returns how many bytes it takes when unpacked.
    async fn download(&self, toolchain: ToolchainFile) -> anyhow::Result<u64> {
        let ToolchainFile { sha256, bytes } = toolchain;
        ensure!(bytes <= archive::MAX_BYTES, "an artifact of {bytes} bytes is too large");
        let part = part_of(&self.folder, sha256);
        let brought = self.objects.bring(UploadKind::Artifact, sha256, bytes, &part, &self.stop).await;
        if brought.is_err() && !self.stop.is_cancelled() {
            // Kept parts are for the next start of a worker that was stopped, or they would gather for ever.
            let _ = fs::remove_file(&part);
        }
        brought?;
        let place = self.folder.join(sha256.to_string());
        tokio::task::spawn_blocking(move || unpack(&part, &place)).await.context("unpacking failed inside")?
    }

    fn arrived(&self, sha256: Sha256, unpacked: anyhow::Result<u64>) -> anyhow::Result<Arc<ToolchainGuard>> {
        let mut shelf = self.shelf();
        shelf.coming.remove(&sha256);
        let mut kept = Kept { bytes: unpacked?, used: SystemTime::now(), lent: Weak::new() };
        let lent = kept.lend(&self.folder.join(sha256.to_string()));
        shelf.kept.insert(sha256, kept);
        self.sweep(&mut shelf);
        Ok(lent)
    }

    /// Makes room. What cannot be removed now is tried again next time.
    fn sweep(&self, shelf: &mut Shelf) {
        let mut total: u64 = shelf.kept.values().map(|kept| kept.bytes).sum();
        let mut idle: Vec<(SystemTime, Sha256)> = shelf
            .kept
            .iter()
            .filter(|(_, kept)| kept.lent.strong_count() == 0)
            .map(|(sha256, kept)| (kept.used, *sha256))
            .collect();
        idle.sort_unstable();
        for (_, sha256) in idle {
            if total <= self.limit_bytes {
                break;
            }
            let place = self.folder.join(sha256.to_string());
            let gone = place.with_extension("gone");
            // Renamed first, so that a kill leaves no half of it under its own name.
            if let Err(e) = fs::rename(&place, &gone).and_then(|()| remove_tree(&gone)) {
                tracing::warn!("the cached toolchain {} cannot be removed: {e}", place.display());
            }
            total -= shelf.kept.remove(&sha256).map_or(0, |kept| kept.bytes);
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("no holder of this lock panics")
    }
}

impl Kept {
    fn lend(&mut self, place: &Path) -> Arc<ToolchainGuard> {
        self.used = SystemTime::now();
        // Only the order of sweeping hangs on it.
        let _ = File::options().write(true).open(place.join("bytes")).and_then(|f| f.set_modified(self.used));
        self.lent.upgrade().unwrap_or_else(|| {
            let lent = Arc::new(ToolchainGuard { root: place.join("root") });
            self.lent = Arc::downgrade(&lent);
            lent
        })
    }
}

enum Found {
    Whole(Sha256, Kept),
    /// A download that can go on.
    Part,
    /// What a kill left behind.
    Rubbish,
}

fn look(path: &Path) -> Found {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    if name.strip_suffix(".part").is_some_and(|name| name.parse::<Sha256>().is_ok()) {
        return Found::Part;
    }
    let size = path.join("bytes");
    let whole =
        name.parse().ok().zip(fs::read_to_string(&size).ok().and_then(|text| text.trim().parse().ok()));
    match (whole, fs::metadata(&size).and_then(|metadata| metadata.modified())) {
        (Some((sha256, bytes)), Ok(used)) => Found::Whole(sha256, Kept { bytes, used, lent: Weak::new() }),
        (None, _) | (_, Err(_)) => Found::Rubbish,
    }
}

/// Makes `place` of an archive that has been verified, all at once, and removes the archive.
fn unpack(archive: &Path, place: &Path) -> anyhow::Result<u64> {
    let new = place.with_extension("new");
    remove_tree(&new).with_context(|| format!("clearing {}", new.display()))?;
    let unpacked = (|| -> anyhow::Result<u64> {
        fs::create_dir(&new)?;
        archive::unpack(std::io::BufReader::new(File::open(archive)?), &new.join("root"))?;
        let bytes = size_of(&new)?;
        fs::write(new.join("bytes"), format!("{bytes}\n"))?;
        fs::rename(&new, place)?;
        Ok(bytes)
    })();
    if unpacked.is_err() {
        // The first error is the one to tell.
        let _ = remove_tree(&new);
    }
    let _ = fs::remove_file(archive);
    unpacked.with_context(|| format!("unpacking the toolchain {}", place.display()))
}

fn size_of(root: &Path) -> std::io::Result<u64> {
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
