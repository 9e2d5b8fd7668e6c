//! The farm as real processes.

pub mod lua;
