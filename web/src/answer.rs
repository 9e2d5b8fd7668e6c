//! How pages leave: as HTML or as JSON, with an ETag; and what a visitor is told when there is no page.

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::State;
use crate::asset::tagged;
use crate::pages::{Frame, Page};

/// Below it stands every page once more, as JSON.
pub const API: &str = "/api/v1";

/// Who asks, where and for what: all that is needed to answer with a page.
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
        let about = state.about.borrow().clone();
        Ok(PageRequest {
            here: rest.unwrap_or(full).to_string(),
            as_json: rest.is_some(),
            headers: parts.headers.clone(),
            farm: about.farm,
            url: about.url.trim_end_matches('/').to_string(),
            problems: about.problems.into_iter().map(|trouble| trouble.said).collect(),
        })
    }
}

impl PageRequest {
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub fn answer<P: Page>(&self, page: store::Result<P>) -> Result<Response, PageError> {
        let page = page.map_err(|cause| PageError::from(cause).to(self))?;
        if self.as_json {
            let body = serde_json::to_string(&page).map_err(|e| PageError::ours(e).to(self))?;
            return Ok(tagged(&self.headers, "application/json", body));
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
        let body = page.html(&frame).map_err(|e| PageError::ours(e).to(self))?;
        Ok(tagged(&self.headers, "text/html; charset=utf-8", body))
    }
}

/// A sentence for the visitor. The cause is for the log alone.
#[derive(Debug)]
pub struct PageError {
    status: StatusCode,
    said: String,
    cause: Option<String>,
    farm: String,
    problems: Vec<String>,
    as_json: bool,
}

impl PageError {
    fn new(status: StatusCode, said: &str, cause: Option<String>) -> PageError {
        PageError { status, said: said.into(), cause, farm: "Farm".into(), problems: vec![], as_json: false }
    }

    pub fn nowhere(said: &str) -> PageError {
        PageError::new(StatusCode::NOT_FOUND, said, None)
    }

    pub fn crowded(said: &str) -> PageError {
        PageError::new(StatusCode::SERVICE_UNAVAILABLE, said, None)
    }

    pub fn gone(said: &str) -> PageError {
        PageError::new(StatusCode::GONE, said, None)
    }

    fn ours(cause: impl ToString) -> PageError {
        let said = "The farm could not make this page; its log says why.";
        PageError::new(StatusCode::INTERNAL_SERVER_ERROR, said, Some(cause.to_string()))
    }

    /// In the dress that was asked for.
    pub fn to(self, asked: &PageRequest) -> PageError {
        let (farm, problems) = (asked.farm.clone(), asked.problems.clone());
        PageError { farm, problems, as_json: asked.as_json, ..self }
    }
}

impl From<store::Error> for PageError {
    fn from(cause: store::Error) -> PageError {
        match cause {
            store::Error::NotFound(what) => PageError::nowhere(&format!("There is no such {what}.")),
            store::Error::Conflict(said) => PageError::new(StatusCode::CONFLICT, said, None),
            store::Error::Io(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                PageError::gone("This log is no longer kept.")
            }
            cause @ (store::Error::Database(_) | store::Error::Row(_) | store::Error::Io(_)) => {
                PageError::ours(cause)
            }
        }
    }
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct Trouble<'a> {
    frame: &'a Frame,
    status: String,
    said: &'a str,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(%cause, "a page could not be made");
        }
        if self.as_json {
            let body = serde_json::json!({ "error": self.said }).to_string();
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
        let page = Trouble { frame: &frame, status: self.status.to_string(), said: &self.said };
        let body = page.render().unwrap_or(self.said.clone());
        (self.status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response()
    }
}

/// Nothing but our own files may run or be loaded, and no other site may frame or learn of a page.
pub fn with_security_headers(mut response: Response) -> Response {
    const GUARDS: [(header::HeaderName, &str); 4] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in GUARDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
