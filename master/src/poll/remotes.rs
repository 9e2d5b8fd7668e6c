//! Polls each repository that the configuration names. Each has a background task, which starts and ends with its entry in
//! the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::{Mutex, OnceCell, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ProjectConfig, TrunkConfig};
use crate::farm::Farm;
use crate::farm::background_task::{TaskSettings, run_background_task};
use crate::poll;
use crate::poll::mirror::Mirror;

/// Each poll returns when the next one is due; this is never reached.
const PERIOD: Duration = Duration::from_secs(24 * 3600);

/// A first fetch of a large repository takes half an hour at most, and reading the refs before and after it a minute.
const POLL_LIMIT: Duration = Duration::from_secs(40 * 60);

/// How many projects are polled at once. A farm may have thousands, and all are due when it starts. One that hangs is given up after
/// half a minute, so that all have their turn within [`POLL_LIMIT`].
const PROJECTS_AT_ONCE: usize = 16;

/// What is polled, with all that its poll depends on: when any of it changes, its background task is restarted.
#[derive(Clone, PartialEq)]
enum Remote {
    Trunk(TrunkConfig),
    /// The project, and how often it is polled.
    Project(ProjectConfig, Duration),
}

impl Remote {
    fn git(&self) -> &str {
        match self {
            Remote::Trunk(trunk) => &trunk.git,
            Remote::Project(project, _) => &project.git,
        }
    }
}

struct Polled {
    remote: Remote,
    stop: CancellationToken,
    /// Held by the background task for as long as it runs: its predecessor may be in the middle of a fetch.
    turn: Arc<Mutex<()>>,
    mirror: Arc<OnceCell<Mirror>>,
}

pub async fn poll_all(farm: Farm) -> Result<()> {
    let mut config = farm.config.clone();
    let mut polled: BTreeMap<PathBuf, Polled> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let places = Arc::new(Semaphore::new(PROJECTS_AT_ONCE));
    loop {
        let wanted = remotes(&config.borrow_and_update());
        for (folder, old) in &polled {
            if wanted.get(folder) != Some(&old.remote) {
                old.stop.cancel();
            }
        }
        for (folder, remote) in wanted {
            let old = polled.remove(&folder);
            let new = match old {
                Some(same) if !same.stop.is_cancelled() => same,
                old => {
                    let new = Polled::following(old, remote, &farm);
                    tasks.spawn(new.run_background_task(farm.clone(), folder.clone(), places.clone()));
                    new
                }
            };
            polled.insert(folder, new);
        }
        loop {
            tokio::select! {
                () = farm.stop.cancelled() => {
                    while tasks.join_next().await.is_some() {}
                    return Ok(());
                }
                changed = config.changed() => {
                    changed.context("waiting for a new configuration")?;
                    break;
                }
                Some(ended) = tasks.join_next() => ended.context("a poll")?,
            }
        }
    }
}

/// What is to be polled, by the folder of its mirror.
fn remotes(config: &Config) -> BTreeMap<PathBuf, Remote> {
    /// Projects change more slowly than their trunk, and there are many of them.
    const SLOWER: u32 = 5;
    let git = config.data.join("git");
    let mut remotes = BTreeMap::new();
    for trunk in &config.trunks {
        remotes.insert(git.join(format!("{}.git", trunk.name)), Remote::Trunk(trunk.clone()));
        let of_trunk = config.projects.iter().filter(|project| project.trunk == trunk.name);
        for project in of_trunk.filter(|project| project.follow.is_by_git()) {
            let folder = git.join("projects").join(format!("{}.git", project.name));
            remotes.insert(folder, Remote::Project(project.clone(), trunk.poll * SLOWER));
        }
    }
    remotes
}

impl Polled {
    fn following(old: Option<Polled>, remote: Remote, farm: &Farm) -> Polled {
        let stop = farm.stop.child_token();
        match old {
            Some(old) if old.remote.git() == remote.git() => Polled { remote, stop, ..old },
            Some(old) => Polled { remote, stop, turn: old.turn, mirror: Arc::default() },
            None => Polled { remote, stop, turn: Arc::default(), mirror: Arc::default() },
        }
    }

    fn run_background_task(
        &self,
        farm: Farm,
        folder: PathBuf,
        places: Arc<Semaphore>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (remote, stop, turn) = (self.remote.clone(), self.stop.clone(), self.turn.clone());
        let mirror = self.mirror.clone();
        let activation = match &remote {
            Remote::Trunk(trunk) => farm.activations.poll(&trunk.name),
            Remote::Project(..) => Arc::default(),
        };
        let settings = TaskSettings {
            longest_tick: POLL_LIMIT,
            stop,
            ..farm.task_settings("polling", PERIOD, &activation)
        };
        async move {
            let _turn = turn.lock().await;
            let tick = || {
                let (farm, remote, mirror) = (farm.clone(), remote.clone(), mirror.clone());
                let (open, places) = (folder.clone(), places.clone());
                async move {
                    let _place = match &remote {
                        Remote::Trunk(_) => None,
                        Remote::Project(..) => Some(places.acquire().await?),
                    };
                    tick(&farm, &remote, &mirror, open).await.map(Some)
                }
            };
            run_background_task(settings, tick).await;
        }
    }
}

async fn tick(farm: &Farm, remote: &Remote, mirror: &OnceCell<Mirror>, folder: PathBuf) -> Result<Duration> {
    let opened = mirror
        .get_or_try_init(async || match remote {
            Remote::Trunk(_) => Mirror::open(folder, remote.git()),
            // Its refs are all that is read of it.
            Remote::Project(..) => Ok(Mirror::without_objects(folder, remote.git())),
        })
        .await;
    match remote {
        Remote::Trunk(trunk) => poll::poll_trunk(farm, trunk, opened).await,
        Remote::Project(project, period) => poll::poll_project(farm, project, opened, *period).await,
    }
}
