//! Puts single builds into the queue. It knows nothing of why: the stages that enqueue and those that settle both use it.

use domain::words::Reason;
use domain::words::ids::{Timestamp, WorkerId};
use store::{Build, NewBuild, Write};

/// Enqueues a null run: the very inputs of a build, once more. Returns whether its inputs are known, so that it could be
/// done.
pub async fn enqueue_rerun(
    tx: &mut Write<'_>,
    build: &Build,
    only_worker: Option<WorkerId>,
    at: Timestamp,
) -> store::Result<bool> {
    let Some(inputs) = build.inputs else { return Ok(false) };
    let new = NewBuild {
        builder: build.builder,
        change: build.change,
        pin: build.pin,
        recipe: build.recipe,
        reason: Reason::Null,
        breakage: None,
        only_worker,
        inputs,
        artifact: build.artifact,
    };
    tx.enqueue_build(&new, at).await?;
    Ok(true)
}
