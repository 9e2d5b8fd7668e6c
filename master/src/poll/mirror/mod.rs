//! A repository as the farm stores it: a bare mirror beside the database, updated by git2. Remotes hang, send false data
//! and vanish, so every conversation with one has a deadline; everything else here is read from disk.

mod commit;
mod remote;
mod remote_error;
mod tips;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use domain::history::mend::{DatedPosition, MendedPositions, mend};
use domain::history::{KnownBranch, Position, RemoteBranch, containment};
use git2::{ErrorCode, Oid, Repository, RepositoryInitOptions};
use protocol::FetchProgress;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use walkdir::WalkDir;

pub use commit::Commit;
pub use tips::Tips;

/// A branch is read back no further than this; CPython has grown half as many first parents in 35 years.
const MAX_FIRST_PARENTS: usize = 200_000;
/// How many commits may lie between a tip and a base, merged commits included. Linux has fewer.
const MAX_AHEAD: usize = 2_000_000;

/// One repository's mirror. Clones share it. There must be one per path: this value, not the disk, guarantees that no
/// second conversation with the remote starts while one that hangs is still alive.
///
/// `tips` and `fetch` talk to the remote on a thread of their own; everything else blocks on the disk for some
/// milliseconds, and on a long history for a second or two.
#[derive(Clone)]
pub struct Mirror {
    origin: Arc<Origin>,
    /// Held by the thread that talks to the remote, also by one that was abandoned.
    turn: Arc<Mutex<()>>,
}

/// The mirror's folder, and the remote's URL.
struct Origin {
    path: PathBuf,
    url: String,
}

impl Mirror {
    /// Creates the bare repository at `path` where there is none. The remote at `url`, which may be a path, or a file,
    /// git or https URL, is not contacted yet.
    pub fn open(path: impl Into<PathBuf>, url: impl Into<String>) -> Result<Mirror> {
        give_sockets_a_timeout();
        let origin = Origin { path: path.into(), url: url.into() };
        let mut options = RepositoryInitOptions::new();
        // Opening and creating are one call, so that a mirror that was created only in part is completed.
        options.bare(true).mkpath(true).external_template(false);
        Repository::init_opts(&origin.path, &options).with_context(|| {
            format!(
                "cannot open the mirror {}: it must be a folder that the master may write, and a bare git repository or empty",
                origin.path.display()
            )
        })?;
        sweep(&origin.path);
        Ok(Mirror { origin: Arc::new(origin), turn: Arc::new(Mutex::new(())) })
    }

    /// A mirror of which only the remote's refs are read: nothing is on the disk.
    pub fn without_objects(path: impl Into<PathBuf>, url: impl Into<String>) -> Mirror {
        give_sockets_a_timeout();
        let origin = Origin { path: path.into(), url: url.into() };
        Mirror { origin: Arc::new(origin), turn: Arc::new(Mutex::new(())) }
    }

    /// The remote's branches and tags. This is cheap: no object is fetched.
    pub async fn tips(&self, within: Duration) -> Result<Tips> {
        self.speak("look at", within, |origin, _| remote::tips(&origin.url)).await
    }

    /// Fetches every branch and tag of the remote. Refs that the remote no longer has are dropped, but no object is: what
    /// `keep` names survives even a `git gc`.
    ///
    /// `progress` receives how far it is, thousands of times a second.
    pub async fn fetch(&self, within: Duration, progress: watch::Sender<FetchProgress>) -> Result<()> {
        self.speak("fetch", within, move |origin, deadline| {
            remote::fetch(&origin.repository()?, &origin.url, deadline.into_std(), &progress)
        })
        .await
    }

