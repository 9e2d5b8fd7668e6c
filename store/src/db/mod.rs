//! The database: how it is opened, read, written and followed.

pub mod journal;
pub mod open;
pub mod writer;
