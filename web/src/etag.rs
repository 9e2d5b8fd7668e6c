//! Answers with an ETag. A browser keeps what it has, and asks by its hash whether it changed.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// An answer with its content's hash as ETag; 304 if the client has it already.
pub fn with_etag(request: &HeaderMap, kind: &'static str, body: impl Into<String>) -> Response {
    let body = body.into();
    let mut hasher = DefaultHasher::new();
    (kind, &body).hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let head = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".into())];
    let has_it = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().trim_start_matches("W/") == tag);
    match has_it {
        true => (StatusCode::NOT_MODIFIED, head).into_response(),
        false => (head, [(header::CONTENT_TYPE, kind)], body).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_has_the_file_does_not_get_it_again() {
        let first = with_etag(&HeaderMap::new(), "text/css", "a{}");
        let mut request = HeaderMap::new();
        request.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(with_etag(&request, "text/css", "a{}").status(), StatusCode::NOT_MODIFIED);
        assert_eq!(with_etag(&request, "text/css", "b{}").status(), StatusCode::OK);
    }
}
