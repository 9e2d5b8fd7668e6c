//! The farm as real processes.

pub mod counting;
pub mod crowd;
pub mod dice;
pub mod farm;
pub mod lang;
pub mod lua;
pub mod mount;
pub mod postbox;
pub mod process;
pub mod proxy;
pub mod slow_disk;
pub mod soak;
pub mod wire;
