//! Polls a trunk and its projects: what is new upstream becomes changes and revisions.

pub mod mirror;
mod missing;
pub mod remotes;

use std::time::Duration;

use anyhow::{Context, Result};
use domain::backoff::backoff;
use domain::history::{self, KnownBranch, NewPosition, PollPlan, Position};
use domain::progress::sentence;
use domain::words::ids::{BranchId, Timestamp, TrunkId};
use protocol::FetchProgress;
use store::{Branch, NewChange};
use tokio::sync::watch;

use crate::config::{Follow, ProjectConfig, TrunkConfig};
use crate::farm::{Farm, now, unit};
use crate::poll::mirror::{Mirror, Tips};
use crate::poll::missing::record_missing;
use crate::settle::breakages::reconsider;

/// How long reading a remote's refs may take, and fetching a whole history.
const REFS_LIMIT: Duration = Duration::from_secs(30);
const FETCH_LIMIT: Duration = Duration::from_secs(30 * 60);

/// How often the page shows how far a fetch is, and how many of that make a line in the log.
const GLANCE: Duration = Duration::from_secs(1);
const GLANCES_PER_LINE: u32 = 10;

/// Polls one trunk. Returns the time until the next poll.
pub async fn poll_trunk(farm: &Farm, trunk: &TrunkConfig, mirror: Result<&Mirror>) -> Result<Duration> {
    let mut snapshot = farm.store.snapshot().await?;
    let mut read = snapshot.read();
    let rows = read.trunks().await?;
    let row = rows.into_iter().find(|row| row.name == trunk.name).context("the trunk is not registered")?;
    let branches: Vec<Branch> =
        read.branches().await?.into_iter().filter(|branch| branch.trunk == row.id).collect();
    drop(snapshot);

    let result = match mirror {
        Ok(mirror) => TrunkPoll { farm, trunk, mirror, id: row.id }.poll(branches).await,
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

/// One poll of a trunk.
struct TrunkPoll<'a> {
    farm: &'a Farm,
    trunk: &'a TrunkConfig,
    mirror: &'a Mirror,
    id: TrunkId,
}

impl TrunkPoll<'_> {
    async fn poll(&self, branches: Vec<Branch>) -> Result<()> {
        let tips = self.mirror.tips(REFS_LIMIT).await?;
        let names: Vec<&str> = branches.iter().map(|branch| branch.name.as_str()).collect();
        record_missing(self.farm, self.id, None, missing::branches(&tips, &names)).await?;
        let mut fetched = false;
        for branch in branches {
            let mut snapshot = self.farm.store.snapshot().await?;
            let known = known_branch(&branch, &snapshot.read().branch_positions(branch.id).await?);
            drop(snapshot);
            let tip = tips.branches.get(&branch.name);
            if is_unchanged(&known, tip.map(String::as_str)) {
                continue;
            }
            if !fetched && tip.is_some() {
                self.fetch().await?;
                fetched = true;
            }
            let branch_id = branch.id;
            let moved = BranchMove {
                mirror: self.mirror.clone(),
                base: self.trunk.base.clone(),
                name: branch.name.clone(),
                known,
                tip: tip.cloned(),
            };
            // Reading a long history takes a second or two of disk.
            let (plan, commits) = tokio::task::spawn_blocking(move || moved.plan()).await??;
            match plan {
                PollPlan::Unchanged => {}
                PollPlan::Deleted => {
                    let marked = self
                        .farm
                        .store
                        .write(move |tx| Box::pin(async move { tx.mark_branch_gone(branch_id, true).await }));
                    marked.await?;
                    self.farm.activations.schedule.notify_one();
                }
                PollPlan::Moved { gone, added } => self.record_move(branch, gone, added, commits).await?,
            }
        }
        self.mend().await
    }

    /// Takes back the changes that an older version took for rewound, once for each branch.
    async fn mend(&self) -> Result<()> {
        let mut snapshot = self.farm.store.snapshot().await?;
        let mut read = snapshot.read();
        let mut branches = Vec::new();
        for branch in read.branches_to_mend(self.id).await? {
            branches.push((branch, read.dated_positions(branch).await?));
        }
        drop(snapshot);
        for (branch, positions) in branches {
            let (mirror, at) = (self.mirror.clone(), now());
            let mended = tokio::task::spawn_blocking(move || mirror.mend(&positions)).await??;
            let restored = mended.restored.len();
            let recorded = self.farm.store.write(move |tx| {
                Box::pin(async move {
                    tx.mend_branch(branch, &mended, at).await?;
                    if !mended.restored.is_empty() {
                        reconsider_branch(tx, branch, at).await?;
                    }
                    Ok(())
                })
            });
            recorded.await?;
            if restored > 0 {
                tracing::info!(
                    trunk = self.trunk.name.as_str(),
                    restored,
                    "took back changes that were not rewound"
                );
                self.farm.activations.schedule.notify_one();
                self.farm.activations.search.notify_one();
            }
        }
        Ok(())
    }

    /// Fetches the trunk, and records once a second how far that is.
    async fn fetch(&self) -> Result<()> {
        let what = self.trunk.name.clone();
        let (progress, mut seen) = watch::channel(FetchProgress { what, ..FetchProgress::default() });
        let mut fetching = std::pin::pin!(self.mirror.fetch(FETCH_LIMIT, progress));
        let (id, mut glances) = (self.id, 0_u32);
        loop {
            tokio::select! {
                fetched = &mut fetching => return fetched,
                () = tokio::time::sleep(GLANCE) => {}
            }
            if !seen.has_changed().unwrap_or(false) {
                continue;
            }
            let text = sentence(&seen.borrow_and_update());
            if glances.is_multiple_of(GLANCES_PER_LINE) {
                tracing::info!(trunk = self.trunk.name, "{text}");
            }
            glances += 1;
            let put = self
                .farm
                .store
                .write(move |tx| Box::pin(async move { tx.put_trunk_progress(id, &text, now()).await }));
            put.await?;
        }
    }

    async fn record_move(
        &self,
        branch: Branch,
        gone: Vec<i64>,
        added: Vec<NewPosition>,
        commits: Vec<NewChange>,
    ) -> Result<()> {
        let (trunk, branch_id, at) = (self.id, branch.id, now());
        let (added_count, gone_count) = (added.len(), gone.len());
        let recorded = self.farm.store.write(move |tx| {
            Box::pin(async move {
                let rewinds = !gone.is_empty();
                tx.mark_branch_gone(branch_id, false).await?;
                for position in gone {
                    tx.mark_position_gone(branch_id, position, at).await?;
                }
                for (added, commit) in added.iter().zip(&commits) {
                    let change = tx.put_change(trunk, commit, at).await?;
                    tx.append_position(branch_id, added.number, change).await?;
                    tx.journal(store::Topic::Change, change.0, at);
                }
                if rewinds {
                    reconsider_branch(tx, branch_id, at).await?;
                }
                Ok(())
            })
        });
        recorded.await?;
        self.farm.activations.schedule.notify_one();
        if gone_count > 0 {
            self.farm.activations.search.notify_one();
        }
        // Logged when it is stored: what is measured from here on is the farm's own speed.
        let (trunk, branch) = (&self.trunk.name, &branch.name);
        tracing::info!(trunk, branch, added = added_count, gone = gone_count, "new changes");
        Ok(())
    }
}

