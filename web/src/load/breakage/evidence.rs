//! The runs of a breakage's cases: as a table, as marks beside the changes, and counted as a proof.

use std::collections::{BTreeMap, HashMap};

use domain::culprit::Purpose;
use domain::words::{BreakageState, Reason};
use store::pages::{BreakageRow, EvidenceRow};

use super::super::rows::change;
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, count};
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

/// The runs that prove a culprit, counted for each worker: those at the culprit and at the change before it.
pub fn proof_runs(row: &BreakageRow, evidence: &[EvidenceRow]) -> Vec<ProofRuns> {
    let is_blamed = matches!(row.found, Some(BreakageState::Named | BreakageState::OneOfK));
    let Some((parent, culprit)) = row.parent_at.zip(row.culprit_at).filter(|_| is_blamed) else {
        return vec![];
    };
    let mut by_worker: BTreeMap<&str, ProofRuns> = BTreeMap::new();
    for run in evidence {
        let (is_before, is_with) = (run.position == Some(parent), run.position == Some(culprit));
        if !is_before && !is_with {
            continue;
        }
        let runs = by_worker.entry(&run.worker).or_insert_with(|| ProofRuns {
            worker: run.worker.clone(),
            passes_before: 0,
            failures_before: 0,
            passes_with: 0,
            failures_with: 0,
        });
        let counter = match (is_before, run.bad > 0) {
            (true, false) => &mut runs.passes_before,
            (true, true) => &mut runs.failures_before,
            (false, false) => &mut runs.passes_with,
            (false, true) => &mut runs.failures_with,
        };
        *counter += 1;
    }
    by_worker.into_values().collect()
}

/// `Proof: 2 passes before it, 3 failures with it, on attic.`
pub fn culprit_proof(runs: &[ProofRuns]) -> Option<String> {
    let both = |passes: usize, failures: usize| {
        let passes = (passes > 0).then(|| count(passes, "pass", "passes"));
        let failures = (failures > 0).then(|| count(failures, "failure", "failures"));
        let counts: Vec<String> = passes.into_iter().chain(failures).collect();
        if counts.is_empty() { "no run".to_string() } else { counts.join(" and ") }
    };
    let workers: Vec<String> = runs
        .iter()
        .map(|runs| {
            let before = both(runs.passes_before, runs.failures_before);
            let with = both(runs.passes_with, runs.failures_with);
            format!("{before} before it, {with} with it, on {}", runs.worker)
        })
        .collect();
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

    fn breakage(found: BreakageState) -> BreakageRow {
        BreakageRow {
            id: 1,
            builder: store::pages::BuilderRow {
                id: 1,
                project: Some("tables".into()),
                trunk: "lua".into(),
                branch: "master".into(),
                platform: "linux-x86_64".into(),
                variant: None,
            },
            state: found,
            found: Some(found),
            opened_at: domain::words::ids::Timestamp(0),
            ended_at: None,
            culprit: None,
            fixer: None,
            good: Some(1),
            bad: Some(9),
            culprit_at: Some(5),
            parent_at: Some(4),
            fixed_at: None,
            fixed_after: None,
            range: 8,
            suspects: 1,
            repair_range: 0,
            cases: 1,
            not_run: 0,
            example: None,
            branch: 1,
            split_from: None,
            again_of: None,
        }
    }

    /// The proof of runs such as `attic 4+`: worker, position, and `+` for a pass or `-` for a failure.
    fn proof(found: BreakageState, runs: &[&str]) -> Option<String> {
        let run = |text: &&str| {
            let (worker, run) = text.split_once(' ').unwrap();
            let (position, verdict) = run.split_at(run.len() - 1);
            EvidenceRow {
                worker: worker.into(),
                position: position.parse().ok(),
                bad: i64::from(verdict == "-"),
                ..row(Reason::Tip, None)
            }
        };
        let runs: Vec<EvidenceRow> = runs.iter().map(run).collect();
        culprit_proof(&proof_runs(&breakage(found), &runs))
    }

    #[test]
    fn the_proof_of_a_culprit_counts_the_runs_of_each_worker() {
        let runs = ["attic 4+", "attic 4+", "attic 5-", "attic 5-", "attic 5-", "attic 9-", "attic 1+"];
        let expected = "Proof: 2 passes before it, 3 failures with it, on attic.";
        assert_eq!(proof(BreakageState::Named, &runs).as_deref(), Some(expected));
        let runs = ["shed 4-", "shed 4+", "attic 5-"];
        let expected = "Proof: no run before it, 1 failure with it, on attic; 1 pass and 1 failure before it, no run with it, on shed.";
        assert_eq!(proof(BreakageState::OneOfK, &runs).as_deref(), Some(expected));
    }

    #[test]
    fn there_is_no_proof_without_a_culprit_or_without_runs() {
        assert_eq!(proof(BreakageState::Searching, &["attic 4+", "attic 5-"]), None);
        assert_eq!(proof(BreakageState::Named, &["attic 1+"]), None);
    }
}
