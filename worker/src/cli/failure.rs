//! Why a command failed, and with that its exit code.

use crate::config::BadConfig;

/// Why a command failed.
pub enum Failure {
    Misused(String),
    Failed(anyhow::Error),
    /// What is to be said was printed.
    Silent,
}

impl Failure {
    /// As one sentence.
    pub fn text(&self) -> String {
        match self {
            Failure::Misused(text) => text.clone(),
            Failure::Failed(e) => format!("{e:#}"),
            Failure::Silent => String::new(),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Failed(error)
    }
}

impl From<BadConfig> for Failure {
    fn from(error: BadConfig) -> Failure {
        Failure::Misused(error.to_string())
    }
}
