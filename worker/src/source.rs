//! Sources: one bare mirror a repository, fetched only when a revision is missing; and its tree as plain files.
//! No `.git` goes along, and every file has one and the same time, so that nothing of this machine or this
//! moment gets into what is built from them. Submodules are left out.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use git2::{AutotagOption, FetchOptions, FetchPrune, ObjectType, Oid, RemoteCallbacks, Repository, Tree};
use protocol::Source;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use walkdir::WalkDir;

use crate::folder::remove_tree;

const BRANCHES: &str = "+refs/heads/*:refs/heads/*";
const TAGS: &str = "+refs/tags/*:refs/tags/*";
/// How long a git server may be mute. The whole fetch has a deadline besides.
const SERVER_SILENCE_MS: i32 = 60_000;
const CONNECT_MS: i32 = 20_000;
const MAX_ENTRIES: usize = 500_000;
const MAX_BYTES: u64 = 8 << 30;
/// `SOURCE_DATE_EPOCH`: the first second of 1980, the oldest that a zip file can hold.
const FILE_TIME: Duration = Duration::from_secs(315_532_800);

/// The mirrors of this worker. Its methods block: they are for a thread of their own.
pub struct Mirrors {
    folder: PathBuf,
    /// One fetch at a time into a mirror; the second build to want it finds it fetched.
    fetching: Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>,
}

/// What ends the work on a source before it is done.
#[derive(Clone)]
pub struct SourceDeadline {
    pub deadline: Instant,
    pub stop: CancellationToken,
}

impl Mirrors {
    pub fn open(folder: PathBuf) -> Mirrors {
        static TIMEOUTS: Once = Once::new();
        TIMEOUTS.call_once(|| {
            #[expect(unsafe_code, reason = "the timeouts of libgit2 are global, and its API says so")]
            // SAFETY: these write two integers inside libgit2 that connections read when they are made; `Once`
            // lets no second thread in, and no connection is made before the first `Mirrors` stands.
            let set = unsafe {
                git2::opts::set_server_connect_timeout_in_milliseconds(CONNECT_MS)
                    .and_then(|()| git2::opts::set_server_timeout_in_milliseconds(SERVER_SILENCE_MS))
            };
            set.expect("libgit2 knows these two options");
        });
        sweep(&folder);
        Mirrors { folder, fetching: Mutex::default() }
    }

    /// Writes the files of a revision into a new folder.
    pub fn export(&self, source: &Source, into: &Path, until: &SourceDeadline) -> anyhow::Result<()> {
        let revision = full_id(&source.revision)?;
        let path = self.folder.join(name_of(&source.git));
        let repository = match open_with(&path, revision) {
            Some(repository) => repository,
            None => self.fetch(&path, source, revision, until)?,
        };
        let tree = repository.find_commit(revision)?.tree().context("reading the revision's tree")?;
        Export { repository: &repository, until, entries: 0, bytes: 0 }.run(tree, into)
    }

    fn fetch(
        &self,
        path: &Path,
        source: &Source,
        revision: Oid,
        until: &SourceDeadline,
    ) -> anyhow::Result<Repository> {
        let mine = {
            let mut fetching = self.fetching.lock().expect("no holder of this lock panics");
            fetching.entry(path.to_path_buf()).or_default().clone()
        };
        // A fetch that panicked left at worst some objects that nobody refers to.
        let _one_at_a_time = mine.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(repository) = open_with(path, revision) {
            return Ok(repository);
        }
        let repository = match Repository::open_bare(path) {
            Ok(repository) => repository,
            Err(_) => {
                // Not there yet, or left half-made by a kill.
                remove_tree(path).with_context(|| format!("clearing {}", path.display()))?;
                Repository::init_bare(path)
                    .with_context(|| format!("making the mirror {}", path.display()))?
            }
        };
        let git = &source.git;
        fetch_refs(&repository, git, &[BRANCHES, TAGS], until).with_context(|| format!("fetching {git}"))?;
        if repository.find_commit(revision).is_err() {
            // No branch leads to it any more. Some servers give it to those who know its name.
            let alone = format!("+{revision}:refs/farm/{revision}");
            let asked = fetch_refs(&repository, git, &[&alone], until);
            if repository.find_commit(revision).is_err() {
                let why = asked.err().map_or_else(String::new, |e| format!(" ({e:#})"));
                bail!("{git} has no revision {revision}{why}: was it removed by a force-push?");
            }
        }
        // Opened anew, since the odb of the first one may not have seen the new pack.
        open_with(path, revision).context("the mirror cannot be opened after its fetch")
    }
}

