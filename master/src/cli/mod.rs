//! `farm-master`: the operator's command line.

mod workers;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{Parser, Subcommand};
use store::OpenError;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::{self, Config, ConfigProblems};
use crate::init;
use crate::serve::{CannotServe, serve};
use crate::upkeep::doctor;
use crate::upkeep::poke;

#[derive(Parser)]
#[command(
    name = "farm-master",
    version,
    about = "A build farm that tests an ecosystem against a language's trunk."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the configuration of a new farm into a folder
    Init {
        /// The folder; it is created if it does not exist
        folder: PathBuf,
    },
    /// Check a configuration, and print every problem of it
    Check {
        /// The configuration file of the farm
        #[arg(default_value = "farm.toml")]
        file: PathBuf,
    },
    /// Run the farm until SIGTERM or SIGINT
    Serve {
        /// The configuration file of the farm
        #[arg(default_value = "farm.toml")]
        file: PathBuf,
    },
    /// Copy the database into a new file, also while the master runs
    Backup {
        /// The file to create
        into: PathBuf,
        /// The configuration file of the farm
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
    /// Check the farm's data, disk and secrets, and print what is wrong and what to do
    Doctor {
        /// The configuration file of the farm
        #[arg(default_value = "farm.toml")]
        file: PathBuf,
    },
    /// Have the running master poll a trunk now
    Poke {
        /// The name of the trunk in farm.toml
        trunk: String,
        /// The configuration file of the farm
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
    /// Approve, list, refuse, disable, remove and rename workers
    #[command(subcommand)]
    Worker(workers::WorkerCommand),
}

/// The exit codes; docs/operator.md lists them.
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
        // The module says which part of the master a line is from.
        .with_target(true)
        .init();
    match perform(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error_text(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Problems of the configuration name their file and line; other errors name this program.
fn error_text(error: &anyhow::Error) -> String {
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
            println!("{}: valid; trunks: {trunks}, projects: {projects}", file.display());
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
                let copy = store::backup(&config.data, &into).await;
                copy.with_context(|| format!("copying the database into {}", into.display()))
            })?;
            println!(
                "Copied the database to {}. Now copy the folders logs, objects and git to the same place.",
                into.display()
            );
            Ok(())
        }
        Command::Doctor { file } => in_runtime(print_findings(config::load(&file)?)),
        Command::Poke { trunk, farm } => poke::poke(&config::load(&farm)?, &trunk),
        Command::Worker(command) => in_runtime(workers::perform(command)),
    }
}

fn in_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    /// Threads that block on a dead disk or file server are abandoned after this time.
    const ABANDON: std::time::Duration = std::time::Duration::from_secs(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("starting the runtime")?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(ABANDON);
    result
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

async fn print_findings(config: Config) -> Result<()> {
    let findings = doctor::examine(&config).await?;
    findings.passed.iter().for_each(|check| println!("ok     {check}"));
    findings.failed.iter().for_each(|problem| println!("wrong  {problem}"));
    match findings.failed.len() {
        0 => Ok(()),
        1 => Err(anyhow!("found 1 problem")),
        count => Err(anyhow!("found {count} problems")),
    }
}
