//! Loads a breakage's page.

use std::collections::HashMap;

use domain::breakage::dependency::{self, DependencyContext, NeededProject};
use domain::culprit::Purpose;
use domain::search::{ExcludedWorker, PauseReason};
use domain::words::{BreakageState, Reason};
use store::pages::{BreakageFilter, BreakageRow, EvidenceRow, SearchRow};
use store::{Read, Result, Store};

use super::rows::{alike, breakage_style, builder, change, has_culprit};
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, count};
use crate::pages::BuildMark;
use crate::pages::breakage::{
    self, BreakageView, EvidenceLine, NoticeLine, SearchProgress, SiblingLine, SuspectLine, SuspectStanding,
    percent,
};

const MAX_RANGE: i64 = 100;
const MAX_CASES: i64 = 200;
const MAX_EVIDENCE: i64 = 200;
const MAX_NOTICES: i64 = 50;
const MAX_SIBLINGS: i64 = 100;
const MAX_OPEN: i64 = 500;
const MAX_SAID: i64 = 1_000;

pub async fn breakage(store: &Store, id: i64) -> Result<BreakageView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let row = read.breakage_row(id).await?;
    let evidence = read.evidence_rows(id, MAX_EVIDENCE).await?;
    let mut changes = match row.bad {
        Some(bad) => read.position_rows(row.branch, bad, MAX_RANGE + 1).await?,
        None => vec![],
    };
    changes.retain(|at| row.good.is_none_or(|good| at.position >= good));
    let hidden = row.bad.zip(row.good).map_or(0, |(bad, good)| bad - good + 1) - changes.len() as i64;
    let named = read.breakage_cases(id, MAX_CASES).await?;
    let lost = named.iter().filter(|(_, lost)| *lost).map(|(name, _)| name.clone()).collect();
    let cases = named.into_iter().map(|(name, _)| name).collect();
    let search = read.search_row(id).await?;
    let mut posterior = read.suspects(id).await?;
    let notices = read.notice_rows(id, MAX_NOTICES).await?;
    let siblings = match &row.culprit {
        Some(culprit) if has_culprit(&row) => {
            read.breakage_rows(BreakageFilter::Culprit(culprit.id), MAX_SIBLINGS).await?
        }
        Some(_) | None => vec![],
    };
    let filed = filed(&mut read, &row, &siblings).await?;
    let needing = match &row.builder.project {
        Some(project) => read.dependents(project).await?,
        None => vec![],
    };
    let said = read.said_beside(id, MAX_SAID).await?;
    let is_flaky = row.found == Some(BreakageState::Flaky);
    let proof = if is_flaky { proof(&evidence) } else { None };
    let mut marks = marks(&evidence);
    let range = changes.into_iter().filter_map(|at| {
        let builds = marks.remove(&at.change.id).unwrap_or_default();
        let standing = match is_flaky {
            true => varying(&builds)?,
            false => standing(&row, at.position),
        };
        let posterior = posterior.remove(&at.change.id);
        Some(SuspectLine { standing, posterior, builds, change: change(at.change) })
    });
    let range: Vec<SuspectLine> = range.collect();
    Ok(BreakageView {
        id,
        state: row.state.to_string(),
        found: row.found.map(|found| found.to_string()),
        status_style: breakage_style(&row),
        sentence: sentence(&row),
        opened_at: Moment(row.opened_at.0),
        ended_at: row.ended_at.map(|at| Moment(at.0)),
        split_from: row.split_from,
        again_of: row.again_of,
        range,
        range_hidden: if is_flaky { 0 } else { hidden.max(0) },
        search: search.map(|search| self::search(&row, search)),
        is_flaky,
        proof,
        dependents: siblings
            .iter()
            .filter(|other| is_beside(other, &row))
            .filter(|other| other.builder.project.as_ref().is_some_and(|project| needing.contains(project)))
            .cloned()
            .map(sibling)
            .collect(),
        siblings: siblings.into_iter().filter(|other| other.id != id).map(sibling).collect(),
        filed,
        alike: alike(said),
        cases,
        lost,
        cases_count: row.cases,
        evidence: evidence.into_iter().map(run).collect(),
        notices: notices
            .into_iter()
            .map(|row| NoticeLine {
                kind: row.kind.to_string(),
                subject: row.subject,
                state: row.state.to_string(),
                at: Moment(row.decided_at.0),
            })
            .collect(),
        builder: builder(row.builder),
    })
}

