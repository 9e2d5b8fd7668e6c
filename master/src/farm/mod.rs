//! What all stages of the master share.

pub mod background_task;
pub mod connections;
pub mod disk;
pub mod failpoint;
pub mod log_threads;
pub mod makers;
pub mod poke_token;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use domain::clock::FarmClock;
use domain::words::ids::Timestamp;
use store::{ObjectStore, Store};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::farm::background_task::{TaskDeadlines, TaskSettings};
use crate::farm::connections::Connections;
use crate::farm::log_threads::LogThreads;

#[derive(Clone)]
pub struct Farm {
    /// The configuration in force; it changes while the master runs.
    pub config: watch::Receiver<Arc<Config>>,
    pub store: Store,
    pub objects: ObjectStore,
    pub log_threads: LogThreads,
    pub connections: Arc<Connections>,
    pub activations: Arc<Activations>,
    pub deadlines: Arc<TaskDeadlines>,
    pub stop: CancellationToken,
    /// The sessions of workers, and the work that they leave behind. The store is closed after the last of them.
    pub sessions: TaskTracker,
}

impl Farm {
    /// The settings of a background task whose ticks take seconds at most.
    pub fn task_settings(
        &self,
        name: &'static str,
        period: Duration,
        activation: &Arc<Notify>,
    ) -> TaskSettings {
        TaskSettings {
            name,
            period,
            longest_tick: Duration::from_secs(300),
            activation: activation.clone(),
            stop: self.stop.clone(),
            deadlines: self.deadlines.clone(),
        }
    }

    /// The configuration in force now. Take it once for each decision: the next call may return another one.
    pub fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
    }
}

/// One for each background task that the work of another part of the program may make due.
#[derive(Default)]
pub struct Activations {
    pub schedule: Arc<Notify>,
    pub search: Arc<Notify>,
    pub dispatch: Arc<Notify>,
    pub post: Arc<Notify>,
    pub prune: Arc<Notify>,
    pub health: Arc<Notify>,
    pub barred: Arc<Notify>,
    polls: Mutex<BTreeMap<String, Arc<Notify>>>,
}

impl Activations {
    /// The activation of a trunk's poll. Call it only with names from a configuration: an entry is never removed.
    pub fn poll(&self, trunk: &str) -> Arc<Notify> {
        // A panic elsewhere cannot leave this map half changed.
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        polls.entry(trunk.to_string()).or_default().clone()
    }

    /// Activates every task: a change of the configuration may make any of them due. Polls are restarted on their own.
    pub fn all(&self) {
        for activation in
            [&self.schedule, &self.search, &self.dispatch, &self.post, &self.prune, &self.health]
        {
            activation.notify_one();
        }
    }
}

/// The farm's time. Rules never read it: it is passed to them. It does not jump when the machine's clock is set.
pub fn now() -> Timestamp {
    read_clock().0
}

/// The farm's time, and by how many milliseconds the machine's clock is ahead of it.
pub fn read_clock() -> (Timestamp, i64) {
    static CLOCK: OnceLock<(Instant, Mutex<FarmClock>)> = OnceLock::new();
    let wall = || Timestamp(jiff::Timestamp::now().as_millisecond());
    let (started, clock) =
        CLOCK.get_or_init(|| (Instant::now(), Mutex::new(FarmClock::new(wall(), Duration::ZERO))));
    let mut clock = clock.lock().unwrap_or_else(PoisonError::into_inner);
    clock.read(wall(), started.elapsed())
}

/// A random number, uniform from 0 up to but not including 1, for waits that must not run in step.
pub fn unit() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness waits run in step, which is undesirable but not a failure.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
