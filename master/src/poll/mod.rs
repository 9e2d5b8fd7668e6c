//! Polls a trunk and its projects: what is new upstream becomes changes and revisions.

pub mod mirror;
pub mod remotes;
use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result};
use domain::backoff::backoff;
use domain::history::{self, KnownBranch, PollPlan, Position};
use domain::words::ids::{Timestamp, TrunkId};
use store::{Branch, NewChange};

use crate::config::{Follow, ProjectConfig, TrunkConfig};
use crate::farm::{Farm, now, unit};
use crate::poll::mirror::{Mirror, Tips};
use crate::settle;

/// A look at the remote's refs, and a fetch of a whole history.
const LOOK: Duration = Duration::from_secs(30);
const FETCH: Duration = Duration::from_secs(30 * 60);

/// One trunk's patrol: how long to wait until the next poll is the answer.
pub async fn poll_trunk(farm: &Farm, trunk: &TrunkConfig, mirror: Result<&Mirror>) -> Result<Duration> {
    let mut snapshot = farm.store.snapshot().await?;
    let mut read = snapshot.read();
    let rows = read.trunks().await?;
    let row = rows.into_iter().find(|row| row.name == trunk.name).context("the trunk is not registered")?;
    let branches: Vec<Branch> =
        read.branches().await?.into_iter().filter(|branch| branch.trunk == row.id).collect();
    drop(snapshot);

    let result = match mirror {
        Ok(mirror) => look(farm, trunk, mirror, row.id, &branches).await,
        Err(error) => Err(error),
    };
    let (id, at) = (row.id, now());
    match result {
        Ok(()) => {
            farm.store.write(move |tx| Box::pin(async move { tx.record_trunk_poll(id, at).await })).await?;
            Ok(trunk.poll)
        }
        Err(error) => {
            let failure = format!("{error:#}");
            tracing::warn!(trunk = trunk.name, "{failure}");
            farm.store
                .write(move |tx| Box::pin(async move { tx.record_trunk_failure(id, &failure, at).await }))
                .await?;
            Ok(backoff(trunk.poll, row.failures + 1, unit()))
        }
    }
}

async fn look(
    farm: &Farm,
    trunk: &TrunkConfig,
    mirror: &Mirror,
    id: TrunkId,
    branches: &[Branch],
) -> Result<()> {
    let tips = mirror.tips(LOOK).await?;
    let mut fetched = false;
    for branch in branches {
        let mut snapshot = farm.store.snapshot().await?;
        let known = known(branch, &snapshot.read().places(branch.id).await?);
        drop(snapshot);
        let tip = tips.branches.get(&branch.name);
        if is_seen(&known, tip.map(String::as_str)) {
            continue;
        }
        if !fetched && tip.is_some() {
            mirror.fetch(FETCH).await?;
            fetched = true;
        }
        move_branch(farm, trunk, mirror, id, branch, known, tip.cloned()).await?;
    }
    Ok(())
}

fn known(branch: &Branch, places: &[store::BranchPosition]) -> KnownBranch {
    let positions: Vec<Position> = places
        .iter()
        .map(|place| Position { number: place.position, sha: place.sha.clone(), gone: place.gone })
        .collect();
    match (branch.gone, positions.is_empty()) {
        (true, _) => KnownBranch::Deleted(positions),
        (false, true) => KnownBranch::Awaited,
        (false, false) => KnownBranch::Watched(positions),
    }
}

/// Whether the remote shows what the last poll saw, so that nothing need be fetched.
fn is_seen(known: &KnownBranch, tip: Option<&str>) -> bool {
    match known {
        KnownBranch::Awaited | KnownBranch::Deleted(_) => tip.is_none(),
        KnownBranch::Watched(_) => {
            tip.is_some() && known.surviving().last().map(|last| last.sha.as_str()) == tip
        }
    }
}

