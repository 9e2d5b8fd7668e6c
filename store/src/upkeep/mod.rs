//! What keeps a farm in order: backups, audits, retention and its own health.

pub mod audit;
pub mod backup;
pub mod health;
pub mod inspect;
pub mod retention;
