//! Puts a changed configuration into force while the farm runs. An invalid one changes only what the pages show.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{self, Config, ConfigProblems, FilesStamp};
use crate::farm::Farm;
use crate::upkeep::sync::sync;
use crate::upkeep::systemd;

/// How often the files are checked. A file that is being written is read once it has not changed for this long.
const PERIOD: Duration = Duration::from_secs(1);
/// How many problems pages show; `farm-master check` shows all of them.
const MAX_SHOWN: usize = 5;

pub struct Reload {
    pub file: PathBuf,
    /// What the configuration in force was read from.
    pub read: FilesStamp,
    pub config: watch::Sender<Arc<Config>>,
    /// What pages show of its problems.
    pub configuration: watch::Sender<Vec<String>>,
}

impl Reload {
    /// Checks the files until the farm stops, and at once on SIGHUP.
    pub async fn run(mut self, farm: Farm) -> Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
        let mut last = self.read.clone();
        loop {
            let is_forced = tokio::select! {
                () = farm.stop.cancelled() => return Ok(()),
                _ = hangup.recv() => true,
                () = tokio::time::sleep(PERIOD) => false,
            };
            let now = stamp(&self.file).await?;
            let has_settled = now == last && now != self.read;
            last = now;
            if is_forced || has_settled {
                systemd::reloading();
                self.reload(&farm, last.clone()).await?;
                systemd::ready();
            }
        }
    }

    async fn reload(&mut self, farm: &Farm, from: FilesStamp) -> Result<()> {
        let file = self.file.clone();
        let loaded = tokio::task::spawn_blocking(move || config::load(&file)).await?;
        let problems = match loaded {
            Err(problems) => refused(&problems),
            Ok(new) => match self.apply(farm, new).await {
                Ok(problems) => problems,
                Err(error) => {
                    // The files are still valid, and the next check tries again.
                    tracing::error!("cannot put the new configuration into force: {error:#}");
                    return Ok(());
                }
            },
        };
        self.read = from;
        self.configuration.send_replace(problems);
        farm.activations.health.notify_one();
        Ok(())
    }

    /// Puts a valid configuration into force. Returns what needs a restart.
    async fn apply(&self, farm: &Farm, new: Config) -> Result<Vec<String>> {
        let old = farm.config();
        let deferred = needs_restart(&self.file, &old, &new);
        let new = Config { listen: old.listen, data: old.data.clone(), ..new };
        if new != *old {
            sync(&farm.store, &new).await?;
            self.config.send_replace(Arc::new(new));
            farm.activations.all();
        }
        tracing::info!("the configuration was reloaded");
        deferred.iter().for_each(|problem| tracing::warn!("{problem}"));
        Ok(deferred)
    }
}

async fn stamp(file: &Path) -> Result<FilesStamp> {
    let file = file.to_path_buf();
    tokio::task::spawn_blocking(move || FilesStamp::read(&file))
        .await
        .context("checking the files of the configuration")
}

fn refused(problems: &ConfigProblems) -> Vec<String> {
    problems.0.iter().for_each(|problem| tracing::error!("configuration rejected: {problem}"));
    let mut shown: Vec<String> = problems
        .0
        .iter()
        .take(MAX_SHOWN)
        .map(|problem| {
            format!("The configuration is rejected, and the previous one stays in force: {problem}")
        })
        .collect();
    match problems.0.len().saturating_sub(MAX_SHOWN) {
        0 => {}
        more => shown.push(format!(
            "The configuration has {more} more problems; `farm-master check` shows all of them."
        )),
    }
    shown
}

/// What is opened only when the master starts: its socket and its data folder.
fn needs_restart(file: &Path, old: &Config, new: &Config) -> Vec<String> {
    let mut deferred = Vec::new();
    let file = file.display();
    if old.listen != new.listen {
        let (old, new) = (old.listen, new.listen);
        deferred.push(format!(
            "{file}: farm.listen: {new} needs a restart; until then the farm listens on {old}"
        ));
    }
    if old.data != new.data {
        let (old, new) = (old.data.display(), new.data.display());
        deferred.push(format!(
            "{file}: farm.data: {new} needs a restart; until then the farm's data stay in {old}"
        ));
    }
    deferred
}
