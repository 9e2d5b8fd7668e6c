//! Against real repositories on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use git2::{FileMode, ObjectType, Oid, Repository, Signature};
use protocol::Source;
use tokio_util::sync::CancellationToken;

use super::export::file_name;
use super::mirrors::{BRANCHES, mirror_name};
use super::*;
use crate::execute::SourceFolder;
use crate::source_date::SOURCE_DATE_EPOCH;

struct Upstream {
    folder: tempfile::TempDir,
    repository: Repository,
    mirrors: Mirrors,
}

impl Upstream {
    fn new() -> Upstream {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path().join("upstream")).unwrap();
        fs::create_dir(folder.path().join("git")).unwrap();
        let mirrors = Mirrors::open(folder.path().join("git"));
        Upstream { folder, repository, mirrors }
    }

    fn tree(&self, entries: &[(&str, &str, FileMode)]) -> Oid {
        let mut builder = self.repository.treebuilder(None).unwrap();
        for (name, content, mode) in entries {
            let id = match mode {
                FileMode::Tree | FileMode::Commit => Oid::from_str(content).unwrap(),
                _ => self.repository.blob(content.as_bytes()).unwrap(),
            };
            builder.insert(name, id, i32::from(*mode)).unwrap();
        }
        builder.write().unwrap()
    }

    fn commit(&self, reference: &str, tree: Oid) -> String {
        let who = Signature::new("a", "a@example.org", &git2::Time::new(1, 0)).unwrap();
        let tree = self.repository.find_tree(tree).unwrap();
        let id = self.repository.commit(None, &who, &who, "m", &tree, &[]).unwrap();
        self.repository.reference(reference, id, true, "").unwrap();
        id.to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn export(&self, revision: &str, into: &str) -> Result<(), String> {
        let git = format!("file://{}", self.path("upstream").display());
        self.export_until(&git, revision, into, &until(60))
    }

    fn export_until(
        &self,
        git: &str,
        revision: &str,
        into: &str,
        until: &SourceDeadline,
    ) -> Result<(), String> {
        let source = Source { git: git.into(), revision: revision.into() };
        self.mirrors.export(&source, &self.path(into), until).map_err(|e| format!("{e:#}"))
    }
}

fn until(seconds: u64) -> SourceDeadline {
    SourceDeadline { deadline: Instant::now() + Duration::from_secs(seconds), stop: CancellationToken::new() }
}

const FILE: FileMode = FileMode::Blob;

#[test]
fn a_revision_is_exported_with_modes_and_links_and_without_git() {
    let upstream = Upstream::new();
    let inner = upstream.tree(&[("deep", "deep\n", FILE)]).to_string();
    let tree = upstream.tree(&[
        ("plain", "text\n", FILE),
        ("run", "#!/bin/sh\n", FileMode::BlobExecutable),
        ("link", "plain", FileMode::Link),
        ("sub", &inner, FileMode::Tree),
        ("module", &"1".repeat(40), FileMode::Commit),
    ]);
    let revision = upstream.commit("refs/heads/main", tree);
    upstream.export(&revision, "out").unwrap();
    let out = upstream.path("out");
    assert_eq!(fs::read_to_string(out.join("plain")).unwrap(), "text\n");
    assert_eq!(fs::read_to_string(out.join("sub/deep")).unwrap(), "deep\n");
    assert_eq!(fs::read_link(out.join("link")).unwrap(), Path::new("plain"));
    assert_ne!(fs::metadata(out.join("run")).unwrap().permissions().mode() & 0o100, 0);
    assert_eq!(fs::metadata(out.join("plain")).unwrap().permissions().mode() & 0o111, 0);
    let modified = fs::metadata(out.join("plain")).unwrap().modified().unwrap();
    assert_eq!(modified, SystemTime::UNIX_EPOCH + Duration::from_secs(SOURCE_DATE_EPOCH));
    let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["link", "plain", "run", "sub"]);
}

