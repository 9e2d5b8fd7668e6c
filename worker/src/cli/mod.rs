//! The command line of `farm-worker`: its commands, its output and its exit codes.

mod doctor;
mod failure;
mod leave;
mod prepare;
mod rehearse;
mod service;
mod status;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use self::failure::Failure;
use self::prepare::{authorities_of, check_user, clear, limit_to, resources, sandbox_for};
use crate::agent::{Agent, close_spools};
use crate::config::{self, FarmUrl, SandboxSetting, WhenStopped, WorkerConfig};
use crate::control::Control;
use crate::execute::Sandbox;
use crate::folder::Folder;
use crate::join::{self, FarmClient};
use crate::key::Key;
use crate::link::Endpoint;
use crate::machine::MachineReport;
use crate::objects::{ObjectClient, RetryLimits};
use crate::owner::OwnerWatch;
use crate::session::{Session, WorkerIdentity};
use crate::tls::TrustedAuthorities;

const EXIT_FAILED: u8 = 1;
/// The same as clap's own, for an invalid command line.
const EXIT_MISUSED: u8 = 2;
/// After this time we abandon threads that are stuck in a transfer.
const THREAD_SHUTDOWN_TIME: Duration = Duration::from_millis(500);

const EXIT_CODES: &str = "Exit codes: 0, done; 1, it failed, or no worker runs (status); 2, the command line or worker.toml is \
    wrong, or there is no sandbox.";

/// Lend this machine to a Trunkfarm: it builds and tests what the farm offers.
#[derive(Parser)]
#[command(name = "farm-worker", version, after_help = EXIT_CODES)]
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
    #[command(after_help = "Example:\n  farm-worker join https://farm.example.org --name attic\n\n\
        It prints a code, which the farm's operator approves. A join that fails leaves nothing behind.")]
    Join {
        /// The farm's address, as its pages show it
        url: String,
        /// The name of this machine on the farm's pages [default: its host name]
        #[arg(long)]
        name: Option<String>,
        /// A PEM file of authorities that may have issued the farm's certificate, beside those that the system trusts
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// Let builds read and change whatever this user may: for a machine without bubblewrap that exists for nothing else
        #[arg(long)]
        no_sandbox: bool,
    },
    /// Connect to the farm and build until Ctrl-C or SIGTERM
    Run {
        /// Run although root runs it. The farm's page of workers shows that
        #[arg(long)]
        as_root: bool,
    },
    /// Show what the running worker does: its builds, their steps, and why it does nothing
    #[command(after_help = "Examples:\n  farm-worker status\n  farm-worker status --json | jq .builds\n\n\
        Exit code 1: no worker runs.")]
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Begin nothing until a time, or until `resume`; running builds stand still for 10 minutes, and then go to others
    #[command(
        after_help = "Examples:\n  farm-worker pause 2h\n  farm-worker pause         until `farm-worker resume`"
    )]
    Pause {
        /// For how long: 90s, 30m, 2h, 3d [default: until `farm-worker resume`]
        span: Option<String>,
    },
    /// End a pause
    Resume,
    /// Let the running worker finish its builds, and then end
    Drain,
    /// Have the farm forget this machine, and end the worker; its running builds go to others
    #[command(
        after_help = "The farm keeps what the machine built, with its name. If the farm cannot be reached, nothing is changed."
    )]
    Leave,
    /// Ask for a new key in place of this machine's own, for example after a backup of the folder was lost
    #[command(
        after_help = "The old key is valid until the operator approves the new one, and the worker goes on meanwhile."
    )]
    Rekey,
    /// Check the machine, the folder and the farm: each line is ok, or says how to mend it
    Doctor,
    /// Build the newest change once in the sandbox, and send nothing
    Rehearse {
        /// Rehearse although root runs it
        #[arg(long)]
        as_root: bool,
    },
    /// Let systemd start the worker
    #[command(subcommand)]
    Service(service::ServiceCommand),
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
        Command::Join { url, name, ca, no_sandbox } => {
            let sandbox = if no_sandbox { SandboxSetting::None } else { SandboxSetting::Bubblewrap };
            let joined = join_farm(&folder, url, name, ca, sandbox);
            if joined.is_err() && !folder.configuration().exists() {
                folder.remove_if_unused();
            }
            joined
        }
        Command::Run { as_root } => run_worker(&folder, as_root),
        Command::Status { json } => status::show(&folder, json),
        Command::Pause { span } => status::pause(&folder, span),
        Command::Resume => status::resume(&folder),
        Command::Drain => status::drain(&folder),
        Command::Leave => leave::leave(&folder),
        Command::Rekey => leave::rekey(&folder),
        Command::Doctor => doctor::examine(&folder),
        Command::Rehearse { as_root } => rehearse::rehearse(&folder, as_root),
        Command::Service(command) => service::perform(&folder, &command),
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Misused(text)) => {
            eprintln!("farm-worker: {text}");
            ExitCode::from(EXIT_MISUSED)
        }
        Err(Failure::Silent) => ExitCode::from(EXIT_FAILED),
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

