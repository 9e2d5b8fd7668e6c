//! Loads the page of one worker.

use std::time::Duration;

use domain::outcome::Outcome;
use domain::volunteer::idle::{IdleFacts, Presence, reason};
use domain::volunteer::terms::sentence;
use domain::words::Trust;
use domain::words::ids::Timestamp;
use domain::words::platform::platforms_of;
use domain::words::states::{AttemptState, Standing, WorkerState};
use store::pages::{FoundCulpritRow, WorkerAttemptRow};
use store::{Error, Result, Store};

use super::workers::{pause_words, worker_line};
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, Span, count};
use crate::pages::BuildMark;
use crate::pages::worker::{FoundCulprit, WorkerView};

/// How many attempts the page shows.
const RECENT: i64 = 40;
/// How many attempts are looked at for the load of a day.
const LOOKED_AT: i64 = 400;
const CULPRITS: i64 = 20;
const DAY: Duration = Duration::from_secs(24 * 3600);

pub async fn worker(store: &Store, name: &str) -> Result<WorkerView> {
    let now = Timestamp(jiff::Timestamp::now().as_millisecond());
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let row = read.worker_row(name).await?.ok_or(Error::NotFound("worker"))?;
    let attempts = read.worker_attempts(row.id, LOOKED_AT).await?;
    let culprits = read.culprits_found_by(row.id, CULPRITS).await?;
    let platforms = platforms_of(&row.facts, &read.platforms().await?);
    let waiting = read.waiting_by_platform().await?;
    drop(snapshot);

    let running: Vec<BuildMark> =
        attempts.iter().filter(|attempt| attempt.state.is_live()).map(mark).collect();
    let presence = match (row.state, row.standing) {
        (WorkerState::Pending, _) => Presence::Pending,
        (_, Standing::Disabled) => Presence::Disabled,
        _ if row.connected => Presence::Connected,
        _ => Presence::Offline,
    };
    let facts = IdleFacts {
        presence,
        pause: row.pause.as_ref().map(pause_words),
        running: running.len(),
        slots: u64::try_from(row.slots).unwrap_or(0),
        is_on_probation: row.trust == Some(Trust::Probation),
        has_platform: !platforms.is_empty(),
        waiting: waiting.iter().filter(|(id, _)| platforms.contains(id)).map(|(_, count)| count).sum(),
        terms: sentence(&row.terms),
    };
    let busy_ms = Span(busy_ms(&attempts, now));
    let recent = attempts.iter().take(usize::try_from(RECENT).unwrap_or(0));
    let mut recent_builds: Vec<BuildMark> = recent.map(mark).collect();
    recent_builds.reverse();
    Ok(WorkerView {
        idle: reason(&facts),
        load: format!("busy for {busy_ms} of the last 24 h"),
        agreement: agreement(&attempts, row.trust, row.agreements),
        line: worker_line(row, running),
        terms: Some(facts.terms).filter(|terms| !terms.is_empty()),
        recent_builds,
        culprits: culprits.into_iter().map(culprit).collect(),
        busy_ms,
    })
}

fn culprit(row: FoundCulpritRow) -> FoundCulprit {
    FoundCulprit {
        breakage: row.breakage,
        sha: row.sha,
        title: row.title,
        broke: row.project.unwrap_or_else(|| "toolchain".into()),
        found_at: Moment(row.found_at.0),
    }
}

fn mark(row: &WorkerAttemptRow) -> BuildMark {
    let name = row.project.as_deref().unwrap_or("toolchain");
    let (status_style, word) = match (row.state, row.outcome) {
        (AttemptState::Offered | AttemptState::Running, _) => (StatusStyle::Running, "running"),
        (AttemptState::Declined, _) => (StatusStyle::Superseded, "given back"),
        (AttemptState::Lost, _) => (StatusStyle::Infra, "lost"),
        (AttemptState::Ended, Some(Outcome::Passed)) => (StatusStyle::Passed, "passed"),
        (AttemptState::Ended, Some(Outcome::Failed)) => (StatusStyle::Still, "failed"),
        (AttemptState::Ended, Some(Outcome::Blocked)) => (StatusStyle::Blocked, "blocked"),
        (AttemptState::Ended, Some(Outcome::Cancelled)) => (StatusStyle::Cancelled, "cancelled"),
        (AttemptState::Ended, Some(Outcome::Infra) | None) => (StatusStyle::Infra, "no result"),
    };
    BuildMark { build: row.build, status_style, hint: format!("{name} {word}") }
}

/// How long its attempts ran in the last day, each counted by itself.
fn busy_ms(attempts: &[WorkerAttemptRow], now: Timestamp) -> i64 {
    let since = now - DAY;
    let spans = attempts.iter().filter_map(|row| {
        let (from, to) = (row.started_at?.max(since), row.ended_at.unwrap_or(now));
        Some((to.0 - from.0).max(0))
    });
    spans.sum()
}

fn agreement(attempts: &[WorkerAttemptRow], trust: Option<Trust>, agreements: i64) -> String {
    let over: Vec<&WorkerAttemptRow> =
        attempts.iter().filter(|row| matches!(row.state, AttemptState::Ended | AttemptState::Lost)).collect();
    let decided = over.iter().filter(|row| row.outcome.is_some_and(|it| it != Outcome::Infra)).count();
    let mut text = match over.len() {
        0 => "None yet.".to_string(),
        all => {
            format!("Of its last {}, {decided} gave a build its outcome.", count(all, "attempt", "attempts"))
        }
    };
    if trust == Some(Trust::Probation) {
        text += &format!(
            " On probation: {} agreed with those of other workers.",
            count(agreements, "result in a row", "results in a row")
        );
    }
    text
}
