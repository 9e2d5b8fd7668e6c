//! What a command needs before it builds or talks to the farm, as `worker.toml` says.

use super::failure::Failure;
use crate::config::{SandboxSetting, WorkerConfig};
use crate::execute::{IoUring, Sandbox};
use crate::folder::Folder;
use crate::tls::TrustedAuthorities;

pub fn authorities_of(config: &WorkerConfig) -> Result<TrustedAuthorities, Failure> {
    TrustedAuthorities::load(config.ca.as_deref()).map_err(|error| Failure::Misused(format!("{error:#}")))
}

pub fn sandbox_for(config: &WorkerConfig, folder: &Folder) -> Result<Sandbox, Failure> {
    let file = folder.configuration();
    let io_uring = if config.io_uring { IoUring::Allowed } else { IoUring::Denied };
    match config.sandbox {
        SandboxSetting::Bubblewrap => Sandbox::find(io_uring)
            .map_err(|why| Failure::Misused(format!("{} requires a sandbox, but {why}", file.display()))),
        SandboxSetting::None => Ok(Sandbox::None),
    }
}

/// The owner's limits that hold for this process and for all that it starts. Called before there are threads, which inherit
/// them. What cannot be had is said, and no reason not to work.
pub fn limit_to(config: &WorkerConfig) {
    let own = std::process::id().to_string();
    let nice = std::process::Command::new("renice")
        .args(["-n", &config.nice.to_string(), "-p", &own])
        .stdin(std::process::Stdio::null())
        .output();
    // A priority that is lower already cannot be raised.
    if !nice.is_ok_and(|output| output.status.success()) {
        tracing::warn!("cannot set the priority of builds to nice = {}", config.nice);
    }
    if let Some(cpus) = config.cpus {
        use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
        use nix::unistd::Pid;
        let limited = sched_getaffinity(Pid::from_raw(0)).and_then(|all| {
            let allowed = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap_or(false));
            let mut some = CpuSet::new();
            // The last ones: the first is the busiest on most machines.
            let allowed: Vec<usize> = allowed.collect();
            for cpu in allowed.iter().rev().take(usize::try_from(cpus).unwrap_or(usize::MAX)) {
                some.set(*cpu)?;
            }
            sched_setaffinity(Pid::from_raw(0), &some)
        });
        if let Err(e) = limited {
            tracing::warn!("cannot limit builds to {cpus} CPUs: {e}");
        }
    }
}
