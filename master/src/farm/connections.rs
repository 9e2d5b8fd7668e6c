//! Who is connected now. Nothing here is a fact of the farm: it is all told again when workers connect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use domain::words::ids::{AttemptId, Timestamp, WorkerId};
use protocol::{FromMaster, Plan, Sha256, WorkerFacts};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many messages may wait for a worker's socket; a worker that does not read loses its connection.
pub const WAITING: usize = 256;

#[derive(Default)]
pub struct Connections {
    connected: Mutex<BTreeMap<WorkerId, Connected>>,
}

struct Connected {
    facts: Arc<WorkerFacts>,
    slots: u32,
    artifacts: BTreeSet<Sha256>,
    token: String,
    to: mpsc::Sender<FromMaster>,
    /// Fired when the connection is to end: a newer one with the same key came, or it cannot keep up.
    fence: CancellationToken,
    /// When it was last heard, unless that was noted.
    heard: Option<Timestamp>,
}

/// A connected worker as dispatch sees it.
pub struct ConnectedWorker {
    pub worker: WorkerId,
    /// As it told them when it came.
    pub facts: Arc<WorkerFacts>,
    pub slots: u32,
    pub artifacts: BTreeSet<Sha256>,
}

impl Connections {
    /// Puts a connection in, and fences one that the same worker had before.
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
        let entry = Connected { facts, slots, artifacts, token, to, fence: fence.clone(), heard: None };
        if let Some(Connected { to, fence, .. }) = self.locked().insert(worker, entry) {
            // In this order: a fenced connection that can hear no more knows that another took over.
            drop(to);
            fence.cancel();
        }
        (from, fence)
    }

    /// Takes a connection out, unless a newer one stands in its place. Says whether it did.
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
            })
            .collect()
    }

    /// Whether this worker may come in: one that comes back takes its own place.
    pub fn has_room_for(&self, worker: WorkerId, most: usize) -> bool {
        let connected = self.locked();
        connected.len() < most || connected.contains_key(&worker)
    }

    pub fn is_present(&self, worker: WorkerId) -> bool {
        self.locked().contains_key(&worker)
    }

    /// Sends a message; a worker that is gone, or does not read, gets it never, and its lease runs out.
    pub fn tell(&self, worker: WorkerId, message: FromMaster) {
        if let Some(entry) = self.locked().get(&worker)
            && entry.to.try_send(message).is_err()
        {
            entry.fence.cancel();
        }
    }

    /// A worker has said something.
    pub fn heard(&self, worker: WorkerId, at: Timestamp) {
        if let Some(entry) = self.locked().get_mut(&worker) {
            entry.heard = Some(at);
        }
    }

    /// Who was heard since this was asked last, and when.
    pub fn take_heard(&self) -> Vec<(WorkerId, Timestamp)> {
        self.locked().iter_mut().filter_map(|(&worker, entry)| Some((worker, entry.heard.take()?))).collect()
    }

    /// How many builds a worker runs at once from now on.
    pub fn set_slots(&self, worker: WorkerId, slots: u32) {
        if let Some(entry) = self.locked().get_mut(&worker) {
            entry.slots = slots;
        }
    }

    pub fn offer(&self, worker: WorkerId, build: i64, attempt: AttemptId, lease_ms: u64, plan: Plan) {
        if let Some(toolchain) = plan.toolchain
            && let Some(entry) = self.locked().get_mut(&worker)
        {
            entry.artifacts.insert(toolchain.sha256);
        }
        self.tell(worker, FromMaster::Offer { build, attempt: attempt.0, lease_ms, plan: Box::new(plan) });
    }

    /// Which worker a bearer token belongs to.
    pub fn bearer(&self, token: &str) -> Option<WorkerId> {
        self.locked().iter().find(|(_, entry)| entry.token == token).map(|(&worker, _)| worker)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<WorkerId, Connected>> {
        self.connected.lock().expect("nobody panics while holding the hub")
    }
}
