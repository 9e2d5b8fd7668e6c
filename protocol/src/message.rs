//! The messages of the session. Tagged JSON: unknown fields are ignored, unknown types refused.

use serde::{Deserialize, Serialize};

use crate::plan::{Environment, FetchProgress, Plan, WorkerFacts};
use crate::terms::WorkerTerms;
use crate::words::Sha256;

/// What a machine posts to ask for admission to the farm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// [`crate::VERSION`].
    pub protocol: u32,
    /// Ed25519 public key, 64 hexadecimal digits. The first eight are the code that the volunteer reads to the operator.
    pub key: String,
    /// The worker's name: 1 to 64 letters, digits, dots, dashes and underscores.
    pub name: String,
    /// What the machine is.
    pub facts: WorkerFacts,
}

/// What a worker posts about itself outside of a session, signed with its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRequest {
    /// [`crate::VERSION`].
    pub protocol: u32,
    /// The Ed25519 public key that the farm knows; 64 hexadecimal digits.
    pub key: String,
    /// When it was signed, in milliseconds since 1970: an old request is not taken.
    pub at_ms: i64,
    /// For a new key: its public half, 64 hexadecimal digits. Its first eight are the code that the operator approves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_key: Option<String>,
    /// Ed25519 by `key` over [`SignedRequest::text`]; hexadecimal.
    pub signature: String,
}

impl SignedRequest {
    /// What is signed: a purpose, so that the signature is valid for nothing else, then the time, then the new key if there
    /// is one.
    pub fn text(&self) -> String {
        match &self.next_key {
            Some(next) => format!("trunkfarm rekey 1\n{}\n{next}", self.at_ms),
            None => format!("trunkfarm leave 1\n{}", self.at_ms),
        }
    }
}

/// A message from a worker. The master answers nothing before a valid [`FromWorker::Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromWorker {
    /// The answer to [`FromMaster::Challenge`].
    Hello {
        /// [`crate::VERSION`].
        protocol: u32,
        /// The version of the worker's program.
        version: String,
        /// The Ed25519 public key with which it joined; 64 hexadecimal digits.
        key: String,
        /// Ed25519 over `trunkfarm session 1` + newline + the challenge's nonce; hexadecimal.
        signature: String,
        /// What the machine is today.
        facts: WorkerFacts,
        /// How many builds it runs at once.
        slots: u32,
        /// The attempts whose events are not all acknowledged yet.
        held: Vec<HeldAttempt>,
        /// Toolchains in its cache.
        artifacts: Vec<Sha256>,
        /// What its owner allows; none where that is everything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terms: Option<Box<WorkerTerms>>,
    },
    /// The worker takes the offered attempt.
    Accept {
        /// The attempt of the [`FromMaster::Offer`].
        attempt: i64,
    },
    /// The worker does not take the offered attempt.
    Decline {
        /// The attempt of the [`FromMaster::Offer`].
        attempt: i64,
        /// A sentence for people.
        reason: String,
    },
    /// A sign of life, sent every [`FromMaster::Welcome`]`::heartbeat_ms`.
    Heartbeat,
    /// How many builds it runs at once from now on; with 0 it is offered nothing more.
    Slots {
        /// In place of the hello's.
        slots: u32,
    },
    /// The worker begins nothing until it resumes; it stays connected, and may still hold attempts. A newer pause replaces
    /// it. Only a master whose welcome says `takes_pauses` takes it.
    Pause {
        /// Why: a sentence for people, such as `hours`.
        reason: String,
        /// When it is to end, in milliseconds since 1970, if the worker knows.
        until_ms: Option<i64>,
    },
    /// The worker begins builds again.
    Resume,
    /// What the worker's owner allows it to do, in place of what was said before. Only a master whose welcome says
    /// `takes_pauses` takes it.
    Terms {
        /// All of it.
        terms: WorkerTerms,
    },
    /// How far an attempt has fetched what it needs. It may be lost; only a master whose welcome says so takes it.
    Progress {
        /// The attempt that fetches.
        attempt: i64,
        /// How far it is.
        progress: FetchProgress,
    },
    /// Something happened in an attempt.
    Event {
        /// The attempt in which it happened.
        attempt: i64,
        /// Starts at 1, rises by one, and is shared with the attempt's log frames.
        sequence: u64,
        /// What happened.
        event: Event,
    },
}

/// A message from the master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromMaster {
    /// The first message on every connection.
    Challenge {
        /// [`crate::VERSION`].
        protocol: u32,
        /// The text that the worker signs in its hello; a new one for each connection.
        nonce: String,
    },
    /// The worker is admitted.
    Welcome {
        /// The worker's name on the farm's pages.
        name: String,
        /// How often the worker is to send a heartbeat, in milliseconds.
        heartbeat_ms: u64,
        /// Bearer token for this session's HTTP calls.
        token: String,
        /// What to do with each attempt that the hello named.
        held: Vec<Resume>,
        /// Whether the master takes [`FromWorker::Progress`].
        #[serde(default)]
        takes_progress: bool,
        /// Whether the master takes [`FromWorker::Pause`], [`FromWorker::Resume`], [`FromWorker::Terms`] and
        /// [`InfraFailure::HandedBack`].
        #[serde(default)]
        takes_pauses: bool,
    },
    /// The last message before the master closes.
    Refused {
        /// A sentence for people.
        reason: String,
    },
    /// A build to run.
    Offer {
        /// The build's number on the farm's pages.
        build: i64,
        /// The number of this attempt at the build.
        attempt: i64,
        /// How long after the last heartbeat the attempt stays this worker's, at the least; in milliseconds.
        lease_ms: u64,
        /// What to run.
        plan: Box<Plan>,
    },
    /// All events of the attempt up to and including this sequence number are durable.
    Ack {
        /// The attempt to which they belong.
        attempt: i64,
        /// The highest sequence number that is durable.
        sequence: u64,
    },
    /// Stop the attempt.
    Cancel {
        /// The attempt to stop.
        attempt: i64,
        /// A sentence for people.
        reason: String,
    },
    /// Finish what you hold; nothing more will be offered on this connection.
    Drain {
        /// A sentence for people.
        reason: String,
    },
}

