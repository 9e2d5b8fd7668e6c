//! Against real repositories on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use git2::{FileMode, ObjectType, Oid, Repository, Signature};
use protocol::Source;
use tokio_util::sync::CancellationToken;

use super::checkout::export;
use super::export::file_name;
use super::mirrors::{BRANCHES, mirror_name};
use super::*;
use crate::execute::SourceFolder;
use crate::source_date::SOURCE_DATE_EPOCH;

struct Upstream {
    folder: tempfile::TempDir,
    repository: Repository,
    mirrors: Mirrors,
    with_submodules: bool,
}

impl Upstream {
    fn new() -> Upstream {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path().join("upstream")).unwrap();
        fs::create_dir(folder.path().join("git")).unwrap();
        let mirrors = Mirrors::open(folder.path().join("git"));
        Upstream { folder, repository, mirrors, with_submodules: false }
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
        export(&self.mirrors, &source, self.with_submodules, &self.path(into), until)
            .map_err(|e| format!("{e:#}"))
    }
}

fn until(seconds: u64) -> SourceDeadline {
    SourceDeadline {
        what: "the source".to_string(),
        deadline: Instant::now() + Duration::from_secs(seconds),
        stop: CancellationToken::new(),
        on_progress: None,
    }
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

/// A source without its submodules.
fn plain(source: &Source) -> WantedSource<'_> {
    WantedSource { source, with_submodules: false }
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
        let given = trees.give(plain(&source), &copy, &until(60)).unwrap();
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
    let again = sources(&upstream, TreeMeans::Copy).give(plain(&source), &upstream.path("three"), &until(60));
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
    assert!(trees.tree(plain(&missing), &until(60)).is_err());
    assert!(trees.tree(plain(&source), &until(0)).is_err());
    assert_eq!(fs::read_dir(upstream.path("sources")).unwrap().count(), 0);
    trees.tree(plain(&source), &until(60)).unwrap();
}

