//! A copy of the database as it is at one moment, made beside a running farm.

use std::fs::{self, File};
use std::path::Path;

use sqlx::{ConnectOptions, Connection};

use crate::db::open::options;
use crate::error::{Error, Result};

/// Writes the whole database into a new file, which is complete and synced once it has its name. The farm keeps
/// running meanwhile.
///
/// # Errors
/// `NotFound` without a database, `Conflict` if the file exists already.
pub async fn backup(data: &Path, file: &Path) -> Result<()> {
    let database = data.join("farm.db");
    if !database.is_file() {
        return Err(Error::NotFound("database in the data folder"));
    }
    if file.symlink_metadata().is_ok() {
        return Err(Error::Conflict("the file exists already, and a backup overwrites nothing"));
    }
    let mut name = file.file_name().ok_or(Error::NotFound("name of a file"))?.to_os_string();
    name.push(".part");
    let part = file.with_file_name(name);
    // An incomplete one is of no use.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let mut connection = options(&database).create_if_missing(false).connect().await?;
    let into = part.to_string_lossy().into_owned();
    let copied = sqlx::query("vacuum into ?").bind(into).execute(&mut connection).await;
    connection.close().await?;
    if let Err(error) = copied {
        let _ = fs::remove_file(&part);
        return Err(error.into());
    }
    File::open(&part)?.sync_all()?;
    fs::rename(&part, file)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok(())
}
