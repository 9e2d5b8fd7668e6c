//! Maintenance: backups, audits, retention and self-diagnostics.

pub mod audit;
pub mod backup;
pub mod health;
pub mod inspect;
pub mod production;
pub mod project_starts;
pub mod retention;
pub mod stamps;
