//! How values become text: units, ranges, log lines, status styles and the characters that must stay inert.

pub mod inert;
pub mod log_text;
pub mod range;
pub mod status_style;
pub mod units;
