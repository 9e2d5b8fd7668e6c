//! What a command needs before it builds or talks to the farm, as `worker.toml` says.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use crate::activity::ActivityBoard;
use crate::attempt::SharedResources;
use crate::caches::CacheStore;
use crate::config::{SandboxSetting, WorkerConfig};
use crate::execute::{IoUring, Sandbox};
use crate::folder::Folder;
use crate::leftover;
use crate::machine::MachineReport;
use crate::objects::ObjectClient;
use crate::source::{Mirrors, SourceTrees, TreeMeans};
use crate::tls::TrustedAuthorities;
use crate::toolchains::ToolchainCache;
use crate::trash;

/// A step that breaks out of its sandbox is the worker's user. That should not be root.
pub fn check_user(as_root: bool) -> Result<(), Failure> {
    if as_root || !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::Misused(
        "a worker should not run as root, since it runs code of strangers. Make a user for it, as root:\n\n    \
         useradd --system --home-dir /var/lib/trunkfarm-worker trunkfarm-worker\n    \
         install -d -m 0700 -o trunkfarm-worker -g trunkfarm-worker /var/lib/trunkfarm-worker\n    \
         runuser -u trunkfarm-worker -- farm-worker --folder /var/lib/trunkfarm-worker join URL\n    \
         runuser -u trunkfarm-worker -- farm-worker --folder /var/lib/trunkfarm-worker run\n\n\
         On a machine that exists for nothing else, `--as-root` runs it as root all the same."
            .into(),
    ))
}

/// Ends and removes what an earlier process has left. The folder is locked.
pub fn clear(folder: &Folder) -> anyhow::Result<()> {
    trash::begin(folder.trash())?;
    leftover::kill_steps(&folder.work());
    folder.remove_old_workspaces();
    Ok(())
}

/// Opens what builds share, for so many at once.
pub fn resources(
    (folder, config): (&Folder, &WorkerConfig),
    (machine, sandbox): (MachineReport, Sandbox),
    objects: ObjectClient,
    stop: CancellationToken,
    at_once: u32,
) -> anyhow::Result<SharedResources> {
    let means = TreeMeans::find(&sandbox, &folder.work());
    let mirrors = Mirrors::open(folder.mirrors());
    let cpus = config.cpus.unwrap_or(machine.facts.cpus).min(machine.facts.cpus);
    Ok(SharedResources {
        sources: SourceTrees::open(mirrors, folder.sources(), config.sources.0, means)?,
        caches: CacheStore::open(folder.caches(), config.declared_caches.0)?,
        toolchains: ToolchainCache::open(folder.toolchains(), config.cache.0, objects.clone(), stop)?,
        activity: Arc::new(ActivityBoard::new(config.url.clone(), &config.name, at_once)),
        folder: folder.clone(),
        objects,
        machine,
        sandbox,
        cpus: (cpus / at_once).max(1),
        build_disk: config.build_disk.0,
    })
}

pub fn authorities_of(config: &WorkerConfig) -> Result<TrustedAuthorities, Failure> {
    TrustedAuthorities::load(config.ca.as_deref()).map_err(|error| Failure::Misused(format!("{error:#}")))
}

pub fn sandbox_for(config: &WorkerConfig, folder: &Folder) -> Result<Sandbox, Failure> {
    let file = folder.configuration();
    let io_uring = if config.io_uring { IoUring::Allowed } else { IoUring::Denied };
    match config.sandbox {
        SandboxSetting::Bubblewrap => Sandbox::find(io_uring)
            .map_err(|why| {
            Failure::Misused(format!(
                "{why}. On a machine that exists for nothing else, `join --no-sandbox`, or sandbox = \"none\" in {}, does without",
                file.display()
            ))
        }),
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