    /// Runs `work` on a thread that is abandoned at the deadline: libgit2 cannot be interrupted while it waits for a name
    /// server, a dead socket or a dead file server.
    async fn speak<T: Send + 'static>(
        &self,
        verb: &'static str,
        within: Duration,
        work: impl FnOnce(&Origin, Instant) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let deadline = Instant::now() + within;
        let url = remote_error::shown(&self.origin.url);
        let Ok(turn) = timeout_at(deadline, self.turn.clone().lock_owned()).await else {
            bail!(
                "cannot {verb} {url}: an earlier look at it was given up and still hangs, so no second one is started"
            );
        };
        let (sender, receiver) = oneshot::channel();
        let origin = self.origin.clone();
        let name = "mirror".to_string();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let result = work(&origin, deadline);
            // Before the result is sent, so that the caller finds the lock free at once.
            drop(turn);
            // The receiver is gone when the caller gave up.
            let _ = sender.send(result);
        });
        thread.with_context(|| format!("cannot {verb} {url}: no thread could be started"))?;
        match timeout_at(deadline, receiver).await {
            Ok(Ok(result)) => {
                result.map_err(|error| anyhow!("{}", remote_error::sentence(verb, &self.origin.url, &error)))
            }
            Ok(Err(_)) => bail!("cannot {verb} {url}: the master's git thread panicked; its log says where"),
            Err(_) => bail!(
                "cannot {verb} {url}: no end after {} s; is the server up, and is the way to it open?",
                within.as_secs_f64()
            ),
        }
    }

    /// First parents of `tip` behind the newest surviving change that it contains, or else behind `base`; where the branch
    /// does not contain the base itself, behind the point where the base's own branch left it.
    pub fn history_of(&self, tip: &str, base: Option<&str>, known: &KnownBranch) -> Result<RemoteBranch> {
        let repository = self.origin.repository()?;
        let position = |place: &Position| Ok((oid(&place.sha)?, place.number));
        let positions: HashMap<Oid, i64> = known.surviving().map(position).collect::<Result<_>>()?;
        let (tip, newest) = (oid(tip)?, positions.values().copied().max());
        let mut read = 0;
        let parents = |sha| {
            read += 1;
            if read > MAX_AHEAD {
                bail!("more than {MAX_AHEAD} commits lie between {tip} and the branch as it was");
            }
            Ok(self.find(&repository, sha)?.parent_ids().collect())
        };
        let number = |sha| positions.get(&sha).copied();
        let mut chain = containment::joined(tip, newest, number, parents)?;
        if let (None, Some(base)) = (&chain, base) {
            chain = self.since_base(&repository, tip, oid(base)?)?;
        }
        Ok(match chain {
            Some(chain) => RemoteBranch::Joined(chain.iter().map(Oid::to_string).collect()),
            None => RemoteBranch::Apart { tip: tip.to_string() },
        })
    }

    /// What an older version took for rewound on a branch with these positions. A commit that the mirror does not have is
    /// contained in none.
    pub fn mend(&self, positions: &[DatedPosition<String>]) -> Result<MendedPositions> {
        let repository = self.origin.repository()?;
        let mut dated = Vec::with_capacity(positions.len());
        for DatedPosition { number, commit, found_at, gone_at } in positions {
            let (number, found_at, gone_at) = (*number, *found_at, *gone_at);
            dated.push(DatedPosition { number, commit: oid(commit)?, found_at, gone_at });
        }
        let contains = |one: Oid, other: Oid| {
            one == other || repository.graph_descendant_of(one, other).unwrap_or(false)
        };
        Ok(mend(&dated, contains))
    }

    /// First parents of `tip` from `base` on, oldest first. None if the two share no commit.
    fn since_base(&self, repository: &Repository, tip: Oid, base: Oid) -> Result<Option<Vec<Oid>>> {
        let ahead = commit::ahead(repository, tip, base, MAX_AHEAD)?;
        let (mut chain, mut next) = (Vec::new(), Some(tip));
        while let Some(sha) = next.filter(|_| chain.len() < MAX_FIRST_PARENTS) {
            chain.push(sha);
            if !ahead.contains(&sha) {
                chain.reverse();
                return Ok(Some(chain));
            }
            next = self.find(repository, sha)?.parent_ids().next();
        }
        Ok(None)
    }

    /// The commit that a tag, a branch of the remote or a (shortened) commit id names, as of the last fetch.
    pub fn resolve(&self, name: &str) -> Result<String> {
        let repository = self.origin.repository()?;
        for reference in [format!("refs/tags/{name}"), format!("{}{name}", remote::BRANCHES)] {
            if let Ok(found) = repository.find_reference(&reference) {
                let commit = found.peel_to_commit().with_context(|| format!("{reference} is no commit"))?;
                return Ok(commit.id().to_string());
            }
        }
        let looks_like_an_id = (7..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
        if looks_like_an_id && let Ok(commit) = repository.find_commit_by_prefix(name) {
            return Ok(commit.id().to_string());
        }
        bail!(
            "{} has no tag, branch or commit `{}`; expected the name of one, or at least 7 digits of a commit id",
            remote_error::shown(&self.origin.url),
            remote_error::tame(name)
        )
    }

    /// These commits of a branch, in the given order. Each has the paths in which it differs from the one before it; the
    /// first one is compared with `after`, or else with its first parent.
    pub fn commits(&self, after: Option<&str>, shas: &[String]) -> Result<Vec<Commit>> {
        let repository = self.origin.repository()?;
        let mut before = after.map(|sha| self.find(&repository, oid(sha)?)).transpose()?;
        let mut commits = Vec::new();
        for sha in shas {
            let commit = self.find(&repository, oid(sha)?)?;
            commits.push(commit::read(&repository, &commit, before.as_ref())?);
            before = Some(commit);
        }
        Ok(commits)
    }

    /// Keeps a commit and all before it by `refs/farm/SHA`, whatever happens to the branches.
    pub fn keep(&self, sha: &str) -> Result<()> {
        let repository = self.origin.repository()?;
        let commit = self.find(&repository, oid(sha)?)?.id();
        repository
            .reference(&format!("refs/farm/{commit}"), commit, true, "")
            .with_context(|| format!("cannot keep {commit} in the mirror {}", self.origin.path.display()))?;
        Ok(())
    }

    fn find<'r>(&self, repository: &'r Repository, sha: Oid) -> Result<git2::Commit<'r>> {
        repository.find_commit(sha).map_err(|error| {
            let url = remote_error::shown(&self.origin.url);
            match error.code() {
                ErrorCode::NotFound => {
                    anyhow!(
                        "the mirror of {url} has no commit {sha}: it was not fetched, or is no longer there"
                    )
                }
                _ => {
                    anyhow!("the mirror of {url} cannot read {sha}: {}", remote_error::tame(error.message()))
                }
            }
        })
    }
}

