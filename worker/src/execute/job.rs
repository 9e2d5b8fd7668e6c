//! One build as its caller sees it: what to execute, what is reported while it runs, and what is left at its end.

use std::path::PathBuf;

use domain::results::{CaseList, Results};
use protocol::{Environment, Event, InfraFailure, Plan};

use super::archive::PackedTree;
use super::sandbox::Sandbox;
use super::workspace::WorkspaceInputs;

/// What is to be executed, and with what.
#[derive(Debug, Clone)]
pub struct ExecutionJob {
    pub plan: Plan,
    /// A folder for this build alone. The caller removes it.
    pub folder: PathBuf,
    pub inputs: WorkspaceInputs,
    pub sandbox: Sandbox,
    pub environment: Environment,
    pub cpus: u32,
    /// How much of the disk the build's folder may use.
    pub disk_bytes: u64,
}

/// What the master receives while the build runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutionEvent {
    Event(Event),
    /// 1 to [`protocol::MAX_LOG_BYTES`] bytes.
    Log {
        step: u16,
        bytes: Vec<u8>,
    },
}

/// What a build leaves. It is empty if the build was cancelled. After an infra failure it holds the results of the
/// steps before the failure.
#[derive(Debug, Default)]
pub struct ExecutionResult {
    /// The cases of a suite, or of a toolchain whose steps declare reports.
    pub results: Option<(CaseList, Results)>,
    /// The toolchain that was built, as a file in the build's folder.
    pub artifact: Option<PackedTree>,
    /// The lock that a fetch step wrote, as a file in the build's folder.
    pub lock: Option<PathBuf>,
    /// What the last step answered, if the plan asks for an answer.
    pub answer: Option<String>,
    pub infra_failure: Option<InfraFailure>,
}
