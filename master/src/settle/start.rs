//! How a project begins: its first result on a branch, and the first build that shows that it works.

use domain::notice::first_result::obstacle;
use domain::outcome::Outcome;
use domain::words::ids::Timestamp;
use store::{Build, Builder, Write};

/// Records what a build that has just finished shows of its project's beginning.
pub async fn record(
    tx: &mut Write<'_>,
    build: &Build,
    builder: &Builder,
    at: Timestamp,
) -> store::Result<()> {
    let Some(project) = builder.project.filter(|_| build.reason.makes_history()) else { return Ok(()) };
    let start = tx.project_start(project, builder.branch).await?;
    if start.is_some_and(|start| start.worked_at.is_some()) {
        return Ok(());
    }
    let end = tx.build_end(build.id).await?;
    match end.outcome {
        Outcome::Passed | Outcome::Failed | Outcome::Infra => {}
        // The project was not run.
        Outcome::Cancelled | Outcome::Blocked => return Ok(()),
    }
    if start.is_none() {
        tx.start_project(project, builder.branch, build.id, at).await?;
    }
    if obstacle(end.outcome, end.counts).is_none() {
        tx.mark_project_worked(project, builder.branch, at).await?;
    }
    Ok(())
}
