//! What looks after the farm itself.

pub mod disk;
pub mod doctor;
pub mod health;
pub mod poke;
pub mod prune;
pub mod reload;
pub mod sync;
pub mod systemd;
