//! Keeps the farm itself in order: self-diagnostics, retention, and changes of the configuration.

pub mod doctor;
pub mod health;
pub mod poke;
pub mod prune;
pub mod reload;
pub mod sync;
pub mod systemd;
