//! The workers that are connected now. Nothing here is a fact of the farm: it is rebuilt when workers reconnect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use domain::words::ids::{AttemptId, Timestamp, WorkerId};
use protocol::{FromMaster, Plan, Sha256, WorkerFacts, WorkerTerms};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many messages may wait for a worker's socket; a worker that reads more slowly loses its connection.
const WAITING: usize = 256;

#[derive(Default)]
pub struct Connections {
    connected: Mutex<BTreeMap<WorkerId, Connected>>,
}

struct Connected {
    facts: Arc<WorkerFacts>,
    slots: u32,
    artifacts: BTreeSet<Sha256>,
    terms: Arc<WorkerTerms>,
    token: String,
    to: mpsc::Sender<FromMaster>,
    /// Cancelled when the connection must end: a newer one with the same key came, or the worker does not keep up.
    fence: CancellationToken,
    /// When a message last came from the worker; none once that is recorded in the store.
    unrecorded_seen_at: Option<Timestamp>,
}

/// A connected worker as dispatch sees it.
pub struct ConnectedWorker {
    pub worker: WorkerId,
    /// As the worker reported them when it connected.
    pub facts: Arc<WorkerFacts>,
    pub slots: u32,
    pub artifacts: BTreeSet<Sha256>,
    /// What its owner allows.
    pub terms: Arc<WorkerTerms>,
}

impl Connections {
    /// Adds a connection, and fences an earlier one of the same worker. Messages to the worker arrive at the receiver.
    pub fn enter(
        &self,
        worker: WorkerId,
        facts: Arc<WorkerFacts>,
        slots: u32,
        artifacts: BTreeSet<Sha256>,
        token: String,
    ) -> (mpsc::Receiver<FromMaster>, CancellationToken) {
        let (to, from) = mpsc::channel(WAITING);
        let fence = CancellationToken::new();
        let entry = Connected {
            facts,
            slots,
            artifacts,
            terms: Arc::default(),
            token,
            to,
            fence: fence.clone(),
            unrecorded_seen_at: None,
        };
        if let Some(Connected { to, fence, .. }) = self.locked().insert(worker, entry) {
            // In this order: a fenced connection whose channel is closed knows that another connection replaced it.
            drop(to);
            fence.cancel();
        }
        (from, fence)
    }

    /// Removes a connection, unless a newer one has replaced it. Returns whether it did.
    pub fn leave(&self, worker: WorkerId, fence: &CancellationToken) -> bool {
        let mut connected = self.locked();
        fence.cancel();
        match connected.get(&worker) {
            Some(entry) if entry.fence.is_cancelled() => {
                connected.remove(&worker);
                true
            }
            Some(_) | None => false,
        }
    }

    pub fn present(&self) -> Vec<ConnectedWorker> {
        self.locked()
            .iter()
            .map(|(&worker, entry)| ConnectedWorker {
                worker,
                facts: entry.facts.clone(),
                slots: entry.slots,
                artifacts: entry.artifacts.clone(),
                terms: entry.terms.clone(),
            })
            .collect()
    }

    /// Whether this worker may connect: one that reconnects takes the place that it has.
    pub fn has_room_for(&self, worker: WorkerId, most: usize) -> bool {
        let connected = self.locked();
        connected.len() < most || connected.contains_key(&worker)
    }

    pub fn is_present(&self, worker: WorkerId) -> bool {
        self.locked().contains_key(&worker)
    }

    /// Sends a message. A worker that is gone, or does not read, never gets it, and its lease expires.
    pub fn send(&self, worker: WorkerId, message: FromMaster) {
        if let Some(entry) = self.locked().get(&worker)
            && entry.to.try_send(message).is_err()
        {
            entry.fence.cancel();
        }
    }

    /// A message came from this worker.
    pub fn record_seen(&self, worker: WorkerId, at: Timestamp) {
        if let Some(entry) = self.locked().get_mut(&worker) {
            entry.unrecorded_seen_at = Some(at);
        }
    }

    /// The workers that sent something since the last call, and when.
    pub fn take_seen(&self) -> Vec<(WorkerId, Timestamp)> {
        self.locked()
            .iter_mut()
            .filter_map(|(&worker, entry)| Some((worker, entry.unrecorded_seen_at.take()?)))
            .collect()
    }

    /// Sets how many builds a worker runs at once from now on.
    pub fn set_slots(&self, worker: WorkerId, slots: u32) {
        if let Some(entry) = self.locked().get_mut(&worker) {
            entry.slots = slots;
        }
    }

    /// Sets what a worker's owner allows from now on.
    pub fn set_terms(&self, worker: WorkerId, terms: WorkerTerms) {
        if let Some(entry) = self.locked().get_mut(&worker) {
            entry.terms = Arc::new(terms);
        }
    }

    pub fn offer(&self, worker: WorkerId, build: i64, attempt: AttemptId, lease_ms: u64, plan: Plan) {
        if let Some(toolchain) = plan.toolchain
            && let Some(entry) = self.locked().get_mut(&worker)
        {
            entry.artifacts.insert(toolchain.sha256);
        }
        self.send(worker, FromMaster::Offer { build, attempt: attempt.0, lease_ms, plan: Box::new(plan) });
    }

    /// The worker whose session this bearer token belongs to.
    pub fn worker_of_token(&self, token: &str) -> Option<WorkerId> {
        self.locked().iter().find(|(_, entry)| entry.token == token).map(|(&worker, _)| worker)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<WorkerId, Connected>> {
        self.connected.lock().expect("no code panics while it holds this lock")
    }
}
