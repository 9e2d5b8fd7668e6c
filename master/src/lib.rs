//! The master: polls trunks, offers builds to workers, settles results, searches for culprits and notifies people.

mod cli;
mod config;
mod connection;
mod dispatch;
mod farm;
mod init;
mod notify;
mod poll;
mod queue;
mod schedule;
mod search;
mod serve;
pub mod settle;
mod upkeep;

/// The whole program `farm-master`. The package `trunkfarm-tests` builds it, too, and starts it as a process.
pub fn run() -> std::process::ExitCode {
    cli::run()
}
