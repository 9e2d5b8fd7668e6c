//! What test cases did: their names, verdicts and histories.

pub mod asked;
pub mod flakes;
pub mod histories;
pub mod marks;
pub mod messages;
pub mod names;
pub mod sick;
pub mod verdicts;
