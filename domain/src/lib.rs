//! The farm's words and rules: no I/O, no clock, no async. Every decision of the farm is a pure function in this crate.
#![warn(missing_docs)]

pub mod backoff;
pub mod breakage;
pub mod culprit;
pub mod dispatch;
pub mod health;
pub mod history;
pub mod notice;
mod numbers;
pub mod outcome;
pub mod project_inputs;
pub mod readers;
pub mod results;
pub mod retention;
pub mod schedule;
pub mod search;
pub mod settle;
pub mod words;
