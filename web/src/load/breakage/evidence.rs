//! The runs of a breakage's cases: as a table, as marks beside the changes, and counted as a proof.

use std::collections::HashMap;

use domain::culprit::Purpose;
use domain::sentences::WorkerRuns;
use domain::words::{BreakageState, Reason};
use store::pages::{BreakageRow, EvidenceRow};

use super::super::rows::change;
use crate::format::status_style::StatusStyle;
use crate::format::units::Moment;
use crate::pages::BuildMark;
use crate::pages::breakage::{EvidenceLine, ProofRuns, SuspectStanding};

/// What is known about a change of the range.
pub fn standing(row: &BreakageRow, position: i64) -> SuspectStanding {
    let is = |at: Option<i64>| at == Some(position);
    match row.found {
        Some(BreakageState::Named) if is(row.culprit_at) => SuspectStanding::Culprit,
        _ if row.parent_at.or(row.good).is_some_and(|good| position <= good) => SuspectStanding::Good,
        Some(BreakageState::Named) => SuspectStanding::Bad,
        _ if row.culprit_at.or(row.bad).is_some_and(|bad| position > bad) => SuspectStanding::Bad,
        _ => SuspectStanding::Suspect,
    }
}

/// What a flaky case did at a change; none if it was not run there.
pub fn flaky_standing(builds: &[BuildMark]) -> Option<SuspectStanding> {
    let has = |status_style| builds.iter().any(|mark| mark.status_style == status_style);
    match (has(StatusStyle::Passed), has(StatusStyle::Still)) {
        (false, false) => None,
        (true, true) => Some(SuspectStanding::Varies),
        (true, false) => Some(SuspectStanding::Good),
        (false, true) => Some(SuspectStanding::Bad),
    }
}

/// The runs that stand behind a culprit, as JSON has them.
pub fn proof_runs(runs: &[WorkerRuns]) -> Vec<ProofRuns> {
    let of_worker = |runs: &WorkerRuns| ProofRuns {
        worker: runs.worker.clone(),
        passes_before: runs.before.good,
        failures_before: runs.before.bad,
        passes_with: runs.with.good,
        failures_with: runs.with.bad,
    };
    runs.iter().map(of_worker).collect()
}

/// `Proof: 3 passes before it, 3 failures with it, on attic.`
pub fn culprit_proof(row: &BreakageRow, runs: &[WorkerRuns]) -> Option<String> {
    let is_lost = row.cases == row.not_run;
    let workers: Vec<String> = runs.iter().map(|runs| runs.words(is_lost)).collect();
    (!workers.is_empty()).then(|| format!("Proof: {}.", workers.join("; ")))
}

/// Two runs of one worker on one change that disagree, in words; the newest such pair.
pub fn flaky_proof(evidence: &[EvidenceRow]) -> Option<String> {
    let disagrees = |one: &EvidenceRow, other: &EvidenceRow| {
        one.change.id == other.change.id && one.worker == other.worker && (one.bad > 0) != (other.bad > 0)
    };
    let (one, other) = evidence.iter().enumerate().find_map(|(at, one)| {
        let other = evidence[at + 1..].iter().find(|other| disagrees(one, other))?;
        Some(if one.bad > 0 { (other, one) } else { (one, other) })
    })?;
    Some(format!(
        "At {}, builds {} and {} ran the same suite on the same worker, {}: its cases passed in the first and failed \
         in the second. A failure of only these cases is shown as flaky, and no mail is sent about it.",
        one.change.title, one.build, other.build, one.worker
    ))
}

/// The builds of each change, oldest first.
pub fn marks(evidence: &[EvidenceRow]) -> HashMap<i64, Vec<BuildMark>> {
    let mut marks: HashMap<i64, Vec<BuildMark>> = HashMap::new();
    for row in evidence.iter().rev() {
        let hint = format!("{} on {}", row.reason, row.worker);
        marks.entry(row.change.id).or_default().push(BuildMark {
            build: row.build,
            status_style: status_style(row),
            hint,
        });
    }
    marks
}

pub fn line(row: EvidenceRow) -> EvidenceLine {
    EvidenceLine {
        build: row.build,
        status_style: status_style(&row),
        reason: row.reason.to_string(),
        why: why(&row),
        worker: row.worker,
        bad_cases: row.bad,
        good_cases: row.good,
        at: row.finished_at.map(|at| Moment(at.0)),
        change: change(row.change),
    }
}

fn status_style(row: &EvidenceRow) -> StatusStyle {
    if row.bad > 0 { StatusStyle::Still } else { StatusStyle::Passed }
}

/// Why a run was made.
fn why(row: &EvidenceRow) -> String {
    let reason = match (row.reason, row.probe) {
        (Reason::Probe, Some((purpose, bits))) => {
            let question = match purpose {
                Purpose::Base => "probe: is it still good here?",
                Purpose::Head => "probe: is it bad here again?",
                Purpose::Confirm => "probe: confirms the answer",
                Purpose::Divide => "probe: divides the remaining range",
            };
            return format!("{question} ({bits:.2} bits expected)");
        }
        (Reason::Null, _) => "null run: do identical inputs agree?",
        (Reason::Tip, _) => "tip: the newest change at that time",
        (Reason::Backfill, _) => "backfill: a change between two built ones",
        (Reason::Baseline, _) => "baseline: new inputs",
        (Reason::Probe | Reason::Force | Reason::Latest, _) => row.reason.as_str(),
    };
    reason.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(reason: Reason, probe: Option<(Purpose, f64)>) -> EvidenceRow {
        EvidenceRow {
            build: 1,
            reason,
            change: store::pages::ChangeRow {
                id: 1,
                sha: String::new(),
                title: String::new(),
                author: String::new(),
                committed_at: domain::words::ids::Timestamp(0),
            },
            position: None,
            worker: String::new(),
            probe,
            bad: 0,
            good: 1,
            finished_at: None,
        }
    }

    #[test]
    fn a_probe_shows_its_purpose() {
        for (purpose, text) in [
            (Purpose::Base, "good here"),
            (Purpose::Head, "bad here"),
            (Purpose::Confirm, "confirms"),
            (Purpose::Divide, "divides"),
        ] {
            let why = why(&row(Reason::Probe, Some((purpose, 0.5))));
            assert!(why.contains(text) && why.ends_with("(0.50 bits expected)"), "{why}");
        }
        assert_eq!(why(&row(Reason::Probe, None)), "probe");
    }

    #[test]
    fn a_flaky_range_shows_the_changes_that_were_run() {
        let mark = |status_style| BuildMark { build: 1, status_style, hint: String::new() };
        for (styles, expected) in [
            (&[][..], None),
            (&[StatusStyle::Passed, StatusStyle::Passed], Some(SuspectStanding::Good)),
            (&[StatusStyle::Still], Some(SuspectStanding::Bad)),
            (&[StatusStyle::Still, StatusStyle::Passed], Some(SuspectStanding::Varies)),
        ] {
            let builds: Vec<BuildMark> = styles.iter().copied().map(mark).collect();
            assert_eq!(flaky_standing(&builds), expected);
        }
    }
}
