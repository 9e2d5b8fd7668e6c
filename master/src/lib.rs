//! The master: polls trunks, hands out builds, settles results.

pub mod config;
pub mod init;
