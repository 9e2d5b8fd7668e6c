//! The farm's pages, JSON and live events. They read the store and write requests; nothing here calls the master.

mod answer;
mod asset;
mod inert;
mod live;
mod load;
mod log_text;
pub mod pages;
mod routes;
mod shade;
mod units;

use store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use routes::router;
pub use shade::Shade;

/// What pages are made from.
#[derive(Clone)]
pub struct State {
    pub store: Store,
    /// The farm's name, on each page.
    pub farm: String,
    /// As readers reach it.
    pub url: String,
    /// What is wrong with the farm itself, such as a configuration that could not be read: sentences.
    pub problems: watch::Receiver<Vec<String>>,
    /// Live streams end when it fires.
    pub stop: CancellationToken,
}

impl State {
    /// Of a farm that has no trouble of its own; [`State::with_problems`] tells of some.
    pub fn new(store: Store, farm: String, url: String, stop: CancellationToken) -> State {
        let (_, problems) = watch::channel(vec![]);
        State { store, farm, url, problems, stop }
    }

    /// Shows these on every page, as they are at the moment.
    pub fn with_problems(self, problems: watch::Receiver<Vec<String>>) -> State {
        State { problems, ..self }
    }
}
