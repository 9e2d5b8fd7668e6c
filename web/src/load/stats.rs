//! Loads how often answers stood, and how searches ended.

use domain::self_check::{CheckKind, CheckResult};
use domain::words::ids::Timestamp;
use store::pages::FallenRow;
use store::{CheckCount, Result, Store};

use super::rows::builder;
use crate::format::units::{Moment, count};
use crate::pages::stats::{CheckLine, CheckResults, FallenLine, FoundLine, StatsView};

/// How many days are recent.
const DAYS: i64 = 45;
const DAY_MS: i64 = 86_400_000;
const MAX_FALLEN: i64 = 20;

pub async fn stats(store: &Store) -> Result<StatsView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let since = Timestamp(jiff::Timestamp::now().as_millisecond() - DAYS * DAY_MS);
    let (recent, ever) = (read.self_checks_since(since).await?, read.self_checks_ever().await?);
    let fallen = read.fallen_rows(since, MAX_FALLEN).await?;
    let searches = read.searches_ended_since(since).await?;
    let line = |&kind: &CheckKind| CheckLine {
        kind: kind.as_str(),
        claim: claim(kind),
        recent: results(&recent, kind),
        ever: results(&ever, kind),
    };
    let checks: Vec<CheckLine> = CheckKind::ALL.iter().map(line).collect();
    Ok(StatsView {
        sentence: sentence(&checks),
        days: DAYS,
        checks,
        fallen: fallen.into_iter().map(fallen_line).collect(),
        searches: searches
            .into_iter()
            .map(|(found, searches)| FoundLine { found: found.to_string(), searches })
            .collect(),
    })
}

fn sentence(checks: &[CheckLine]) -> String {
    let sum = |of: fn(&CheckResults) -> u64| checks.iter().map(|line| of(&line.recent)).sum();
    let (stood, fell): (u64, u64) = (sum(|results| results.stood), sum(|results| results.fell));
    match (stood, fell) {
        (0, 0) => format!("No answer was repeated in the last {DAYS} days."),
        (stood, 0) => {
            let all = count(stood, "repetition of an answer", "repetitions of answers");
            format!("{all} in the last {DAYS} days: none contradicted its answer.")
        }
        (stood, fell) => {
            let all = count(stood + fell, "repetition of an answer", "repetitions of answers");
            format!("{all} in the last {DAYS} days: {fell} contradicted its answer.")
        }
    }
}

/// What a part of an answer says, which a repetition may contradict.
fn claim(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Parent => "The change before a culprit is good",
        CheckKind::Culprit => "A culprit is bad",
        CheckKind::Flaky => "A flaky test passes now and then, and fails now and then",
        CheckKind::Repair => "A repair is good",
    }
}

fn results(counts: &[CheckCount], kind: CheckKind) -> CheckResults {
    let mut results = CheckResults::default();
    for count in counts.iter().filter(|count| count.kind == kind) {
        match count.result {
            CheckResult::Stood => results.stood += count.checks,
            CheckResult::Fell => results.fell += count.checks,
            CheckResult::None => results.none += count.checks,
        }
    }
    results
}

fn fallen_line(row: FallenRow) -> FallenLine {
    FallenLine {
        breakage: row.breakage,
        state: row.state.to_string(),
        claim: claim(row.kind),
        build: row.build,
        builder: builder(row.builder),
        ended_at: Moment(row.ended_at.0),
    }
}
