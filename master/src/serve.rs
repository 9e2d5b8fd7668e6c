//! The running master: the tasks that run until it stops, and how it stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use axum::serve::ListenerExt;
use domain::clock::LatestStamps;
use store::{ObjectStore, OpenError, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use web::FarmStatus;

use crate::config::{self, ConfigProblems, FilesStamp};
use crate::connection::barred;
use crate::connection::http;
use crate::connection::presence;
use crate::dispatch;
use crate::farm::background_task::{TaskSettings, run_background_task};
use crate::farm::log_threads::LogThreads;
use crate::farm::{Farm, now, poke_token};
use crate::notify::owners;
use crate::notify::post;
use crate::poll::remotes;
use crate::schedule;
use crate::search;
use crate::upkeep::health::{self, Health};
use crate::upkeep::prune;
use crate::upkeep::reload::Reload;
use crate::upkeep::sync;
use crate::upkeep::systemd;

/// How long the tasks may take to end after `stop`, and the store to close: the master exits within ten seconds.
const DRAIN: Duration = Duration::from_secs(7);
const CLOSE: Duration = Duration::from_secs(1);
/// Background tasks run this often even if nothing activates them.
const IDLE_PERIOD: Duration = Duration::from_secs(5);

/// Retention is counted in days; an operator who is short of disk changes `[retention]`, which makes pruning due at once.
const PRUNE_PERIOD: Duration = Duration::from_secs(3600);

/// Why the master cannot start; each reason has an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub enum CannotServe {
    #[error(
        "{address}: cannot listen here: {cause}; stop the program that listens here, or change `listen` in farm.toml"
    )]
    Port { address: SocketAddr, cause: std::io::Error },
    #[error(transparent)]
    Config(#[from] ConfigProblems),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Runs the farm of this configuration file until `stop`. It blocks on files only before it
/// serves, when nothing waits for the runtime.
pub async fn serve(file: PathBuf, stop: CancellationToken) -> Result<(), CannotServe> {
    // Taken before the files are read: what is written meanwhile is then read again.
    let read = FilesStamp::read(&file);
    let config = config::load(&file)?;
    let store = Store::open(&config.data).await?;
    let address = config.listen;
    let listener = TcpListener::bind(address).await.map_err(|cause| CannotServe::Port { address, cause })?;
    let bound = listener.local_addr().context("reading the bound address")?;
    poke_token::create(&config.data)?;
    let silence = config.leases.silence;
    store
        .write(move |tx| {
            Box::pin(async move {
                let latest = LatestStamps::at(now(), silence);
                tx.bound_stamps(&latest).await?;
                tx.mark_all_workers_left(latest.lease).await
            })
        })
        .await
        .context("closing the sessions of the last run")?;
    sync::sync(&store, &config).await?;

    let name = config.name.clone();
    let max_readers = usize::try_from(config.max_readers).expect("32 bits fit into an address");
    let (status, about_now) = watch::channel(FarmStatus::new(&name, &config.url, max_readers));
    let (configuration, configuration_now) = watch::channel(Vec::new());
    let objects = ObjectStore::below(&config.data);
    let (config, config_now) = watch::channel(Arc::new(config));
    let farm = Farm {
        config: config_now,
        store,
        objects,
        log_threads: LogThreads::start().context("starting the threads that write logs")?,
        connections: Arc::default(),
        activations: Arc::default(),
        deadlines: Arc::default(),
        stop,
        sessions: TaskTracker::new(),
    };
    let mut tasks = Tasks { set: JoinSet::new() };
    let health = Arc::new(Health { configuration: configuration_now, status, up_since: now() });
    start_background_tasks(&farm, health, &mut tasks);
    let reload = Reload { file, read, config, configuration };
    tasks.start_fallible("reload", reload.run(farm.clone()));
    tasks.start_fallible("web", serve_http(farm.clone(), about_now, listener));
    tracing::info!("{name} listens on http://{bound}");
    println!("{name} listens on http://{bound}");
    systemd::ready();
    tasks.run(&farm.stop, &farm.sessions).await?;
    // What was acknowledged is on disk, even if a reader still holds a snapshot.
    if tokio::time::timeout(CLOSE, farm.store.close()).await.is_err() {
        tracing::warn!("the store could not be closed within {} s", CLOSE.as_secs());
    }
    Ok(())
}

fn start_background_tasks(farm: &Farm, health: Arc<Health>, tasks: &mut Tasks) {
    tasks.start_fallible("poll", remotes::poll_all(farm.clone()));
    let activations = &farm.activations;
    let settings = farm.task_settings("schedule", IDLE_PERIOD, &activations.schedule);
    let tick = |farm: Farm| async move { schedule::schedule(&farm).await.map(|()| None) };
    tasks.start("schedule", run_background_task(settings, each(farm.clone(), tick)));

    let settings = farm.task_settings("search", IDLE_PERIOD, &activations.search);
    let tick = |farm: Farm| async move { search::search(&farm).await.map(|()| None) };
    tasks.start("search", run_background_task(settings, each(farm.clone(), tick)));

    let settings = farm.task_settings("dispatch", IDLE_PERIOD, &activations.dispatch);
    let tick = |farm: Farm| async move { dispatch::dispatch(&farm).await };
    tasks.start("dispatch", run_background_task(settings, each(farm.clone(), tick)));

    // Ten mails to slow servers, with each recipient tried alone, may take an hour.
    let settings = farm.task_settings("post", Duration::from_secs(60), &activations.post);
    let settings = TaskSettings { longest_tick: Duration::from_secs(3600), ..settings };
    let tick = |farm: Farm| async move { post::post(&farm).await };
    tasks.start("post", run_background_task(settings, each(farm.clone(), tick)));

    let settings = TaskSettings {
        longest_tick: PRUNE_PERIOD,
        ..farm.task_settings("prune", PRUNE_PERIOD, &activations.prune)
    };
    let tick = |farm: Farm| async move { prune::prune(&farm).await.map(|()| None) };
    tasks.start("prune", run_background_task(settings, each(farm.clone(), tick)));

    let settings = farm.task_settings("presence", presence::PERIOD, &Arc::default());
    let tick = |farm: Farm| async move { presence::record(&farm).await.map(|()| None) };
    tasks.start("presence", run_background_task(settings, each(farm.clone(), tick)));

    let settings = farm.task_settings("barred", barred::PERIOD, &activations.barred);
    let tick = |farm: Farm| async move { barred::enforce(&farm).await.map(|()| None) };
    tasks.start("barred", run_background_task(settings, each(farm.clone(), tick)));

    let settings = farm.task_settings("owners", owners::PERIOD, &Arc::default());
    let mut counted = Instant::now();
    let tick = move |farm: Farm| {
        let up = counted.elapsed();
        counted = Instant::now();
        async move {
            barred::expire_joins(&farm, now()).await?;
            owners::inform_owners(&farm, up).await.map(|()| None)
        }
    };
    tasks.start("owners", run_background_task(settings, each(farm.clone(), tick)));

    let settings = farm.task_settings("health", health::PERIOD, &activations.health);
    let tick = move |farm: Farm| {
        let health = health.clone();
        async move { health.check(&farm).await.map(|()| None) }
    };
    tasks.start("health", run_background_task(settings, each(farm.clone(), tick)));
}

/// A tick that gets the farm each time.
fn each<T>(farm: Farm, mut tick: impl FnMut(Farm) -> T) -> impl FnMut() -> T {
    move || tick(farm.clone())
}

async fn serve_http(farm: Farm, status: watch::Receiver<FarmStatus>, listener: TcpListener) -> Result<()> {
    let state = web::State { store: farm.store.clone(), status, stop: farm.stop.clone() };
    let router = http::router(farm.clone()).merge(web::router(state));
    // Small messages to workers must not wait for more.
    let listener = listener.tap_io(|socket| {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "setting TCP_NODELAY");
        }
    });
    let stop = farm.stop.clone();
    // Requests to join are bounded for each peer.
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
        .context("serving HTTP")
}

