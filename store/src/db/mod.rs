//! The database: how it is opened, read and written, and how others follow what changes in it.

pub mod journal;
pub(crate) mod number;
pub mod open;
pub mod transaction;
pub mod writer;
