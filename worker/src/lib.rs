//! The volunteer's program: builds what the master offers.

mod agent;
mod attempt;
mod cli;
mod config;
pub mod execute;
mod folder;
mod join;
mod key;
mod leftover;
mod link;
pub mod machine;
mod objects;
mod session;
mod source;
mod spool;
mod toolchains;

/// The whole program `farm-worker`; also a part of `trunkfarm-tests`, which starts it as a process of its own.
pub fn run() -> std::process::ExitCode {
    cli::run()
}
