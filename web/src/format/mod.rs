//! How values become text: units, ranges of bytes, log lines, status styles, and characters that must stay inert.

pub mod inert;
pub mod json;
pub mod log_text;
pub mod range;
pub mod status_style;
pub mod units;
