//! `farm-master worker`: who is let in, who is not any more, and how a worker is called.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Subcommand, ValueEnum};
use domain::volunteer::owner_mail;
use domain::words::Trust;
use domain::words::ids::Timestamp;
use domain::words::states::Standing;
use store::{Store, Write};

use crate::config::{self, Config};
use crate::farm::now;

/// Why a command without a machine's name is misused.
const WHICH: &str = "name one machine, or all of them with --all";

#[derive(Subcommand)]
pub enum WorkerCommand {
    /// Approve a machine that asked to join, or a worker's new key
    #[command(after_help = "Examples:\n  \
        farm-master worker approve cb23e05d --owner \"Ada Lund <ada@example.org>\"\n  \
        farm-master worker approve cb23e05d --owner Ada --trust maker\n  \
        farm-master worker approve 77ab01c2          the new key of a worker that ran `farm-worker rekey`")]
    Approve {
        /// The code that `farm-worker join` or `farm-worker rekey` printed on the machine
        code: String,
        /// The person who is responsible for the machine: a name, or NAME <ADDRESS>. A new key needs none
        #[arg(long)]
        owner: Option<String>,
        /// Where the owner hears by mail that the machine is away; no page shows it
        #[arg(long, value_name = "ADDRESS")]
        mail: Option<String>,
        /// How far the results of the worker are trusted
        #[arg(long, value_enum, default_value_t = TrustArgument::Counted)]
        trust: TrustArgument,
        /// The configuration file of the farm
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
    /// List all workers
    List {
        /// The configuration file of the farm
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
    /// List the machines that wait for approval, with their codes
    Pending {
        /// The configuration file of the farm
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
    /// Turn away a machine that waits for approval, or all of them
    #[command(
        after_help = "A machine that is refused by its name or code stays refused; `worker enable NAME` undoes that.\n\
        --all deletes the requests, and their machines may ask again."
    )]
    Refuse {
        /// Its name or its code
        machine: Option<String>,
        /// All that wait
        #[arg(long)]
        all: bool,
        /// The configuration file of the farm
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
    /// Keep a worker from working: within seconds its running builds go to others, and blame nobody
    Disable {
        /// The worker's name
        name: String,
        /// The configuration file of the farm
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
    /// Let a disabled worker work again, or a refused machine wait for approval again
    Enable {
        /// The worker's name
        name: String,
        /// The configuration file of the farm
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
    /// Forget a machine, its key and its owner's address; what it built stays, with its name
    Remove {
        /// The worker's name
        name: String,
        /// The configuration file of the farm
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
    /// Give a worker another name, also in the history
    Rename {
        /// The worker's name
        name: String,
        /// The new one
        to: String,
        /// The configuration file of the farm
        #[arg(long, default_value = "farm.toml")]
        farm: PathBuf,
    },
}

/// The trust that the operator may give a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TrustArgument {
    /// It repeats builds of other workers until its results have agreed often enough to count
    Probation,
    /// Its results count
    Counted,
    /// Its results count, and its toolchains are used on every worker
    Maker,
}

impl From<TrustArgument> for Trust {
    fn from(trust: TrustArgument) -> Trust {
        match trust {
            TrustArgument::Probation => Trust::Probation,
            TrustArgument::Counted => Trust::Counted,
            TrustArgument::Maker => Trust::Maker,
        }
    }
}

pub async fn perform(command: WorkerCommand) -> Result<()> {
    match command {
        WorkerCommand::Approve { code, owner, mail, trust, farm } => {
            approve(config::load(&farm)?, code, owner, mail, trust.into()).await
        }
        WorkerCommand::List { farm } => list(config::load(&farm)?).await,
        WorkerCommand::Pending { farm } => pending(config::load(&farm)?).await,
        WorkerCommand::Refuse { machine, all, farm } => {
            ensure!(machine.is_some() != all, WHICH);
            refuse(config::load(&farm)?, machine).await
        }
        WorkerCommand::Disable { name, farm } => change(&config::load(&farm)?, name, Change::Disable).await,
        WorkerCommand::Enable { name, farm } => change(&config::load(&farm)?, name, Change::Enable).await,
        WorkerCommand::Remove { name, farm } => change(&config::load(&farm)?, name, Change::Remove).await,
        WorkerCommand::Rename { name, to, farm } => {
            ensure!(
                protocol::is_worker_name(&to),
                "`{}` is not a name: expected {}",
                to.escape_debug(),
                protocol::WORKER_NAME
            );
            change(&config::load(&farm)?, name, Change::Rename(to)).await
        }
    }
}

/// What the operator does to one worker.
enum Change {
    Disable,
    Enable,
    Remove,
    Rename(String),
}

impl Change {
    async fn perform(&self, tx: &mut Write<'_>, name: &str, at: Timestamp) -> store::Result<()> {
        match self {
            Change::Disable => tx.disable_worker(name, at).await,
            Change::Enable => tx.enable_worker(name, at).await,
            Change::Remove => tx.remove_worker(name, at).await,
            Change::Rename(to) => tx.rename_worker(name, to, at).await,
        }
    }

    fn done(&self, name: &str) -> String {
        match self {
            Change::Disable => {
                format!("Disabled {name}. Its running builds go to other workers within seconds.")
            }
            Change::Enable => format!("Enabled {name}."),
            Change::Remove => format!("Removed {name}. What it built stays, with its name."),
            Change::Rename(to) => format!("{name} is now called {to}."),
        }
    }
}

async fn change(config: &Config, name: String, change: Change) -> Result<()> {
    let store = Store::open(&config.data).await?;
    let (at, of, done) = (now(), name.clone(), change.done(&name));
    let changed = store.write(move |tx| Box::pin(async move { change.perform(tx, &of, at).await })).await;
    store.close().await;
    changed.map_err(|error| of_worker(&name, error))?;
    println!("{done}");
    Ok(())
}

fn of_worker(name: &str, error: store::Error) -> anyhow::Error {
    let name = name.escape_debug();
    match error {
        store::Error::NotFound(_) => {
            anyhow!("there is no worker `{name}`; `farm-master worker list` lists them")
        }
        error => anyhow!("{name}: {error}"),
    }
}

async fn approve(
    config: Config,
    code: String,
    owner: Option<String>,
    mail: Option<String>,
    trust: Trust,
) -> Result<()> {
    let is_code = (8..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_hexdigit());
    ensure!(
        is_code,
        "`{}` is not a worker's code: expected the eight digits that `farm-worker join` printed",
        code.escape_debug()
    );
    let owner = match &owner {
        Some(text) => Some(owner_mail::owner(text, mail.as_deref()).map_err(anyhow::Error::msg)?),
        None => None,
    };
    let store = Store::open(&config.data).await?;
    let at = now();
    let of_key = code.clone();
    let rekeyed = store.write(move |tx| Box::pin(async move { tx.approve_rekey(&of_key, at).await })).await;
    if let Some(name) = rekeyed.context("approving the new key")? {
        store.close().await;
        println!("Approved the new key of {name}. The old one is no longer valid.");
        return Ok(());
    }
    let (owner, mail) =
        owner.context("name the person who is responsible for the machine, with --owner NAME")?;
    let (new_owner, address) = (owner.clone(), mail.clone());
    let approved = store.write(move |tx| {
        Box::pin(async move {
            let name = tx.approve_worker(&code, &new_owner, trust, at).await?;
            tx.put_owner_mail(&name, address.as_deref()).await?;
            Ok(name)
        })
    });
    let name = approved.await.context("approving the worker")?;
    store.close().await;
    let hears = mail.map_or(String::new(), |mail| format!(" Mail about it goes to {mail}."));
    println!("Approved {name} of {owner} ({trust}).{hears}");
    Ok(())
}

async fn refuse(config: Config, machine: Option<String>) -> Result<()> {
    let store = Store::open(&config.data).await?;
    let at = now();
    let Some(machine) = machine else {
        let cleared = store.write(move |tx| Box::pin(async move { tx.clear_joins(at).await })).await;
        store.close().await;
        println!("Refused all that waited: {}.", cleared.context("refusing the machines that wait")?);
        return Ok(());
    };
    let which = machine.clone();
    let refused = store.write(move |tx| Box::pin(async move { tx.refuse_join(&which, at).await })).await;
    store.close().await;
    println!("Refused {}.", refused.map_err(|error| of_worker(&machine, error))?);
    Ok(())
}

async fn list(config: Config) -> Result<()> {
    let store = Store::open(&config.data).await?;
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let barred: Vec<_> = read.barred_workers().await?;
    for worker in read.workers().await? {
        let owner = worker.owner.unwrap_or_else(|| "-".to_string());
        let trust = worker.trust.map_or("-", Trust::as_str);
        let connection = if worker.connected { "connected" } else { "away" };
        let is_disabled = barred.contains(&(worker.id, Standing::Disabled));
        let state = if is_disabled { Standing::Disabled.as_str() } else { worker.state.as_str() };
        println!("{:<24} {state:<9} {trust:<9} {connection:<9} {owner}", worker.name);
    }
    Ok(())
}

async fn pending(config: Config) -> Result<()> {
    let store = Store::open(&config.data).await?;
    let mut snapshot = store.snapshot().await?;
    let requests = snapshot.read().pending_requests().await?;
    if requests.is_empty() {
        println!("No machine waits for approval.");
    }
    for request in requests {
        let what = if request.is_rekey { "asks for a new key" } else { "asks to join" };
        let address = request.address.unwrap_or_default();
        let at = jiff::Timestamp::from_millisecond(request.asked_at.0).unwrap_or_default();
        println!(
            "{}  {:<24} {what:<18} {}  {address}",
            request.code,
            request.name,
            at.strftime("%Y-%m-%d %H:%M UTC")
        );
    }
    Ok(())
}
