//! How pages leave: as HTML or as JSON, with an ETag; and the error page where there is no page.

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::etag::with_etag;
use crate::format::json;
use crate::pages::{Frame, Page};
use crate::params::UnknownAddress;
use crate::state::State;

/// Below it every page exists once more, as JSON.
pub const API: &str = "/api/v1";

/// What is needed of a request to answer it with a page.
pub struct PageRequest {
    /// Path and query, without [`API`].
    here: String,
    as_json: bool,
    headers: HeaderMap,
    farm: String,
    url: String,
    problems: Vec<String>,
}

impl FromRequestParts<State> for PageRequest {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<PageRequest, Self::Rejection> {
        let full = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let rest = full.strip_prefix(API);
        let status = state.status.borrow().clone();
        Ok(PageRequest {
            here: rest.unwrap_or(full).to_string(),
            as_json: rest.is_some(),
            headers: parts.headers.clone(),
            farm: status.farm,
            url: status.url.trim_end_matches('/').to_string(),
            problems: status.problems.into_iter().map(|problem| problem.sentence).collect(),
        })
    }
}

impl PageRequest {
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub fn answer<P: Page>(&self, page: store::Result<P>) -> Result<Response, PageError> {
        let page = page.map_err(|cause| self.error(cause))?;
        if self.as_json {
            let body = json::to_string(&page).map_err(|e| self.error(PageError::internal(e)))?;
            return Ok(with_etag(&self.headers, "application/json", body));
        }
        let json = match self.here.as_str() {
            "/" => "/status".into(),
            here => here.to_string(),
        };
        let frame = Frame {
            farm: self.farm.clone(),
            problems: self.problems.clone(),
            here: P::HERE,
            canonical: format!("{}{}", self.url, self.here),
            json,
            live: page.live(),
        };
        let body = page.html(&frame).map_err(|e| self.error(PageError::internal(e)))?;
        Ok(with_etag(&self.headers, "text/html; charset=utf-8", body))
    }

    /// An error in the format of this request, with the farm's name and problems around it.
    pub fn error(&self, error: impl Into<PageError>) -> PageError {
        let (farm, problems) = (self.farm.clone(), self.problems.clone());
        PageError { farm, problems, as_json: self.as_json, ..error.into() }
    }
}

/// A sentence for the visitor. The cause is for the log alone.
#[derive(Debug)]
pub struct PageError {
    status: StatusCode,
    message: String,
    cause: Option<String>,
    farm: String,
    problems: Vec<String>,
    as_json: bool,
}

impl PageError {
    fn new(status: StatusCode, message: &str, cause: Option<String>) -> PageError {
        let message = message.to_string();
        PageError { status, message, cause, farm: "Farm".into(), problems: vec![], as_json: false }
    }

    pub fn not_found(message: &str) -> PageError {
        PageError::new(StatusCode::NOT_FOUND, message, None)
    }

    pub fn overloaded(message: &str) -> PageError {
        PageError::new(StatusCode::SERVICE_UNAVAILABLE, message, None)
    }

    pub fn gone(message: &str) -> PageError {
        PageError::new(StatusCode::GONE, message, None)
    }

    fn internal(cause: impl ToString) -> PageError {
        let message = "Internal error: the farm could not make this page. The master's log has the cause.";
        PageError::new(StatusCode::INTERNAL_SERVER_ERROR, message, Some(cause.to_string()))
    }
}

impl From<UnknownAddress> for PageError {
    fn from(UnknownAddress(message): UnknownAddress) -> PageError {
        PageError::not_found(&message)
    }
}

impl From<store::Error> for PageError {
    fn from(cause: store::Error) -> PageError {
        match cause {
            store::Error::NotFound(what) => PageError::not_found(&format!("There is no such {what}.")),
            store::Error::Conflict(message) => PageError::new(StatusCode::CONFLICT, message, None),
            store::Error::Io(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                PageError::gone("This log is no longer kept.")
            }
            cause @ (store::Error::Database(_) | store::Error::Row(_) | store::Error::Io(_)) => {
                PageError::internal(cause)
            }
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: &'a Frame,
    status: String,
    message: &'a str,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(%cause, "a page could not be made");
        }
        if self.as_json {
            let body = json::to_string(&serde_json::json!({ "error": self.message }));
            let body = body.expect("a text is JSON");
            return (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        }
        let frame = Frame {
            farm: self.farm,
            problems: self.problems,
            here: "",
            canonical: String::new(),
            json: "/status".into(),
            live: String::new(),
        };
        let page = ErrorPage { frame: &frame, status: self.status.to_string(), message: &self.message };
        let body = page.render().unwrap_or(self.message.clone());
        (self.status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response()
    }
}

/// Only the farm's own files may run or be loaded, and no other site may frame a page or learn its address.
pub fn with_security_headers(mut response: Response) -> Response {
    const SECURITY_HEADERS: [(header::HeaderName, &str); 4] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
