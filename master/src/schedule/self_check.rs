//! Lets idle workers repeat an old answer now and then, so that the farm knows how often it is right.

use std::collections::BTreeSet;

use domain::breakage::flaky::flaky_since;
use domain::self_check::{
    AnswerToCheck, CheckKind, CheckResult, IdleWork, RunOfCases, flaky_at, is_due, next,
};
use domain::words::BreakageState;
use domain::words::ids::{ChangeId, PlatformId, Timestamp, WorkerId};
use store::{Breakage, Build, Builder, SelfCheck, Write};

use crate::config::Config;
use crate::queue::enqueue_self_check_run;

/// Who may repeat answers now.
pub struct IdleWorkers<'a> {
    /// The platforms of connected workers.
    pub platforms: &'a BTreeSet<PlatformId>,
    /// The connected workers.
    pub workers: &'a [WorkerId],
}

/// A part of an answer, and what the rule knows of it.
struct Candidate {
    check: SelfCheck,
    facts: AnswerToCheck,
}

/// Enqueues one repetition if it is due. Must be called only when nothing else was enqueued. Returns how many builds it
/// enqueued.
pub async fn enqueue_self_check(
    tx: &mut Write<'_>,
    config: &Config,
    idle: &IdleWorkers<'_>,
    at: Timestamp,
) -> store::Result<usize> {
    let share = config.search.self_check;
    if share <= 0.0 {
        return Ok(0);
    }
    tx.end_mute_self_checks(at).await?;
    let (builds, checks) = tx.idle_work().await?;
    let is_waited_for = is_waited_for(tx, idle).await?;
    if !is_due(&IdleWork { builds, checks, is_waited_for }, share) {
        return Ok(0);
    }
    let candidates = load_candidates(tx, at).await?;
    let mut facts: Vec<AnswerToCheck> = candidates.iter().map(|candidate| candidate.facts).collect();
    while let Some(chosen) = next(&facts) {
        let Candidate { check, .. } = candidates[chosen];
        if let Some((run, worker)) = load_run(tx, check, idle).await? {
            let enqueued = enqueue_self_check_run(tx, &run, worker, check, at).await?;
            tracing::info!(breakage = %check.breakage, part = %check.kind, "an old answer is repeated");
            return Ok(usize::from(enqueued));
        }
        facts[chosen].is_available = false;
    }
    Ok(0)
}

async fn is_waited_for(tx: &mut Write<'_>, idle: &IdleWorkers<'_>) -> store::Result<bool> {
    if !tx.running_self_checks().await?.is_empty() || !tx.undecided_breakages().await?.is_empty() {
        return Ok(true);
    }
    for platform in idle.platforms {
        if tx.is_waited_for(*platform).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// All parts of the answers of the last weeks. Whether they can be repeated is looked up only for the one that is next.
async fn load_candidates(tx: &mut Write<'_>, at: Timestamp) -> store::Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for answer in tx.answers_to_check(flaky_since(at)).await? {
        let kinds: &[CheckKind] = match answer.state {
            BreakageState::Named => &[CheckKind::Parent, CheckKind::Culprit],
            BreakageState::Flaky => &[CheckKind::Flaky],
            BreakageState::Fixed => &[CheckKind::Repair],
            BreakageState::Suspected
            | BreakageState::Searching
            | BreakageState::OneOfK
            | BreakageState::Inconclusive
            | BreakageState::Environment
            | BreakageState::Gone => &[],
        };
        for &kind in kinds {
            let made = tx.checks_of(answer.breakage, kind, answer.found_at).await?;
            candidates.push(Candidate {
                check: SelfCheck { breakage: answer.breakage, kind },
                facts: AnswerToCheck {
                    found_at: answer.found_at,
                    checks: made.checks,
                    is_in_doubt: made.last == Some(CheckResult::Fell),
                    is_available: true,
                },
            });
        }
    }
    Ok(candidates)
}

/// The run to repeat, with the worker that made it: on another one, a difference may be the machine's. None if the worker is
/// away, or if the inputs can no longer be had.
async fn load_run(
    tx: &mut Write<'_>,
    check: SelfCheck,
    idle: &IdleWorkers<'_>,
) -> store::Result<Option<(Build, WorkerId)>> {
    let breakage = tx.breakage(check.breakage).await?;
    let builder = tx.builder(breakage.builder).await?;
    if !idle.platforms.contains(&builder.platform) {
        return Ok(None);
    }
    let change = match check.kind {
        CheckKind::Parent => breakage.parent,
        CheckKind::Culprit => breakage.culprit,
        CheckKind::Repair => breakage.fixed.map(|fix| fix.by),
        CheckKind::Flaky => flaky_change(tx, &breakage, &builder).await?,
    };
    let Some(change) = change else { return Ok(None) };
    let of = match check.kind {
        CheckKind::Parent | CheckKind::Culprit | CheckKind::Flaky => breakage.bad,
        // The repair may have been seen with later inputs.
        CheckKind::Repair => change,
    };
    let Some(with) = tx.inputs_of(builder.id, of).await? else { return Ok(None) };
    let run = tx.run_to_check(builder.id, change, with).await?;
    Ok(run.filter(|(_, worker)| idle.workers.contains(worker)))
}

/// Where the runs show that a breakage's cases are flaky.
async fn flaky_change(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    builder: &Builder,
) -> store::Result<Option<ChangeId>> {
    let order = tx.order(builder.branch).await?;
    let ends = [breakage.good, breakage.bad].map(|end| order.iter().position(|change| *change == end));
    let [Some(good), Some(bad)] = ends else { return Ok(None) };
    let evidence = tx.evidence(breakage, &order[good.min(bad)..=bad]).await?;
    let run = |run: &store::Evidence| RunOfCases {
        change: run.change,
        worker: run.worker,
        inputs: run.inputs,
        verdicts: run.verdicts.clone(),
    };
    Ok(flaky_at(&evidence.iter().map(run).collect::<Vec<_>>()))
}
