//! Records what the repetition of an old answer showed. That the answer is doubted, taken back and corrected follows from the
//! run itself, which is evidence like any other: `reconsider` and the search read it.

use std::collections::{BTreeMap, BTreeSet};

use domain::breakage::leading_cases;
use domain::culprit::Tally;
use domain::self_check::{CheckKind, CheckResult, CheckedCase, judge};
use domain::words::BreakageState;
use domain::words::ids::{CaseId, Timestamp};
use store::{Breakage, Build, SelfCheck, Write};

/// Records the result of a null run that is a self-check; others have none. Returns the cases of a repair that it contradicts.
pub async fn record(tx: &mut Write<'_>, build: &Build, at: Timestamp) -> store::Result<BTreeSet<CaseId>> {
    let Some(check) = tx.self_check(build.id).await? else { return Ok(BTreeSet::new()) };
    let breakage = tx.breakage(check.breakage).await?;
    let result = match is_still_given(&breakage, check.kind, build) {
        true => judge(check.kind, &load_cases(tx, &breakage, check, build).await?),
        false => CheckResult::None,
    };
    if result == CheckResult::Fell {
        tracing::warn!(breakage = %breakage.id, part = %check.kind, build = %build.id, "a repetition contradicts this answer");
    }
    tx.end_self_check(build.id, result, at).await?;
    let is_in_doubt = result == CheckResult::Fell && check.kind == CheckKind::Repair;
    Ok(if is_in_doubt { breakage.cases } else { BTreeSet::new() })
}

/// Whether the answer that the run repeats is still the breakage's answer.
fn is_still_given(breakage: &Breakage, kind: CheckKind, build: &Build) -> bool {
    let is_here = |change| change == Some(build.change);
    match kind {
        CheckKind::Parent => breakage.state == BreakageState::Named && is_here(breakage.parent),
        CheckKind::Culprit => breakage.state == BreakageState::Named && is_here(breakage.culprit),
        CheckKind::Flaky => breakage.state == BreakageState::Flaky,
        CheckKind::Repair => {
            breakage.state == BreakageState::Fixed && is_here(breakage.fixed.map(|fix| fix.by))
        }
    }
}

/// What the cases did in this run, in the repetitions before it, and in the other runs of the same inputs on its worker.
async fn load_cases(
    tx: &mut Write<'_>,
    breakage: &Breakage,
    check: SelfCheck,
    build: &Build,
) -> store::Result<BTreeMap<CaseId, CheckedCase>> {
    // What a step does follows from its tests, as in a search.
    let leading = leading_cases(&tx.names_of_cases(&breakage.cases).await?);
    let repetitions = tx.repetitions(check, build.id).await?;
    let runs = tx.evidence(breakage, &[build.change]).await?;
    let Some(this) = runs.iter().find(|run| run.build == build.id) else { return Ok(BTreeMap::new()) };
    let cases = leading.into_iter().filter_map(|case| {
        let regression = breakage.regression_kind(case);
        let (mut before, mut repeated) = (Tally::default(), Tally::default());
        for run in runs.iter().filter(|run| (run.inputs, run.worker) == (this.inputs, this.worker)) {
            let shown = run.verdicts.get(&case).and_then(|verdict| regression.shows_good(*verdict));
            let tally = if repetitions.contains(&run.build) { &mut repeated } else { &mut before };
            match shown {
                Some(true) => tally.passes += 1,
                Some(false) => tally.fails += 1,
                None => {}
            }
        }
        Some((case, CheckedCase { regression, verdict: *this.verdicts.get(&case)?, before, repeated }))
    });
    Ok(cases.collect())
}
