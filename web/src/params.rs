//! What addresses hold: ids in the path, and the query after `?`.

use serde::Deserialize;

/// An address that names nothing, as a sentence for the visitor.
#[derive(Debug)]
pub struct UnknownAddress(pub String);

/// `?from=501`: a byte or a line of a log.
#[derive(Deserialize)]
pub struct From {
    pub from: Option<u64>,
}

/// `?name=NAME`: a case.
#[derive(Deserialize)]
pub struct Name {
    pub name: String,
}

/// `?before=200`: breakages that are older than this one.
#[derive(Deserialize)]
pub struct Before {
    pub before: Option<i64>,
}

/// The id of a `what`.
pub fn id(text: &str, what: &str) -> Result<i64, UnknownAddress> {
    text.parse().map_err(|_| UnknownAddress(format!("There is no such {what}.")))
}

/// A build's id and the position of one of its steps.
pub fn build_and_step(build: &str, step: &str) -> Result<(i64, u16), UnknownAddress> {
    let step = step.parse().map_err(|_| UnknownAddress("There is no such step.".into()))?;
    Ok((id(build, "build")?, step))
}

/// A commit id or its beginning, in lower case.
pub fn commit(text: &str) -> Result<String, UnknownAddress> {
    let is_commit = (7..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    match is_commit {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(UnknownAddress("A change is named by 7 to 40 hexadecimal digits of its commit.".into())),
    }
}
