//! Enqueues a build with the inputs of another one. It knows no reason for it, so `schedule` and `settle` can both use it.

use domain::words::Reason;
use domain::words::ids::{BuildId, Timestamp, WorkerId};
use store::{Build, NewBuild, SelfCheck, Write};

/// Enqueues a null run: the same inputs as those of a build, once more. Returns false if the inputs of that build are not
/// known.
pub async fn enqueue_rerun(
    tx: &mut Write<'_>,
    build: &Build,
    only_worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<bool> {
    Ok(enqueue_equal(tx, build, Reason::Null, only_worker, at).await?.is_some())
}

/// Enqueues a null run that repeats an old answer. Returns false as [`enqueue_rerun`] does.
pub async fn enqueue_self_check_run(
    tx: &mut Write<'_>,
    build: &Build,
    worker: WorkerId,
    check: SelfCheck,
    at: Timestamp,
) -> store::Result<bool> {
    let enqueued = enqueue_equal(tx, build, Reason::Null, Some(worker), at).await?;
    if let Some(enqueued) = enqueued {
        tx.put_self_check(enqueued, check, at).await?;
    }
    Ok(enqueued.is_some())
}

/// Enqueues a build that makes history of a change, with the inputs of a run that makes none. Returns false if the inputs
/// of that run are not known.
pub async fn enqueue_history_build(tx: &mut Write<'_>, run: &Build, at: Timestamp) -> store::Result<bool> {
    let only_worker = bound_to(tx, run).await?;
    Ok(enqueue_equal(tx, run, Reason::Backfill, only_worker, at).await?.is_some())
}

/// The worker without which a build cannot be run, since its toolchain works nowhere else.
pub async fn bound_to(tx: &mut Write<'_>, build: &Build) -> store::Result<Option<WorkerId>> {
    match build.artifact {
        Some(artifact) => Ok(tx.artifact(artifact).await?.and_then(|artifact| artifact.only_worker)),
        None => Ok(None),
    }
}

async fn enqueue_equal(
    tx: &mut Write<'_>,
    build: &Build,
    reason: Reason,
    only_worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<Option<BuildId>> {
    let Some(inputs) = build.inputs else { return Ok(None) };
    let new = NewBuild {
        builder: build.builder,
        change: build.change,
        pin: build.pin,
        toolchain_inputs: build.toolchain_inputs,
        recipe: build.recipe,
        reason,
        breakage: None,
        only_worker,
        inputs,
        artifact: build.artifact,
    };
    tx.enqueue_build(&new, at).await.map(Some)
}
