//! Loads a case's page.

use std::collections::BTreeSet;

use domain::breakage::flaky::NoiseRate;
use domain::breakage::mark::{FailedCase, FailureNews, failure_news};
use domain::outcome::Cause;
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
    let today = Timestamp(jiff::Timestamp::now().as_millisecond());
    // Its newest runs, however long ago they were.
    let noise = read.flake_history(BuilderId(builder_id), &BTreeSet::from([id]), Timestamp(0)).await?;
    Ok(CaseView {
        name: name.into(),
        now: page.now.map(|now| now.as_str().into()),
        status_style: page
            .now
            .map_or(StatusStyle::Superseded, |now| status_style(now, None, news(&page, name, today))),
        sentence: sentence(&page),
        noise: noise.get(&id).and_then(|history| noise_sentence(history.good)),
        recent_builds: page.case_history.iter().rev().map(|place| mark(&page, name, place)).collect(),
        more_transitions: page.turns.len() > usize::from(MAX_TRANSITIONS),
        transitions: page
            .turns
            .iter()
            .take(MAX_TRANSITIONS.into())
            .map(|turn| transition(&page, name, turn))
            .collect(),
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

/// What a failure of the case at that time is to a reader who knows what is flaky and marked.
fn news(page: &CasePage, name: &str, at: Timestamp) -> FailureNews {
    let mark = page.marks.iter().find(|mark| !mark.is_void(at)).map(|mark| mark.kind);
    let failed = FailedCase { name: name.into(), is_flaky: page.is_flaky, mark };
    failure_news(&[failed], Some(Cause::Exit), page.canary)
}

fn mark(page: &CasePage, name: &str, (build, verdict): &(HistoryRow, Option<Verdict>)) -> BuildMark {
    let label = verdict.map_or("no such case", Verdict::as_str);
    let news = news(page, name, build.ended_at);
    BuildMark {
        build: build.build,
        status_style: verdict
            .map_or(StatusStyle::Superseded, |verdict| status_style(verdict, Some(verdict), news)),
        hint: format!("{}: {label}", build.change.title),
    }
}

fn transition(page: &CasePage, name: &str, row: &CaseTransitionRow) -> TransitionLine {
    TransitionLine {
        build: row.history_build.build,
        change: change(row.history_build.change.clone()),
        status_style: status_style(row.became, row.was, news(page, name, row.history_build.ended_at)),
        was: row.was.map(|was| was.as_str().into()),
        became: row.became.as_str().into(),
        message: row.text.as_deref().map(without_escapes),
    }
}

/// A failure after a failure is not new, and one that a mark expects is none.
fn status_style(now: Verdict, was: Option<Verdict>, news: FailureNews) -> StatusStyle {
    match now {
        Verdict::Fail | Verdict::Error if news == FailureNews::Expected => StatusStyle::Expected,
        Verdict::Fail | Verdict::Error if news == FailureNews::Flaky => StatusStyle::Flaky,
        Verdict::Fail | Verdict::Error if was.is_some_and(Verdict::is_bad) => StatusStyle::Still,
        Verdict::Fail | Verdict::Error => StatusStyle::New,
        Verdict::Skip | Verdict::Missing => StatusStyle::Flaky,
        Verdict::Unreached => StatusStyle::Superseded,
        Verdict::Pass | Verdict::Xfail | Verdict::Xpass => StatusStyle::Passed,
    }
}
