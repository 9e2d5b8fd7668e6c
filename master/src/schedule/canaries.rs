//! Canaries prove every day that the farm can still see: asked when nothing else asks them, and heard before any mail.

use std::collections::BTreeSet;

use domain::schedule::canary::{is_due, is_failing};
use domain::words::ids::{Timestamp, TrunkId};
use store::Write;

use crate::settle::null_runs;

/// Runs those once more that have not been heard for a day. Says how many builds it asked for.
pub async fn ask(tx: &mut Write<'_>, at: Timestamp) -> store::Result<usize> {
    let mut asked = 0;
    for canary in tx.canaries().await? {
        if !is_due(canary.last.map(|(_, heard)| heard), at) {
            continue;
        }
        let since = Timestamp(at.0 - 3600 * 1000);
        if let Some((repeated, worker)) = tx.to_repeat(canary.builder, since).await?
            && null_runs::repeat(tx, &repeated, Some(worker), at).await?
        {
            asked += 1;
        }
    }
    Ok(asked)
}

/// The trunks of which a canary says that the farm is blind.
pub async fn blind(tx: &mut Write<'_>) -> store::Result<BTreeSet<TrunkId>> {
    let mut canaries = tx.canaries().await?;
    canaries
        .retain(|row| row.last.is_some_and(|(outcome, _)| is_failing(row.canary, outcome, row.explained)));
    Ok(canaries.into_iter().map(|row| row.trunk_id).collect())
}
