//! Which workers may make toolchains in a given environment.

use std::collections::BTreeSet;

use protocol::WorkerFacts;

use crate::project_inputs::toolchain;
use crate::words::ids::WorkerId;
use crate::words::platform;

/// A worker that may make toolchains, and is connected or waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// The worker.
    pub worker: WorkerId,
    /// What its machine is.
    pub facts: WorkerFacts,
    /// The properties of the environment of its last attempt, if it has made one.
    pub environment: Option<Vec<String>>,
}

/// To whom a toolchain with this environment is given: to those that have it, and to those of whose environment nothing is
/// known so far. Empty if nobody has it: then any maker may make it.
pub fn may_make(makers: &[Maker], label: &str, environment: &[String]) -> BTreeSet<WorkerId> {
    let mut may_make = makers_of(makers, label, environment);
    if !may_make.is_empty() {
        let unknown = makers.iter().filter(|maker| maker.environment.is_none());
        may_make.extend(unknown.map(|maker| maker.worker));
    }
    may_make
}

/// Those of a platform that had this environment in their last attempt.
pub fn makers_of(makers: &[Maker], label: &str, environment: &[String]) -> BTreeSet<WorkerId> {
    let has_it = |maker: &&Maker| {
        platform::matches(label, &maker.facts)
            && maker.environment.as_deref().map(toolchain::counted).as_deref() == Some(environment)
    };
    makers.iter().filter(has_it).map(|maker| maker.worker).collect()
}
