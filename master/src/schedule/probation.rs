//! Lets machines on probation run again what others have run, and believes them once they agree.

use domain::schedule::probation::{ENOUGH, agrees};
use domain::words::ids::{PlatformId, Timestamp, WorkerId};
use store::{Build, Builder, Write};

use crate::config::Config;
use crate::schedule::platforms_of;
use crate::settle;
use crate::settle::null_runs;

/// Gives each machine on probation that has nothing to do a run to repeat. Says how many it asked for.
pub async fn ask(
    tx: &mut Write<'_>,
    config: &Config,
    present: &[WorkerId],
    platforms: &[(PlatformId, String)],
    at: Timestamp,
) -> store::Result<usize> {
    let mut asked = 0;
    for row in tx.workers_on_probation().await? {
        let worker = row.id;
        if !present.contains(&worker) || tx.is_worker_bound(worker).await? {
            continue;
        }
        let offered = |project: &str| {
            let known = config.projects.iter().find(|known| known.name == project);
            known.is_some_and(|known| known.wants.iter().all(|want| row.facts.offers.contains(want)))
        };
        let found = tx.runs_of_others(worker, &platforms_of(&row.facts, platforms)).await?;
        if let Some((build, _)) = found.into_iter().find(|(_, project)| offered(project))
            && null_runs::repeat(tx, &build, Some(worker), at).await?
        {
            asked += 1;
        }
    }
    Ok(asked)
}

/// What a machine on probation said of inputs that another machine ran before.
pub async fn hear(
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
    let mut noisy = tx.flaky_cases(builder.id, settle::flaky_since(at)).await?;
    noisy.extend(tx.unstable_cases(builder.id).await?);
    let agreed = own.complete == theirs.complete && agrees(&theirs.case_verdicts, &own.case_verdicts, &noisy);
    let agreements = tx.record_agreement(worker, agreed, at).await?;
    if agreements >= ENOUGH {
        tx.end_probation(worker, at).await?;
        tracing::info!(%worker, agreements, "its probation is over: its results count");
    }
    Ok(())
}
