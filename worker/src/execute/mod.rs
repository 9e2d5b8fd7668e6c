//! Executes one build: runs its steps one after another in the build's own environment, reports each event as it
//! happens, and returns the result. It knows nothing about masters, attempts and networks.

pub mod archive;
mod blocking;
mod build;
mod disk_watch;
mod job;
mod keyring;
mod log_limiter;
mod log_sender;
mod outputs;
mod overlay;
mod process;
mod process_watch;
mod report;
mod sandbox;
mod seccomp;
mod shared_memory;
mod step;
mod step_result;
#[cfg(test)]
mod tests;
mod variables;
mod workspace;

pub use build::execute;
pub use job::{ExecutionEvent, ExecutionJob, ExecutionResult};
pub use overlay::Overlay;
pub use sandbox::{Sandbox, StepUser};
pub use seccomp::IoUring;
pub use workspace::{MountedCache, SharedTree, SourceFolder, WorkspaceInputs};
