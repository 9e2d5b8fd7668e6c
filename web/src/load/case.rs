//! Loads a case's page.

use std::collections::BTreeSet;

use domain::breakage::flaky::NoiseRate;
use domain::words::ids::{BuilderId, CaseId, Timestamp};
use protocol::Verdict;
use store::pages::{CasePage, CaseTurn, HistoryRow};
use store::{Result, Store};

use super::rows::{builder, change};
use crate::format::status_style::StatusStyle;
use crate::format::units::count;
use crate::pages::BuildMark;
use crate::pages::case::{CaseView, TransitionLine};

const MAX_TURNS: i64 = 200;
const MAX_STRIP: i64 = 60;

pub async fn case(store: &Store, of: i64, name: &str) -> Result<CaseView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let page = read.case_page(of, name, MAX_TURNS + 1, MAX_STRIP).await?;
    let id = CaseId(page.id);
    // As far back as the farm looks at all: its newest runs, whenever they were.
    let noise = read.flake_history(BuilderId(of), &BTreeSet::from([id]), Timestamp(0)).await?;
    Ok(CaseView {
        name: name.into(),
        now: page.now.map(|now| now.as_str().into()),
        status_style: page.now.map_or(StatusStyle::Superseded, |now| status_style(now, None)),
        sentence: sentence(&page),
        noise: noise.get(&id).and_then(|history| in_words(history.good)),
        strip: page.case_history.iter().rev().map(mark).collect(),
        more_turns: page.turns.len() as i64 > MAX_TURNS,
        turns: page.turns.into_iter().take(MAX_TURNS as usize).map(turn).collect(),
        breakages: page.breakages,
        builder: builder(page.builder),
    })
}

fn sentence(page: &CasePage) -> String {
    let since = page.turns.first().map(|turn| turn.history_build.change.title.as_str());
    match (page.now, since) {
        (None, _) => "The newest build does not tell of it.".into(),
        (Some(now), None) => format!("In every build that is known: {now}."),
        (Some(now), Some(title)) if page.turns.len() == 1 && page.turns[0].was.is_none() => {
            format!("Since the first build that is known, {title}: {now}.")
        }
        (Some(now), Some(title)) => format!("Since {title}: {now}."),
    }
}

/// Nothing of a case that always did what it should.
fn in_words(rate: NoiseRate) -> Option<String> {
    let runs = count(rate.runs as usize, "run", "runs");
    (rate.odd > 0)
        .then(|| format!("Where nothing is known to be wrong with it, it failed in {} of {runs}.", rate.odd))
}

fn mark((cover, verdict): &(HistoryRow, Option<Verdict>)) -> BuildMark {
    let said = verdict.map_or("not there", Verdict::as_str);
    BuildMark {
        build: cover.build,
        status_style: verdict.map_or(StatusStyle::Superseded, |verdict| status_style(verdict, Some(verdict))),
        hint: format!("{}: {said}", cover.change.title),
    }
}

fn turn(row: CaseTurn) -> TransitionLine {
    TransitionLine {
        build: row.history_build.build,
        change: change(row.history_build.change),
        status_style: status_style(row.became, row.was),
        was: row.was.map(|was| was.as_str().into()),
        became: row.became.as_str().into(),
        text: row.text,
    }
}

/// Bad after bad is no news.
fn status_style(now: Verdict, was: Option<Verdict>) -> StatusStyle {
    match now {
        Verdict::Fail | Verdict::Error if was.is_some_and(Verdict::is_bad) => StatusStyle::Still,
        Verdict::Fail | Verdict::Error => StatusStyle::New,
        Verdict::Skip | Verdict::Missing => StatusStyle::Flaky,
        Verdict::Unreached => StatusStyle::Superseded,
        Verdict::Pass | Verdict::Xfail | Verdict::Xpass => StatusStyle::Passed,
    }
}