/// Perhaps no later build will show that changes of a branch are gone or have come back, so do not wait for one.
async fn reconsider_branch(tx: &mut store::Write<'_>, branch: BranchId, at: Timestamp) -> store::Result<()> {
    for builder in tx.builders().await?.iter().filter(|builder| builder.branch == branch) {
        reconsider(tx, builder, store::HistoryNews::Any, None, at).await?;
    }
    Ok(())
}

fn known_branch(branch: &Branch, places: &[store::BranchPosition]) -> KnownBranch {
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

/// Whether the remote has what the last poll saw, so that nothing needs to be fetched.
fn is_unchanged(known: &KnownBranch, tip: Option<&str>) -> bool {
    match known {
        KnownBranch::Awaited | KnownBranch::Deleted(_) => tip.is_none(),
        KnownBranch::Watched(_) => {
            tip.is_some() && known.surviving().last().map(|last| last.sha.as_str()) == tip
        }
    }
}

/// A branch whose tip the remote has moved.
struct BranchMove {
    mirror: Mirror,
    /// The first change that is watched, as it is configured.
    base: Option<String>,
    name: String,
    known: KnownBranch,
    /// None when the remote no longer has the branch.
    tip: Option<String>,
}

impl BranchMove {
    /// What the last poll did not see yet, with the commits that are new. Keeps what is gone from the remote.
    fn plan(self) -> Result<(PollPlan, Vec<NewChange>)> {
        let BranchMove { mirror, base, name, known, tip } = self;
        let remote = match &tip {
            None => history::RemoteBranch::Absent,
            // A fetch may have brought a newer tip than the refs had; the next poll sees it.
            Some(tip) => {
                let base = base
                    .map(|base| mirror.resolve(&base))
                    .transpose()
                    .with_context(|| format!("the base of branch {name}; mend `base` in farm.toml"))?;
                mirror.history_of(tip, base.as_deref(), &known)?
            }
        };
        let plan = history::poll(&known, &remote);
        let commits = match &plan {
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
                let last_kept = known.surviving().filter(|place| !gone.contains(&place.number)).last();
                let shas: Vec<String> = added.iter().map(|added| added.sha.clone()).collect();
                mirror.commits(last_kept.map(|place| place.sha.as_str()), &shas)?
            }
        };
        Ok((plan, commits.into_iter().map(new_change).collect()))
    }
}

fn new_change(commit: crate::poll::mirror::Commit) -> NewChange {
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

/// Polls one project. The master never fetches a project: its refs show which revision is the newest. Returns the time
/// until the next poll.
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
        Ok(mirror) => mirror.tips(REFS_LIMIT).await,
        Err(error) => Err(error),
    };
    if let Ok(tips) = &tips {
        let missing = missing::followed(tips, &project.follow).into_iter().collect();
        record_missing(farm, row.trunk, Some(row.id), missing).await?;
    }
    let polled = tips.and_then(|tips| newest(&tips, &project.follow));
    match polled {
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
        Follow::Commit(sha) => Some(sha.as_str()),
        Follow::NewestTag => tips.newest_tag().map(|(_, sha)| sha),
        // There is no repository to poll: a worker runs a command.
        Follow::Latest { .. } => None,
    };
    let wanted = match follow {
        Follow::Branch(branch) => format!("branch `{branch}`"),
        Follow::Tag(tag) => format!("tag `{tag}`"),
        Follow::Commit(sha) => format!("commit `{sha}`"),
        Follow::NewestTag => "tag with a version number".to_string(),
        Follow::Latest { .. } => "repository".to_string(),
    };
    Ok(found.with_context(|| format!("the project has no {wanted}; mend `follow` in its file"))?.to_string())
}
