//! Takes a changed configuration into force while the farm runs. A bad one changes nothing but what the pages say.

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

/// How often the files are looked at. A file that is being written is not read before it stays as it is for so long.
const LOOK: Duration = Duration::from_secs(1);
/// Problems that pages show; `farm-master check` shows them all.
const SHOWN: usize = 5;

pub struct Reload {
    pub file: PathBuf,
    /// What the configuration in force was read from.
    pub read: FilesStamp,
    pub config: watch::Sender<Arc<Config>>,
    /// What pages say of it.
    pub configuration: watch::Sender<Vec<String>>,
}

impl Reload {
    /// Looks at the files until the farm stops, and at once on SIGHUP.
    pub async fn keep(mut self, farm: Farm) -> Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
        let mut last = self.read.clone();
        loop {
            let asked = tokio::select! {
                () = farm.stop.cancelled() => return Ok(()),
                _ = hangup.recv() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let now = stamp(&self.file).await?;
            let has_settled = now == last && now != self.read;
            last = now;
            if asked || has_settled {
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
            Ok(new) => match self.take(farm, new).await {
                Ok(problems) => problems,
                Err(error) => {
                    // The files are as good as before; the next look tries again.
                    tracing::error!("taking over the configuration: {error:#}");
                    return Ok(());
                }
            },
        };
        self.read = from;
        self.configuration.send_replace(problems);
        farm.activations.health.notify_one();
        Ok(())
    }

    /// Brings a good configuration into force; says what of it cannot be while the master runs.
    async fn take(&self, farm: &Farm, new: Config) -> Result<Vec<String>> {
        let old = farm.config();
        let late = needs_restart(&self.file, &old, &new);
        let new = Config { listen: old.listen, data: old.data.clone(), ..new };
        if new != *old {
            sync(&farm.store, &new).await?;
            self.config.send_replace(Arc::new(new));
            farm.activations.all();
        }
        tracing::info!("the configuration is read anew");
        late.iter().for_each(|problem| tracing::warn!("{problem}"));
        Ok(late)
    }
}

async fn stamp(file: &Path) -> Result<FilesStamp> {
    let file = file.to_path_buf();
    tokio::task::spawn_blocking(move || FilesStamp::of(&file)).await.context("looking at the configuration")
}

fn refused(problems: &ConfigProblems) -> Vec<String> {
    problems.0.iter().for_each(|problem| tracing::error!("configuration rejected: {problem}"));
    let mut shown: Vec<String> = problems
        .0
        .iter()
        .take(SHOWN)
        .map(|problem| {
            format!("The configuration is rejected, and the farm goes on with the one it had: {problem}")
        })
        .collect();
    match problems.0.len().saturating_sub(SHOWN) {
        0 => {}
        more => shown.push(format!(
            "{more} more are wrong with the configuration; `farm-master check` says them all."
        )),
    }
    shown
}

/// A socket and a folder are opened once.
fn needs_restart(file: &Path, old: &Config, new: &Config) -> Vec<String> {
    let mut late = Vec::new();
    let file = file.display();
    if old.listen != new.listen {
        let (old, new) = (old.listen, new.listen);
        late.push(format!(
            "{file}: farm.listen: {new} needs a restart; until then the farm listens on {old}"
        ));
    }
    if old.data != new.data {
        let (old, new) = (old.data.display(), new.data.display());
        late.push(format!(
            "{file}: farm.data: {new} needs a restart; until then the farm's data are in {old}"
        ));
    }
    late
}
