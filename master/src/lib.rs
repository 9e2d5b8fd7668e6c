//! The master: polls trunks, hands out builds, settles results.

mod announce;
mod canaries;
mod cli;
mod config;
mod contacts;
mod disk;
mod dispatch;
mod doctor;
mod failpoint;
mod farm;
mod greet;
mod health;
mod hub;
mod init;
mod intake;
mod keep;
mod late;
mod latest;
mod logs;
mod mirror;
mod null_runs;
mod patrol;
mod poke;
mod poll;
mod post;
mod presence;
mod probation;
mod prune;
mod reload;
mod remotes;
mod schedule;
mod search;
mod serve;
mod session;
pub mod settle;
mod sides;
mod sync;
mod systemd;
mod wire;

/// The whole program `farm-master`; also a part of `farm-tests`, which starts it as a process of its own.
pub fn run() -> std::process::ExitCode {
    cli::run()
}
