//! The master: polls trunks, hands out builds, settles results.

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

/// The whole program `farm-master`; also a part of `trunkfarm-tests`, which starts it as a process of its own.
pub fn run() -> std::process::ExitCode {
    cli::run()
}
