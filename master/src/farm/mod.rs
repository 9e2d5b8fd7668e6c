//! What all shells of the master share.

pub mod background_task;
pub mod connections;
pub mod failpoint;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::words::ids::Timestamp;
use store::{ObjectStore, Store};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::farm::background_task::{TaskDeadlines, TaskSettings};
use crate::farm::connections::Connections;

#[derive(Clone)]
pub struct Farm {
    /// The configuration that is in force; it changes while the master runs.
    pub config: watch::Receiver<Arc<Config>>,
    pub store: Store,
    pub objects: ObjectStore,
    pub connections: Arc<Connections>,
    pub activations: Arc<Activations>,
    pub deadlines: Arc<TaskDeadlines>,
    pub stop: CancellationToken,
    /// The sessions of workers, and what they leave to be done. The store is closed behind the last.
    pub sessions: TaskTracker,
}

impl Farm {
    /// A patrol of the master, whose ticks take a moment of the store's time.
    pub fn round(&self, name: &'static str, period: Duration, nudge: &Arc<Notify>) -> TaskSettings {
        TaskSettings {
            name,
            period,
            longest: Duration::from_secs(300),
            nudge: nudge.clone(),
            stop: self.stop.clone(),
            deadlines: self.deadlines.clone(),
        }
    }

    /// The configuration in force now. Take it once for one decision: the next call may give another one.
    pub fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
    }
}

/// One for each patrol that somebody else's work may make due.
#[derive(Default)]
pub struct Activations {
    pub schedule: Arc<Notify>,
    pub search: Arc<Notify>,
    pub dispatch: Arc<Notify>,
    pub post: Arc<Notify>,
    pub prune: Arc<Notify>,
    pub health: Arc<Notify>,
    polls: Mutex<BTreeMap<String, Arc<Notify>>>,
}

impl Activations {
    /// The nudge of a trunk's poll. Only for names that a configuration had.
    pub fn poll(&self, trunk: &str) -> Arc<Notify> {
        // A map of notifies cannot be left half changed.
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        polls.entry(trunk.to_string()).or_default().clone()
    }

    /// A change of the configuration may make any of them due. Polls begin anew by themselves.
    pub fn all(&self) {
        for nudge in [&self.schedule, &self.search, &self.dispatch, &self.post, &self.prune, &self.health] {
            nudge.notify_one();
        }
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