/// A fetch that was killed leaves its pack behind, and locks, at which every later fetch would give up.
fn sweep(mirrors: &Path) {
    for entry in WalkDir::new(mirrors).into_iter().flatten() {
        let name = entry.file_name().to_string_lossy();
        if name.starts_with("pack_git2_") || name.ends_with(".lock") {
            // A pack that cannot be removed costs its space, and no more; of a lock the fetch tells.
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl SourceDeadline {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.stop.is_cancelled(), "stopped");
        ensure!(Instant::now() < self.deadline, "it took too long");
        Ok(())
    }
}

fn fetch_refs(
    repository: &Repository,
    git: &str,
    refspecs: &[&str],
    until: &SourceDeadline,
) -> anyhow::Result<()> {
    let mut callbacks = RemoteCallbacks::new();
    callbacks.transfer_progress(|_| until.check().is_ok());
    callbacks.sideband_progress(|_| until.check().is_ok());
    let mut options = FetchOptions::new();
    options.remote_callbacks(callbacks).download_tags(AutotagOption::None).prune(FetchPrune::Off);
    let fetched = repository.remote_anonymous(git)?.fetch(refspecs, Some(&mut options), None);
    until.check()?;
    Ok(fetched?)
}

/// The mirror, if it holds the revision.
fn open_with(path: &Path, revision: Oid) -> Option<Repository> {
    let repository = Repository::open_bare(path).ok()?;
    let holds = repository.find_commit(revision).is_ok();
    holds.then_some(repository)
}

fn full_id(revision: &str) -> anyhow::Result<Oid> {
    ensure!(revision.len() == 40, "`{revision}` is not a full commit id");
    Oid::from_str(revision).with_context(|| format!("`{revision}` is not a commit id"))
}

/// Any URL as a file name.
fn name_of(git: &str) -> String {
    protocol::Sha256(Sha256::digest(git).into()).to_string()
}

struct Export<'a> {
    repository: &'a Repository,
    until: &'a SourceDeadline,
    entries: usize,
    bytes: u64,
}

impl Export<'_> {
    /// A hostile tree may hold a link and a folder of one name. Since nothing that is there already is ever opened
    /// or entered, no write follows a link out of `root`.
    fn run(&mut self, tree: Tree<'_>, root: &Path) -> anyhow::Result<()> {
        let mut folders = vec![(tree, root.to_path_buf())];
        while let Some((tree, folder)) = folders.pop() {
            fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
            for entry in tree.iter() {
                self.until.check().context("writing the source")?;
                self.entries += 1;
                ensure!(self.entries <= MAX_ENTRIES, "the source has more than {MAX_ENTRIES} files");
                let path = folder.join(file_name(entry.name_bytes())?);
                match (entry.kind(), entry.filemode()) {
                    (Some(ObjectType::Tree), _) => {
                        folders.push((self.repository.find_tree(entry.id())?, path));
                    }
                    (Some(ObjectType::Blob), mode) => {
                        self.blob(entry.id(), mode, &path)
                            .with_context(|| format!("writing {}", path.display()))?;
                    }
                    // A submodule's commit, which is not in this repository.
                    (Some(ObjectType::Commit), _) => {}
                    (kind, _) => bail!("the source holds {kind:?} at {}", path.display()),
                }
            }
        }
        Ok(())
    }

    fn blob(&mut self, id: Oid, mode: i32, path: &Path) -> anyhow::Result<()> {
        let (size, _) = self.repository.odb()?.read_header(id)?;
        self.bytes += size as u64;
        ensure!(self.bytes <= MAX_BYTES, "the source is larger than {} GiB", MAX_BYTES >> 30);
        let blob = self.repository.find_blob(id)?;
        if mode == i32::from(git2::FileMode::Link) {
            std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(blob.content()), path)?;
            return Ok(());
        }
        let executable = mode == i32::from(git2::FileMode::BlobExecutable);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if executable { 0o755 } else { 0o644 })
            .open(path)?;
        file.write_all(blob.content())?;
        file.set_modified(SystemTime::UNIX_EPOCH + FILE_TIME)?;
        Ok(())
    }
}

fn file_name(bytes: &[u8]) -> anyhow::Result<&Path> {
    let bad = matches!(bytes, b"" | b"." | b"..")
        || bytes.eq_ignore_ascii_case(b".git")
        || bytes.iter().any(|b| matches!(b, b'/' | 0));
    ensure!(!bad, "the source holds a file named `{}`", String::from_utf8_lossy(bytes));
    Ok(Path::new(std::ffi::OsStr::from_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use git2::{FileMode, Signature};

    use super::*;

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
        SourceDeadline {
            deadline: Instant::now() + Duration::from_secs(seconds),
            stop: CancellationToken::new(),
        }
    }

    const FILE: FileMode = FileMode::Blob;

    #[test]
    fn a_revision_comes_with_its_bits_and_links_and_without_git() {
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
        assert_eq!(modified, SystemTime::UNIX_EPOCH + FILE_TIME);
        let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["link", "plain", "run", "sub"]);
    }

    #[test]
    fn what_is_mirrored_needs_no_upstream() {
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
    fn a_mirror_left_half_made_is_made_again() {
        let upstream = Upstream::new();
        let revision = upstream.commit("refs/heads/main", upstream.tree(&[("a", "1", FILE)]));
        let git = format!("file://{}", upstream.path("upstream").display());
        fs::create_dir(upstream.path("git").join(name_of(&git))).unwrap();
        upstream.export(&revision, "out").unwrap();
    }

    /// libgit2 takes a lock that lies there for somebody's, and would refuse to fetch for ever.
    #[test]
    fn a_worker_killed_in_a_fetch_fetches_again() {
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
    fn what_cannot_be_brought_is_told_in_a_sentence() {
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
    fn no_name_leads_out_of_the_folder() {
        for name in ["..", ".", "", ".git", ".GIT", "a/b", "/etc", "a\0"] {
            assert!(file_name(name.as_bytes()).is_err(), "{name:?}");
        }
        for name in [".gitignore", "..a", "ä", "a b"] {
            assert!(file_name(name.as_bytes()).is_ok(), "{name:?}");
        }
    }

    /// Such a tree cannot be made by git's own tools: a link `d`, and a folder `d` that would be written through it.
    #[test]
    fn a_link_and_a_folder_of_one_name_are_refused() {
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
}
