//! What is too large for rows: logs and objects, as files beside the database.

pub mod log;
pub mod objects;