#[test]
fn a_mirrored_revision_needs_no_upstream() {
    let upstream = Upstream::new();
    let first = upstream.commit("refs/heads/main", upstream.tree(&[("a", "1", FILE)]));
    upstream.export(&first, "one").unwrap();
    let second = upstream.commit("refs/heads/main", upstream.tree(&[("a", "2", FILE)]));
    upstream.export(&second, "two").unwrap();
    fs::remove_dir_all(upstream.path("upstream")).unwrap();
    upstream.export(&first, "again").unwrap();
    assert_eq!(fs::read_to_string(upstream.path("again/a")).unwrap(), "1");
    assert_eq!(fs::read_to_string(upstream.path("two/a")).unwrap(), "2");
}

#[test]
fn an_incomplete_mirror_is_created_again() {
    let upstream = Upstream::new();
    let revision = upstream.commit("refs/heads/main", upstream.tree(&[("a", "1", FILE)]));
    let git = format!("file://{}", upstream.path("upstream").display());
    fs::create_dir(upstream.path("git").join(mirror_name(&git))).unwrap();
    upstream.export(&revision, "out").unwrap();
}

/// libgit2 assumes that another process holds a lock that exists, and would refuse to fetch forever.
#[test]
fn a_worker_killed_during_a_fetch_can_fetch_again() {
    let mut upstream = Upstream::new();
    let first = upstream.commit("refs/heads/main", upstream.tree(&[("a", "1", FILE)]));
    upstream.export(&first, "one").unwrap();
    let mirrors = upstream.path("git");
    let mirror = fs::read_dir(&mirrors).unwrap().next().unwrap().unwrap().path();
    let main = BRANCHES.split_once(':').unwrap().1.replace('*', "main");
    let left = ["packed-refs.lock", &format!("{main}.lock"), "objects/pack/pack_git2_0123456789abcdef"];
    for left in left {
        fs::write(mirror.join(left), "").unwrap();
    }
    let second = upstream.commit("refs/heads/main", upstream.tree(&[("a", "2", FILE)]));
    upstream.mirrors = Mirrors::open(mirrors);
    upstream.export(&second, "two").unwrap();
    assert!(left.iter().all(|left| !mirror.join(left).exists()));
}

#[test]
fn an_export_that_fails_names_the_reason() {
    let upstream = Upstream::new();
    upstream.commit("refs/heads/main", upstream.tree(&[("a", "1", FILE)]));
    let error = upstream.export(&"1".repeat(40), "out").unwrap_err();
    assert!(error.contains("has no revision 1111"), "{error}");
    for revision in ["main", "", "11", &"g".repeat(40)] {
        assert!(upstream.export(revision, "out").unwrap_err().contains("commit id"));
    }
    let error = upstream
        .export_until("file:///nonexistent/repository", &"1".repeat(40), "out", &until(60))
        .unwrap_err();
    assert!(error.contains("fetching file:///nonexistent/repository"), "{error}");
}

#[test]
fn a_stopped_or_late_export_ends() {
    let upstream = Upstream::new();
    let revision = upstream.commit("refs/heads/main", upstream.tree(&[("a", "1", FILE)]));
    let git = format!("file://{}", upstream.path("upstream").display());
    let error = upstream.export_until(&git, &revision, "out", &until(0)).unwrap_err();
    assert!(error.contains("it took too long"), "{error}");
    let stopped = until(60);
    stopped.stop.cancel();
    let error = upstream.export_until(&git, &revision, "out", &stopped).unwrap_err();
    assert!(error.contains("stopped"), "{error}");
}

#[test]
fn no_file_name_leads_out_of_the_folder() {
    for name in ["..", ".", "", ".git", ".GIT", "a/b", "/etc", "a\0"] {
        assert!(file_name(name.as_bytes()).is_err(), "{name:?}");
    }
    for name in [".gitignore", "..a", "ä", "a b"] {
        assert!(file_name(name.as_bytes()).is_ok(), "{name:?}");
    }
}

