//! The folders of one build, and where a step sees them. Everything that a step may write lies here, on disk and
//! not in the volunteer's memory, and goes when the build goes.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use protocol::prefix;

use super::ExecutionJob;

/// Where a step finds what is not in [`protocol::prefix`].
pub mod seen {
    pub const HOME: &str = "/trunkfarm/home";
    pub const CASES: &str = "/trunkfarm/cases";
    pub const LOCK: &str = "/trunkfarm/lock";
    pub const TEMPORARY: &str = "/tmp";
}

/// Real paths, all below the build's own folder except those that were handed in.
#[derive(Debug, Clone)]
pub struct Workspace {
    pub toolchain: ToolchainUse,
    pub source: PathBuf,
    pub out: PathBuf,
    /// Empty when the build starts, kept from step to step.
    pub home: PathBuf,
    pub temporary: PathBuf,
    /// The few files of `/etc` that are ours, so that they are the same on every machine.
    pub etc: PathBuf,
    /// What steps printed, where their report is read from it.
    pub captured: PathBuf,
    /// The names of the cases in question, one a line.
    pub cases: Option<PathBuf>,
    /// The sources of the projects that this one needs, each in a folder of its name.
    pub needs: Option<PathBuf>,
    pub lock: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub enum ToolchainUse {
    /// This build makes one here.
    Making(PathBuf),
    /// This build uses the one that lies here.
    Using(PathBuf),
}

impl ToolchainUse {
    pub fn path(&self) -> &Path {
        match self {
            ToolchainUse::Making(path) | ToolchainUse::Using(path) => path,
        }
    }
}

/// The same places as a step names them.
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
    /// Lays the folders of a job out in its own folder, which is ours alone.
    pub fn lay(job: &ExecutionJob) -> io::Result<Workspace> {
        let (folder, cases) = (&job.folder, &job.plan.cases);
        let made = |name: &str| {
            let path = folder.join(name);
            fs::create_dir_all(&path).map(|()| path)
        };
        let workspace = Workspace {
            toolchain: match &job.toolchain {
                Some(path) => ToolchainUse::Using(path.clone()),
                None => ToolchainUse::Making(made("toolchain")?),
            },
            source: job.source.clone(),
            needs: job.needs.clone(),
            lock: job.lock.clone(),
            out: made("out")?,
            home: made("home")?,
            temporary: made("tmp")?,
            etc: made("etc")?,
            captured: made("captured")?,
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

    /// How a step names these places when they are mounted for it.
    pub fn mounted(&self) -> SandboxPaths<'_> {
        SandboxPaths {
            toolchain: Path::new(prefix::TOOLCHAIN),
            source: Path::new(prefix::SOURCE),
            out: Path::new(prefix::OUT),
            home: Path::new(seen::HOME),
            temporary: Path::new(seen::TEMPORARY),
            cases: self.cases.as_ref().map(|_| Path::new(seen::CASES)),
            needs: self.needs.as_ref().map(|_| Path::new(prefix::NEEDS)),
            lock: self.lock.as_ref().map(|_| Path::new(seen::LOCK)),
        }
    }

    /// How a step names these places when nothing can be mounted.
    pub fn plain(&self) -> SandboxPaths<'_> {
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

/// Removes a build's folder, whatever the build has forbidden in it: some tools write-protect the folders of their
/// caches, and what is not root cannot empty those. Links are removed, not followed.
pub fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            open_up(folder)?;
            fs::remove_dir_all(folder)
        }
        done => done,
    }
}

fn open_up(folder: &Path) -> io::Result<()> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

/// Who lives in a sandbox and what its own machine is called: constant, and nothing about the volunteer.
const ETC: [(&str, &str); 3] = [
    ("hosts", "127.0.0.1 localhost trunkfarm\n::1 localhost trunkfarm\n"),
    (
        "passwd",
        "root:x:0:0:root:/trunkfarm/home:/bin/sh\nfarm:x:1000:1000:farm:/trunkfarm/home:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("group", "root:x:0:\nfarm:x:1000:\nnogroup:x:65534:\n"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_even_where_its_build_has_forbidden_it() {
        let kept = tempfile::tempdir().unwrap();
        fs::write(kept.path().join("file"), "").unwrap();
        let folder = kept.path().join("build");
        fs::create_dir_all(folder.join("cache/locked")).unwrap();
        fs::write(folder.join("cache/locked/file"), "").unwrap();
        std::os::unix::fs::symlink(kept.path(), folder.join("cache/link")).unwrap();
        for locked in ["cache/locked", "cache"] {
            fs::set_permissions(folder.join(locked), Permissions::from_mode(0o000)).unwrap();
        }
        remove(&folder).unwrap();
        assert!(!folder.exists() && kept.path().join("file").exists());
    }
}
