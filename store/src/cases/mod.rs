//! What test cases did: their names, verdicts and histories.

pub mod flakes;
pub mod histories;
pub mod marks;
pub mod messages;
pub mod names;
pub mod selection;
pub mod sick;
pub(crate) mod unreached;
pub mod unstable_suites;
pub mod verdicts;
