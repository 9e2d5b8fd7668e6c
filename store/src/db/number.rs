//! Numbers at a row's edge: SQLite has one integer type, `i64`.

use crate::error::{Error, Result};

/// A number of a row in the type that the program uses for it. Fails for a number that this program never writes
/// there, for instance a negative count.
pub(crate) fn from_row<T: TryFrom<i64>>(number: i64) -> Result<T> {
    T::try_from(number).map_err(|_| Error::Row(format!("the number {number}")))
}

/// A count or a size for a row. One that does not fit into 63 bits is bounded rather than refused: it comes from a
/// worker, and no real count is that large.
pub(crate) fn to_row(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The length of something in memory, for a row or a query's limit.
pub(crate) fn len_to_row(len: usize) -> i64 {
    i64::try_from(len).expect("nothing in memory has more than 2^63 items")
}
