//! The farm as real processes.

pub mod farm;
pub mod lua;
pub mod process;
pub mod wire;
