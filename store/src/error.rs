//! The errors of the store, as far as callers treat them differently.

/// What every function of the store returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The row is not in the state that the update expected.
    #[error("{0}")]
    Conflict(&'static str),
    /// SQLite refused or failed.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// A row holds what this program never writes.
    #[error("a row that this program did not write: {0}")]
    Row(String),
    /// A file of the data folder could not be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// Whether it would fail again, because of what the database holds. A full disk, by contrast, may have room
    /// next time.
    pub fn is_for_good(&self) -> bool {
        match self {
            Error::NotFound(_) | Error::Conflict(_) | Error::Row(_) => true,
            Error::Database(error) => error.as_database_error().is_some_and(|refused| {
                refused.is_unique_violation()
                    || refused.is_check_violation()
                    || refused.is_foreign_key_violation()
            }),
            Error::Io(_) => false,
        }
    }
}

/// Fails unless exactly one row was updated: the state was not the expected one.
pub(crate) fn one_row(done: sqlx::sqlite::SqliteQueryResult, expected: &'static str) -> Result<()> {
    match done.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::Conflict(expected)),
    }
}

/// Parses a word of a column that only this program writes.
pub(crate) fn word<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
    parse(text).ok_or_else(|| Error::Row(format!("the word `{text}`")))
}

/// Many values as one parameter for `json_each`: a statement for each of 200,000 cases would block all other
/// writes for too long.
pub(crate) fn json(values: &(impl serde::Serialize + ?Sized)) -> Result<String> {
    serde_json::to_string(values).map_err(|e| Error::Row(e.to_string()))
}

pub(crate) fn sha256(bytes: &[u8]) -> Result<protocol::Sha256> {
    let bytes = bytes.try_into().map_err(|_| Error::Row(format!("a hash of {} bytes", bytes.len())))?;
    Ok(protocol::Sha256(bytes))
}
