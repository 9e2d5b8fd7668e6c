//! `rehearse`: builds the newest change once, as a worker would, and sends nothing.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use protocol::StepEnd;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::prepare::{authorities_of, check_user, clear, limit_to, resources, sandbox_for};
use crate::activity::{ActivityBoard, detail_of, end_words};
use crate::attempt;
use crate::config::WorkerConfig;
use crate::folder::Folder;
use crate::join::FarmClient;
use crate::machine::MachineReport;
use crate::objects::{ObjectClient, RetryLimits};

pub fn rehearse(folder: &Folder, as_root: bool) -> Result<(), Failure> {
    check_user(as_root)?;
    let config = WorkerConfig::read(&folder.configuration())?;
    let sandbox = sandbox_for(&config, folder)?;
    let _lock = folder.lock()?;
    limit_to(&config);
    clear(folder)?;
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
        let resources = resources((folder, &config), (machine, sandbox), objects, stop.clone(), 1)?;
        let activity = Arc::clone(&resources.activity);
        activity.begin(0, 0, &plan);
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