/// An attempt whose events the master has not all acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAttempt {
    /// Its number, from the offer.
    pub attempt: i64,
    /// The highest sequence number that the worker has written to its spool.
    pub last_sequence: u64,
}

/// What a worker is to do with an attempt that it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Its number, from the hello.
    pub attempt: i64,
    /// What to do with it.
    pub action: ResumeAction,
}

/// How a held attempt continues on a new connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResumeAction {
    /// Send every event after this sequence number again.
    ResendAfter(u64),
    /// Stop the attempt and forget it, for this reason.
    Drop(String),
}

/// What happens in an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// The workspace is ready and the first step is about to start.
    Started {
        /// What the steps see beside the toolchain.
        environment: Environment,
    },
    /// A step starts.
    StepStarted {
        /// Its index in the recipe, from 0.
        step: u16,
        /// Its name in the recipe.
        name: String,
    },
    /// At this place the log is truncated.
    LogTruncated {
        /// The step's index in the recipe, from 0.
        step: u16,
        /// How many bytes are left out here.
        bytes: u64,
        /// How many lines are left out here.
        lines: u64,
    },
    /// A step ended.
    StepEnded {
        /// Its index in the recipe, from 0.
        step: u16,
        /// How it ended.
        end: StepEnd,
        /// How long it ran, in milliseconds.
        duration_ms: u64,
        /// Sentences about its report; bounded in number and length.
        #[serde(default)]
        warnings: Vec<String>,
    },
    /// A fetch step recorded which dependencies it chose. The object has been uploaded before.
    Lock {
        /// The lock file's hash.
        sha256: Sha256,
        /// The lock file's length in bytes.
        bytes: u64,
    },
    /// The line that [`Plan::answer`] asks for.
    Answer {
        /// At most [`crate::MAX_ANSWER_BYTES`] bytes.
        text: String,
    },
    /// The last event of an attempt. Objects named here have been uploaded before.
    Finished {
        /// A suite's cases.
        results: Option<Sha256>,
        /// A toolchain's archive.
        artifact: Option<PackedToolchain>,
        /// If there is one, the attempt says almost nothing about the change.
        infra_failure: Option<InfraFailure>,
    },
}

/// A toolchain that the worker has packed and uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedToolchain {
    /// The archive's hash.
    pub sha256: Sha256,
    /// The archive's length in bytes.
    pub bytes: u64,
}

/// How a step's process tree ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum StepEnd {
    /// The step's shell exited.
    Exit {
        /// Its exit code.
        code: i32,
    },
    /// A signal that the worker did not send ended the step's shell.
    Signal {
        /// Its number.
        signal: i32,
    },
    /// The worker stopped it at its time limit.
    TimedOut,
    /// The worker stopped it because it printed nothing for its silence limit.
    Silent,
    /// The worker stopped it because it printed ten times the log limit.
    LogLimit,
    /// The worker stopped it at its memory limit.
    OutOfMemory,
    /// The worker stopped it because it had too many processes.
    TooManyProcesses,
    /// The worker stopped it because its build used too much of the disk.
    DiskLimit,
    /// It exited 0, but what was installed cannot be packed as a toolchain. The end of its log says why.
    RefusedTree,
    /// It exited 0, but its declared report names no case.
    NoTests,
    /// It exited 0, but its report names failures or is not whole.
    BadReport {
        /// How many cases failed; 0 if the report names no failure, and is not whole.
        failed: u64,
    },
    /// The worker stopped it because the attempt was cancelled.
    Cancelled,
}

/// A failure of the worker or its machine: never the change's fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum InfraFailure {
    /// The source cannot be fetched or checked out.
    Checkout {
        /// A sentence for people.
        detail: String,
        /// The revision that its repository does not have, where the repository answered and said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missing: Option<String>,
    },
    /// The toolchain cannot be fetched or unpacked.
    Toolchain {
        /// A sentence for people.
        detail: String,
    },
    /// The sandbox cannot be set up.
    Sandbox {
        /// A sentence for people.
        detail: String,
    },
    /// The worker's disk is full.
    NoSpace {
        /// A sentence for people.
        detail: String,
    },
    /// Any other failure of the worker.
    Worker {
        /// A sentence for people.
        detail: String,
    },
    /// Nothing has failed: the owner needs the machine, and another worker is to run the build.
    HandedBack {
        /// A sentence for people.
        detail: String,
    },
}
