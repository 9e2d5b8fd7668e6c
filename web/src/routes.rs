//! The addresses. Each handler parses, asks once, and answers.

use axum::Router;
use axum::extract::{Path, Query, State as Shared};
use axum::handler::Handler;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::State;
use crate::answer::{API, PageError, PageRequest, with_security_headers};
use crate::asset::asset;
use crate::health::{healthz, metrics};
use crate::live::Live;
use crate::load::{self, WaterfallQuery};
use crate::raw::raw_log;

type Answer = Result<Response, PageError>;

/// All pages, their JSON, and the live events. Must be called inside a Tokio runtime.
pub fn router(state: State) -> Router {
    let live = Live::start(state.clone());
    let events = Router::new()
        .route(&format!("{API}/events"), get(journal))
        .route("/builds/{build}/log/{step}/events", get(log_events))
        .with_state(live);
    let mut pages = Router::new()
        .route("/", get(status))
        .route(&format!("{API}/status"), get(status))
        .route("/static/{name}", get(asset))
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .route("/builds/{build}/log/{step}/raw", get(raw_log));
    pages = page(pages, "/waterfall", waterfall);
    pages = page(pages, "/builds/{build}", build);
    pages = page(pages, "/builds/{build}/log/{step}", log);
    pages = page(pages, "/cases/{builder}", case);
    pages = page(pages, "/changes/{sha}", change);
    pages = page(pages, "/breakages", breakages);
    pages = page(pages, "/breakages/{breakage}", breakage);
    pages = page(pages, "/workers", workers);
    pages = page(pages, "/queue", queue);
    pages = page(pages, "/projects/{project}", project);
    pages
        .fallback(nowhere)
        .with_state(state)
        .merge(events)
        .layer(axum::middleware::map_response(async |response: Response| with_security_headers(response)))
}

/// A page, and the same facts as JSON.
fn page<T: 'static>(router: Router<State>, path: &str, handler: impl Handler<T, State>) -> Router<State> {
    router.route(path, get(handler.clone())).route(&format!("{API}{path}"), get(handler))
}

async fn status(Shared(state): Shared<State>, asked: PageRequest) -> Answer {
    asked.answer(load::status(&state.store).await)
}

async fn waterfall(
    Shared(state): Shared<State>,
    Query(which): Query<WaterfallQuery>,
    asked: PageRequest,
) -> Answer {
    asked.answer(load::waterfall(&state.store, &which).await)
}

async fn build(Shared(state): Shared<State>, Path(id): Path<String>, asked: PageRequest) -> Answer {
    let id = number(&id, "build").map_err(|e| e.to(&asked))?;
    asked.answer(load::build(&state.store, id).await)
}

#[derive(Deserialize)]
struct From {
    from: Option<u64>,
}

async fn log(
    Shared(state): Shared<State>,
    Path((id, step)): Path<(String, String)>,
    Query(From { from }): Query<From>,
    asked: PageRequest,
) -> Answer {
    let (id, step) = step_of(&id, &step).map_err(|e| e.to(&asked))?;
    asked.answer(load::log(&state.store, id, step, from).await)
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

async fn case(
    Shared(state): Shared<State>,
    Path(builder): Path<String>,
    Query(Named { name }): Query<Named>,
    asked: PageRequest,
) -> Answer {
    let builder = number(&builder, "builder").map_err(|e| e.to(&asked))?;
    asked.answer(load::case(&state.store, builder, &name).await)
}

async fn change(Shared(state): Shared<State>, Path(sha): Path<String>, asked: PageRequest) -> Answer {
    let is_id = (7..=40).contains(&sha.len()) && sha.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_id {
        return Err(
            PageError::nowhere("A change is named by 7 to 40 hexadecimal digits of its commit.").to(&asked)
        );
    }
    asked.answer(load::change(&state.store, &sha.to_ascii_lowercase()).await)
}

#[derive(Deserialize)]
struct Before {
    before: Option<i64>,
}

async fn breakages(
    Shared(state): Shared<State>,
    Query(Before { before }): Query<Before>,
    asked: PageRequest,
) -> Answer {
    asked.answer(load::breakages(&state.store, before).await)
}

async fn breakage(Shared(state): Shared<State>, Path(id): Path<String>, asked: PageRequest) -> Answer {
    let id = number(&id, "breakage").map_err(|e| e.to(&asked))?;
    asked.answer(load::breakage(&state.store, id).await)
}

async fn workers(Shared(state): Shared<State>, asked: PageRequest) -> Answer {
    asked.answer(load::workers(&state.store).await)
}

async fn queue(Shared(state): Shared<State>, asked: PageRequest) -> Answer {
    asked.answer(load::queue(&state.store).await)
}

async fn project(Shared(state): Shared<State>, Path(name): Path<String>, asked: PageRequest) -> Answer {
    asked.answer(load::project(&state.store, &name).await)
}

async fn nowhere(asked: PageRequest) -> PageError {
    PageError::nowhere("There is no such page.").to(&asked)
}

async fn journal(Shared(live): Shared<Live>, headers: HeaderMap) -> Answer {
    Ok(live.journal(&headers).await?.into_response())
}

async fn log_events(
    Shared(live): Shared<Live>,
    Path((id, step)): Path<(String, String)>,
    Query(From { from }): Query<From>,
    headers: HeaderMap,
) -> Answer {
    let (id, step) = step_of(&id, &step)?;
    Ok(live.log(id, step, from.unwrap_or(0), &headers).await?.into_response())
}

pub fn step_of(build: &str, step: &str) -> Result<(i64, u16), PageError> {
    let step = step.parse().map_err(|_| PageError::nowhere("There is no such step."))?;
    Ok((number(build, "build")?, step))
}

fn number(text: &str, what: &str) -> Result<i64, PageError> {
    text.parse().map_err(|_| PageError::nowhere(&format!("There is no such {what}.")))
}
