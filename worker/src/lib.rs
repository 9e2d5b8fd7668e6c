//! The volunteer's program: builds what the master offers.
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "the numbers of tests are small"
    )
)]
#![deny(unsafe_code)]

mod activity;
mod agent;
mod attempt;
mod caches;
mod cli;
mod config;
mod control;
mod disk_usage;
pub mod execute;
mod facts;
mod folder;
mod freeze;
mod join;
mod key;
mod leftover;
mod length;
mod link;
mod machine;
mod objects;
mod owner;
mod privacy;
mod proc_stat;
mod session;
mod source;
mod source_date;
mod spool;
mod tls;
mod toolchains;
mod trash;
mod trees;

/// The whole program `farm-worker`. `trunkfarm-tests` calls it too, in a program of its own.
pub fn run() -> std::process::ExitCode {
    cli::run()
}
