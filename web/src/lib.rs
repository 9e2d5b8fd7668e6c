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
    /// As it is at the moment.
    pub about: watch::Receiver<About>,
    /// Live streams end when it fires.
    pub stop: CancellationToken,
}

/// What the farm says of itself on every page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The farm's name.
    pub farm: String,
    /// As readers reach it.
    pub url: String,
    /// What is wrong with the farm itself, such as a configuration that could not be read: sentences.
    pub problems: Vec<String>,
}
