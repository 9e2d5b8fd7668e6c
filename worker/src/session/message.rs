//! What happens to a session, and what it wants done.

use std::time::Duration;

use protocol::{FetchProgress, FromMaster, FromWorker, Plan, Sha256, WorkerTerms};

use crate::key::Key;

pub enum SessionInput {
    /// A connection is open; these toolchains are in the cache.
    Opened {
        artifacts: Vec<Sha256>,
    },
    Received(Box<FromMaster>),
    /// The master gave a sign of life that is not a message.
    Alive,
    /// The connection has ended, or could not be opened.
    Disconnected(String),
    /// [`super::Session::wake_at`] has come.
    Tick,
    /// A record of an attempt is in its spool.
    RecordWritten {
        attempt: i64,
        sequence: u64,
        more: MoreToReport,
    },
    /// How far an attempt has fetched what it needs. It may be lost.
    Progress {
        attempt: i64,
        progress: FetchProgress,
    },
    /// The spool of an attempt cannot be read.
    SpoolUnreadable {
        attempt: i64,
        detail: String,
    },
    Owner(OwnerInput),
    /// Give the running builds to other workers, for this reason: the owner needs the machine.
    HandBack(String),
    /// Take no more builds, and report that to the master.
    Finish,
    /// Take no more builds, and stop the running ones.
    Stop,
}

/// What the owner decides, from now on.
pub enum OwnerInput {
    /// The machine must not work now, or may work again.
    Pause(Option<PauseNotice>),
    /// What is allowed.
    Terms(WorkerTerms),
    /// How many builds may run at once.
    Slots(u32),
    /// A key that the operator has perhaps approved in place of the one in use.
    NextKey(Key),
}

/// Why a worker is paused, as the farm is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseNotice {
    pub reason: String,
    /// In milliseconds since 1970, if it is known.
    pub until_ms: Option<i64>,
}

/// Whether more records of an attempt follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoreToReport {
    Yes,
    No,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SessionOutput {
    /// Drop the connection if there is one, and open a new one after this time.
    Dial(Duration),
    /// The master admits this worker. The token is for HTTP, and valid until the connection ends.
    Admitted {
        /// The worker's name on the farm.
        name: String,
        token: String,
    },
    Begin {
        /// Its number on the farm's pages.
        build: i64,
        attempt: i64,
        plan: Box<Plan>,
    },
    Stop {
        attempt: i64,
        reason: String,
    },
    /// Stop it as well; nothing has failed.
    HandBack {
        attempt: i64,
        reason: String,
    },
    /// The master takes the next key, so it is the only one from now on.
    KeyChanged,
    /// Remove the attempt's spool.
    Forget {
        attempt: i64,
    },
    /// For the volunteer, in the worker's log.
    Log(String),
}

/// What may be sent next.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    Message(Box<FromWorker>),
    /// This record of a spool. Report its size to [`super::Session::record_sent`].
    Record {
        attempt: i64,
        sequence: u64,
    },
}
