//! Loads a breakage's page.

mod dependency;
mod evidence;
mod progress;
mod sentence;

use domain::sentences::Blame;
use domain::words::BreakageState;
use domain::words::ids::{BranchId, BreakageId};
use store::pages::{BreakageFilter, BreakageRow, EvidenceRow, NoticeRow};
use store::{QuotedMessage, Read, Result, Store};

use super::claims::blame;
use super::marks::breakage_marks;
use super::rows::{builder, change, failure_groups, has_culprit};
use crate::format::log_text::without_escapes;
use crate::format::units::{Moment, row_count};
use crate::pages::breakage::{BreakageView, MessageLine, NoticeLine, SuspectLine};

const MAX_RANGE: i64 = 100;
/// Only the beginning of a longer failure message is shown.
const MAX_MESSAGE_CHARACTERS: usize = 4_000;
const MAX_CASES: i64 = 200;
const MAX_EVIDENCE: i64 = 200;
const MAX_NOTICES: i64 = 50;
const MAX_SIBLINGS: i64 = 100;
const MAX_FAILURES: i64 = 1_000;

pub async fn breakage(store: &Store, id: i64) -> Result<BreakageView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let row = read.breakage_row(id).await?;
    let stored = read.breakage(BreakageId(id)).await?;
    let runs = read.evidence_rows(id, MAX_EVIDENCE).await?;
    let proof = read.proof(BreakageId(id)).await?;
    let (range, range_hidden) = range(&mut read, &row, &runs).await?;
    let names = read.breakage_cases(id, MAX_CASES).await?;
    let counts = read.case_counts(&[(0, id)]).await?.remove(&0).unwrap_or_default();
    let not_run = names.iter().filter(|(_, not_run)| *not_run).map(|(name, _)| name.clone()).collect();
    let search = read.search_row(id).await?;
    let records = read.suspicion_records(BranchId(row.branch)).await?;
    let notices = read.notice_rows(id, MAX_NOTICES).await?;
    let siblings = siblings(&mut read, &row).await?;
    let quoted = read.quoted_message(&stored).await?;
    let text = quoted.as_ref().map(|quoted| quoted.text.as_str());
    let filed_under = dependency::filed_under(&mut read, &row, &siblings, text).await?;
    let message = message(&mut read, &row, quoted).await?;
    let dependents = dependency::dependents(&mut read, &row, &siblings).await?;
    let marks = breakage_marks(&mut read, [&row]).await?;
    let failures = read.failures_of_breakage(id, MAX_FAILURES).await?;
    Ok(BreakageView {
        id,
        state: row.state.to_string(),
        found: row.found.map(|found| found.to_string()),
        status_style: marks.status_style(&row),
        marks: marks.lines(id),
        sentence: sentence::sentence(&row, &counts),
        counts: counts.into(),
        suspects: has_culprit(&row).then_some(row.suspects),
        repair_range: row.fixer.is_some().then_some(row.repair_range),
        opened_at: Moment(row.opened_at.0),
        ended_at: row.ended_at.map(|at| Moment(at.0)),
        split_from: row.split_from,
        again_of: row.again_of,
        range,
        range_hidden,
        search: search.map(|search| progress::progress(&row, search, &records)),
        is_flaky: is_flaky(&row),
        proof: match is_flaky(&row) {
            true => evidence::flaky_proof(&runs),
            false => evidence::culprit_proof(&row, &proof),
        },
        proof_runs: evidence::proof_runs(&proof),
        dependents,
        siblings: siblings.into_iter().filter(|other| other.id != id).map(dependency::sibling).collect(),
        filed_under,
        message,
        failure_groups: failure_groups(failures),
        cases: names.into_iter().map(|(name, _)| name).collect(),
        not_run,
        cases_count: row.cases,
        evidence: runs.into_iter().map(evidence::line).collect(),
        notices: notices.into_iter().map(notice).collect(),
        builder: builder(row.builder),
    })
}

/// The breakages of the same culprit, this one included.
async fn siblings(read: &mut Read<'_>, row: &BreakageRow) -> Result<Vec<BreakageRow>> {
    match &row.culprit {
        // One of several changes need not be the one that broke the others.
        Some(culprit) if blame(row) == Blame::Named => {
            let mut siblings = read.breakage_rows(BreakageFilter::Culprit(culprit.id), MAX_SIBLINGS).await?;
            siblings.retain(|other| blame(other) == Blame::Named);
            Ok(siblings)
        }
        Some(_) | None => Ok(vec![]),
    }
}

/// The message that mails quote too, and the change that it is from if that is not the culprit.
async fn message(
    read: &mut Read<'_>,
    row: &BreakageRow,
    quoted: Option<QuotedMessage>,
) -> Result<Option<MessageLine>> {
    let Some(quoted) = quoted else { return Ok(None) };
    let is_of_culprit =
        has_culprit(row) && row.culprit.as_ref().map(|culprit| culprit.id) == Some(quoted.change.0);
    Ok(Some(MessageLine {
        text: without_escapes(&quoted.text).chars().take(MAX_MESSAGE_CHARACTERS).collect(),
        build: quoted.build.0,
        seen_at: match is_of_culprit {
            true => None,
            false => Some(change(read.change_row(quoted.change.0).await?)),
        },
    }))
}

fn is_flaky(row: &BreakageRow) -> bool {
    row.found == Some(BreakageState::Flaky)
}

/// The changes from the bad end down to the good end, and how many of them are not shown. If the breakage is flaky, only
/// those on which its cases were run.
async fn range(
    read: &mut Read<'_>,
    row: &BreakageRow,
    runs: &[EvidenceRow],
) -> Result<(Vec<SuspectLine>, i64)> {
    let mut changes = match row.bad {
        Some(bad) => read.position_rows(row.branch, bad, MAX_RANGE + 1).await?,
        None => vec![],
    };
    changes.retain(|at| row.good.is_none_or(|good| at.position >= good));
    let hidden = row.bad.zip(row.good).map_or(0, |(bad, good)| bad - good + 1) - row_count(changes.len());
    let mut posterior = read.suspects(row.id).await?;
    let mut marks = evidence::marks(runs);
    let lines = changes.into_iter().filter_map(|at| {
        let builds = marks.remove(&at.change.id).unwrap_or_default();
        let standing = match is_flaky(row) {
            true => evidence::flaky_standing(&builds)?,
            false => evidence::standing(row, at.position),
        };
        let posterior = posterior.remove(&at.change.id);
        Some(SuspectLine { standing, posterior, builds, change: change(at.change) })
    });
    Ok((lines.collect(), if is_flaky(row) { 0 } else { hidden.max(0) }))
}

fn notice(row: NoticeRow) -> NoticeLine {
    NoticeLine {
        kind: row.kind.to_string(),
        subject: row.subject,
        state: row.state.to_string(),
        at: Moment(row.decided_at.0),
    }
}
