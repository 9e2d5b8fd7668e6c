//! What the owner of a worker allows it to do.

use serde::{Deserialize, Serialize};

/// What a worker's owner allows. The default allows everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerTerms {
    /// Whose suites it runs.
    #[serde(default)]
    pub projects: Choice,
    /// Of which trunks it builds anything.
    #[serde(default)]
    pub trunks: Choice,
    /// Whether no step of a build may use the network.
    #[serde(default)]
    pub no_network: bool,
    /// The most memory that a recipe may ask for, in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
}

/// Names that are allowed, and names that are not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Only these, if there is any.
    #[serde(default)]
    pub only: Vec<String>,
    /// None of these.
    #[serde(default)]
    pub refused: Vec<String>,
}

impl Choice {
    /// Whether a name is allowed.
    pub fn allows(&self, name: &str) -> bool {
        let is_in = |names: &[String]| names.iter().any(|one| one == name);
        (self.only.is_empty() || is_in(&self.only)) && !is_in(&self.refused)
    }
}
