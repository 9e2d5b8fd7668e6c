//! Compares the runs that went without declared caches with those that had them.

use domain::breakage::flaky::flaky_since;
use domain::caches;
use domain::words::ids::Timestamp;
use store::{Build, Builder, Write};

/// Records what a run without caches shows about them. A case that is flaky by itself says nothing.
pub async fn compare(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    at: Timestamp,
) -> store::Result<()> {
    let Some(inputs) = build.inputs else { return Ok(()) };
    let runs = tx.comparable_runs(builder.id, build.id, inputs).await?;
    if runs.iter().all(|run| run.with_caches) || !runs.iter().any(|run| run.with_caches) {
        return Ok(());
    }
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for run in runs {
        let verdicts = tx.build_verdicts(run.build).await?.case_verdicts;
        if run.with_caches { with.push(verdicts) } else { without.push(verdicts) }
    }
    let mut cases = caches::disagreeing(&with, &without);
    let known = tx.flaky_cases(builder.id, flaky_since(at)).await?;
    let unstable = tx.unstable_cases(builder.id).await?;
    cases.retain(|case| !known.contains(case) && !unstable.contains(case));
    let names = tx.names_of_cases(&cases).await?;
    let Some(example) = names.values().next() else { return Ok(()) };
    let count = u32::try_from(cases.len()).unwrap_or(u32::MAX);
    tx.record_cache_disagreement(build.id, count, example, at).await?;
    tracing::warn!(
        build = %build.id,
        builder = builder.name,
        cases = count,
        "runs without caches differ from those with them; the caches are dropped"
    );
    Ok(())
}
