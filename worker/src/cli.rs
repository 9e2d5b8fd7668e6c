//! `farm-worker`: what the volunteer types, and what the shell hears back.

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

use crate::agent::{Agent, settle_spools};
use crate::attempt::SharedResources;
use crate::config::{self, BadConfig, FarmUrl, WhenStopped, WorkerConfig};
use crate::execute::Sandbox;
use crate::folder::Folder;
use crate::join;
use crate::key::Key;
use crate::leftover;
use crate::machine::MachineReport;
use crate::objects::{ObjectClient, RetryLimits};
use crate::session::{Session, WorkerIdentity};
use crate::source::Mirrors;
use crate::toolchains::ToolchainCache;

const FAILED: u8 = 1;
/// As clap's own, for a command line that cannot be read.
const MISUSED: u8 = 2;
/// Threads that are stuck in a transfer are left behind after this.
const LAST_THREADS: Duration = Duration::from_millis(500);

/// Builds what a farm offers, on this machine.
#[derive(Parser)]
#[command(name = "farm-worker", version)]
struct Cli {
    /// Where the worker keeps its key, its configuration and its builds
    /// [default: $FARM_WORKER_HOME, or trunkfarm-worker in $XDG_DATA_HOME]
    #[arg(long, global = true, value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask a farm for a place
    Join {
        /// The farm's address, as its pages show it
        url: String,
        /// What the farm shall call this machine [default: its host name]
        #[arg(long)]
        name: Option<String>,
    },
    /// Connect to the farm and build until told to stop
    Run,
}

/// Why a command ended without having done what it was asked.
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
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(MISUSED));
        }
    };
    log_to_stderr();
    match folder_of(cli.folder).and_then(|folder| match cli.command {
        Command::Join { url, name } => join_farm(&folder, url, name),
        Command::Run => run_worker(&folder),
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Misused(text)) => {
            eprintln!("farm-worker: {text}");
            ExitCode::from(MISUSED)
        }
        Err(Failure::Failed(e)) => {
            eprintln!("farm-worker: {e:#}");
            ExitCode::from(FAILED)
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
        Failure::Misused("there is no home folder to keep things in: name one with --folder DIR".into())
    })?;
    Ok(Folder::open(&root)?)
}

fn default_folder(data: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    // A relative XDG_DATA_HOME is to be ignored, by the XDG specification.
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
                "{} says that this worker is {} of {}: edit it there, or join from another --folder",
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
        // Before the sandbox is looked for: where there is none, this is the file in which its owner may say so.
        std::fs::write(&path, config.to_toml())
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let key = Key::open_or_make(&folder.key())?;
    let sandbox = sandbox_for(&config, folder)?;
    let machine = MachineReport::look(&sandbox, &config.offers);
    join::ask(&config.url, &key, &config.name, machine.facts)?;
    println!("{}", join::next_words(&key));
    Ok(())
}

/// The whole name is the machine's own affair.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().split('.').next().unwrap_or_default().to_string()
}

fn sandbox_for(config: &WorkerConfig, folder: &Folder) -> Result<Sandbox, Failure> {
    let file = folder.configuration();
    match config.sandbox {
        config::SandboxSetting::Bubblewrap => Sandbox::find()
            .map_err(|why| Failure::Misused(format!("{} asks for a sandbox, but {why}", file.display()))),
        config::SandboxSetting::None => Ok(Sandbox::None),
    }
}

fn run_worker(folder: &Folder) -> Result<(), Failure> {
    let config = WorkerConfig::read(&folder.configuration())?;
    let key = Key::open(&folder.key())?;
    let sandbox = sandbox_for(&config, folder)?;
    let _occupied = folder.occupy()?;
    leftover::end(&folder.work())?;
    folder.sweep()?;
    let held = settle_spools(&folder.spool())?;
    let machine = MachineReport::look(&sandbox, &config.offers);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the worker's threads")?;
    let done = runtime.block_on(work(folder.clone(), config, key, sandbox, machine, held));
    runtime.shutdown_timeout(LAST_THREADS);
    Ok(done?)
}

async fn work(
    folder: Folder,
    config: WorkerConfig,
    key: Key,
    sandbox: Sandbox,
    machine: MachineReport,
    held: Vec<(i64, u64)>,
) -> anyhow::Result<()> {
    let Signals { stop, hurry } = listen(config.when_stopped)?;
    let (token, hear_token) = watch::channel(None);
    let objects = ObjectClient::new(config.url.clone(), hear_token, RetryLimits::USUAL);
    let toolchains =
        ToolchainCache::open(folder.toolchains(), config.cache.0, objects.clone(), hurry.clone())?;
    let introduction = WorkerIdentity { key, facts: machine.facts.clone(), slots: config.slots };
    let mirrors = Mirrors::open(folder.mirrors());
    let cpus = (machine.facts.cpus / config.slots).max(1);
    let shop = Arc::new(SharedResources { folder, mirrors, toolchains, objects, machine, sandbox, cpus });
    let seed = getrandom::u64().context("asking the system for random bytes")?;
    let session = Session::new(introduction, held, seed);
    Agent::new(session, shop, config.url.ws(protocol::path::SESSION), token).run(stop, hurry).await;
    tracing::info!("stopped");
    Ok(())
}

/// What SIGTERM and SIGINT ask for.
struct Signals {
    /// Begin nothing more.
    stop: CancellationToken,
    /// And end what runs: at once, or when asked a second time, as the owner chose.
    hurry: CancellationToken,
}

fn listen(when_stopped: WhenStopped) -> anyhow::Result<Signals> {
    let mut term = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut asked = async move || {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    let signals = Signals { stop: CancellationToken::new(), hurry: CancellationToken::new() };
    let (stop, hurry) = (signals.stop.clone(), signals.hurry.clone());
    tokio::spawn(async move {
        asked().await;
        stop.cancel();
        if when_stopped == WhenStopped::Finish {
            tracing::info!("stopping when the running builds are finished and told; ask again to stop now");
            asked().await;
        }
        tracing::info!("stopping: running builds are killed, and built again elsewhere");
        hurry.cancel();
    });
    Ok(signals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn things_are_kept_where_the_desktop_standard_says() {
        let at = |data: &str, home: &str| {
            default_folder((!data.is_empty()).then(|| data.into()), (!home.is_empty()).then(|| home.into()))
        };
        assert_eq!(at("/data", "/home/a"), Some("/data/trunkfarm-worker".into()));
        assert_eq!(at("", "/home/a"), Some("/home/a/.local/share/trunkfarm-worker".into()));
        assert_eq!(at("data", "/home/a"), Some("/home/a/.local/share/trunkfarm-worker".into()));
        assert_eq!(at("", ""), None);
    }
}
