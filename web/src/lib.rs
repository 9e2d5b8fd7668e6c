//! The farm's pages, JSON and live events. They read the store and write requests; nothing here calls the master.

mod answer;
mod asset;
mod format;
mod health;
mod live;
mod load;
pub mod pages;
mod raw;
mod routes;

use domain::health::{Disk, HealthProblem};
use store::Store;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use format::status_style::StatusStyle;
pub use routes::router;

/// What pages are made from.
#[derive(Clone)]
pub struct State {
    pub store: Store,
    /// As it is at the moment.
    pub about: watch::Receiver<FarmStatus>,
    /// Live streams end when it fires.
    pub stop: CancellationToken,
}

/// What the farm says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarmStatus {
    /// The farm's name.
    pub farm: String,
    /// As readers reach it.
    pub url: String,
    /// What is wrong with the farm itself, such as a configuration that could not be read; every page shows it.
    pub problems: Vec<HealthProblem>,
    /// Until when that may be believed, if somebody looks after it.
    pub believed_until: Option<Instant>,
    pub disk: Option<Disk>,
    /// Live streams that may be open at once.
    pub max_readers: usize,
}

impl FarmStatus {
    /// A farm that has no trouble.
    pub fn new(farm: &str, url: &str, max_readers: usize) -> FarmStatus {
        FarmStatus {
            farm: farm.to_string(),
            url: url.to_string(),
            problems: Vec::new(),
            believed_until: None,
            disk: None,
            max_readers,
        }
    }
}
