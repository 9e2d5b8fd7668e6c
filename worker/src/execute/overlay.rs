//! An overlay: a build sees a shared tree as if it were its own, and what it changes goes into a layer in its own folder.
//! Bubblewrap's older versions mount none, so it is mounted before bubblewrap starts, in a mount namespace of the step.
//!
//! Unlike in a copy, rename(2) of a *folder* of the shared tree fails with EXDEV where the mount is a user's; `mv` and
//! the like then copy it.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{getgid, getuid, write};

use crate::trash::remove_tree;

/// How this machine allows to mount an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlay {
    /// By root itself.
    ByRoot,
    /// In a user namespace, whoever runs the worker.
    ByUser,
}

/// A shared tree and the folders in which a build sees it and changes it.
#[derive(Debug, Clone)]
pub struct Layers {
    pub overlay: Overlay,
    /// Never written.
    pub tree: PathBuf,
    pub changes: PathBuf,
    /// Where the kernel prepares changes; on the same disk.
    pub work: PathBuf,
    /// Where the build sees the tree with its changes.
    pub mounted: PathBuf,
}

impl Overlay {
    /// Tries, by a real mount below this folder, what this machine supports. Starts processes and waits for them.
    pub fn find(below: &Path) -> Result<Overlay, String> {
        let mut reason = String::new();
        for overlay in [Overlay::ByRoot, Overlay::ByUser] {
            match overlay.probe(below) {
                Ok(()) => return Ok(overlay),
                Err(error) => reason = format!("{error:#}"),
            }
        }
        Err(reason)
    }

    fn probe(self, below: &Path) -> anyhow::Result<()> {
        let folder = tempfile::Builder::new().prefix("overlay-").tempdir_in(below)?.keep();
        let tried = self.try_in(&folder);
        // The kernel leaves a folder in it that only this function can remove as a user.
        remove_tree(&folder)?;
        tried
    }

    fn try_in(self, folder: &Path) -> anyhow::Result<()> {
        let tree = folder.join("tree");
        fs::create_dir_all(tree.join("folder"))?;
        for name in ["changed", "removed", "folder/removed"] {
            fs::write(tree.join(name), "as it was")?;
        }
        let layers = Layers::create(self, tree.clone(), folder, &folder.join("mounted"))?;
        let mut command = Command::new("/bin/sh");
        command.env_clear().current_dir("/").stdin(std::process::Stdio::null()).args([
            "-c",
            "cd \"$0\" && echo new > changed && rm removed && rm -r folder && echo new > folder && cat changed",
        ]);
        command.arg(&layers.mounted);
        layers.mount_for(&mut command)?;
        let output = command.output().context("mounting an overlay")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "writing to an overlay: {}", error.trim());
        ensure!(output.stdout == b"new\n", "an overlay does not show what was written to it");
        for name in ["changed", "removed", "folder/removed"] {
            let text = fs::read_to_string(tree.join(name))?;
            ensure!(text == "as it was", "an overlay lets its tree be changed");
        }
        Ok(())
    }
}

impl Layers {
    /// Creates the folders of a build's own layer in `folder`.
    pub fn create(overlay: Overlay, tree: PathBuf, folder: &Path, mounted: &Path) -> io::Result<Layers> {
        let layer = folder.join("layer");
        let (changes, work) = (layer.join("changes"), layer.join("work"));
        for path in [&changes, &work, &mounted.to_path_buf()] {
            fs::create_dir_all(path)?;
        }
        Ok(Layers { overlay, tree, changes, work, mounted: mounted.to_path_buf() })
    }

    /// Lets the command see the tree. Nothing outside the command's own namespace sees the mount.
    pub fn mount_for(&self, command: &mut Command) -> io::Result<()> {
        let mount = OverlayMount::new(self)?;
        #[expect(unsafe_code, reason = "std and nix cannot mount in a child without pre_exec")]
        // SAFETY: between fork and exec only async-signal-safe calls are allowed. `OverlayMount::mount` makes plain system
        // calls with texts that were made before the fork, and allocates nothing.
        unsafe {
            command.pre_exec(move || mount.mount());
        }
        Ok(())
    }

    /// The options of the mount.
    fn options(&self) -> OsString {
        let mut options = OsString::from(match self.overlay {
            // So that folders of the tree can be renamed as elsewhere.
            Overlay::ByRoot => "index=off,redirect_dir=on,metacopy=off",
            Overlay::ByUser => "index=off,userxattr",
        });
        for (name, path) in [("lowerdir", &self.tree), ("upperdir", &self.changes), ("workdir", &self.work)] {
            options.push(format!(",{name}="));
            options.push(escaped(path));
        }
        options
    }
}

/// A path as an option of the mount: there, a comma and a colon have a meaning.
fn escaped(path: &Path) -> OsString {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b',' | b':') {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    std::os::unix::ffi::OsStringExt::from_vec(escaped)
}

/// All texts that the mount needs.
struct OverlayMount {
    overlay: Overlay,
    mounted: CString,
    options: CString,
    user: String,
    group: String,
}

impl OverlayMount {
    fn new(layers: &Layers) -> io::Result<OverlayMount> {
        let (user, group) = (getuid(), getgid());
        Ok(OverlayMount {
            overlay: layers.overlay,
            mounted: CString::new(layers.mounted.as_os_str().as_bytes())?,
            options: CString::new(layers.options().as_bytes())?,
            // The same numbers within, so that the command sees no difference.
            user: format!("{user} {user} 1"),
            group: format!("{group} {group} 1"),
        })
    }

    fn mount(&self) -> io::Result<()> {
        match self.overlay {
            Overlay::ByRoot => unshare(CloneFlags::CLONE_NEWNS)?,
            Overlay::ByUser => {
                unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
                write_to(c"/proc/self/setgroups", "deny")?;
                write_to(c"/proc/self/uid_map", &self.user)?;
                write_to(c"/proc/self/gid_map", &self.group)?;
            }
        }
        let nothing = None::<&std::ffi::CStr>;
        mount(nothing, c"/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
        let overlay = c"overlay";
        mount(
            Some(overlay),
            self.mounted.as_c_str(),
            Some(overlay),
            MsFlags::empty(),
            Some(self.options.as_c_str()),
        )?;
        Ok(())
    }
}

fn write_to(path: &std::ffi::CStr, text: &str) -> io::Result<()> {
    let file = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    match write(&file, text.as_bytes())? {
        written if written == text.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_works_in_a_folder_with_any_name_or_says_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("a,b:c\\d e=f");
        fs::create_dir(&here).unwrap();
        match (Overlay::find(folder.path()), Overlay::find(&here)) {
            (Ok(plain), Ok(odd)) => assert_eq!(plain, odd),
            (Err(plain), Err(odd)) => {
                assert!(!plain.is_empty() && !odd.is_empty());
                eprintln!("SKIPPED: {plain}");
            }
            (plain, odd) => panic!("{plain:?} in a plain folder, {odd:?} in {}", here.display()),
        }
        assert_eq!(fs::read_dir(&here).unwrap().count(), 0);
    }
}