#[test]
fn builds_that_ask_at_the_same_time_share_one_export() {
    let upstream = Upstream::new();
    let revision = upstream.commit("refs/heads/main", upstream.tree(&[("a", "1", FILE)]));
    let source = Source { git: format!("file://{}", upstream.path("upstream").display()), revision };
    let trees = sources(&upstream, TreeMeans::Copy);
    let roots: Vec<PathBuf> = std::thread::scope(|scope| {
        let ask = || trees.tree(plain(&source), &until(60)).unwrap().root().to_path_buf();
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asked.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(roots.iter().all(|root| *root == roots[0]));
    assert_eq!(fs::read_dir(upstream.path("sources")).unwrap().count(), 1);
}

/// Runs git in a folder, as Ada.
fn git(folder: &Path, arguments: &[&str]) -> String {
    fs::create_dir_all(folder).unwrap();
    let output = std::process::Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

/// A new repository with a file and these submodules, each a path, a URL and a commit.
fn repository(folder: &Path, submodules: &[(&str, &str, &str)]) -> String {
    git(folder, &["init", "-q", "-b", "main"]);
    fs::write(folder.join("own"), folder.file_name().unwrap().to_str().unwrap()).unwrap();
    let modules = submodules
        .iter()
        .map(|(path, url, _)| format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n"));
    fs::write(folder.join(".gitmodules"), modules.collect::<String>()).unwrap();
    git(folder, &["add", "-A"]);
    for (path, _, commit) in submodules {
        git(folder, &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
    }
    git(folder, &["commit", "-q", "-m", "one"]);
    git(folder, &["rev-parse", "HEAD"])
}

fn export_of(upstream: &Upstream, name: &str, revision: &str, into: &str) -> Result<(), String> {
    let git = upstream.path(name).display().to_string();
    upstream.export_until(&git, revision, into, &until(60))
}

#[test]
fn submodules_are_exported_with_theirs_where_they_are_asked_for() {
    let mut upstream = Upstream::new();
    let leaf = repository(&upstream.path("leaf"), &[]);
    let middle = repository(&upstream.path("middle"), &[("deep/leaf", "../leaf", &leaf)]);
    let top = repository(
        &upstream.path("top"),
        &[("lib/middle", "../middle", &middle), ("leaf", "../leaf", &leaf)],
    );
    export_of(&upstream, "top", &top, "without").unwrap();
    assert!(!upstream.path("without/leaf").exists(), "they are left out unless they are asked for");
    upstream.with_submodules = true;
    export_of(&upstream, "top", &top, "with").unwrap();
    for (path, own) in [
        ("own", "top"),
        ("leaf/own", "leaf"),
        ("lib/middle/own", "middle"),
        ("lib/middle/deep/leaf/own", "leaf"),
    ] {
        assert_eq!(fs::read_to_string(upstream.path("with").join(path)).unwrap(), own);
    }
}

#[test]
fn a_revision_has_one_tree_with_its_submodules_and_one_without() {
    let upstream = Upstream::new();
    let leaf = repository(&upstream.path("leaf"), &[]);
    let top = repository(&upstream.path("top"), &[("leaf", "../leaf", &leaf)]);
    let source = Source { git: upstream.path("top").display().to_string(), revision: top };
    let trees = sources(&upstream, TreeMeans::Copy);
    for (with_submodules, copy) in [(false, "one"), (true, "two"), (false, "three"), (true, "four")] {
        let wanted = WantedSource { source: &source, with_submodules };
        assert_eq!(trees.tree(wanted, &until(60)).unwrap().root().join("leaf/own").exists(), with_submodules);
        trees.give(wanted, &upstream.path(copy), &until(60)).unwrap();
        trees.give_once(wanted, &upstream.path(&format!("{copy}.once")), &until(60)).unwrap();
        for given in [copy.to_string(), format!("{copy}.once")] {
            assert_eq!(upstream.path(&given).join("leaf/own").exists(), with_submodules);
        }
    }
    assert_eq!(fs::read_dir(upstream.path("sources")).unwrap().count(), 2);
}

#[test]
fn a_submodule_that_cannot_be_had_is_named_with_the_reason() {
    let mut upstream = Upstream::new();
    upstream.with_submodules = true;
    let leaf = repository(&upstream.path("leaf"), &[]);
    let gone = "1".repeat(40);
    let outside = upstream.path("leaf").display().to_string();
    let table = [
        ("absolute", outside.as_str(), leaf.as_str(), "must not name a path of this machine"),
        ("climbing", "../../leaf", &leaf, "must be beside the repository"),
        ("loopback", "http://127.0.0.1:1/leaf", &leaf, "must not name a private address"),
        ("ssh", "git@example.org:leaf", &leaf, "ssh needs a private key"),
        ("gone", "../leaf", &gone, "has no revision 1111"),
    ];
    for (name, url, commit, expected) in table {
        let top = repository(&upstream.path(name), &[("lib", url, commit)]);
        let error = export_of(&upstream, name, &top, &format!("{name}.out")).unwrap_err();
        assert!(error.contains("the submodule `lib` of") && error.contains(expected), "{name}: {error}");
    }
    // The revision that others know is that of the source.
    let top = git(&upstream.path("gone"), &["rev-parse", "HEAD"]);
    let source = Source { git: upstream.path("gone").display().to_string(), revision: top.clone() };
    let error = export(&upstream.mirrors, &source, true, &upstream.path("again"), &until(60)).unwrap_err();
    assert_eq!(
        error.downcast_ref::<MissingRevision>().map(|missing| missing.revision.as_str()),
        Some(top.as_str())
    );
}

#[test]
fn submodules_without_end_are_bounded() {
    let mut upstream = Upstream::new();
    upstream.with_submodules = true;
    let mut commit = repository(&upstream.path("r0"), &[]);
    for n in 1..=6 {
        let below = format!("../r{}", n - 1);
        commit = repository(&upstream.path(&format!("r{n}")), &[("sub", &below, &commit)]);
    }
    let error = export_of(&upstream, "r6", &commit, "deep").unwrap_err();
    assert!(error.contains("nested 5 deep at most"), "{error}");
    let fifth = git(&upstream.path("r5"), &["rev-parse", "HEAD"]);
    export_of(&upstream, "r5", &fifth, "fifth").unwrap();

    let leaf = git(&upstream.path("r0"), &["rev-parse", "HEAD"]);
    let paths: Vec<String> = (0..101).map(|n| format!("sub{n}")).collect();
    let many: Vec<(&str, &str, &str)> =
        paths.iter().map(|path| (path.as_str(), "../r0", leaf.as_str())).collect();
    let wide = repository(&upstream.path("wide"), &many);
    let error = export_of(&upstream, "wide", &wide, "wide.out").unwrap_err();
    assert!(error.contains("at most 100 submodules"), "{error}");
}

/// The same words as git itself, which is asked in the repository.
#[test]
fn a_revision_is_described_as_git_describes_it() {
    let upstream = Upstream::new();
    let folder = upstream.path("project");
    let mut revisions = vec![repository(&folder, &[])];
    let mut commit = |message: &str, tags: &[&[&str]]| {
        git(&folder, &["commit", "-q", "--allow-empty", "-m", message]);
        tags.iter().for_each(|tag| drop(git(&folder, &[&["tag"], *tag].concat())));
        revisions.push(git(&folder, &["rev-parse", "HEAD"]));
    };
    commit("light", &[&["v1.0"]]);
    commit("after", &[]);
    commit("annotated", &[&["-a", "-m", "two", "v2.0"], &["nightly"]]);
    commit("after", &[]);
    commit("after that", &[]);
    for revision in revisions {
        let source = Source { git: folder.display().to_string(), revision: revision.clone() };
        let described = upstream.mirrors.describe(&source, &until(60)).unwrap();
        assert_eq!(described, git(&folder, &["describe", "--tags", "--always", &revision]));
    }
}

/// A page shows how far a fetch is; what the mirror has is not fetched, and nothing is reported of it.
#[test]
fn a_fetch_reports_how_far_it_is() {
    let upstream = Upstream::new();
    let revision = upstream.commit("refs/heads/main", upstream.tree(&[("a", "1", FILE)]));
    let git = format!("file://{}", upstream.path("upstream").display());
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let reports = std::sync::Arc::clone(&seen);
    let watched = SourceDeadline {
        on_progress: Some(std::sync::Arc::new(move |progress| reports.lock().unwrap().push(progress))),
        ..until(60)
    };
    upstream.export_until(&git, &revision, "out", &watched).unwrap();
    let reports = std::mem::take(&mut *seen.lock().unwrap());
    let last = reports.last().expect("a fetch of three objects reports something");
    assert_eq!(
        (last.what.as_str(), last.objects, last.total_objects),
        ("the source", 3, Some(3)),
        "{last:?}"
    );
    assert_eq!(last.total_bytes, None, "git does not say how many bytes there are");
    assert!(reports.is_sorted_by_key(|report| report.objects), "{reports:?}");
    upstream.export_until(&git, &revision, "again", &watched).unwrap();
    assert_eq!(*seen.lock().unwrap(), []);
}
