//! Enqueues a rerun. It knows no reason for it, so `schedule` and `settle` can both use it.

use domain::words::Reason;
use domain::words::ids::{Timestamp, WorkerId};
use store::{Build, NewBuild, Write};

/// Enqueues a null run: the same inputs as those of a build, once more. Returns false if the inputs of that build are not
/// known.
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
        toolchain_inputs: build.toolchain_inputs,
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