/// Git's own tools cannot create such a tree: a link `d`, and a folder `d` that would be written through the link.
#[test]
fn a_link_and_a_folder_with_the_same_name_are_refused() {
    let upstream = Upstream::new();
    let outside = upstream.path("outside");
    fs::create_dir(&outside).unwrap();
    let link = upstream.repository.blob(outside.to_str().unwrap().as_bytes()).unwrap();
    let inner = upstream.tree(&[("evil", "x", FILE)]);
    let mut raw = b"120000 d\0".to_vec();
    raw.extend(link.as_bytes());
    raw.extend(b"40000 d\0");
    raw.extend(inner.as_bytes());
    let tree = upstream.repository.odb().unwrap().write(ObjectType::Tree, &raw).unwrap();
    let revision = upstream.commit("refs/heads/main", tree);
    assert!(upstream.export(&revision, "out").is_err());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

/// The sources of an upstream, given by these means.
fn sources(upstream: &Upstream, means: TreeMeans) -> SourceTrees {
    let folder = upstream.path("sources");
    fs::create_dir_all(&folder).unwrap();
    SourceTrees::open(Mirrors::open(upstream.path("git")), folder, 1 << 30, means).unwrap()
}

#[test]
fn a_revision_is_exported_once_and_each_copy_is_its_builds_own() {
    let upstream = Upstream::new();
    let inner = upstream.tree(&[("run", "echo", FileMode::BlobExecutable)]);
    let entries =
        [("a", "text", FILE), ("inner", &inner.to_string(), FileMode::Tree), ("link", "a", FileMode::Link)];
    let revision = upstream.commit("refs/heads/main", upstream.tree(&entries));
    let source = Source { git: format!("file://{}", upstream.path("upstream").display()), revision };
    let trees = sources(&upstream, TreeMeans::Copy);
    for build in ["one", "two"] {
        let copy = upstream.path(build);
        let given = trees.give(&source, &copy, &until(60)).unwrap();
        assert!(matches!(given.folder, SourceFolder::Own(folder) if folder == copy));
        assert_eq!(fs::read_to_string(copy.join("link")).unwrap(), "text");
        let program = fs::metadata(copy.join("inner/run")).unwrap();
        assert_eq!(program.permissions().mode() & 0o777, 0o755);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(SOURCE_DATE_EPOCH);
        assert_eq!(program.modified().unwrap(), time);
        fs::write(copy.join("a"), "changed by a build").unwrap();
        // From here on neither repository is needed.
        for gone in ["upstream", "git"] {
            let _ = fs::remove_dir_all(upstream.path(gone));
        }
    }
    let again = sources(&upstream, TreeMeans::Copy).give(&source, &upstream.path("three"), &until(60));
    again.map(|_| ()).unwrap();
    assert_eq!(fs::read_to_string(upstream.path("three/a")).unwrap(), "text");
}

#[test]
fn an_export_that_fails_or_is_stopped_leaves_no_tree() {
    let upstream = Upstream::new();
    let revision = upstream.commit("refs/heads/main", upstream.tree(&[("a", "1", FILE)]));
    let git = format!("file://{}", upstream.path("upstream").display());
    let trees = sources(&upstream, TreeMeans::Copy);
    let missing = Source { git: git.clone(), revision: "0".repeat(40) };
    let source = Source { git, revision };
    assert!(trees.tree(&missing, &until(60)).is_err());
    assert!(trees.tree(&source, &until(0)).is_err());
    assert_eq!(fs::read_dir(upstream.path("sources")).unwrap().count(), 0);
    trees.tree(&source, &until(60)).unwrap();
}

#[test]
fn builds_that_ask_at_the_same_time_share_one_export() {
    let upstream = Upstream::new();
    let revision = upstream.commit("refs/heads/main", upstream.tree(&[("a", "1", FILE)]));
    let source = Source { git: format!("file://{}", upstream.path("upstream").display()), revision };
    let trees = sources(&upstream, TreeMeans::Copy);
    let roots: Vec<PathBuf> = std::thread::scope(|scope| {
        let ask = || trees.tree(&source, &until(60)).unwrap().root().to_path_buf();
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asked.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(roots.iter().all(|root| *root == roots[0]));
    assert_eq!(fs::read_dir(upstream.path("sources")).unwrap().count(), 1);
}
