//! Lets machines on probation run again what others have run, so that they can prove that they agree.

use domain::words::ids::{PlatformId, Timestamp, WorkerId};
use domain::words::platform::platforms_of;
use store::Write;

use crate::config::Config;
use crate::queue::enqueue_rerun;

/// Gives each connected machine on probation that has nothing to do a run to repeat. Returns how many builds it enqueued.
pub async fn enqueue_probation(
    tx: &mut Write<'_>,
    config: &Config,
    present: &[WorkerId],
    platforms: &[(PlatformId, String)],
    at: Timestamp,
) -> store::Result<usize> {
    let mut enqueued = 0;
    for row in tx.workers_on_probation().await? {
        let worker = row.id;
        if !present.contains(&worker) || tx.is_worker_bound(worker).await? {
            continue;
        }
        let suits = |name: &str| {
            let project = config.projects.iter().find(|project| project.name == name);
            project.is_some_and(|project| project.wants.iter().all(|want| row.facts.offers.contains(want)))
        };
        let runs = tx.runs_of_others(worker, &platforms_of(&row.facts, platforms)).await?;
        if let Some((build, _)) = runs.into_iter().find(|(_, project)| suits(project))
            && enqueue_rerun(tx, &build, Some(worker), at).await?
        {
            enqueued += 1;
        }
    }
    Ok(enqueued)
}
