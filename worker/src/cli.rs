//! The command line of `farm-worker`: its commands, its output and its exit codes.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, close_spools};
use crate::attempt::SharedResources;
use crate::caches::CacheStore;
use crate::config::{self, BadConfig, FarmUrl, WhenStopped, WorkerConfig};
use crate::execute::{IoUring, Sandbox};
use crate::folder::Folder;
use crate::join;
use crate::key::Key;
use crate::leftover;
use crate::machine::MachineReport;
use crate::objects::{ObjectClient, RetryLimits};
use crate::session::{Session, WorkerIdentity};
use crate::source::{Mirrors, SourceTrees, TreeMeans};
use crate::toolchains::ToolchainCache;
use crate::trash;

const EXIT_FAILED: u8 = 1;
/// The same as clap's own, for an invalid command line.
const EXIT_MISUSED: u8 = 2;
/// After this time we abandon threads that are stuck in a transfer.
const THREAD_SHUTDOWN_TIME: Duration = Duration::from_millis(500);

/// Lend this machine to a Trunkfarm: it builds and tests what the farm offers.
#[derive(Parser)]
#[command(name = "farm-worker", version)]
struct Cli {
    /// The worker's folder, with its key, its configuration and its builds
    /// [default: $FARM_WORKER_HOME, else trunkfarm-worker in $XDG_DATA_HOME or ~/.local/share]
    #[arg(long, global = true, value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask a farm to admit this machine
    Join {
        /// The farm's address, as its pages show it
        url: String,
        /// The name of this machine on the farm's pages [default: its host name]
        #[arg(long)]
        name: Option<String>,
    },
    /// Connect to the farm and build until Ctrl-C or SIGTERM
    Run {
        /// Run although root runs it. The farm's page of workers shows that
        #[arg(long)]
        as_root: bool,
    },
}

/// Why a command failed.
enum Failure {
    Misused(String),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Failed(error)
    }
}

impl From<BadConfig> for Failure {
    fn from(error: BadConfig) -> Failure {
        Failure::Misused(error.to_string())
    }
}

pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // A closed pipe changes nothing about the exit code.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(EXIT_MISUSED));
        }
    };
    log_to_stderr();
    match folder_of(cli.folder).and_then(|folder| match cli.command {
        Command::Join { url, name } => join_farm(&folder, url, name),
        Command::Run { as_root } => run_worker(&folder, as_root),
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Misused(text)) => {
            eprintln!("farm-worker: {text}");
            ExitCode::from(EXIT_MISUSED)
        }
        Err(Failure::Failed(e)) => {
            eprintln!("farm-worker: {e:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

fn folder_of(named: Option<PathBuf>) -> Result<Folder, Failure> {
    let root = named.or_else(|| std::env::var_os("FARM_WORKER_HOME").map(PathBuf::from));
    let root = root.or_else(|| default_folder(std::env::var_os("XDG_DATA_HOME"), std::env::var_os("HOME")));
    let root = root.ok_or_else(|| {
        Failure::Misused("$HOME is not set, so there is no default folder: name one with --folder DIR".into())
    })?;
    Ok(Folder::open(&root)?)
}

fn default_folder(data: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    // The XDG specification says to ignore a relative XDG_DATA_HOME.
    let data = data.map(PathBuf::from).filter(|path| path.is_absolute());
    let home = home.map(PathBuf::from).filter(|path| path.is_absolute());
    Some(data.or_else(|| home.map(|home| home.join(".local/share")))?.join("trunkfarm-worker"))
}

fn join_farm(folder: &Folder, url: String, name: Option<String>) -> Result<(), Failure> {
    let url = FarmUrl::try_from(url).map_err(Failure::Misused)?;
    let path = folder.configuration();
    let (config, is_new) = if path.exists() {
        let config = WorkerConfig::read(&path)?;
        if config.url != url || name.as_ref().is_some_and(|name| *name != config.name) {
            return Err(Failure::Misused(format!(
                "{} is already set up for the worker `{}` of {}: edit that file, or use another --folder to join another farm",
                path.display(),
                config.name,
                config.url
            )));
        }
        (config, false)
    } else {
        let name = name.unwrap_or_else(host_name);
        config::check_name(&name)
            .map_err(|e| Failure::Misused(format!("{e}; choose one with --name NAME")))?;
        (WorkerConfig::new(url, name), true)
    };
    if is_new {
        // Before we look for a sandbox: if there is none, this is the file in which the owner may turn it off.
        std::fs::write(&path, config.to_toml())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let key = Key::open_or_create(&folder.key())?;
    let sandbox = sandbox_for(&config, folder)?;
    let machine = MachineReport::collect(&sandbox, &config.offers);
    join::send_request(&config.url, &key, &config.name, machine.facts)?;
    println!("{}", join::instructions(&key));
    Ok(())
}

/// The first part of the host name only: the domain is private.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().split('.').next().unwrap_or_default().to_string()
}

fn sandbox_for(config: &WorkerConfig, folder: &Folder) -> Result<Sandbox, Failure> {
    let file = folder.configuration();
    let io_uring = if config.io_uring { IoUring::Allowed } else { IoUring::Denied };
    match config.sandbox {
        config::SandboxSetting::Bubblewrap => Sandbox::find(io_uring)
            .map_err(|why| Failure::Misused(format!("{} requires a sandbox, but {why}", file.display()))),
        config::SandboxSetting::None => Ok(Sandbox::None),
    }
}

/// A step that breaks out of its sandbox is the worker's user. That should not be root.
fn check_user(as_root: bool) -> Result<(), Failure> {
    if as_root || !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::Misused(
        "a worker should not run as root, since it runs code of strangers. Make a user for it, as root:\n\n    \
         useradd --system --home-dir /var/lib/trunkfarm-worker trunkfarm-worker\n    \
         install -d -m 0700 -o trunkfarm-worker -g trunkfarm-worker /var/lib/trunkfarm-worker\n    \
         runuser -u trunkfarm-worker -- farm-worker --folder /var/lib/trunkfarm-worker join URL\n    \
         runuser -u trunkfarm-worker -- farm-worker --folder /var/lib/trunkfarm-worker run\n\n\
         On a machine that exists for nothing else, `run --as-root` runs it as root all the same."
            .into(),
    ))
}

fn run_worker(folder: &Folder, as_root: bool) -> Result<(), Failure> {
    check_user(as_root)?;
    let config = WorkerConfig::read(&folder.configuration())?;
    let key = Key::open(&folder.key())?;
    let sandbox = sandbox_for(&config, folder)?;
    let _lock = folder.lock()?;
    trash::begin(folder.trash())?;
    leftover::kill_steps(&folder.work());
    folder.remove_old_workspaces();
    let held = close_spools(&folder.spool())?;
    let machine = MachineReport::collect(&sandbox, &config.offers);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the worker's threads")?;
    let worker = Worker { folder: folder.clone(), config, key, sandbox, machine, held };
    let done = runtime.block_on(worker.run());
    runtime.shutdown_timeout(THREAD_SHUTDOWN_TIME);
    Ok(done?)
}

/// All that a worker starts with.
struct Worker {
    folder: Folder,
    config: WorkerConfig,
    key: Key,
    sandbox: Sandbox,
    machine: MachineReport,
    /// Attempts that an earlier process left in the spool.
    held: Vec<(i64, u64)>,
}

impl Worker {
    async fn run(self) -> anyhow::Result<()> {
        let Worker { folder, config, key, sandbox, machine, held } = self;
        let Signals { stop, kill_builds } = listen(config.when_stopped)?;
        let (token, token_receiver) = watch::channel(None);
        let objects = ObjectClient::new(config.url.clone(), token_receiver, RetryLimits::DEFAULT);
        let toolchains =
            ToolchainCache::open(folder.toolchains(), config.cache.0, objects.clone(), kill_builds.clone())?;
        let identity = WorkerIdentity { key, facts: machine.facts.clone(), slots: config.slots };
        let means = TreeMeans::find(&sandbox, &folder.work());
        let mirrors = Mirrors::open(folder.mirrors());
        let sources = SourceTrees::open(mirrors, folder.sources(), config.sources.0, means)?;
        let caches = CacheStore::open(folder.caches(), config.declared_caches.0)?;
        let cpus = (machine.facts.cpus / config.slots).max(1);
        let resources = Arc::new(SharedResources {
            folder,
            sources,
            caches,
            toolchains,
            objects,
            machine,
            sandbox,
            cpus,
            build_disk: config.build_disk.0,
        });
        let seed = getrandom::u64().context("cannot get random bytes from the system")?;
        let session = Session::new(identity, held, seed);
        let url = config.url.ws(protocol::path::SESSION);
        Agent::new(session, resources, url, token).run(stop, kill_builds).await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// What SIGTERM and SIGINT request.
struct Signals {
    /// Begin no more builds.
    stop: CancellationToken,
    /// End the running builds, too: at once, or after a second signal, as the owner chose.
    kill_builds: CancellationToken,
}

fn listen(when_stopped: WhenStopped) -> anyhow::Result<Signals> {
    let mut term = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut signalled = async move || {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    let signals = Signals { stop: CancellationToken::new(), kill_builds: CancellationToken::new() };
    let (stop, kill_builds) = (signals.stop.clone(), signals.kill_builds.clone());
    tokio::spawn(async move {
        signalled().await;
        stop.cancel();
        if when_stopped == WhenStopped::Finish {
            tracing::info!(
                "stopping once the running builds are finished and reported; press Ctrl-C or send SIGTERM again to stop now"
            );
            signalled().await;
        }
        tracing::info!("stopping now: running builds are killed, and the farm gives them to other workers");
        kill_builds.cancel();
    });
    Ok(signals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_default_folder_follows_the_xdg_specification() {
        let at = |data: &str, home: &str| {
            default_folder((!data.is_empty()).then(|| data.into()), (!home.is_empty()).then(|| home.into()))
        };
        assert_eq!(at("/data", "/home/a"), Some("/data/trunkfarm-worker".into()));
        assert_eq!(at("", "/home/a"), Some("/home/a/.local/share/trunkfarm-worker".into()));
        assert_eq!(at("data", "/home/a"), Some("/home/a/.local/share/trunkfarm-worker".into()));
        assert_eq!(at("", ""), None);
    }
}
