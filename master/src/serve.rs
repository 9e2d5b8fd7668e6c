//! The running master: everything it does for ever, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use axum::serve::ListenerExt;
use store::{Objects, OpenError, Store};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Trunk};
use crate::farm::{Farm, Nudges, now};
use crate::hub::Hub;
use crate::mirror::Mirror;
use crate::patrol::patrol;
use crate::{dispatch, poke, poll, post, schedule, search, sync, wire};

/// How long the tasks have to end after they were told to.
const DRAIN: Duration = Duration::from_secs(10);
/// Patrols look again this often even when nobody nudged them.
const ANYWAY: Duration = Duration::from_secs(5);

/// Why the master could not start; each has an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub enum CannotServe {
    #[error(
        "{address}: cannot listen here: {cause}; is another farm running, or change `listen` in farm.toml"
    )]
    Port { address: SocketAddr, cause: std::io::Error },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

pub async fn serve(config: Config, stop: CancellationToken) -> Result<(), CannotServe> {
    let store = Store::open(&config.data).await?;
    let address = config.listen;
    let listener = TcpListener::bind(address).await.map_err(|cause| CannotServe::Port { address, cause })?;
    let bound = listener.local_addr().context("asking for the bound address")?;
    poke::make_token(&config.data)?;
    store
        .write(|tx| Box::pin(async move { tx.all_workers_left(now() + dispatch::LEASE).await }))
        .await
        .context("closing the sessions of the last run")?;
    sync::sync(&store, &config).await?;

    let farm = Farm {
        objects: Objects::below(&config.data),
        nudges: Arc::new(Nudges::of(&config)),
        config: Arc::new(config),
        store,
        hub: Arc::new(Hub::default()),
        // A configuration is read once, at the start, and a bad one does not start.
        problems: tokio::sync::watch::channel(Vec::new()).1,
        stop,
    };
    let mut tasks = Tasks { set: JoinSet::new() };
    patrols(&farm, &mut tasks)?;
    tasks.start_fallible("web", serve_http(farm.clone(), listener));
    tracing::info!("{} listens on http://{bound}", farm.config.name);
    println!("{} listens on http://{bound}", farm.config.name);
    tasks.run(&farm.stop).await?;
    farm.store.close().await;
    Ok(())
}

fn patrols(farm: &Farm, tasks: &mut Tasks) -> Result<()> {
    // A poll says itself when the next one is due.
    const UNTIL_TOLD: Duration = Duration::from_secs(24 * 3600);
    for trunk in &farm.config.trunks {
        let mirror =
            Mirror::open(farm.config.data.join("git").join(format!("{}.git", trunk.name)), &trunk.git)?;
        let nudge = farm.nudges.poll.get(&trunk.name).cloned().unwrap_or_default();
        let (of, trunk) = (farm.clone(), trunk.clone());
        let tick = move || {
            let (farm, trunk, mirror) = (of.clone(), trunk.clone(), mirror.clone());
            async move { poll::poll_trunk(&farm, &trunk, &mirror).await.map(Some) }
        };
        tasks.start("poll", patrol("polling", UNTIL_TOLD, nudge, farm.stop.clone(), tick));
    }
    for project in &farm.config.projects {
        let folder = farm.config.data.join("git").join("projects").join(format!("{}.git", project.name));
        let mirror = Mirror::open(folder, &project.git)?;
        let period =
            farm.config.trunks.iter().find(|trunk| trunk.name == project.trunk).map_or(ANYWAY, period);
        let (of, project) = (farm.clone(), project.clone());
        let tick = move || {
            let (farm, project, mirror) = (of.clone(), project.clone(), mirror.clone());
            async move { poll::poll_project(&farm, &project, &mirror, period).await.map(Some) }
        };
        tasks.start("poll", patrol("polling", UNTIL_TOLD, Arc::default(), farm.stop.clone(), tick));
    }
    let (nudges, stop) = (&farm.nudges, &farm.stop);
    let of = farm.clone();
    let tick = move || {
        let farm = of.clone();
        async move { schedule::schedule(&farm).await.map(|()| None) }
    };
    tasks.start("schedule", patrol("scheduling", ANYWAY, nudges.schedule.clone(), stop.clone(), tick));
    let of = farm.clone();
    let tick = move || {
        let farm = of.clone();
        async move { search::search(&farm).await.map(|()| None) }
    };
    tasks.start("search", patrol("searching", ANYWAY, nudges.search.clone(), stop.clone(), tick));
    let of = farm.clone();
    let tick = move || {
        let farm = of.clone();
        async move { dispatch::dispatch(&farm).await }
    };
    tasks.start("dispatch", patrol("dispatching", ANYWAY, nudges.dispatch.clone(), stop.clone(), tick));
    let of = farm.clone();
    let tick = move || {
        let farm = of.clone();
        async move { post::post(&farm).await }
    };
    tasks.start("post", patrol("posting", Duration::from_secs(60), nudges.post.clone(), stop.clone(), tick));
    Ok(())
}

/// Projects move slower than their trunk is polled, and there are many of them.
fn period(trunk: &Trunk) -> Duration {
    trunk.poll * 5
}

async fn serve_http(farm: Farm, listener: TcpListener) -> Result<()> {
    let state = web::State::new(
        farm.store.clone(),
        farm.config.name.clone(),
        farm.config.url.clone(),
        farm.stop.clone(),
    )
    .with_problems(farm.problems.clone());
    let router = wire::router(farm.clone()).merge(web::router(state));
    // Small messages to workers must not wait for more to come.
    let listener = listener.tap_io(|socket| {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "setting TCP_NODELAY");
        }
    });
    let stop = farm.stop.clone();
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
        .context("serving HTTP")
}

/// Everything that runs for ever. The first to end names itself, the rest drain.
struct Tasks {
    set: JoinSet<(&'static str, Result<()>)>,
}

impl Tasks {
    fn start(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.start_fallible(name, async move {
            task.await;
            Ok(())
        });
    }

    fn start_fallible(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        self.set.spawn(async move { (name, task.await) });
    }

    async fn run(mut self, stop: &CancellationToken) -> Result<()> {
        let first = self.set.join_next().await;
        let asked = stop.is_cancelled();
        stop.cancel();
        let drained =
            tokio::time::timeout(DRAIN, async { while self.set.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!("some tasks did not end within {} s", DRAIN.as_secs());
        }
        match first {
            Some(Ok((_, Ok(())))) if asked => Ok(()),
            Some(Ok((name, Ok(())))) => Err(anyhow!("the task `{name}` ended by itself")),
            Some(Ok((name, Err(error)))) => Err(error.context(format!("the task `{name}`"))),
            Some(Err(error)) => Err(anyhow!(error).context("a task")),
            None => Ok(()),
        }
    }
}
