//! What pages are made from: the store, and the farm's status as the master reports it.

use domain::health::{Disk, HealthProblem};
use store::Store;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What pages are made from.
#[derive(Clone)]
pub struct State {
    pub store: Store,
    /// The farm's status at the moment.
    pub status: watch::Receiver<FarmStatus>,
    /// Live streams end when it fires.
    pub stop: CancellationToken,
}

/// What the farm reports of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarmStatus {
    /// The farm's name.
    pub farm: String,
    /// The address under which readers reach the farm.
    pub url: String,
    /// What is wrong with the farm itself, such as a configuration that could not be read; every page shows it.
    pub problems: Vec<HealthProblem>,
    /// When the status expires; none if nothing renews it.
    pub valid_until: Option<Instant>,
    pub disk: Option<Disk>,
    /// Live streams that may be open at once.
    pub max_readers: usize,
}

impl FarmStatus {
    /// A farm without problems.
    pub fn new(farm: &str, url: &str, max_readers: usize) -> FarmStatus {
        FarmStatus {
            farm: farm.to_string(),
            url: url.to_string(),
            problems: Vec::new(),
            valid_until: None,
            disk: None,
            max_readers,
        }
    }
}
