//! `/healthz` and `/metrics`: for machines that look after the farm.

use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::health::Severity;
use domain::words::ids::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use store::{FarmCounts, Store};
use tokio::time::{Instant, timeout};

use crate::{FarmStatus, State};

/// A store that takes longer does not answer.
const ANSWER: Duration = Duration::from_secs(2);
const HOUR_MS: i64 = 3_600_000;

/// 200 while the farm does what it is for, else 503; what is wrong either way, a sentence a line.
pub async fn healthz(Shared(state): Shared<State>) -> Response {
    let about = state.about.borrow().clone();
    let mut is_grave = about.problems.iter().any(|trouble| trouble.gravity == Severity::Grave);
    let mut lines: Vec<String> = about.problems.into_iter().map(|trouble| trouble.said).collect();
    if about.believed_until.is_some_and(|until| until < Instant::now()) {
        is_grave = true;
        lines.push("Nobody has looked after the farm's health for a minute.".into());
    }
    if !matches!(timeout(ANSWER, answers(&state.store)).await, Ok(Ok(()))) {
        is_grave = true;
        lines.push(format!("The database cannot be read within {} s.", ANSWER.as_secs()));
    }
    if lines.is_empty() {
        lines.push("All is well.".into());
    }
    let status = if is_grave { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let head = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (status, head, lines.join("\n") + "\n").into_response()
}

async fn answers(store: &Store) -> store::Result<()> {
    store.glance().await?.read().journal_end().await?;
    Ok(())
}

/// In the text format that Prometheus reads.
pub async fn metrics(Shared(state): Shared<State>) -> Response {
    match counts(&state.store).await {
        Ok(counts) => {
            let about = state.about.borrow().clone();
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text(&counts, &about)).into_response()
        }
        Err(error) => {
            tracing::warn!(%error, "counting for /metrics");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response()
        }
    }
}

async fn counts(store: &Store) -> store::Result<FarmCounts> {
    let since = Timestamp(jiff::Timestamp::now().as_millisecond() - HOUR_MS);
    store.snapshot().await?.read().counts(since).await
}

/// The value of one label, for a family that has but one.
type Label = [(&'static str, String); 1];

fn text(counts: &FarmCounts, about: &FarmStatus) -> String {
    let mut registry = Registry::with_prefix("trunkfarm");
    let asked = ConstCounter::new(counts.builds_asked);
    registry.register("builds_asked", "Builds that were ever asked for", asked);
    let mut family = |name: &str, help: &str, label: &'static str, values: Vec<(String, u64)>| {
        let family = Family::<Label, Gauge>::default();
        for (value, count) in values {
            family.get_or_create(&[(label, value)]).set(count as i64);
        }
        registry.register(name, help, family);
    };
    let builds = vec![("waiting".into(), counts.builds_waiting), ("running".into(), counts.builds_running)];
    family("builds", "Builds that are not finished", "state", builds);
    let finished = by_word(&counts.finished_since);
    family("builds_finished_last_hour", "Builds that finished within the last hour", "outcome", finished);
    family("breakages", "Breakages that are not over", "state", by_word(&counts.breakages));
    family("notices", "Mails, by whether they have left the farm", "state", by_word(&counts.notices));
    let away = counts.workers_approved.saturating_sub(counts.workers_connected);
    let workers = vec![
        ("connected".into(), counts.workers_connected),
        ("away".into(), away),
        ("pending".into(), counts.workers_pending),
    ];
    family("workers", "Workers, by whether they are here", "state", workers);
    let of = |gravity| about.problems.iter().filter(|trouble| trouble.gravity == gravity).count() as u64;
    let problems = [Severity::Warning, Severity::Grave].map(|it| (it.as_str().to_string(), of(it))).to_vec();
    family("troubles", "What is wrong with the farm itself", "gravity", problems);
    let mut gauge = |name: &str, help: &str, unit, value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        match unit {
            Some(unit) => registry.register_with_unit(name, help, unit, gauge),
            None => registry.register(name, help, gauge),
        }
    };
    gauge("polls_failing", "Repositories that cannot be polled", None, counts.polls_failing);
    gauge("database", "Size of the database", Some(Unit::Bytes), counts.database_bytes);
    if let Some(disk) = about.disk {
        gauge("disk_free", "Free space below the data folder", Some(Unit::Bytes), disk.free_bytes);
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes all that is written to it");
    text
}

fn by_word<T: ToString>(counts: &[(T, u64)]) -> Vec<(String, u64)> {
    counts.iter().map(|(state, count)| (state.to_string(), *count)).collect()
}
