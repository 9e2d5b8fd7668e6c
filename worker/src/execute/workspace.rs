//! The folders of one build, and the paths by which a step finds them. Everything that a step may write is here, on
//! disk and not in the volunteer's memory, and is removed with the build. The one exception is the sandbox's `/dev`, which
//! bubblewrap keeps in memory: programs expect `/dev/shm` to be there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use protocol::{DeclaredCache, prefix};

use super::overlay::{Layers, Overlay};
use crate::caches::CacheGuard;

/// Where a step finds what is not in [`protocol::prefix`].
pub mod mount_point {
    pub const HOME: &str = "/trunkfarm/home";
    pub const CASES: &str = "/trunkfarm/cases";
    /// Each declared cache is in a folder of its name here, and not where the recipe wants it: a mount there would follow a link
    /// that an earlier step has put in its way.
    pub const CACHES: &str = "/trunkfarm/caches";
    pub const LOCK: &str = "/trunkfarm/lock";
    pub const TEMPORARY: &str = "/tmp";
}

/// What a build uses and does not create itself.
#[derive(Debug, Clone)]
pub struct WorkspaceInputs {
    /// The exported source, without `.git`; steps write to it.
    pub source: SourceFolder,
    /// The unpacked toolchain that the plan names; no sandboxed step writes to it.
    pub toolchain: Option<PathBuf>,
    /// The sources of the projects that the plan needs, each in a folder with its name.
    pub needs: Option<PathBuf>,
    /// The trees that are mounted on folders in `needs`, and the names of these.
    pub mounted_needs: Vec<(String, PathBuf)>,
    /// The caches that the plan declares.
    pub caches: Vec<MountedCache>,
    /// The lock that the plan names.
    pub lock: Option<PathBuf>,
    /// How git describes the revision: `FARM_VERSION`.
    pub version: Option<String>,
}

/// A declared cache, and the folder in which it is.
#[derive(Clone)]
pub struct MountedCache {
    pub declared: DeclaredCache,
    pub guard: CacheGuard,
}

impl std::fmt::Debug for MountedCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MountedCache").field(&self.declared).finish()
    }
}

/// Where a build has its source.
#[derive(Debug, Clone)]
pub enum SourceFolder {
    /// In a folder of this build alone.
    Own(PathBuf),
    /// In a tree that other builds use, too.
    Shared(SharedTree),
}

/// A tree that no build may change, and how a build sees it as if it were its own.
#[derive(Debug, Clone)]
pub struct SharedTree {
    pub root: PathBuf,
    pub overlay: Overlay,
}

/// Real paths, all below the build's own folder except the inputs.
#[derive(Debug, Clone)]
pub struct Workspace {
    pub toolchain: ToolchainUse,
    pub source: PathBuf,
    /// If the source is a shared tree; then `source` is empty but for the build's steps.
    pub layers: Option<Layers>,
    pub out: PathBuf,
    /// Empty when the build starts, kept from step to step.
    pub home: PathBuf,
    pub temporary: PathBuf,
    /// The files of `/etc` that we write ourselves, so that they are the same on every machine.
    pub etc: PathBuf,
    /// What steps printed, if their report is read from it.
    pub captured: PathBuf,
    /// The names of the cases that the plan selects, one per line.
    pub cases: Option<PathBuf>,
    pub needs: Option<PathBuf>,
    pub mounted_needs: Vec<(String, PathBuf)>,
    pub caches: Vec<MountedCache>,
    pub lock: Option<PathBuf>,
}

/// Whether a build makes a toolchain or tests one.
#[derive(Debug, Clone)]
pub enum ToolchainUse {
    /// This build installs a toolchain here.
    Making(PathBuf),
    /// This build uses the toolchain that is here.
    Using(PathBuf),
}

impl ToolchainUse {
    pub fn path(&self) -> &Path {
        match self {
            ToolchainUse::Making(path) | ToolchainUse::Using(path) => path,
        }
    }
}

/// The same folders, by the paths that a step uses.
#[derive(Debug, Clone, Copy)]
pub struct SandboxPaths<'a> {
    pub toolchain: &'a Path,
    pub source: &'a Path,
    pub out: &'a Path,
    pub home: &'a Path,
    pub temporary: &'a Path,
    pub cases: Option<&'a Path>,
    pub needs: Option<&'a Path>,
    pub lock: Option<&'a Path>,
}

