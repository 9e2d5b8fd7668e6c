//! `farm-master`: the operator's commands.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{Parser, Subcommand, ValueEnum};
use domain::words::Trust;
use store::{OpenError, Store};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::{self, Config, ConfigProblems};
use crate::farm::now;
use crate::init;
use crate::serve::{CannotServe, serve};
use crate::upkeep::doctor;
use crate::upkeep::poke;

#[derive(Parser)]
#[command(name = "farm-master", version, about = "Tests an ecosystem against a language's trunk.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lay a new farm's configuration into a folder
    Init { folder: PathBuf },
    /// Say all that is wrong with a configuration
    Check {
        #[arg(default_value = "farm.toml")]
        file: PathBuf,
    },
    /// Run the farm
    Serve {
        #[arg(default_value = "farm.toml")]
        file: PathBuf,
    },
    /// Copy the database into a new file, beside a running master
    Backup {
        into: PathBuf,
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
    /// Look for what is wrong with the farm's data, and say what to do
    Doctor {
        #[arg(default_value = "farm.toml")]
        file: PathBuf,
    },
    /// Poll a trunk now
    Poke {
        trunk: String,
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
    /// Let workers in
    #[command(subcommand)]
    Worker(WorkerCommand),
}

#[derive(Subcommand)]
enum WorkerCommand {
    /// Let in the machine that printed this code
    Approve {
        code: String,
        /// Who keeps the machine
        #[arg(long)]
        owner: String,
        #[arg(long, value_enum, default_value_t = Believed::Counted)]
        trust: Believed,
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
    /// Show them all
    List {
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
}

/// What the operator may say of a worker by himself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Believed {
    /// It repeats what others ran, until it has agreed with them often enough to count
    Probation,
    /// Its results count
    Counted,
    /// Its toolchains run everywhere, too
    Maker,
}

/// What the exit codes say.
mod code {
    pub const FAILURE: u8 = 1;
    /// The command line or the configuration is wrong.
    pub const CONFIG: u8 = 2;
    pub const PORT: u8 = 3;
    pub const DATA: u8 = 4;
    pub const NEWER: u8 = 5;
}

pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let logs = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(logs)
        .with_writer(std::io::stderr)
        // No colours in a journal or a file.
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match perform(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", sentence(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Problems with the configuration name their own place; anything else says what was being done.
fn sentence(error: &anyhow::Error) -> String {
    match problems(error) {
        Some(problems) => problems.to_string().trim_end().to_string(),
        None => format!("farm-master: {error:#}"),
    }
}

fn problems(error: &anyhow::Error) -> Option<&ConfigProblems> {
    match error.downcast_ref::<CannotServe>() {
        Some(CannotServe::Config(problems)) => Some(problems),
        Some(CannotServe::Port { .. } | CannotServe::Store(_) | CannotServe::Other(_)) | None => {
            error.downcast_ref()
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let opening = |error: &OpenError| match error {
        OpenError::NotWritable { .. }
        | OpenError::Database { .. }
        | OpenError::Migration { .. }
        | OpenError::Orphans { .. } => code::DATA,
        OpenError::Newer { .. } => code::NEWER,
    };
    if problems(error).is_some() {
        return code::CONFIG;
    }
    if let Some(error) = error.downcast_ref::<OpenError>() {
        return opening(error);
    }
    match error.downcast_ref::<CannotServe>() {
        Some(CannotServe::Port { .. }) => code::PORT,
        Some(CannotServe::Store(error)) => opening(error),
        Some(CannotServe::Config(_) | CannotServe::Other(_)) | None => code::FAILURE,
    }
}

fn perform(command: Command) -> Result<()> {
    match command {
        Command::Init { folder } => {
            println!("{}", init::init(&folder)?);
            Ok(())
        }
        Command::Check { file } => {
            let config = config::load(&file)?;
            let (trunks, projects) = (config.trunks.len(), config.projects.len());
            println!("{}: good; trunks: {trunks}, projects: {projects}", file.display());
            for advice in config.advice() {
                println!("advice: {advice}");
            }
            Ok(())
        }
        Command::Serve { file } => in_runtime(async {
            let stop = CancellationToken::new();
            on_signal(stop.clone())?;
            Ok(serve(file, stop).await?)
        }),
        Command::Backup { into, farm } => {
            let config = config::load(&farm)?;
            in_runtime(async {
                let copied = store::backup(&config.data, &into).await;
                copied.with_context(|| format!("copying the database into {}", into.display()))
            })?;
            println!("{}: the database; copy logs, objects and git beside it now", into.display());
            Ok(())
        }
        Command::Doctor { file } => in_runtime(see_doctor(config::load(&file)?)),
        Command::Poke { trunk, farm } => poke::poke(&config::load(&farm)?, &trunk),
        Command::Worker(WorkerCommand::Approve { code, owner, trust, farm }) => {
            let config = config::load(&farm)?;
            let trust = match trust {
                Believed::Probation => Trust::Probation,
                Believed::Counted => Trust::Counted,
                Believed::Maker => Trust::Maker,
            };
            in_runtime(approve(config, code, owner, trust))
        }
        Command::Worker(WorkerCommand::List { farm }) => in_runtime(list(config::load(&farm)?)),
    }
}

fn in_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    /// What blocks on a dead disk or file server is left to itself after this time.
    const LEFT: std::time::Duration = std::time::Duration::from_secs(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("starting the runtime")?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LEFT);
    done
}

fn on_signal(stop: CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}

async fn see_doctor(config: Config) -> Result<()> {
    let findings = doctor::examine(&config).await?;
    findings.well.iter().for_each(|said| println!("ok     {said}"));
    findings.wrong.iter().for_each(|said| println!("wrong  {said}"));
    match findings.wrong.len() {
        0 => Ok(()),
        1 => Err(anyhow!("one thing is wrong")),
        count => Err(anyhow!("{count} things are wrong")),
    }
}

async fn approve(config: Config, code: String, owner: String, trust: Trust) -> Result<()> {
    let digits = code.len() >= 8 && code.len() <= 64 && code.bytes().all(|b| b.is_ascii_hexdigit());
    anyhow::ensure!(digits, "`{code}` is no code: expected the eight digits that `farm-worker join` printed");
    let store = Store::open(&config.data).await?;
    let (by_whom, at) = (owner.clone(), now());
    let approved = store
        .write(move |tx| Box::pin(async move { tx.approve_worker(&code, &by_whom, trust, at).await }))
        .await;
    let name = approved.context("approving the worker")?;
    store.close().await;
    println!("{name} of {owner} may work now ({trust})");
    Ok(())
}

async fn list(config: Config) -> Result<()> {
    let store = Store::open(&config.data).await?;
    let mut snapshot = store.snapshot().await?;
    for worker in snapshot.read().workers().await? {
        let owner = worker.owner.unwrap_or_else(|| "-".to_string());
        let trust = worker.trust.map_or("-", Trust::as_str);
        let link = if worker.connected { "connected" } else { "away" };
        println!("{:<24} {:<9} {trust:<9} {link:<9} {owner}", worker.name, worker.state);
    }
    Ok(())
}
