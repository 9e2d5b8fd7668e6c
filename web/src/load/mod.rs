//! From rows of the store to what pages say. One file a page; a load is one view of one moment.

mod breakage;
mod breakages;
mod build;
mod case;
mod change;
mod log;
mod marks;
mod project;
mod queue;
mod rows;
mod status;
mod waterfall;
mod workers;

pub use breakage::breakage;
pub use breakages::breakages;
pub use build::build;
pub use case::case;
pub use change::change;
pub use log::{LogFollower, gone, log};
pub use project::project;
pub use queue::queue;
pub use status::status;
pub use waterfall::{WaterfallQuery, waterfall};
pub use workers::workers;