impl Origin {
    /// Opens the repository again for each call: threads must not share git2's handle, and a new one sees the packs
    /// that a `git gc` has made meanwhile.
    fn repository(&self) -> Result<Repository> {
        Repository::open_bare(&self.path).with_context(|| {
            format!("cannot open the mirror {}: remove it, and it is fetched again", self.path.display())
        })
    }
}

/// Without this, libgit2's sockets wait for ever, and an abandoned thread never ends.
fn give_sockets_a_timeout() {
    const CONNECT_MS: i32 = 15_000;
    /// A server that packs a large repository sends something every 5 s.
    const SILENCE_MS: i32 = 60_000;
    static ONCE: Once = Once::new();
    #[expect(unsafe_code, reason = "the timeouts of libgit2 are global, and its API says so")]
    // SAFETY: these write two C integers without a lock, which only a transport reads when it opens a socket.
    // Transports are opened by a `Mirror` alone, and none exists before `open` has returned from here.
    ONCE.call_once(|| unsafe {
        git2::opts::set_server_connect_timeout_in_milliseconds(CONNECT_MS)
            .expect("libgit2 knows this option");
        git2::opts::set_server_timeout_in_milliseconds(SILENCE_MS).expect("libgit2 knows this option");
    });
}

/// Removes what a killed fetch leaves behind: its pack, under a name that nothing else would ever remove, and locks, which
/// would make every later fetch give up.
#[expect(clippy::disallowed_methods, reason = "runs on a blocking thread")]
fn sweep(mirror: &Path) {
    for entry in WalkDir::new(mirror).into_iter().flatten() {
        let name = entry.file_name().to_string_lossy();
        if name.starts_with("pack_git2_") || name.ends_with(".lock") {
            // A pack that cannot be removed costs its space, and no more; a lock makes the fetch report it.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn oid(sha: &str) -> Result<Oid> {
    let full = (sha.len() == 40).then(|| Oid::from_str(sha).ok()).flatten();
    full.with_context(|| {
        format!("`{}` is no commit id: expected 40 hexadecimal digits", remote_error::tame(sha))
    })
}

#[cfg(test)]
mod tests;
