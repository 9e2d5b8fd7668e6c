//! `rehearse`: builds the newest change once, as a worker would, and sends nothing.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use protocol::StepEnd;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::prepare::{authorities_of, limit_to, sandbox_for};
use crate::activity::{ActivityBoard, detail_of, end_words};
use crate::attempt::{self, SharedResources};
use crate::caches::CacheStore;
use crate::config::WorkerConfig;
use crate::folder::Folder;
use crate::join::FarmClient;
use crate::leftover;
use crate::machine::MachineReport;
use crate::objects::{ObjectClient, RetryLimits};
use crate::source::{Mirrors, SourceTrees, TreeMeans};
use crate::toolchains::ToolchainCache;
use crate::trash;

pub fn rehearse(folder: &Folder) -> Result<(), Failure> {
    let config = WorkerConfig::read(&folder.configuration())?;
    let sandbox = sandbox_for(&config, folder)?;
    let _lock = folder.lock()?;
    limit_to(&config);
    trash::begin(folder.trash())?;
    leftover::kill_steps(&folder.work());
    folder.remove_old_workspaces();
    let machine = MachineReport::collect(&sandbox, &config.offers);
    let authorities = authorities_of(&config)?;
    let plan = FarmClient::new(&config.url, &authorities).rehearsal(&machine.facts)?;
    println!("rehearsing {} at {}", plan.builder, plan.change.chars().take(10).collect::<String>());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        // A session that is never open: nothing can be sent through it.
        let (_token, token) = watch::channel(None);
        let objects = ObjectClient::new(config.url.clone(), authorities, token, RetryLimits::DEFAULT);
        let toolchains =
            ToolchainCache::open(folder.toolchains(), config.cache.0, objects.clone(), stop.clone())?;
        let means = TreeMeans::find(&sandbox, &folder.work());
        let sources =
            SourceTrees::open(Mirrors::open(folder.mirrors()), folder.sources(), config.sources.0, means)?;
        let caches = CacheStore::open(folder.caches(), config.declared_caches.0)?;
        let activity = Arc::new(ActivityBoard::new(config.url.clone(), &config.name, 1));
        activity.begin(0, 0, &plan);
        let cpus = config.cpus.unwrap_or(machine.facts.cpus).max(1);
        let resources = SharedResources {
            folder: folder.clone(),
            sources,
            caches,
            toolchains,
            objects,
            machine,
            sandbox,
            activity: Arc::clone(&activity),
            cpus,
            build_disk: config.build_disk.0,
        };
        let built = attempt::rehearse(Arc::new(resources), plan, stop).await;
        let result =
            built.map_err(|failure| anyhow!("this machine could not build it: {}", detail_of(&failure)))?;
        if let Some(failure) = result.infra_failure {
            return Err(anyhow!("this machine could not build it: {}", detail_of(&failure)));
        }
        report(&activity)
    })?;
    Ok(())
}

/// Prints how each step ended, and whether this machine can build the change.
fn report(activity: &ActivityBoard) -> anyhow::Result<()> {
    let status = activity.status();
    let steps = status.builds.first().map(|build| build.steps.as_slice()).unwrap_or_default();
    let good = end_words(&StepEnd::Exit { code: 0 });
    for step in steps {
        println!("{:<12} {}", step.name, step.end.as_deref().unwrap_or("?"));
    }
    match steps.iter().find(|step| step.end.as_deref() != Some(&good)) {
        None => {
            println!("This machine can build it. Nothing was sent.");
            Ok(())
        }
        Some(step) => Err(anyhow!(
            "step {} failed here ({}). If other workers build this change, this machine lacks something: read its output above",
            step.name,
            step.end.as_deref().unwrap_or("it did not end")
        )),
    }
}
