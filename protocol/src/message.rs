//! The conversation. Tagged JSON: unknown fields are ignored, unknown types refused.

use serde::{Deserialize, Serialize};

use crate::plan::{Environment, Plan, WorkerFacts};
use crate::words::Sha256;

/// What a machine posts to ask for a place in the farm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    pub protocol: u32,
    /// Ed25519 public key, 64 hexadecimal digits. The operator reads its first eight aloud: the code.
    pub key: String,
    pub name: String,
    pub facts: WorkerFacts,
}

/// From a worker. The master answers nothing before a good [`FromWorker::Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromWorker {
    Hello {
        protocol: u32,
        version: String,
        key: String,
        /// Ed25519 over `trunkfarm session 1` + newline + the challenge's nonce; hexadecimal.
        signature: String,
        facts: WorkerFacts,
        /// How many builds it runs at once.
        slots: u32,
        held: Vec<HeldAttempt>,
        /// Toolchains in its cache.
        artifacts: Vec<Sha256>,
    },
    Accept {
        attempt: i64,
    },
    Decline {
        attempt: i64,
        reason: String,
    },
    Heartbeat,
    /// How many builds it runs at once from now on; with 0 nothing more is offered to it.
    Slots {
        slots: u32,
    },
    /// Something that happened in an attempt. Sequence numbers start at 1, rise by one, and are shared
    /// with the attempt's log frames.
    Event {
        attempt: i64,
        sequence: u64,
        event: Event,
    },
}

/// From the master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromMaster {
    /// The first message on every connection.
    Challenge {
        protocol: u32,
        nonce: String,
    },
    Welcome {
        name: String,
        heartbeat_ms: u64,
        /// Bearer token for this session's HTTP calls.
        token: String,
        held: Vec<Resume>,
    },
    /// The last message before the master closes.
    Refused {
        reason: String,
    },
    Offer {
        build: i64,
        attempt: i64,
        /// How long after the last heartbeat the attempt stays this worker's, at the least.
        lease_ms: u64,
        plan: Box<Plan>,
    },
    /// All events of the attempt up to and with this sequence are kept for good.
    Ack {
        attempt: i64,
        sequence: u64,
    },
    Cancel {
        attempt: i64,
        reason: String,
    },
    /// Finish what you hold; nothing more will be offered on this connection.
    Drain {
        reason: String,
    },
}

/// An attempt that a worker still has something to say about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAttempt {
    pub attempt: i64,
    /// The highest sequence number it has written.
    pub written: u64,
}

/// What a worker is to do with an attempt that it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    pub attempt: i64,
    pub then: ResumeAction,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResumeAction {
    /// Send every event behind this sequence number again.
    From(u64),
    /// Stop it and forget it, for this reason.
    Drop(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// The workspace is ready and the first step is about to start.
    Started {
        environment: Environment,
    },
    StepStarted {
        step: u16,
        name: String,
    },
    /// The log had to leave these out here.
    LogCut {
        step: u16,
        bytes: u64,
        lines: u64,
    },
    StepEnded {
        step: u16,
        end: StepEnd,
        duration_ms: u64,
        /// What was odd about its report; bounded in number and length.
        #[serde(default)]
        warnings: Vec<String>,
    },
    /// A fetch step wrote down which dependencies it chose. The object has been uploaded before.
    Lock {
        sha256: Sha256,
        bytes: u64,
    },
    /// What the plan asked for.
    Answer {
        text: String,
    },
    /// The last event of an attempt. Objects named here have been uploaded before.
    Finished {
        /// A suite's cases.
        results: Option<Sha256>,
        /// A toolchain's archive.
        artifact: Option<PackedToolchain>,
        /// Next the attempt says nothing about the change.
        infra_failure: Option<InfraFailure>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedToolchain {
    pub sha256: Sha256,
    pub bytes: u64,
}

/// How a step's process tree ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum StepEnd {
    Exit {
        code: i32,
    },
    Signal {
        signal: i32,
    },
    TimedOut,
    Silent,
    /// It printed ten times what may be kept.
    LogLimit,
    OutOfMemory,
    /// It exited 0, but its report is declared and names no case.
    NoTests,
    /// It exited 0, but its report names a failure.
    BadReport {
        failed: u64,
    },
    Cancelled,
}

/// A worker's own trouble: never the change's fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum InfraFailure {
    /// The source could not be brought.
    Checkout {
        detail: String,
    },
    /// The toolchain could not be brought or unpacked.
    Toolchain {
        detail: String,
    },
    Sandbox {
        detail: String,
    },
    NoSpace {
        detail: String,
    },
    /// Anything else between the worker and its work.
    Worker {
        detail: String,
    },
}
