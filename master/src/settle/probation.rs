//! Records whether machines on probation agree with others, and ends their probation once they have done so often enough.

use domain::breakage::flaky::flaky_since;
use domain::schedule::probation::{ENOUGH, agrees};
use domain::words::ids::{Timestamp, WorkerId};
use store::{Build, Builder, Write};

/// Records whether a machine on probation agrees on inputs that another machine ran before.
pub async fn record(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    worker: WorkerId,
    at: Timestamp,
) -> store::Result<()> {
    let Some(inputs) = build.inputs else { return Ok(()) };
    let Some(repeated) = tx.equal_build(builder.id, inputs).await? else { return Ok(()) };
    let (mut theirs, mut own) = (tx.build_verdicts(repeated.id).await?, tx.build_verdicts(build.id).await?);
    tx.add_unreported(repeated.id, &mut theirs.case_verdicts, own.case_verdicts.keys().copied()).await?;
    tx.add_unreported(build.id, &mut own.case_verdicts, theirs.case_verdicts.keys().copied()).await?;
    let mut noisy = tx.flaky_cases(builder.id, flaky_since(at)).await?;
    noisy.extend(tx.unstable_cases(builder.id).await?);
    let agreed = own.complete == theirs.complete && agrees(&theirs.case_verdicts, &own.case_verdicts, &noisy);
    let agreements = tx.record_agreement(worker, agreed, at).await?;
    if agreements >= ENOUGH {
        tx.end_probation(worker, at).await?;
        tracing::info!(%worker, agreements, "its probation is over: its results count");
    }
    Ok(())
}
