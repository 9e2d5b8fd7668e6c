//! A source tree that builds share: each sees it as its own, and none changes it.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;

/// Every way to mount an overlay that this machine supports.
fn overlays() -> Vec<Overlay> {
    let folder = tempfile::tempdir().unwrap();
    match Overlay::find(folder.path()) {
        Ok(Overlay::ByRoot) => vec![Overlay::ByRoot, Overlay::ByUser],
        Ok(Overlay::ByUser) => vec![Overlay::ByUser],
        Err(reason) => {
            eprintln!("SKIPPED with an overlay: {reason}");
            vec![]
        }
    }
}

/// All that a tree has: modes, times, contents and targets of links, by path.
fn content(root: &Path) -> BTreeMap<PathBuf, (u32, i64, Vec<u8>)> {
    let mut content = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        let bytes = match metadata.file_type() {
            kind if kind.is_dir() => Vec::new(),
            kind if kind.is_symlink() => {
                fs::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes()
            }
            _ => fs::read(entry.path()).unwrap(),
        };
        content.insert(entry.path().to_path_buf(), (metadata.mode(), metadata.mtime(), bytes));
    }
    content
}

/// A build whose source is this tree.
fn build_of(tree: &Path, sandbox: &Sandbox, overlay: Overlay, steps: Vec<RecipeStep>) -> TestBuild {
    let mut build = TestBuild::suite(sandbox, steps);
    build.job.inputs.source = SourceFolder::Shared(SharedTree { root: tree.to_path_buf(), overlay });
    // Its folder as the worker has it: the source is mounted in it.
    build.job.folder = build.folder.path().join("build");
    build
}

#[test]
fn no_build_changes_the_tree_that_it_shares_and_each_keeps_its_own_changes() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("folder/inner")).unwrap();
    for name in ["file", "folder/file", "folder/inner/file", "program"] {
        fs::write(tree.join(name), format!("{name}\n")).unwrap();
    }
    fs::set_permissions(tree.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("folder/file", tree.join("link")).unwrap();
    let before = content(&tree);
    // Every way to change a file, a folder or a link that a step has; the owner may change modes as well.
    let changes = "cat file folder/file link; echo more >> file; echo through > link; rm -r folder/inner; \
                   chmod 600 program; chmod 700 .; ln file hard; echo hard >> hard; touch -d @1 program; \
                   mv folder moved; mkdir folder; echo new > folder/file; rm link";
    let look = "cat file folder/file moved/file hard; ls; stat -c %a program";
    for sandbox in bubblewraps() {
        for overlay in overlays() {
            for _ in 0..2 {
                let build = build_of(&tree, &sandbox, overlay, vec![step(changes), step(look)]);
                let received = build.run();
                assert_eq!(received.ends, [exit(0), exit(0)], "{sandbox:?} {overlay:?}: {}", received.log);
                assert_eq!(
                    received.log,
                    "file\nfolder/file\nfolder/file\n\
                     file\nmore\nhard\nnew\nthrough\nfile\nmore\nhard\n\
                     file\nfolder\nhard\nmoved\nprogram\n600\n",
                    "{sandbox:?} {overlay:?}"
                );
                assert_eq!(content(&tree), before, "{sandbox:?} {overlay:?}");
            }
        }
    }
}

#[test]
fn a_step_cannot_reach_the_tree_beneath_its_changes() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("secret-of-the-tree"), "x").unwrap();
    // Neither by a path, nor by a descriptor that was left open, nor by a mount of its own.
    let tries = format!(
        "ls {0} 2>/dev/null && echo seen by path; \
         for fd in /proc/self/fd/*; do readlink $fd | grep -q tree && echo open: $fd; done; \
         unshare -Urm sh -c 'umount /trunkfarm/src; mount -o remount,rw /usr; touch /usr/x' 2>/dev/null \
         && echo unmounted; ls",
        tree.display()
    );
    for sandbox in bubblewraps() {
        for overlay in overlays() {
            let received = build_of(&tree, &sandbox, overlay, vec![step(&tries)]).run();
            assert_eq!(received.log, "secret-of-the-tree\n", "{sandbox:?} {overlay:?}");
        }
    }
}

#[test]
fn a_build_that_shares_its_source_can_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "x").unwrap();
    for sandbox in bubblewraps() {
        for overlay in overlays() {
            let build = build_of(&tree, &sandbox, overlay, vec![step("rm file; mkdir -p a/b; chmod 0 a")]);
            let job_folder = build.job.folder.clone();
            let received = build.run();
            assert_eq!(received.ends, [exit(0)], "{}", received.log);
            crate::trash::remove_tree(&job_folder).unwrap();
            assert!(!job_folder.exists());
        }
    }
}