fn sentence(row: &BreakageRow) -> String {
    let what = match &row.builder.project {
        Some(project) => format!("{} of {project}", harmed(row)),
        None => "the toolchain".into(),
    };
    let title = row.culprit.as_ref().map_or("a change", |culprit| culprit.title.as_str());
    let said = match row.found.unwrap_or(row.state) {
        BreakageState::Named => format!("{title} broke {what}"),
        BreakageState::OneOfK => format!("{title} or a change shortly before it broke {what}"),
        BreakageState::Inconclusive => format!("Something broke {what}; the search did not find what"),
        BreakageState::Flaky => {
            let verb = if row.cases == 1 { "fails" } else { "fail" };
            return format!("{what} {verb} now and then on identical inputs; no change is accused");
        }
        BreakageState::Environment => {
            let verb = if row.cases == 1 { "fails" } else { "fail" };
            return format!("{what} {verb} without any change: the machines differ, not the trunk");
        }
        BreakageState::Suspected | BreakageState::Searching => {
            format!("Something broke {what}; its culprit is being searched")
        }
        BreakageState::Fixed | BreakageState::Gone => format!("Something broke {what}"),
    };
    match (&row.fixer, row.fixed_at.zip(row.fixed_after)) {
        (Some(_), Some((by, after))) if by == after => format!("{said}; the project has adapted itself"),
        (Some(fixer), Some((by, after))) if by == after + 1 => format!("{said}; fixed by {}", fixer.title),
        (Some(fixer), _) => format!("{said}; fixed by {} or a change shortly before it", fixer.title),
        (None, _) if row.state == BreakageState::Gone => {
            format!("{said}; gone with the history that showed it")
        }
        (None, _) => said,
    }
}

/// `3 cases`, `the running of 40 cases`, `1 case, and the running of 40 more,`
fn harmed(row: &BreakageRow) -> String {
    let count = |cases: i64| count(cases as usize, "case", "cases");
    match (row.cases - row.not_run, row.not_run) {
        (bad, 0) => count(bad),
        (0, lost) => format!("the running of {}", count(lost)),
        (bad, lost) => format!("{}, and the running of {lost} more,", count(bad)),
    }
}

/// What is known of a change of the range.
fn standing(row: &BreakageRow, position: i64) -> SuspectStanding {
    let is = |at: Option<i64>| at == Some(position);
    match row.found {
        Some(BreakageState::Named) if is(row.culprit_at) => SuspectStanding::Culprit,
        _ if row.parent_at.or(row.good).is_some_and(|good| position <= good) => SuspectStanding::Good,
        Some(BreakageState::Named) => SuspectStanding::Bad,
        _ if row.culprit_at.or(row.bad).is_some_and(|bad| position > bad) => SuspectStanding::Bad,
        _ => SuspectStanding::Suspect,
    }
}

/// What a flaky case did at a change; none where it was not run.
fn varying(builds: &[BuildMark]) -> Option<SuspectStanding> {
    let has = |status_style| builds.iter().any(|mark| mark.status_style == status_style);
    match (has(StatusStyle::Passed), has(StatusStyle::Still)) {
        (false, false) => None,
        (true, true) => Some(SuspectStanding::Varies),
        (true, false) => Some(SuspectStanding::Good),
        (false, true) => Some(SuspectStanding::Bad),
    }
}

/// Two runs of one worker on one change that disagree, in words; the newest such pair.
fn proof(evidence: &[EvidenceRow]) -> Option<String> {
    let disagrees = |one: &EvidenceRow, other: &EvidenceRow| {
        one.change.id == other.change.id && one.worker == other.worker && (one.bad > 0) != (other.bad > 0)
    };
    let (one, other) = evidence.iter().enumerate().find_map(|(at, one)| {
        let other = evidence[at + 1..].iter().find(|other| disagrees(one, other))?;
        Some(if one.bad > 0 { (other, one) } else { (one, other) })
    })?;
    Some(format!(
        "At {}, builds {} and {} ran the same suite on the same worker, {}: one was good, the other bad. A failure \
         of these cases alone is drawn as flaky and mailed to nobody.",
        one.change.title, one.build, other.build, one.worker
    ))
}

