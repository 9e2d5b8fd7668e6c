//! What the farm watches: trunks with their branches, projects with their inputs, and the builders of both.

pub mod branches;
pub mod builders;
pub mod missing_refs;
pub mod pins;
pub mod project_inputs;
pub mod projects;
pub mod toolchain_inputs;
pub mod trunks;
