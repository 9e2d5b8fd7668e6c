//! Records the answer of a project's `latest` command: the newest revision of a project that is not in git.

use domain::outcome::BuildResult;
use domain::project_inputs;
use domain::words::Reason;
use domain::words::ids::{ProjectId, Timestamp};
use store::{Build, Write};

/// Records what the command printed, if it can be a revision.
pub async fn record_answer(
    tx: &mut Write<'_>,
    build: &Build,
    text: &str,
    at: Timestamp,
) -> store::Result<()> {
    let Some(project) = project_of(tx, build).await? else { return Ok(()) };
    match project_inputs::revision(text) {
        Ok(revision) => tx.record_project_poll(project, &revision, at).await,
        Err(failure) => tx.record_project_failure(project, &failure, at).await,
    }
}

/// Records that the command failed, and so answered nothing. A build that was given up counts as a failure too, though
/// the network may have been at fault each time.
pub async fn record_failure(
    tx: &mut Write<'_>,
    build: &Build,
    result: &BuildResult,
    at: Timestamp,
) -> store::Result<()> {
    let Some(project) = project_of(tx, build).await? else { return Ok(()) };
    let cause = result.cause.map_or("failed", |cause| cause.as_str());
    tx.record_project_failure(project, &format!("`latest` failed: {cause}"), at).await
}

/// The project whose newest revision a build asks for, if it does.
async fn project_of(tx: &mut Write<'_>, build: &Build) -> store::Result<Option<ProjectId>> {
    match build.reason {
        Reason::Latest => Ok(tx.builder(build.builder).await?.project),
        Reason::Tip | Reason::Backfill | Reason::Baseline | Reason::Probe | Reason::Null | Reason::Force => {
            Ok(None)
        }
    }
}
