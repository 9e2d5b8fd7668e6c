//! The bare mirrors of all repositories that were built here.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use git2::{
    AutotagOption, DescribeOptions, ErrorClass, FetchOptions, FetchPrune, Oid, RemoteCallbacks,
    RemoteRedirect, Repository,
};
use protocol::Source;
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::deadline::SourceDeadline;
use crate::trash::remove_tree;

pub const BRANCHES: &str = "+refs/heads/*:refs/heads/*";
const TAGS: &str = "+refs/tags/*:refs/tags/*";
/// How long a git server may send nothing. The whole fetch has a deadline, too.
const SERVER_TIMEOUT_MS: i32 = 60_000;
const CONNECT_TIMEOUT_MS: i32 = 20_000;
/// Before a fetch that the network interrupted is tried again.
const FETCH_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// The repository can be read, and does not have the revision.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct MissingRevision {
    pub sentence: String,
    pub revision: String,
}

/// Who named the repository that is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchFrom {
    /// The operator of the farm.
    Project,
    /// Whoever may push to a repository.
    Submodule,
}

/// The mirrors of this worker. The methods block: call them on a thread that may block.
pub struct Mirrors {
    folder: PathBuf,
    /// Allows one fetch at a time into a mirror. A second build that waits for it finds its revision there.
    fetch_locks: Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>,
}

impl Mirrors {
    pub fn open(folder: PathBuf) -> Mirrors {
        static TIMEOUTS: Once = Once::new();
        TIMEOUTS.call_once(|| {
            #[expect(unsafe_code, reason = "git2 has no safe call for the timeouts of libgit2")]
            // SAFETY: these write two integers in libgit2, which reads them when it opens a connection. `Once` admits
            // only one thread, and no connection is opened before the first `Mirrors` exists.
            let set = unsafe {
                git2::opts::set_server_connect_timeout_in_milliseconds(CONNECT_TIMEOUT_MS)
                    .and_then(|()| git2::opts::set_server_timeout_in_milliseconds(SERVER_TIMEOUT_MS))
            };
            set.expect("libgit2 knows these two options");
        });
        remove_fetch_leftovers(&folder);
        Mirrors { folder, fetch_locks: Mutex::default() }
    }

    /// What `git describe --tags --always` prints for a revision.
    pub fn describe(&self, source: &Source, until: &SourceDeadline) -> anyhow::Result<String> {
        let revision = full_id(&source.revision)?;
        let repository = self.mirror(source, FetchFrom::Project, until)?;
        let mut options = DescribeOptions::new();
        options.describe_tags().show_commit_oid_as_fallback(true);
        let commit = repository.find_commit(revision)?.into_object();
        let described = commit.describe(&options);
        let described = described.and_then(|described| described.format(None));
        described.with_context(|| format!("describing {revision}"))
    }

    /// The mirror of a source, which holds its revision.
    pub(super) fn mirror(
        &self,
        source: &Source,
        from: FetchFrom,
        until: &SourceDeadline,
    ) -> anyhow::Result<Repository> {
        let revision = full_id(&source.revision)?;
        let path = self.folder.join(mirror_name(&source.git));
        match open_with(&path, revision) {
            Some(repository) => Ok(repository),
            None => self.fetch(&path, source, from, until),
        }
    }