/// Where the search stands, in sentences.
fn search(row: &BreakageRow, search: SearchRow) -> SearchProgress {
    let mut sentences = Vec::new();
    let is_open = row.found.is_none() && row.ended_at.is_none();
    let probes = count(search.probes as usize, "probe", "probes");
    let range = search.changes;
    let changes = count(range as usize, "change", "changes");
    // What halving alone would take, if nothing were noisy and nothing had to be confirmed.
    let halvings = (range.max(1) as f64).log2().ceil();
    sentences.push(match is_open {
        true => {
            let left = count(search.probes_left as usize, "more is", "more are");
            format!("{probes} so far among {changes}; about {left} to come.")
        }
        false if search.probes == 0 => {
            format!("No probe of its own among {changes}: what was run for others told it.")
        }
        false => format!("{probes} among {changes}, of which halving alone would take {halvings}."),
    });
    let thoughts = [
        (search.environment, "that it fails at the good end today as well, so not by the trunk"),
        (search.flaky, "that it is flaky, whatever the change"),
        (search.intermittent, "that since the culprit it fails only now and then"),
    ];
    let thoughts: Vec<String> =
        thoughts.iter().filter_map(|(p, what)| Some(format!("{} {what}", percent(*p)?))).collect();
    if is_open && !thoughts.is_empty() {
        sentences.push(format!("Beside the changes below: {}.", thoughts.join("; ")));
    }
    let is_blamed = matches!(row.found, Some(BreakageState::Named | BreakageState::OneOfK));
    if is_blamed && search.intermittent > 0.5 {
        sentences
            .push("It became flaky there: since then it fails now and then, and before it did not.".into());
    }
    sentences.extend(search.left_out.iter().map(|(worker, why)| match why {
        ExcludedWorker::Unproven => {
            format!("{worker} has not passed the good end itself: its runs do not count yet.")
        }
        ExcludedWorker::FailsThere => {
            format!("It fails on {worker} at the good end too, where others pass: that machine is left out.")
        }
        ExcludedWorker::PassesThere => {
            format!("It passes on {worker} at the bad end: that machine is left out.")
        }
    }));
    if let [only] = search.workers.as_slice() {
        sentences.push(format!("Seen on one machine, {only}."));
    }
    sentences.extend(search.paused.map(|reason| rest(reason).to_string()));
    if search.reopened > 0 {
        let times = count(search.reopened as usize, "time", "times");
        sentences.push(format!("Later evidence disagreed with an answer {times}, and the search went on."));
    }
    SearchProgress {
        sentences,
        environment: search.environment,
        flaky: search.flaky,
        intermittent: search.intermittent,
        probes: search.probes,
        probes_left: if is_open { search.probes_left } else { 0 },
        changes: range,
    }
}

fn rest(why: PauseReason) -> &'static str {
    match why {
        PauseReason::Retired => "The project is no longer in the configuration: the search rests.",
        PauseReason::Rewound => {
            "The branch was rewound under the search: it rests until the history is looked at anew."
        }
        PauseReason::Nobody => "No worker that may probe is here: the search waits for one.",
        PauseReason::InVain => {
            "Its probes came to nothing again and again, by our own trouble: the search was given up."
        }
        PauseReason::Spent => {
            "It has cost as much as a search may: what is said is all that the evidence allows."
        }
    }
}

/// Why a run was made.
fn why(row: &EvidenceRow) -> String {
    let said = match (row.reason, row.probe) {
        (Reason::Probe, Some((purpose, bits))) => {
            let asked = match purpose {
                Purpose::Base => "probe: is it good here today?",
                Purpose::Head => "probe: is it bad here again?",
                Purpose::Confirm => "probe: confirms the answer",
                Purpose::Divide => "probe: divides what is left",
            };
            return format!("{asked} ({bits:.2} bits expected)");
        }
        (Reason::Null, _) => "null run: do identical inputs agree?",
        (Reason::Tip, _) => "tip: the newest change then",
        (Reason::Backfill, _) => "backfill: history between",
        (Reason::Baseline, _) => "baseline: a new side of the project",
        (Reason::Probe | Reason::Force | Reason::Latest, _) => row.reason.as_str(),
    };
    said.to_string()
}

