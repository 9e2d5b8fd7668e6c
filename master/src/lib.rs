//! The master: polls trunks, offers builds to workers, settles results, searches for culprits and notifies people.
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        clippy::disallowed_methods,
        reason = "tests count small things, and may wait for a disk"
    )
)]

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
