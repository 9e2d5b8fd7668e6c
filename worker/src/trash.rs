//! Removes trees, whatever a build made of them: of any depth, of any size, with any modes. A tree is moved aside at once, and
//! removed later on a thread of its own, so that no build waits for that.
//!
//! A folder that is not empty is emptied by moving the folders in it beside it. So no path is ever longer than two names, there
//! is no recursion, and what a kill leaves is removed by the next start. Links are removed, not followed.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::Context;

/// The folder to which trees are moved, once this process has one.
static TRASH: OnceLock<Trash> = OnceLock::new();
/// Makes the names of what is moved aside unique in this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

struct Trash {
    folder: PathBuf,
    /// Wakes the thread that empties the folder.
    wake: SyncSender<()>,
}

/// From now on, trees are moved to this folder, and a thread empties it, beginning with what an earlier process left.
pub fn begin(folder: PathBuf) -> anyhow::Result<()> {
    let (wake, woken) = sync_channel(1);
    let emptied = folder.clone();
    std::thread::Builder::new()
        .name("trash".into())
        .spawn(move || {
            loop {
                empty(&emptied);
                if woken.recv().is_err() {
                    return;
                }
            }
        })
        .context("cannot start the thread that removes old files")?;
    // A second folder in one process would be one of a test; the first one stays.
    let _ = TRASH.set(Trash { folder, wake });
    Ok(())
}

/// Removes a tree or a file. Where it can be moved aside, it is gone when this returns, and its space is free later.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return gone(fs::remove_file(path)),
        Err(e) => return gone(Err(e)),
    }
    if let Some(trash) = TRASH.get()
        && let Ok(()) = move_folder(path, &trash.folder.join(unique_name()))
    {
        // The thread lives as long as the process. If it is to wake anyway, that is enough.
        let _ = trash.wake.try_send(());
        return Ok(());
    }
    // On another disk than the trash, or there is none: here and now, beside itself.
    let mut name = OsString::from(".removed-");
    name.push(unique_name());
    let aside = path.with_file_name(name);
    fs::create_dir(&aside)?;
    move_folder(path, &aside.join(unique_name()))?;
    empty(&aside);
    gone(fs::remove_dir(aside))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn unique_name() -> String {
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Moves a folder even if it is write-protected: its `..` changes, which needs the right to write to it.
fn move_folder(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            fs::set_permissions(from, Permissions::from_mode(0o700))?;
            fs::rename(from, to)
        }
        moved => moved,
    }
}

/// Removes everything that is in this folder, and not the folder. What cannot be removed stays, and is logged once.
fn empty(folder: &Path) {
    let stuck = loop {
        let (mut removed, mut stuck) = (0u64, 0u64);
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => match remove_folder(&path, folder) {
                    Ok(()) => removed += 1,
                    Err(_) => stuck += 1,
                },
                false => match fs::remove_file(&path) {
                    Ok(()) => removed += 1,
                    Err(_) => stuck += 1,
                },
            }
        }
        // Folders that came from within others are beside them now.
        if removed == 0 {
            break stuck;
        }
    };
    if stuck > 0 {
        tracing::warn!(
            "{stuck} files or folders in {} cannot be removed; the next start tries again",
            folder.display()
        );
    }
}

/// Removes a folder of the trash, and moves the folders in it to the trash.
fn remove_folder(folder: &Path, trash: &Path) -> io::Result<()> {
    if fs::remove_dir(folder).is_ok() {
        return Ok(());
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    let mut first_error = None;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let removed = match entry.file_type()?.is_dir() {
            true => match fs::remove_dir(&path) {
                Ok(()) => Ok(()),
                Err(_) => move_folder(&path, &trash.join(unique_name())),
            },
            false => fs::remove_file(&path),
        };
        if let Err(error) = removed {
            first_error.get_or_insert(error);
        }
    }
    match first_error {
        Some(error) => Err(error),
        None => fs::remove_dir(folder),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A chain of folders that no path can name as a whole. It is made by a process of its own, since only a working directory
    /// can go down so far.
    fn make_chain(below: &Path, levels: u32) {
        let script = "import os,sys\nfor _ in range(int(sys.argv[1])):\n os.mkdir('d'); os.chdir('d')\nopen('file','w')";
        let made = std::process::Command::new("python3")
            .args(["-c", script, &levels.to_string()])
            .current_dir(below)
            .status();
        assert!(made.expect("python3 makes the chain").success());
    }

    #[test]
    fn a_chain_of_60_000_folders_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        fs::create_dir(&tree).unwrap();
        make_chain(&tree, 60_000);
        remove_tree(&tree).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (tree, precious) = (root.path().join("tree"), root.path().join("precious"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "mine").unwrap();
        for link in ["a/link", "link", "a/b/link"] {
            std::os::unix::fs::symlink(&precious, tree.join(link)).unwrap();
        }
        let link = root.path().join("itself");
        std::os::unix::fs::symlink(&precious, &link).unwrap();
        remove_tree(&link).unwrap();
        remove_tree(&tree).unwrap();
        assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "mine");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_there_is_removed() {
        let root = tempfile::tempdir().unwrap();
        remove_tree(&root.path().join("nothing")).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Whatever shape and modes a tree has, nothing of it is left, and nothing beside it is touched.
        #[test]
        fn trees_of_any_shape_and_modes_are_removed(
            places in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0u32..0o1000), 1..40),
        ) {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join("beside"), "").unwrap();
            let mut folders = vec![root.path().join("tree")];
            fs::create_dir(&folders[0]).unwrap();
            let mut modes = Vec::new();
            for (number, (within, is_folder, mode)) in places.into_iter().enumerate() {
                let path = within.get(&folders).join(number.to_string());
                match is_folder {
                    true => {
                        fs::create_dir(&path).unwrap();
                        folders.push(path.clone());
                    }
                    false => fs::write(&path, "").unwrap(),
                }
                modes.push((path, mode));
            }
            // The deepest first, while they can still be reached.
            for (path, mode) in modes.into_iter().rev() {
                fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            }
            remove_tree(&folders[0]).unwrap();
            let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            prop_assert_eq!(left, ["beside"]);
        }
    }
}