fn marks(evidence: &[EvidenceRow]) -> HashMap<i64, Vec<BuildMark>> {
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

fn status_style(row: &EvidenceRow) -> StatusStyle {
    if row.bad > 0 { StatusStyle::Still } else { StatusStyle::Passed }
}

fn run(row: EvidenceRow) -> EvidenceLine {
    EvidenceLine {
        build: row.build,
        status_style: status_style(&row),
        reason: row.reason.to_string(),
        why: why(&row),
        worker: row.worker,
        bad: row.bad,
        good: row.good,
        at: row.finished_at.map(|at| Moment(at.0)),
        change: change(row.change),
    }
}

/// Whether two breakages are of one branch and platform.
fn is_beside(other: &BreakageRow, row: &BreakageRow) -> bool {
    (other.branch, &other.builder.platform) == (row.branch, &row.builder.platform)
}

/// Under which dependency it is filed.
async fn filed(
    read: &mut Read<'_>,
    row: &BreakageRow,
    siblings: &[BreakageRow],
) -> Result<Option<breakage::FiledLine>> {
    let Some(own) = &row.builder.project else { return Ok(None) };
    let open = read.breakage_rows(BreakageFilter::Open, MAX_OPEN).await?;
    let overlaps = |other: &BreakageRow| other.good < row.bad && row.good < other.bad;
    let needs = read.needs_of_builder(row.builder.id).await?;
    let of = |other: &BreakageRow, name: &str| {
        other.builder.project.as_deref() == Some(name) && is_beside(other, row)
    };
    let needed: Vec<NeededProject> = needs
        .into_iter()
        .map(|name| NeededProject {
            has_same_culprit: siblings.iter().any(|other| of(other, &name)),
            may_be_it: !has_culprit(row)
                && open.iter().any(|other| of(other, &name) && other.state.is_undecided() && overlaps(other)),
            name,
        })
        .collect();
    let text = read.breakage_text(row.id).await?;
    let registered: Vec<String> = read.projects().await?.into_iter().map(|project| project.name).collect();
    let known = DependencyContext { own, needed: &needed, registered: &registered };
    let Some(filed) = dependency::file(text.as_deref(), &known) else { return Ok(None) };
    let project = filed.project().map(str::to_string);
    Ok(Some(breakage::FiledLine {
        words: filed.words(),
        breakage: project.as_ref().and_then(|project| {
            siblings.iter().chain(&open).find(|other| of(other, project)).map(|other| other.id)
        }),
        project,
    }))
}

fn sibling(row: BreakageRow) -> SiblingLine {
    SiblingLine { id: row.id, status_style: breakage_style(&row), builder: builder(row.builder) }
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
    fn a_probe_says_what_it_asks() {
        for (purpose, asked) in [
            (Purpose::Base, "good here"),
            (Purpose::Head, "bad here"),
            (Purpose::Confirm, "confirms"),
            (Purpose::Divide, "divides"),
        ] {
            let said = why(&row(Reason::Probe, Some((purpose, 0.5))));
            assert!(said.contains(asked) && said.ends_with("(0.50 bits expected)"), "{said}");
        }
        assert_eq!(why(&row(Reason::Probe, None)), "probe");
    }

    #[test]
    fn a_search_that_does_not_go_on_says_why() {
        for (why, said) in [
            (PauseReason::Retired, "no longer in the configuration"),
            (PauseReason::Rewound, "was rewound under the search"),
            (PauseReason::Nobody, "waits for one"),
            (PauseReason::InVain, "came to nothing again and again"),
            (PauseReason::Spent, "cost as much as a search may"),
        ] {
            assert!(rest(why).contains(said), "{why}: {}", rest(why));
        }
    }

    #[test]
    fn a_probability_is_never_told_as_none_or_certain() {
        let told: Vec<Option<String>> = [0.004, 0.006, 0.42, 0.991, 0.9999].map(percent).to_vec();
        let expected = [None, Some("1 %"), Some("42 %"), Some("99.1 %"), Some("> 99.9 %")];
        assert_eq!(told, expected.map(|said| said.map(ToString::to_string)));
    }

    #[test]
    fn a_flaky_range_tells_of_the_changes_that_were_run() {
        let mark = |status_style| BuildMark { build: 1, status_style, hint: String::new() };
        for (shades, expected) in [
            (&[][..], None),
            (&[StatusStyle::Passed, StatusStyle::Passed], Some(SuspectStanding::Good)),
            (&[StatusStyle::Still], Some(SuspectStanding::Bad)),
            (&[StatusStyle::Still, StatusStyle::Passed], Some(SuspectStanding::Varies)),
        ] {
            let builds: Vec<BuildMark> = shades.iter().copied().map(mark).collect();
            assert_eq!(varying(&builds), expected);
        }
    }
}
