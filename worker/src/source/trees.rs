//! The sources of builds. A revision is exported once, into a tree that all builds of it share, and each build gets it by
//! the cheapest means of this machine by which no build can change it for others. Hard links are no such means: a step owns
//! the files that it sees, so it could write into each of them.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use protocol::Source;
use sha2::{Digest, Sha256};

use super::checkout;
use super::deadline::SourceDeadline;
use super::mirrors::Mirrors;
use crate::execute::{Overlay, Sandbox, SharedTree, SourceFolder};
use crate::source_date::SOURCE_DATE_EPOCH;
use crate::trees::{TreeGuard, TreeStore};

/// How a build gets a tree that it shares with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeMeans {
    /// It is mounted; the build's changes go into a layer of its own.
    Overlay(Overlay),
    /// It is copied. Some file systems, such as Btrfs and XFS, let the copy share the blocks of the files.
    Copy,
}

impl TreeMeans {
    /// Tries what this machine supports, in the folder in which builds will run. Blocks.
    pub fn find(sandbox: &Sandbox, work: &Path) -> TreeMeans {
        let found = match sandbox {
            Sandbox::None => Err("without a sandbox, nothing can be mounted".to_string()),
            Sandbox::Bubblewrap { .. } => Overlay::find(work),
        };
        match found {
            Ok(overlay) => {
                tracing::info!("builds share unpacked sources by overlay");
                TreeMeans::Overlay(overlay)
            }
            Err(reason) => {
                tracing::info!("builds get copies of unpacked sources ({reason})");
                TreeMeans::Copy
            }
        }
    }
}

/// The sources of this worker. The methods block: call them on a thread that may block.
pub struct SourceTrees {
    mirrors: Mirrors,
    trees: TreeStore,
    means: TreeMeans,
    /// Allows one export at a time of each revision. A second build that waits for it finds the tree.
    exports: Mutex<HashMap<protocol::Sha256, Arc<Mutex<()>>>>,
}

/// A revision, and what of it is exported.
#[derive(Debug, Clone, Copy)]
pub struct WantedSource<'a> {
    pub source: &'a Source,
    pub with_submodules: bool,
}

/// A build's source, and what keeps it there until the build has ended.
pub struct GivenSource {
    pub folder: SourceFolder,
    pub guard: Option<Arc<TreeGuard>>,
}

impl SourceTrees {
    /// Blocks.
    pub fn open(
        mirrors: Mirrors,
        folder: PathBuf,
        limit_bytes: u64,
        means: TreeMeans,
    ) -> anyhow::Result<SourceTrees> {
        let trees = TreeStore::open(folder, limit_bytes, |_| false)?;
        Ok(SourceTrees { mirrors, trees, means, exports: Mutex::default() })
    }

    /// Gives a source to a build that may change it. `copy` is where its copy goes, if it is copied.
    pub fn give(
        &self,
        wanted: WantedSource<'_>,
        copy: &Path,
        until: &SourceDeadline,
    ) -> anyhow::Result<GivenSource> {
        let guard = self.tree(wanted, until)?;
        Ok(match self.means {
            TreeMeans::Overlay(overlay) => {
                let tree = SharedTree { root: guard.root().to_path_buf(), overlay };
                GivenSource { folder: SourceFolder::Shared(tree), guard: Some(guard) }
            }
            TreeMeans::Copy => {
                copy_tree(guard.root(), copy, until)?;
                GivenSource { folder: SourceFolder::Own(copy.to_path_buf()), guard: None }
            }
        })
    }

    /// The same for a source that is used once, such as a trunk's change: where it would be copied, it is exported where the
    /// build wants it, and not kept.
    pub fn give_once(
        &self,
        wanted: WantedSource<'_>,
        copy: &Path,
        until: &SourceDeadline,
    ) -> anyhow::Result<GivenSource> {
        match self.means {
            TreeMeans::Overlay(_) => self.give(wanted, copy, until),
            TreeMeans::Copy => {
                self.export(wanted, copy, until)?;
                Ok(GivenSource { folder: SourceFolder::Own(copy.to_path_buf()), guard: None })
            }
        }
    }

    /// Writes a copy of a source.
    pub fn copy(&self, wanted: WantedSource<'_>, into: &Path, until: &SourceDeadline) -> anyhow::Result<()> {
        copy_tree(self.tree(wanted, until)?.root(), into, until)
    }

    /// A source to be mounted read-only.
    pub fn tree(&self, wanted: WantedSource<'_>, until: &SourceDeadline) -> anyhow::Result<Arc<TreeGuard>> {
        let key = key(wanted)?;
        if let Some(tree) = self.trees.find(key) {
            return Ok(tree);
        }
        let export = {
            let mut exports = self.exports.lock().expect("no holder of this lock panics");
            // Those that nobody waits for are over.
            exports.retain(|_, export| Arc::strong_count(export) > 1);
            Arc::clone(exports.entry(key).or_default())
        };
        // An export that panicked left no tree.
        let _one_at_a_time = export.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match self.trees.find(key) {
            Some(tree) => Ok(tree),
            None => self.trees.add(key, |root| self.export(wanted, root, until)),
        }
    }

    /// What `git describe --tags --always` prints for a revision. No tree has it: a tag may be set later.
    pub fn describe(&self, source: &Source, until: &SourceDeadline) -> anyhow::Result<String> {
        self.mirrors.describe(source, until)
    }

    fn export(&self, wanted: WantedSource<'_>, into: &Path, until: &SourceDeadline) -> anyhow::Result<()> {
        checkout::export(&self.mirrors, wanted.source, wanted.with_submodules, into, until)
    }
}

/// All that decides what an export contains.
fn key(wanted: WantedSource<'_>) -> anyhow::Result<protocol::Sha256> {
    let source =
        serde_json::to_vec(&(wanted.source, wanted.with_submodules)).context("writing a source as JSON")?;
    Ok(protocol::Sha256(Sha256::digest(source).into()))
}

/// Copies an exported tree, with the times of its files.
fn copy_tree(from: &Path, to: &Path, until: &SourceDeadline) -> anyhow::Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(SOURCE_DATE_EPOCH);
    let mut folders = vec![(from.to_path_buf(), to.to_path_buf())];
    while let Some((from, to)) = folders.pop() {
        fs::create_dir(&to).with_context(|| format!("creating {}", to.display()))?;
        for entry in fs::read_dir(&from).with_context(|| format!("listing {}", from.display()))? {
            until.check().context("copying the source")?;
            let entry = entry?;
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            let copied = match entry.file_type()? {
                kind if kind.is_dir() => {
                    folders.push((from, to));
                    continue;
                }
                kind if kind.is_symlink() => fs::read_link(&from).and_then(|target| symlink(target, &to)),
                _ => fs::copy(&from, &to)
                    .and_then(|_| fs::File::options().write(true).open(&to)?.set_modified(time)),
            };
            copied.with_context(|| format!("copying to {}", to.display()))?;
        }
    }
    Ok(())
}
