//! The one date that everything built here carries.

/// 1980-01-01, in seconds since 1970: the earliest date that a zip archive can hold. Builds should write it instead of
/// today's date.
pub const SOURCE_DATE_EPOCH: u64 = 315_532_800;
