//! What crosses the wire between the master and a worker: words, messages and bounds.
//!
//! This crate holds no rule and does no I/O, so that a worker in another language needs only `docs/protocol.md`.

#![warn(missing_docs)]

mod frame;
mod message;
mod plan;
mod terms;
mod words;

pub use frame::{BadFrame, LogFrame, MAX_LOG_BYTES, MAX_MESSAGE_BYTES, decode, encode};
pub use message::{
    Event, FromMaster, FromWorker, HeldAttempt, InfraFailure, Join, PackedToolchain, Resume, ResumeAction,
    SignedRequest, StepEnd,
};
pub use plan::{
    Checkout, DeclaredCache, Environment, FetchProgress, Limits, LockFile, NeedSource, Plan, Recipe,
    RecipeStep, ReportPatterns, Source, ToolchainFile, WorkerFacts, prefix,
};
pub use terms::{Choice, WorkerTerms};
pub use words::{BadSha256, ReportFormat, Sha256, StepKind, Verdict};

/// The version of this protocol. The master refuses a worker that speaks another one, and closes its connection. It grows with
/// whatever a worker must not overlook: one of version 1 ignores the arguments of a variant, and so builds another thing.
pub const VERSION: u32 = 2;

/// How far the clocks of a worker and of the master may differ for a [`SignedRequest`], in milliseconds.
pub const MAX_CLOCK_DIFFERENCE_MS: u64 = 10 * 60 * 1000;

/// Whether a worker may have this name: it appears in pages, mails and paths.
pub fn is_worker_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        && !name.starts_with(['.', '-'])
}

/// What [`is_worker_name`] expects, for error messages.
pub const WORKER_NAME: &str = "1 to 64 of the characters A-Z a-z 0-9 - . _, and no `.` or `-` at the start";

/// The longest lock file that the master stores, in bytes.
pub const MAX_LOCK_BYTES: u64 = 1 << 20;
/// The longest text of an [`Event::Answer`], in bytes.
pub const MAX_ANSWER_BYTES: usize = 200;

/// Where a worker's WebSocket and its HTTP endpoints are, below the farm's URL.
pub mod path {
    /// The WebSocket.
    pub const SESSION: &str = "/worker/v1/session";
    /// `POST` of a [`crate::Join`]: asks the operator to admit this key.
    pub const JOIN: &str = "/worker/v1/join";
    /// `POST` of a [`crate::SignedRequest`] with a new key: asks the operator to take it in place of the old one.
    pub const REKEY: &str = "/worker/v1/rekey";
    /// `POST` of a [`crate::SignedRequest`]: the farm forgets this machine.
    pub const LEAVE: &str = "/worker/v1/leave";
    /// `POST` of [`crate::WorkerFacts`]: the [`crate::Plan`] of the newest change's toolchain, for a rehearsal.
    pub const REHEARSAL: &str = "/worker/v1/rehearsal";
    /// `HEAD`, `GET` with `Range`, and `PUT ?from=OFFSET` of `KIND/SHA256`, with the session's token as bearer.
    /// Kinds: `artifact`, `results`, `cases`, `lock`.
    pub const OBJECT: &str = "/worker/v1/object";
}
