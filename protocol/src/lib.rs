//! What crosses the wire between the master and a worker: words, messages and bounds.
//! It holds no rule and does no I/O, so that a worker in another language needs only `docs/protocol.md`.

mod frame;
mod message;
mod plan;
mod words;

pub use frame::{BadFrame, LogFrame, MAX_LOG_BYTES, MAX_MESSAGE_BYTES, decode, encode};
pub use message::{
    Event, FromMaster, FromWorker, HeldAttempt, InfraFailure, Join, PackedToolchain, Resume, ResumeAction,
    StepEnd,
};
pub use plan::{
    Environment, Limits, LockFile, NeedSource, Plan, Recipe, RecipeStep, Source, ToolchainFile, WorkerFacts,
    prefix,
};
pub use words::{BadSha256, ReportFormat, Sha256, StepKind, Verdict};

/// The version of this conversation; a worker that speaks another is told so and closed.
pub const VERSION: u32 = 1;

/// The longest lock that is kept, and the longest answer.
pub const MAX_LOCK_BYTES: u64 = 1 << 20;
pub const MAX_ANSWER_BYTES: usize = 200;

/// Where a worker's WebSocket and its HTTP calls live, below the farm's URL.
pub mod path {
    /// The WebSocket.
    pub const SESSION: &str = "/worker/v1/session";
    /// `POST` of a [`crate::Join`]: asks the operator to let this key in.
    pub const JOIN: &str = "/worker/v1/join";
    /// `HEAD`, `GET` with `Range`, and `PUT ?from=OFFSET` of `KIND/SHA256`, with the session's token as bearer.
    /// Kinds: `artifact`, `results`, `cases`, `lock`.
    pub const OBJECT: &str = "/worker/v1/object";
}
