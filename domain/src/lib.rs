//! The farm's words and rules: no I/O, no clock, no async. Every decision of the farm is a pure function in this crate.
#![warn(missing_docs)]
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "the numbers of tests are small"
    )
)]

pub mod backoff;
pub mod breakage;
pub mod caches;
pub mod clock;
pub mod culprit;
pub mod dispatch;
pub mod git_url;
pub mod health;
pub mod history;
pub mod notice;
mod numbers;
pub mod outcome;
pub mod progress;
pub mod project_inputs;
pub mod readers;
pub mod release;
pub mod results;
pub mod retention;
pub mod schedule;
pub mod search;
pub mod self_check;
pub mod sentences;
pub mod settle;
pub mod variant;
pub mod visible;
pub mod volunteer;
pub mod words;
