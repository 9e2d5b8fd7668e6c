//! The addresses. Each handler parses, loads once, and answers.

use axum::Router;
use axum::extract::{Path, Query, State as Shared};
use axum::handler::Handler;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::answer::{API, PageError, PageRequest, with_security_headers};
use crate::asset::asset;
use crate::health::{healthz, healthz_json, metrics};
use crate::live::Live;
use crate::load::{self, WaterfallQuery};
use crate::params::{self, Before, From, Name};
use crate::raw::raw_log;
use crate::state::State;

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
        .route(&format!("{API}/healthz"), get(healthz_json))
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
    pages = page(pages, "/workers/{worker}", worker);
    pages = page(pages, "/queue", queue);
    pages = page(pages, "/stats", stats);
    pages = page(pages, "/projects/{project}", project);
    pages
        .fallback(not_found)
        .with_state(state)
        .merge(events)
        .layer(axum::middleware::map_response(async |response: Response| with_security_headers(response)))
}

/// A page, and the same facts as JSON.
fn page<T: 'static>(router: Router<State>, path: &str, handler: impl Handler<T, State>) -> Router<State> {
    router.route(path, get(handler.clone())).route(&format!("{API}{path}"), get(handler))
}

async fn status(Shared(state): Shared<State>, request: PageRequest) -> Answer {
    request.answer(load::status(&state.store).await)
}

async fn waterfall(
    Shared(state): Shared<State>,
    Query(which): Query<WaterfallQuery>,
    request: PageRequest,
) -> Answer {
    request.answer(load::waterfall(&state.store, &which).await)
}

async fn build(Shared(state): Shared<State>, Path(id): Path<String>, request: PageRequest) -> Answer {
    let id = params::id(&id, "build").map_err(|e| request.error(e))?;
    request.answer(load::build(&state.store, id).await)
}

async fn log(
    Shared(state): Shared<State>,
    Path((id, step)): Path<(String, String)>,
    Query(From { from }): Query<From>,
    request: PageRequest,
) -> Answer {
    let (id, step) = params::build_and_step(&id, &step).map_err(|e| request.error(e))?;
    request.answer(load::log(&state.store, id, step, from).await)
}

async fn case(
    Shared(state): Shared<State>,
    Path(builder): Path<String>,
    Query(Name { name }): Query<Name>,
    request: PageRequest,
) -> Answer {
    let builder = params::id(&builder, "builder").map_err(|e| request.error(e))?;
    request.answer(load::case(&state.store, builder, &name).await)
}

async fn change(Shared(state): Shared<State>, Path(sha): Path<String>, request: PageRequest) -> Answer {
    let sha = params::commit(&sha).map_err(|e| request.error(e))?;
    request.answer(load::change(&state.store, &sha).await)
}

async fn breakages(
    Shared(state): Shared<State>,
    Query(Before { before }): Query<Before>,
    request: PageRequest,
) -> Answer {
    request.answer(load::breakages(&state.store, before).await)
}

async fn breakage(Shared(state): Shared<State>, Path(id): Path<String>, request: PageRequest) -> Answer {
    let id = params::id(&id, "breakage").map_err(|e| request.error(e))?;
    request.answer(load::breakage(&state.store, id).await)
}

async fn workers(Shared(state): Shared<State>, request: PageRequest) -> Answer {
    request.answer(load::workers(&state.store).await)
}

async fn worker(Shared(state): Shared<State>, Path(name): Path<String>, request: PageRequest) -> Answer {
    request.answer(load::worker(&state.store, &name).await)
}

async fn queue(Shared(state): Shared<State>, request: PageRequest) -> Answer {
    request.answer(load::queue(&state.store).await)
}

async fn stats(Shared(state): Shared<State>, request: PageRequest) -> Answer {
    request.answer(load::stats(&state.store).await)
}

async fn project(Shared(state): Shared<State>, Path(name): Path<String>, request: PageRequest) -> Answer {
    request.answer(load::project(&state.store, &name).await)
}

async fn not_found(request: PageRequest) -> PageError {
    request.error(PageError::not_found("There is no such page."))
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
    let (id, step) = params::build_and_step(&id, &step)?;
    Ok(live.log(id, step, from.unwrap_or(0), &headers).await?.into_response())
}
