//! How the worker API says no.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// A refusal: its status, and a sentence for the reader of the worker's log.
pub struct Refusal(pub StatusCode, pub String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1 + "\n").into_response()
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Refusal {
        match error {
            store::Error::Conflict(why) => Refusal(StatusCode::CONFLICT, why.to_string()),
            store::Error::NotFound(what) => {
                Refusal(StatusCode::NOT_FOUND, format!("there is no such {what}"))
            }
            store::Error::Database(_) | store::Error::Row(_) | store::Error::Io(_) => {
                tracing::error!(%error, "cannot answer a request of a worker");
                Refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal error on the farm".to_string())
            }
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Refusal {
        match error.kind() {
            std::io::ErrorKind::InvalidData => Refusal(StatusCode::BAD_REQUEST, error.to_string()),
            std::io::ErrorKind::InvalidInput => Refusal(StatusCode::CONFLICT, error.to_string()),
            std::io::ErrorKind::NotFound => {
                Refusal(StatusCode::NOT_FOUND, "there is no such object".to_string())
            }
            _ => {
                tracing::error!(%error, "cannot read or write the file of an object");
                Refusal(StatusCode::INSUFFICIENT_STORAGE, "the farm cannot store it now".to_string())
            }
        }
    }
}