fn join_farm(
    folder: &Folder,
    url: String,
    name: Option<String>,
    ca: Option<PathBuf>,
    sandbox: SandboxSetting,
) -> Result<(), Failure> {
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
        // Absolute, since `run` may start elsewhere.
        let ca = ca.map(std::path::absolute).transpose().context("cannot tell the current folder")?;
        (WorkerConfig { ca, sandbox, ..WorkerConfig::new(url, name) }, true)
    };
    let has_key = folder.key().exists();
    let joined = ask_to_join(folder, &config, is_new);
    match &joined {
        Ok(key) => println!("{}", join::instructions(key)),
        Err(_) => {
            // What was there before stays; what this command made goes, so that the next one begins anew.
            if is_new {
                let _ = std::fs::remove_file(&path);
            }
            if !has_key {
                let _ = std::fs::remove_file(folder.key());
            }
        }
    }
    joined.map(drop)
}

fn ask_to_join(folder: &Folder, config: &WorkerConfig, is_new: bool) -> Result<Key, Failure> {
    let path = folder.configuration();
    let authorities = authorities_of(config)?;
    let key = Key::open_or_create(&folder.key())?;
    let sandbox = sandbox_for(config, folder)?;
    let machine = MachineReport::collect(&sandbox, &config.offers);
    FarmClient::new(&config.url, &authorities).join(&key, &config.name, machine.facts)?;
    if is_new {
        std::fs::write(&path, config.to_toml())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(key)
}

/// The first part of the host name only: the domain is private.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().split('.').next().unwrap_or_default().to_string()
}

fn run_worker(folder: &Folder, as_root: bool) -> Result<(), Failure> {
    check_user(as_root)?;
    let config = WorkerConfig::read(&folder.configuration())?;
    let key = Key::open(&folder.key())?;
    let sandbox = sandbox_for(&config, folder)?;
    let authorities = authorities_of(&config)?;
    let _lock = folder.lock()?;
    limit_to(&config);
    clear(folder)?;
    let held = close_spools(&folder.spool())?;
    let machine = MachineReport::collect(&sandbox, &config.offers);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the worker's threads")?;
    let worker = Worker { folder: folder.clone(), config, authorities, key, sandbox, machine, held };
    let done = runtime.block_on(worker.run());
    runtime.shutdown_timeout(THREAD_SHUTDOWN_TIME);
    Ok(done?)
}

/// All that a worker starts with.
struct Worker {
    folder: Folder,
    config: WorkerConfig,
    authorities: TrustedAuthorities,
    key: Key,
    sandbox: Sandbox,
    machine: MachineReport,
    /// Attempts that an earlier process left in the spool.
    held: Vec<(i64, u64)>,
}

impl Worker {
    async fn run(self) -> anyhow::Result<()> {
        let Worker { folder, config, authorities, key, sandbox, machine, held } = self;
        let Signals { stop, kill_builds } = listen(config.when_stopped)?;
        let (token, token_receiver) = watch::channel(None);
        let objects =
            ObjectClient::new(config.url.clone(), authorities.clone(), token_receiver, RetryLimits::DEFAULT);
        let identity = WorkerIdentity { key, facts: machine.facts.clone(), slots: config.slots };
        let resources =
            resources((&folder, &config), (machine, sandbox), objects, kill_builds.clone(), config.slots)?;
        let activity = Arc::clone(&resources.activity);
        let resources = Arc::new(resources);
        let seed = getrandom::u64().context("cannot get random bytes from the system")?;
        let endpoint = Endpoint { url: config.url.ws(protocol::path::SESSION), authorities };
        let mut session = Session::new(identity, held, seed);
        let mut watch = OwnerWatch::new(folder.clone(), config, Arc::clone(&activity));
        for input in watch.begin() {
            // It is not connected yet, so there is nothing to do about it.
            session.on(input, std::time::Instant::now());
        }
        let agent = Agent::new(session, resources, endpoint, token);
        let wake = Arc::<Notify>::default();
        let watched = kill_builds.child_token();
        let watching = tokio::spawn(watch.run(agent.inputs(), Arc::clone(&wake), watched.clone()));
        let socket = folder.control();
        let control = Control { activity, wake, stop: stop.clone(), kill_builds: kill_builds.clone() };
        let serving = {
            let socket = socket.clone();
            tokio::spawn(async move {
                if let Err(e) = control.serve(&socket).await {
                    tracing::warn!("{e:#}");
                }
            })
        };
        agent.run(stop, kill_builds).await;
        watched.cancel();
        let _ = watching.await;
        serving.abort();
        let _ = std::fs::remove_file(socket);
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
