//! Loads a case's page.

use std::collections::BTreeSet;

use domain::breakage::flaky::NoiseRate;
use domain::words::ids::{BuilderId, CaseId, Timestamp};
use protocol::Verdict;
use store::pages::{CasePage, CaseTransitionRow, HistoryRow};
use store::{Result, Store};

use super::rows::{builder, change};
use crate::format::log_text::without_escapes;
use crate::format::status_style::StatusStyle;
use crate::format::units::count;
use crate::pages::BuildMark;
use crate::pages::case::{CaseView, TransitionLine};

const MAX_TRANSITIONS: u16 = 200;
const MAX_RECENT_BUILDS: i64 = 60;

pub async fn case(store: &Store, builder_id: i64, name: &str) -> Result<CaseView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let page = read.case_page(builder_id, name, i64::from(MAX_TRANSITIONS) + 1, MAX_RECENT_BUILDS).await?;
    let id = CaseId(page.id);
    // Its newest runs, however long ago they were.
    let noise = read.flake_history(BuilderId(builder_id), &BTreeSet::from([id]), Timestamp(0)).await?;
    Ok(CaseView {
        name: name.into(),
        now: page.now.map(|now| now.as_str().into()),
        status_style: page.now.map_or(StatusStyle::Superseded, |now| status_style(now, None)),
        sentence: sentence(&page),
        noise: noise.get(&id).and_then(|history| noise_sentence(history.good)),
        recent_builds: page.case_history.iter().rev().map(mark).collect(),
        more_transitions: page.turns.len() > usize::from(MAX_TRANSITIONS),
        transitions: page.turns.into_iter().take(MAX_TRANSITIONS.into()).map(transition).collect(),
        breakages: page.breakages,
        builder: builder(page.builder),
    })
}

fn sentence(page: &CasePage) -> String {
    let since = page.turns.first().map(|turn| turn.history_build.change.title.as_str());
    match (page.now, since) {
        (None, _) => "It has no verdict in the newest build.".into(),
        (Some(now), None) => format!("Verdict in every build: {now}."),
        (Some(now), Some(title)) if page.turns.len() == 1 && page.turns[0].was.is_none() => {
            format!("Since its first build, {title}: {now}.")
        }
        (Some(now), Some(title)) => format!("Since {title}: {now}."),
    }
}

/// How often a case failed although no breakage explains it; none if it never did.
fn noise_sentence(rate: NoiseRate) -> Option<String> {
    let runs = count(rate.runs, "run", "runs");
    (rate.odd > 0).then(|| format!("Outside of breakages, it failed in {} of {runs}.", rate.odd))
}

fn mark((build, verdict): &(HistoryRow, Option<Verdict>)) -> BuildMark {
    let label = verdict.map_or("no such case", Verdict::as_str);
    BuildMark {
        build: build.build,
        status_style: verdict.map_or(StatusStyle::Superseded, |verdict| status_style(verdict, Some(verdict))),
        hint: format!("{}: {label}", build.change.title),
    }
}

fn transition(row: CaseTransitionRow) -> TransitionLine {
    TransitionLine {
        build: row.history_build.build,
        change: change(row.history_build.change),
        status_style: status_style(row.became, row.was),
        was: row.was.map(|was| was.as_str().into()),
        became: row.became.as_str().into(),
        message: row.text.map(|text| without_escapes(&text)),
    }
}

/// A failure after a failure is not new.
fn status_style(now: Verdict, was: Option<Verdict>) -> StatusStyle {
    match now {
        Verdict::Fail | Verdict::Error if was.is_some_and(Verdict::is_bad) => StatusStyle::Still,
        Verdict::Fail | Verdict::Error => StatusStyle::New,
        Verdict::Skip | Verdict::Missing => StatusStyle::Flaky,
        Verdict::Unreached => StatusStyle::Superseded,
        Verdict::Pass | Verdict::Xfail | Verdict::Xpass => StatusStyle::Passed,
    }
}
