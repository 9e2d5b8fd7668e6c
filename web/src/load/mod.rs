//! From rows of the store to what pages show, one file a page. Each load reads one snapshot.

mod breakage;
mod breakages;
mod build;
mod case;
mod change;
mod claims;
mod culprits;
mod log;
mod marks;
mod new_failures;
mod project;
mod queue;
mod rows;
mod stats;
mod status;
mod tested;
mod toolchain_inputs;
mod waterfall;
mod worker;
mod workers;

pub use breakage::breakage;
pub use breakages::breakages;
pub use build::build;
pub use case::case;
pub use change::change;
pub use log::{LogFollower, log, why_unavailable};
pub use project::project;
pub use queue::queue;
pub use stats::stats;
pub use status::status;
pub use waterfall::{WaterfallQuery, waterfall};
pub use worker::worker;
pub use workers::workers;
