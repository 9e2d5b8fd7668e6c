//! Branches and tags that the configuration names and that the remote does not have: renamed, deleted, or misspelt.

use anyhow::Result;
use domain::health::missing_ref::{MAX_PRESENT, RefKind};
use domain::words::ids::{ProjectId, TrunkId};
use store::NewMissingRef;

use crate::config::Follow;
use crate::config::nearest::nearest_first;
use crate::farm::{Farm, now};
use crate::poll::mirror::Tips;

/// Longer names are left out of what is shown; git itself allows about 250 bytes.
const MAX_NAME_BYTES: usize = 256;

/// The configured branches of a trunk that its remote does not have.
pub fn branches(tips: &Tips, configured: &[&str]) -> Vec<NewMissingRef> {
    let mut missing: Vec<NewMissingRef> = configured
        .iter()
        .filter(|name| !tips.branches.contains_key(**name))
        .map(|name| missing(tips, RefKind::Branch, name))
        .collect();
    // In the store's order.
    missing.sort_by(|a, b| a.name.cmp(&b.name));
    missing
}

/// What a project follows, if its remote does not have it.
pub fn followed(tips: &Tips, follow: &Follow) -> Option<NewMissingRef> {
    let (kind, name) = follow.wanted_ref()?;
    let is_there = match kind {
        RefKind::Branch => tips.branches.contains_key(name),
        RefKind::Tag => tips.tags.contains_key(name),
        RefKind::Version => tips.newest_tag().is_some(),
    };
    (!is_there).then(|| missing(tips, kind, name))
}

fn missing(tips: &Tips, kind: RefKind, name: &str) -> NewMissingRef {
    let there = match kind {
        RefKind::Branch => &tips.branches,
        RefKind::Tag | RefKind::Version => &tips.tags,
    };
    let names = there.keys().map(String::as_str).filter(|name| name.len() <= MAX_NAME_BYTES);
    let present: Vec<String> =
        nearest_first(name, names, MAX_PRESENT).into_iter().map(str::to_string).collect();
    let more = u64::try_from(there.len() - present.len()).expect("a usize fits into 64 bits");
    let head = tips.default_branch.clone().filter(|head| head.len() <= MAX_NAME_BYTES);
    NewMissingRef { kind, name: name.to_string(), head, present, more }
}

/// Stores what is missing of a trunk, or of one of its projects, if that has changed.
pub async fn record_missing(
    farm: &Farm,
    trunk: TrunkId,
    project: Option<ProjectId>,
    missing: Vec<NewMissingRef>,
) -> Result<()> {
    let mut snapshot = farm.store.snapshot().await?;
    let known = snapshot.read().missing_refs_of(trunk, project).await?;
    drop(snapshot);
    if known == missing {
        return Ok(());
    }
    for one in &missing {
        let is_new = !known.iter().any(|known| (known.kind, &known.name) == (one.kind, &one.name));
        if is_new {
            tracing::warn!(
                kind = one.kind.as_str(),
                name = one.name,
                head = one.head,
                "the remote has no such ref"
            );
        }
    }
    let at = now();
    farm.store
        .write(move |tx| Box::pin(async move { tx.put_missing_refs(trunk, project, &missing, at).await }))
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tips(branches: &str, tags: &str, head: Option<&str>) -> Tips {
        let refs = |names: &str| names.split_whitespace().map(|name| (name.into(), "0".into())).collect();
        Tips { default_branch: head.map(str::to_string), branches: refs(branches), tags: refs(tags) }
    }

    #[test]
    fn a_renamed_branch_is_missing_with_what_is_there_instead() {
        let there = tips("main dev mastr", "", Some("main"));
        let missing = branches(&there, &["master", "dev", "gone"]);
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert_eq!((missing[0].name.as_str(), missing[1].name.as_str()), ("gone", "master"));
        assert_eq!(missing[1].present, ["mastr", "main", "dev"]);
        assert_eq!((missing[1].head.as_deref(), missing[1].more), (Some("main"), 0));
    }

    #[test]
    fn what_a_project_follows_may_be_missing_in_each_kind() {
        let there = tips("main", "v1 v2", None);
        let missing = |follow: Follow| followed(&there, &follow).map(|one| (one.kind, one.name, one.present));
        assert_eq!(missing(Follow::Branch("main".into())), None);
        assert_eq!(missing(Follow::Tag("v2".into())), None);
        assert_eq!(missing(Follow::NewestTag), None);
        let tag = (RefKind::Tag, "v3".to_string(), vec!["v1".to_string(), "v2".to_string()]);
        assert_eq!(missing(Follow::Tag("v3".into())), Some(tag));
        let none = tips("main", "nightly", None);
        let version = followed(&none, &Follow::NewestTag).map(|one| (one.kind, one.present));
        assert_eq!(version, Some((RefKind::Version, vec!["nightly".to_string()])));
    }

    #[test]
    fn the_list_is_bounded_however_many_branches_there_are() {
        let mut there = tips("", "", None);
        there.branches = (0..3000).map(|n| (format!("feature/{n}"), "0".into())).collect();
        there.branches.insert("x".repeat(10_000), "0".into());
        let missing = branches(&there, &["master"]);
        assert_eq!((missing[0].present.len(), missing[0].more), (MAX_PRESENT, 3001 - MAX_PRESENT as u64));
    }
}