    fn fetch(
        &self,
        path: &Path,
        source: &Source,
        from: FetchFrom,
        until: &SourceDeadline,
    ) -> anyhow::Result<Repository> {
        let revision = full_id(&source.revision)?;
        let fetch_lock = {
            let mut fetch_locks = self.fetch_locks.lock().expect("no holder of this lock panics");
            fetch_locks.entry(path.to_path_buf()).or_default().clone()
        };
        // A fetch that panicked left at worst some unreferenced objects.
        let _one_at_a_time = fetch_lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(repository) = open_with(path, revision) {
            return Ok(repository);
        }
        let repository = match Repository::open_bare(path) {
            Ok(repository) => repository,
            Err(_) => {
                // It does not exist yet, or a kill left it incomplete.
                remove_tree(path).with_context(|| format!("clearing {}", path.display()))?;
                Repository::init_bare(path)
                    .with_context(|| format!("creating the mirror {}", path.display()))?
            }
        };
        let git = &source.git;
        let fetch = |refspecs: &[&str]| fetch_with_patience(&repository, git, refspecs, from, until);
        fetch(&[BRANCHES, TAGS]).with_context(|| format!("fetching {git}"))?;
        if repository.find_commit(revision).is_err() {
            // No branch contains it any more. Some servers still send it to clients that ask for its id.
            let refspec = format!("+{revision}:refs/farm/{revision}");
            let fetched = fetch(&[&refspec]);
            if repository.find_commit(revision).is_err() {
                let why = fetched.as_ref().err().map_or_else(String::new, |e| format!(" ({e:#})"));
                let sentence =
                    format!("{git} has no revision {revision}{why}: was it removed by a force-push?");
                if fetched.is_err_and(|e| is_of_the_way(&e)) {
                    bail!(sentence);
                }
                return Err(MissingRevision { sentence, revision: revision.to_string() }.into());
            }
        }
        // Opened again, since the first one's object database may not have noticed the new pack.
        open_with(path, revision).context("cannot open the mirror after its fetch")
    }
}

/// A fetch that was killed leaves its pack behind, and locks that would make every later fetch fail.
fn remove_fetch_leftovers(mirrors: &Path) {
    for entry in WalkDir::new(mirrors).into_iter().flatten() {
        let name = entry.file_name().to_string_lossy();
        if name.starts_with("pack_git2_") || name.ends_with(".lock") {
            // A pack that cannot be removed costs only space, and a lock makes the fetch report an error.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Fetches again what the network interrupted, a few times. The mirror keeps what earlier fetches brought; the pack that was
/// interrupted is lost, since git's protocol cannot continue one.
fn fetch_with_patience(
    repository: &Repository,
    git: &str,
    refspecs: &[&str],
    from: FetchFrom,
    until: &SourceDeadline,
) -> anyhow::Result<()> {
    let mut pauses = FETCH_PAUSES.iter();
    loop {
        let fetched = fetch_refs(repository, git, refspecs, from, until);
        let Err(error) = fetched else { return Ok(()) };
        let pause = pauses.next().filter(|_| is_of_the_network(&error) && until.check().is_ok());
        let Some(pause) = pause else { return Err(error) };
        let what = &until.what;
        tracing::warn!("fetching {what} was interrupted, and is tried again: {error:#}");
        std::thread::sleep(*pause);
    }
}

fn fetch_refs(
    repository: &Repository,
    git: &str,
    refspecs: &[&str],
    from: FetchFrom,
    until: &SourceDeadline,
) -> anyhow::Result<()> {
    let mut callbacks = RemoteCallbacks::new();
    callbacks.transfer_progress(|progress| {
        until.report(&progress);
        until.check().is_ok()
    });
    callbacks.sideband_progress(|_| until.check().is_ok());
    let mut options = FetchOptions::new();
    options.remote_callbacks(callbacks).download_tags(AutotagOption::None).prune(FetchPrune::Off);
    if from == FetchFrom::Submodule {
        // The address that was checked is not where a redirection leads.
        options.follow_redirects(RemoteRedirect::None);
    }
    let fetched = repository.remote_anonymous(git)?.fetch(refspecs, Some(&mut options), None);
    until.check()?;
    Ok(fetched?)
}

/// Whether a fetch failed since the connection was refused or broke.
fn is_of_the_network(error: &anyhow::Error) -> bool {
    let class = error.chain().find_map(|cause| cause.downcast_ref::<git2::Error>()).map(git2::Error::class);
    matches!(class, Some(ErrorClass::Net | ErrorClass::Os | ErrorClass::Ssl | ErrorClass::Http))
}

/// Whether a fetch failed on its way, and not by the server's answer.
fn is_of_the_way(error: &anyhow::Error) -> bool {
    let class = error.chain().find_map(|cause| cause.downcast_ref::<git2::Error>()).map(git2::Error::class);
    match class {
        None => true,
        Some(class) => matches!(class, ErrorClass::Net | ErrorClass::Os | ErrorClass::Ssl | ErrorClass::Ssh),
    }
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
pub fn mirror_name(git: &str) -> String {
    protocol::Sha256(Sha256::digest(git).into()).to_string()
}
