//! Runs canaries again when nothing else does: they prove every day that the farm detects what passes and what fails.

use std::time::Duration;

use domain::schedule::canary::is_due;
use domain::words::ids::Timestamp;
use store::Write;

use crate::queue::enqueue_rerun;

/// How long after a null run without a verdict a canary is not run again.
const RETRY_DELAY: Duration = Duration::from_secs(3600);

/// Enqueues a rerun of each canary that has not run for a day. Returns how many builds it enqueued.
pub async fn enqueue_canaries(tx: &mut Write<'_>, at: Timestamp) -> store::Result<usize> {
    let mut enqueued = 0;
    for canary in tx.canaries().await? {
        if !is_due(canary.last.map(|(_, ended_at)| ended_at), at) {
            continue;
        }
        if let Some((repeated, worker)) = tx.build_to_repeat(canary.builder, at - RETRY_DELAY).await?
            && enqueue_rerun(tx, &repeated, Some(worker), at).await?
        {
            enqueued += 1;
        }
    }
    Ok(enqueued)
}
