//! The conversation with a remote. It runs on a thread that may be abandoned, so it touches nothing but the mirror.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use git2::{
    AutotagOption, Direction, FetchOptions, FetchPrune, RemoteCallbacks, RemoteHead, RemoteUpdateFlags,
};
use git2::{Remote, Repository};
use protocol::FetchProgress;
use tokio::sync::watch;

use super::tips::Tips;

/// Where a fetch puts the remote's branches. Its tags become those of the mirror.
pub const BRANCHES: &str = "refs/remotes/origin/";
const SPECS: [&str; 2] = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];

/// How many branches and tags a remote may have. More are an attack or a mistake.
const MAX_REFS: usize = 100_000;
/// How much one fetch may bring. The largest language repositories are a tenth of this.
const MAX_FETCH_BYTES: usize = 16 << 30;

pub fn tips(url: &str) -> Result<Tips> {
    refuse_unsupported(url)?;
    let mut remote = Remote::create_detached(url)?;
    let connection = remote.connect_auth(Direction::Fetch, None, None)?;
    let mut tips = Tips::default();
    for head in connection.list()? {
        let Some(name) = name(head) else { continue };
        if name == "HEAD" {
            // Not `default_branch`: where HEAD names no branch, it guesses one, and reads a null pointer to do so.
            tips.default_branch =
                target(head).and_then(|target| target.strip_prefix("refs/heads/")).map(str::to_string);
        }
        tips.insert(name, &head.oid().to_string());
        if tips.branches.len() + tips.tags.len() > MAX_REFS {
            bail!("it shows more than {MAX_REFS} branches and tags");
        }
    }
    Ok(tips)
}

pub fn fetch(
    repository: &Repository,
    url: &str,
    deadline: Instant,
    progress: &watch::Sender<FetchProgress>,
) -> Result<()> {
    refuse_unsupported(url)?;
    let mut callbacks = RemoteCallbacks::new();
    callbacks.sideband_progress(|_| Instant::now() < deadline);
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    callbacks.transfer_progress(|state| {
        progress.send_modify(|progress| {
            progress.bytes = count(state.received_bytes());
            progress.objects = count(state.received_objects());
            progress.total_objects = Some(count(state.total_objects())).filter(|total| *total > 0);
        });
        Instant::now() < deadline && state.received_bytes() <= MAX_FETCH_BYTES
    });
    let mut options = FetchOptions::new();
    options.remote_callbacks(callbacks).download_tags(AutotagOption::None).prune(FetchPrune::Off);

    let mut remote = repository.remote_anonymous(url)?;
    remote.download(&SPECS, Some(&mut options))?;
    // Refs are dropped before others are updated: where `a` was deleted, `a/b` may have been created.
    remote.prune(None)?;
    remote.update_tips(None, RemoteUpdateFlags::empty(), AutotagOption::None, None)?;
    Ok(())
}

/// libgit2 reports a path that does not exist as an unsupported protocol, which sends people looking in the wrong place.
#[expect(clippy::disallowed_methods, reason = "runs on a blocking thread")]
fn refuse_unsupported(url: &str) -> Result<()> {
    match url.split_once("://") {
        Some(("file" | "git" | "http" | "https", _)) => Ok(()),
        Some(_) => {
            bail!("the master does not speak this protocol; expected a path or a file, git or https URL")
        }
        None if Path::new(url).exists() => Ok(()),
        None => bail!("there is no such folder; expected a path or a file, git or https URL"),
    }
}

/// What a symbolic ref points to; none for one that is not symbolic, or where the server does not show it.
fn target<'a>(head: &'a RemoteHead<'_>) -> Option<&'a str> {
    catch_unwind(AssertUnwindSafe(|| head.symref_target())).ok().flatten()
}

/// A ref's name; none when it is not UTF-8. No configuration can name such a ref, and git2 panics on it, which must not
/// hide the others.
fn name<'a>(head: &'a RemoteHead<'_>) -> Option<&'a str> {
    catch_unwind(AssertUnwindSafe(|| head.name())).ok()
}
