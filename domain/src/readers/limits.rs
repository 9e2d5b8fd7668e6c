//! The bounds on what is read of a report and kept of a build, since a report is a stranger's bytes.

/// The longest part of one report that is read, in bytes.
pub const MAX_REPORT_BYTES: u64 = 64 << 20;
/// The most cases of one build.
pub const MAX_CASES: usize = 200_000;
/// The longest name of a case, in bytes.
pub const MAX_NAME_BYTES: usize = 1 << 10;
/// The longest failure message of one case, in bytes.
pub const MAX_CASE_TEXT_BYTES: usize = 64 << 10;
/// The most bytes that all failure messages of one build have together.
pub const MAX_BUILD_TEXT_BYTES: usize = 4 << 20;
/// The most warnings about one report.
pub const MAX_WARNINGS: usize = 20;
