//! Which workers may make toolchains in a given environment.

use std::collections::BTreeSet;

use domain::dispatch::AWAY;
use domain::project_inputs::toolchain;
use domain::words::ids::{Timestamp, WorkerId};
use domain::words::platform;
use store::{Maker, Read};

/// The makers that are connected, or that are waited for.
pub async fn load_makers(read: &mut Read<'_>, at: Timestamp) -> store::Result<Vec<Maker>> {
    read.makers(at - AWAY).await
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
