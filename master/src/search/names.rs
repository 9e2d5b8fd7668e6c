//! Before faults alone are searched, one more run of the same inputs shows whether their names are stable: where each run
//! names them differently, they accuse whatever change comes next.

use std::time::Duration;

use domain::readers::is_fault;
use domain::words::ids::Timestamp;
use store::{Breakage, Write};

use crate::farm::connections::ConnectedWorker;
use crate::queue::{bound_to, enqueue_rerun};
use crate::search::inputs::LoadedSearch;

/// How many runs within [`NAMES_PERIOD`] may be made to learn whether names are stable.
const MAX_RERUNS: u32 = 2;
const NAMES_PERIOD: Duration = Duration::from_secs(3600);

/// Whether the search waits for a run that shows whether its names are stable, which is enqueued if need be.
pub async fn await_names(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    loaded: &LoadedSearch,
    present: &[ConnectedWorker],
    at: Timestamp,
) -> store::Result<bool> {
    let leading = loaded.inputs.cases.keys().copied().collect();
    let names = tx.names_of_cases(&leading).await?;
    if names.is_empty() || !names.values().all(|name| is_fault(name)) {
        return Ok(false);
    }
    let (builder, bad) = (breakage.builder, breakage.bad);
    if tx.is_repeated(builder, bad).await? {
        return Ok(false);
    }
    if tx.is_repeating(builder).await? {
        return Ok(true);
    }
    let Some(first) = tx.history_build_to_repeat(builder, bad, at - NAMES_PERIOD, MAX_RERUNS).await? else {
        return Ok(false);
    };
    // On another machine a difference would be the machine's.
    let ran_by = tx.worker_of(&first).await?;
    let same = ran_by.filter(|worker| present.iter().any(|present| present.worker == *worker));
    let only_worker = match same {
        Some(worker) => Some(worker),
        None => bound_to(tx, &first).await?,
    };
    enqueue_rerun(tx, &first, only_worker, at).await
}