/// All tasks that run until the master stops. The first to end is named in the error, the rest drain.
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

    async fn run(mut self, stop: &CancellationToken, sessions: &TaskTracker) -> Result<()> {
        let first = self.set.join_next().await;
        let is_stopping = stop.is_cancelled();
        stop.cancel();
        systemd::stopping();
        let drained = tokio::time::timeout(DRAIN, async {
            while self.set.join_next().await.is_some() {}
            sessions.close();
            sessions.wait().await;
        });
        if drained.await.is_err() {
            tracing::warn!("some tasks did not end within {} s", DRAIN.as_secs());
        }
        match first {
            Some(Ok((_, Ok(())))) if is_stopping => Ok(()),
            Some(Ok((name, Ok(())))) => Err(anyhow!("the task `{name}` ended without being told to")),
            Some(Ok((name, Err(error)))) => Err(error.context(format!("the task `{name}`"))),
            Some(Err(error)) => Err(anyhow!(error).context("a task")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a worker reports in the last moment is recorded and acknowledged: the store stays open for it.
    #[tokio::test]
    async fn the_master_waits_for_a_session_that_still_commits() {
        let stop = CancellationToken::new();
        let sessions = TaskTracker::new();
        let mut tasks = Tasks { set: JoinSet::new() };
        tasks.start("task", stop.clone().cancelled_owned());
        let (commit, committed) = tokio::sync::oneshot::channel();
        let session = sessions.spawn(committed);
        let run = tasks.run(&stop, &sessions);
        tokio::pin!(run);
        assert!(futures_util::poll!(&mut run).is_pending());
        stop.cancel();
        for _ in 0..100 {
            tokio::task::yield_now().await;
            assert!(futures_util::poll!(&mut run).is_pending(), "ended while a session was open");
        }
        commit.send(()).unwrap();
        run.await.unwrap();
        assert!(session.is_finished());
    }
}