async fn move_branch(
    farm: &Farm,
    trunk: &TrunkConfig,
    mirror: &Mirror,
    id: TrunkId,
    branch: &Branch,
    known: KnownBranch,
    tip: Option<String>,
) -> Result<()> {
    let (mirror, base, name) = (mirror.clone(), trunk.base.clone(), branch.name.clone());
    // Reading a long history takes a second or two of disk.
    let (poll, found) = tokio::task::spawn_blocking(move || {
        let remote = match &tip {
            None => history::RemoteBranch::Absent,
            // A fetch may have brought a newer tip than the look showed; the next poll sees it.
            Some(tip) => {
                let base = base
                    .map(|base| mirror.resolve(&base))
                    .transpose()
                    .with_context(|| format!("the base of branch {name}; mend `base` in farm.toml"))?;
                let surviving: HashSet<&str> = known.surviving().map(|place| place.sha.as_str()).collect();
                mirror.first_parents(tip, base.as_deref(), |sha| surviving.contains(sha))?
            }
        };
        let poll = history::poll(&known, &remote);
        let found = match &poll {
            PollPlan::Unchanged => Vec::new(),
            PollPlan::Deleted => {
                if let Some(last) = known.surviving().last() {
                    mirror.keep(&last.sha)?;
                }
                Vec::new()
            }
            PollPlan::Moved { gone, added } => {
                let last_gone = known.positions().iter().rfind(|place| gone.contains(&place.number));
                if let Some(last) = last_gone {
                    mirror.keep(&last.sha)?;
                }
                let shas: Vec<String> = added.iter().map(|added| added.sha.clone()).collect();
                mirror.commits(&shas)?
            }
        };
        anyhow::Ok((poll, found))
    })
    .await??;

    let (branch_id, at) = (branch.id, now());
    let (gone, added) = match poll {
        PollPlan::Unchanged => return Ok(()),
        PollPlan::Deleted => {
            farm.store
                .write(move |tx| Box::pin(async move { tx.mark_branch_gone(branch_id, true).await }))
                .await?;
            return Ok(());
        }
        PollPlan::Moved { gone, added } => (gone, added),
    };
    let counts = (added.len(), gone.len());
    let rewinds = !gone.is_empty();
    let found: Vec<NewChange> = found.into_iter().map(found_row).collect();
    farm.store
        .write(move |tx| {
            Box::pin(async move {
                tx.mark_branch_gone(branch_id, false).await?;
                for position in gone {
                    tx.mark_position_gone(branch_id, position, at).await?;
                }
                for (added, found) in added.iter().zip(&found) {
                    let change = tx.put_change(id, found, at).await?;
                    tx.append_position(branch_id, added.number, change).await?;
                    tx.journal(store::Topic::Change, change.0, at);
                }
                if rewinds {
                    // No build may ever come to say that these changes are gone.
                    for builder in tx.builders().await?.iter().filter(|builder| builder.branch == branch_id) {
                        settle::reconsider(tx, builder, store::HistoryNews::Any, None, at).await?;
                    }
                }
                Ok(())
            })
        })
        .await?;
    farm.activations.schedule.notify_one();
    let (added, gone) = counts;
    if gone > 0 {
        farm.activations.search.notify_one();
    }
    // Said when it is kept: what is measured from here on is the farm's own haste.
    tracing::info!(trunk = trunk.name, branch = branch.name, added, gone, "new changes");
    Ok(())
}

fn found_row(commit: crate::poll::mirror::Commit) -> NewChange {
    NewChange {
        sha: commit.sha,
        author: commit.author,
        author_mail: commit.email,
        committed_at: Timestamp(commit.committed_at_s.saturating_mul(1000)),
        title: commit.title,
        message: commit.message,
        path_count: u32::try_from(commit.paths.count).unwrap_or(u32::MAX),
        paths: commit.paths.first,
    }
}

/// One project's patrol. The master never fetches a project: its refs say which revision is the newest.
pub async fn poll_project(
    farm: &Farm,
    project: &ProjectConfig,
    mirror: Result<&Mirror>,
    period: Duration,
) -> Result<Duration> {
    let mut snapshot = farm.store.snapshot().await?;
    let rows = snapshot.read().projects().await?;
    drop(snapshot);
    let row =
        rows.into_iter().find(|row| row.name == project.name).context("the project is not registered")?;
    let at = now();
    let tips = match mirror {
        Ok(mirror) => mirror.tips(LOOK).await,
        Err(error) => Err(error),
    };
    let looked = tips.and_then(|tips| newest(&tips, &project.follow));
    match looked {
        Ok(revision) => {
            let new = row.newest.as_deref() != Some(revision.as_str());
            let id = row.id;
            farm.store
                .write(move |tx| Box::pin(async move { tx.record_project_poll(id, &revision, at).await }))
                .await?;
            if new {
                farm.activations.schedule.notify_one();
            }
            Ok(period)
        }
        Err(error) => {
            let failure = format!("{error:#}");
            tracing::warn!(project = project.name, "{failure}");
            let id = row.id;
            farm.store
                .write(move |tx| Box::pin(async move { tx.record_project_failure(id, &failure, at).await }))
                .await?;
            Ok(backoff(period, row.failures + 1, unit()))
        }
    }
}

fn newest(tips: &Tips, follow: &Follow) -> Result<String> {
    let found = match follow {
        Follow::Branch(branch) => tips.branches.get(branch).map(String::as_str),
        Follow::Tag(tag) => tips.tags.get(tag).map(String::as_str),
        Follow::NewestTag => tips.newest_tag().map(|(_, sha)| sha),
        // Has no repository to be looked at: a worker is asked.
        Follow::Latest { .. } => None,
    };
    let wanted = match follow {
        Follow::Branch(branch) => format!("branch `{branch}`"),
        Follow::Tag(tag) => format!("tag `{tag}`"),
        Follow::NewestTag => "tag with a version number".to_string(),
        Follow::Latest { .. } => "repository".to_string(),
    };
    Ok(found.with_context(|| format!("the project has no {wanted}; mend `follow` in its file"))?.to_string())
}
