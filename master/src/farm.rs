//! What all shells of the master share.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::ids::Timestamp;
use store::{Objects, Store};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::hub::Hub;

#[derive(Clone)]
pub struct Farm {
    pub config: Arc<Config>,
    pub store: Store,
    pub objects: Objects,
    pub hub: Arc<Hub>,
    pub nudges: Arc<Nudges>,
    /// What is wrong with the farm itself, for the status page.
    pub problems: watch::Receiver<Vec<String>>,
    pub stop: CancellationToken,
}

/// One for each patrol that somebody else's work may make due.
#[derive(Default)]
pub struct Nudges {
    pub schedule: Arc<Notify>,
    pub search: Arc<Notify>,
    pub dispatch: Arc<Notify>,
    pub post: Arc<Notify>,
    /// By the trunk's name.
    pub poll: BTreeMap<String, Arc<Notify>>,
}

impl Nudges {
    pub fn of(config: &Config) -> Nudges {
        let poll = config.trunks.iter().map(|trunk| (trunk.name.clone(), Arc::default())).collect();
        Nudges { poll, ..Nudges::default() }
    }
}

/// The farm's clock. Rules never read it: they are told.
pub fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}

/// Evenly from 0 up to but not including 1, for waits that must not be in step.
pub fn unit() -> f64 {
    let mut bytes = [0; 8];
    // Without randomness waits are in step, which is a pity and no failure.
    let _ = getrandom::fill(&mut bytes);
    (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
}