impl Workspace {
    /// Creates a build's folders and files in its own folder.
    pub fn create(folder: &Path, inputs: &WorkspaceInputs, cases: &[String]) -> io::Result<Workspace> {
        let create = |name: &str| {
            let path = folder.join(name);
            fs::create_dir_all(&path).map(|()| path)
        };
        let (source, layers) = match &inputs.source {
            SourceFolder::Own(path) => (path.clone(), None),
            SourceFolder::Shared(SharedTree { root, overlay }) => {
                let mounted = folder.join("src");
                let layers = Layers::create(*overlay, root.clone(), folder, &mounted)?;
                (mounted, Some(layers))
            }
        };
        let workspace = Workspace {
            toolchain: match &inputs.toolchain {
                Some(path) => ToolchainUse::Using(path.clone()),
                None => ToolchainUse::Making(create("toolchain")?),
            },
            source,
            layers,
            needs: inputs.needs.clone(),
            mounted_needs: inputs.mounted_needs.clone(),
            caches: inputs.caches.clone(),
            lock: inputs.lock.clone(),
            out: create("out")?,
            home: create("home")?,
            temporary: create("tmp")?,
            etc: create("etc")?,
            captured: create("captured")?,
            cases: (!cases.is_empty()).then(|| folder.join("cases")),
        };
        for (name, text) in ETC {
            fs::write(workspace.etc.join(name), text)?;
        }
        if let Some(path) = &workspace.cases {
            fs::write(path, cases.join("\n") + "\n")?;
        }
        Ok(workspace)
    }

    /// Opens the folders that the next step begins with: an earlier step may have taken its own rights to them away.
    pub fn unlock_folders(&self) -> io::Result<()> {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let made = match &self.toolchain {
            ToolchainUse::Making(path) => Some(path),
            ToolchainUse::Using(_) => None,
        };
        let changes = self.layers.as_ref().map(|layers| &layers.changes);
        let own = [&self.source, &self.out, &self.home, &self.temporary];
        for folder in own.into_iter().chain(made).chain(changes) {
            let mode = fs::metadata(folder)?.mode() & 0o7777;
            if mode & 0o700 != 0o700 {
                fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o700))?;
            }
        }
        Ok(())
    }

    /// Puts a link to each cache where the recipe wants it. Call this before the first step, while `HOME` is empty.
    pub fn link_caches(&self, are_mounted: bool) -> io::Result<()> {
        for MountedCache { declared, guard } in &self.caches {
            let link = self.home.join(&declared.path);
            let target = match are_mounted {
                true => Path::new(mount_point::CACHES).join(&declared.name),
                false => guard.data(),
            };
            fs::create_dir_all(link.parent().unwrap_or(&self.home))?;
            std::os::unix::fs::symlink(target, link)?;
        }
        Ok(())
    }

    /// The paths that a step uses in a sandbox, where these folders are mounted.
    pub fn mounted(&self) -> SandboxPaths<'_> {
        SandboxPaths {
            toolchain: Path::new(prefix::TOOLCHAIN),
            source: Path::new(prefix::SOURCE),
            out: Path::new(prefix::OUT),
            home: Path::new(mount_point::HOME),
            temporary: Path::new(mount_point::TEMPORARY),
            cases: self.cases.as_ref().map(|_| Path::new(mount_point::CASES)),
            needs: self.needs.as_ref().map(|_| Path::new(prefix::NEEDS)),
            lock: self.lock.as_ref().map(|_| Path::new(mount_point::LOCK)),
        }
    }

    /// The paths that a step uses without a sandbox, where nothing can be mounted.
    pub fn unmounted(&self) -> SandboxPaths<'_> {
        SandboxPaths {
            toolchain: self.toolchain.path(),
            source: &self.source,
            out: &self.out,
            home: &self.home,
            temporary: &self.temporary,
            cases: self.cases.as_deref(),
            needs: self.needs.as_deref(),
            lock: self.lock.as_deref(),
        }
    }
}

/// The users and host names in a sandbox: constant, and nothing about the volunteer.
const ETC: [(&str, &str); 3] = [
    ("hosts", "127.0.0.1 localhost trunkfarm\n::1 localhost trunkfarm\n"),
    (
        "passwd",
        "root:x:0:0:root:/trunkfarm/home:/bin/sh\nfarm:x:1000:1000:farm:/trunkfarm/home:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("group", "root:x:0:\nfarm:x:1000:\nnogroup:x:65534:\n"),
];
