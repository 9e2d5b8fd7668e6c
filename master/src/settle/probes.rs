//! Records a probe: where it shows a case bad that no breakage holds, its change joins the history, so that a breakage is
//! opened or split like any other.

use domain::breakage::flaky::flaky_since;
use domain::breakage::newly_bad;
use domain::words::ids::Timestamp;
use store::{Build, Builder, Write};

use crate::queue::enqueue_history_build;

/// Compares a probe with the history build before it.
pub async fn record(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    at: Timestamp,
) -> store::Result<()> {
    let Some(before) = tx.verdicts_before(builder, build).await? else { return Ok(()) };
    let mut held = tx.cases_of_open_breakages(builder.id).await?;
    held.extend(tx.flaky_cases(builder.id, flaky_since(at)).await?);
    held.extend(tx.unstable_cases(builder.id).await?);
    let bad = newly_bad(&before, &tx.build_verdicts(build.id).await?.case_verdicts, &held);
    // A run of its own shows whether that was bad luck.
    if !bad.is_empty() && enqueue_history_build(tx, build, at).await? {
        let name = &builder.name;
        tracing::info!(build = %build.id, builder = name, cases = bad.len(), "a probe shows what no breakage holds");
    }
    Ok(())
}
