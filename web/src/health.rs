//! `/healthz` and `/metrics`: for the operator's monitoring.

use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::health::{HealthProblem, Severity};
use domain::visible::shown;
use domain::words::ids::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;
use store::{FarmCounts, Store};
use tokio::time::{Instant, timeout};

use crate::format::json;
use crate::state::{FarmStatus, State};

/// A store that takes longer counts as not answering.
const ANSWER: Duration = Duration::from_secs(2);
const HOUR_MS: i64 = 3_600_000;

/// 200 while the farm works, else 503. Either way the body lists what is wrong, one sentence a line.
pub async fn healthz(Shared(state): Shared<State>) -> Response {
    let mut lines: Vec<String> = Vec::new();
    let problems = problems(&state).await;
    lines.extend(problems.iter().map(|problem| shown(&problem.sentence).into_owned()));
    if lines.is_empty() {
        lines.push("All is well.".into());
    }
    let head = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (status_code(&problems), head, lines.join("\n") + "\n").into_response()
}

/// The same as JSON: whether all is well, and each problem with its severity.
pub async fn healthz_json(Shared(state): Shared<State>) -> Response {
    let problems = problems(&state).await;
    let lines: Vec<ProblemLine> = problems
        .iter()
        .map(|problem| ProblemLine { severity: problem.severity.as_str(), sentence: &problem.sentence })
        .collect();
    let body = HealthView { well: lines.is_empty(), problems: lines };
    let body = json::to_string(&body).expect("texts are JSON");
    let head = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status_code(&problems), head, body).into_response()
}

#[derive(Serialize)]
struct HealthView<'a> {
    well: bool,
    problems: Vec<ProblemLine<'a>>,
}

#[derive(Serialize)]
struct ProblemLine<'a> {
    /// `warning`, or `grave`: then the farm itself does not work.
    severity: &'static str,
    sentence: &'a str,
}

/// A farm that works and has nothing to test, or nobody to test it, is no reason to restart it.
fn status_code(problems: &[HealthProblem]) -> StatusCode {
    match problems.iter().any(|problem| problem.severity == Severity::Grave) {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    }
}

/// What the last check found, and what can be seen now.
async fn problems(state: &State) -> Vec<HealthProblem> {
    let status = state.status.borrow().clone();
    let mut problems = status.problems;
    let grave = |sentence| HealthProblem { severity: Severity::Grave, sentence };
    if status.valid_until.is_some_and(|until| until < Instant::now()) {
        problems.push(grave(
            "The result of the last health check has expired: the master no longer checks its health.".into(),
        ));
    }
    let unreadable = match timeout(ANSWER, read_store(&state.store)).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("The database cannot be read: {error}.")),
        Err(_) => Some(format!("The database did not answer within {} s.", ANSWER.as_secs())),
    };
    problems.extend(unreadable.map(grave));
    problems
}

async fn read_store(store: &Store) -> store::Result<()> {
    store.latest().await?.read().journal_end().await?;
    Ok(())
}

/// In the text format that Prometheus reads.
pub async fn metrics(Shared(state): Shared<State>) -> Response {
    match counts(&state.store).await {
        Ok(counts) => {
            let status = state.status.borrow().clone();
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text(&counts, &status)).into_response()
        }
        Err(error) => {
            tracing::warn!(%error, "the counts for /metrics could not be read");
            (StatusCode::SERVICE_UNAVAILABLE, "the database cannot be read\n").into_response()
        }
    }
}

async fn counts(store: &Store) -> store::Result<FarmCounts> {
    let since = Timestamp(jiff::Timestamp::now().as_millisecond() - HOUR_MS);
    store.snapshot().await?.read().counts(since).await
}

/// The one label of a family, and its value.
type Label = [(&'static str, String); 1];

fn text(counts: &FarmCounts, status: &FarmStatus) -> String {
    let mut registry = Registry::with_prefix("trunkfarm");
    let enqueued = ConstCounter::new(counts.builds_enqueued);
    registry.register("builds_enqueued", "Builds that were ever put into the queue", enqueued);
    let checks = Family::<[(&'static str, &'static str); 2], Counter>::default();
    for count in &counts.self_checks {
        let labels = [("kind", count.kind.as_str()), ("result", count.result.as_str())];
        checks.get_or_create(&labels).inc_by(count.checks);
    }
    registry.register("self_checks", "Repetitions of old answers, by what they showed", checks);
    let mut family = |name: &str, help: &str, label: &'static str, values: Vec<(String, u64)>| {
        let family = Family::<Label, Gauge>::default();
        for (value, count) in values {
            family.get_or_create(&[(label, value)]).set(gauge_value(count));
        }
        registry.register(name, help, family);
    };
    let builds = vec![("waiting".into(), counts.builds_waiting), ("running".into(), counts.builds_running)];
    family("builds", "Builds that are not finished", "state", builds);
    let finished = by_word(&counts.finished_since);
    family("builds_finished_last_hour", "Builds that finished within the last hour", "outcome", finished);
    family("breakages", "Breakages that have not ended", "state", by_word(&counts.breakages));
    family("notices", "Mails, by whether the farm has sent them", "state", by_word(&counts.notices));
    let offline = counts.workers_approved.saturating_sub(counts.workers_connected);
    let workers = vec![
        ("connected".into(), counts.workers_connected),
        ("offline".into(), offline),
        ("pending".into(), counts.workers_pending),
    ];
    family("workers", "Workers, by whether they are connected or wait for approval", "state", workers);
    let count =
        |severity| status.problems.iter().map(|problem| u64::from(problem.severity == severity)).sum();
    let severities = [Severity::Warning, Severity::Grave];
    let problems = severities.map(|severity| (severity.as_str().to_string(), count(severity)));
    family("problems", "Problems of the farm itself", "severity", problems.to_vec());
    let mut gauge = |name: &str, help: &str, unit, value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(gauge_value(value));
        match unit {
            Some(unit) => registry.register_with_unit(name, help, unit, gauge),
            None => registry.register(name, help, gauge),
        }
    };
    gauge("polls_failing", "Repositories whose last poll failed", None, counts.polls_failing);
    gauge("database", "Size of the database", Some(Unit::Bytes), counts.database_bytes);
    if let Some(disk) = status.disk {
        gauge("disk_free", "Free space below the data folder", Some(Unit::Bytes), disk.free_bytes);
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes all that is written to it");
    text
}

fn by_word<T: ToString>(counts: &[(T, u64)]) -> Vec<(String, u64)> {
    counts.iter().map(|(state, count)| (state.to_string(), *count)).collect()
}

/// A gauge is signed; no farm counts as far as its end.
fn gauge_value(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
