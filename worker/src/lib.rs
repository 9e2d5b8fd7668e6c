//! The volunteer's program: builds what the master offers.

pub mod execute;
pub mod machine;
