//! Canaries, as far as mails need them: no mail is written about a trunk while a canary shows that its results cannot be
//! trusted.

use std::collections::BTreeSet;

use domain::schedule::canary::is_failing;
use domain::words::ids::{Timestamp, TrunkId};
use store::Write;

/// The trunks with a failing canary.
pub async fn trunks_with_failing_canaries(tx: &mut Write<'_>) -> store::Result<BTreeSet<TrunkId>> {
    let mut canaries = tx.canaries().await?;
    canaries.retain(|row| {
        row.last.is_some_and(|(outcome, _): (_, Timestamp)| is_failing(row.canary, outcome, row.explained))
    });
    Ok(canaries.into_iter().map(|row| row.trunk_id).collect())
}
