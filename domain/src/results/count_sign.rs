//! How a name shows that it counts another.

/// Stands between the name and the count: `name ×2`.
pub const SIGN: &str = " ×";
/// A name that comes more often is not counted any further.
pub const MAX_COUNTED: u32 = 100;
