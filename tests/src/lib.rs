//! What the integration tests, the demonstration, the benchmark and the soak test share: a farm of real processes.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the numbers of tests are small"
)]

pub mod counting;
pub mod crowd;
pub mod dice;
pub mod farm;
pub mod lang;
pub mod lua;
pub mod mail_server;
pub mod mount;
pub mod process;
pub mod proxy;
pub mod slow_disk;
pub mod soak;
pub mod wire;
