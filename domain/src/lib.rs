//! The farm's words and rules: no I/O, no clock, no async. Every decision of the farm is a pure function here.

pub mod backoff;
pub mod breakage;
pub mod canary;
pub mod culprit;
pub mod dispatch;
pub mod flaky;
pub mod health;
pub mod history;
pub mod ids;
pub mod inputs;
pub mod keep;
pub mod lease;
pub mod mark;
pub mod notice;
pub mod outcome;
pub mod platform;
pub mod probation;
pub mod readers;
pub mod results;
pub mod schedule;
pub mod search;
pub mod sick;
pub mod side;
pub mod transition;
pub mod words;
