//! `farm-master doctor`: looks at all that a farm stands on, and says what is wrong and what to do about it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use domain::words::ids::Timestamp;
use store::{Orphaned, Store};

use crate::config::Config;
use crate::farm::now;
use crate::upkeep::disk;
use crate::upkeep::poke;

/// A clock is this much off before it is said: the newest row may be of a worker's heartbeat a moment ago.
const CLOCK_MS: i64 = 60_000;

/// What was found: sentences of what is well, and of what is not.
#[derive(Debug, Default)]
pub struct Findings {
    pub well: Vec<String>,
    pub wrong: Vec<String>,
}

impl Findings {
    /// One thing that was looked at: it is well, or `wrong` says what is not.
    fn looked(&mut self, at: &str, wrong: Vec<String>) {
        match wrong.is_empty() {
            true => self.well.push(at.to_string()),
            false => self.wrong.extend(wrong),
        }
    }
}

/// Looks at everything, beside a running master. It changes nothing, except that opening the store brings its schema up
/// to date.
pub async fn examine(config: &Config) -> Result<Findings> {
    let mut findings = Findings::default();
    let store = Store::open(&config.data).await?;
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let broken =
        read.integrity().await?.into_iter().map(|said| {
            format!("The database is damaged: {said}. Stop the master and restore the last backup.")
        });
    findings.looked("the database is sound", broken.collect());
    let newest = read.newest_moment().await?;
    findings.looked("the clock runs on", clock(newest, now()));
    drop(snapshot);
    // Rows after the look at the files would seem to have none: each is asked in a moment of its own.
    let orphans = store.glance().await?.read().orphans(&config.data).await?;
    let kinds = [
        (&orphans.lost_logs, "log", "is gone or cut; pages say so, and nothing else needs it"),
        (
            &orphans.lost_toolchains,
            "toolchain",
            "is gone or cut; suites on it fail as the farm's own trouble",
        ),
        (&orphans.stray_logs, "file of a log", "belongs to no row; it may be removed"),
        (&orphans.stray_toolchains, "file of a toolchain", "belongs to no row; it may be removed"),
    ];
    let strays = kinds.into_iter().filter_map(|(found, what, said)| orphaned(found, what, said));
    findings.looked("rows and files fit together", strays.collect());
    store.close().await;
    findings.looked("the disk has room", room(config));
    findings.looked("the mirrors can be read", mirrors(config));
    findings.looked("secrets are for the farm's user alone", secrets(config));
    Ok(findings)
}

fn clock(newest: Option<Timestamp>, now: Timestamp) -> Vec<String> {
    let ahead = newest.map_or(0, |newest| newest.0 - now.0);
    if ahead <= CLOCK_MS {
        return Vec::new();
    }
    vec![format!(
        "The clock is wrong: the newest row is of {} s from now. Set the clock by NTP; until then leases and polls wait.",
        ahead / 1000
    )]
}

fn orphaned(found: &Orphaned, what: &str, said: &str) -> Option<String> {
    let first = found.named.first()?;
    Some(match found.count {
        1 => format!("A {what} {said}: {first}."),
        count => format!("{count} times a {what} {said}: {first} and others."),
    })
}

fn room(config: &Config) -> Vec<String> {
    let Some(disk) = disk::free(config, &config.data) else {
        return vec![format!("The free space of {} cannot be asked.", config.data.display())];
    };
    if disk.has_room() {
        return Vec::new();
    }
    let (free, floor) = (disk.free_bytes >> 20, disk.floor_bytes >> 20);
    vec![format!(
        "The disk is full: {free} MiB are free, and below {floor} MiB (`free` in [keep]) no builds are offered. Free some."
    )]
}

fn mirrors(config: &Config) -> Vec<String> {
    let broken = config.trunks.iter().filter_map(|trunk| {
        let path = config.data.join("git").join(format!("{}.git", trunk.name));
        if !path.exists() {
            return None;
        }
        let error = git2::Repository::open_bare(&path).err()?;
        let path = path.display();
        Some(format!(
            "The mirror {path} cannot be read: {}. Remove it; the next poll fetches it anew.",
            error.message()
        ))
    });
    broken.collect()
}

fn secrets(config: &Config) -> Vec<String> {
    let token = poke::token_path(&config.data);
    let login = config.mail.as_ref().and_then(|mail| mail.smtp.login.as_ref());
    let mut wrong: Vec<String> = [Some(token.as_path()), login.map(|login| login.password_file.as_path())]
        .into_iter()
        .flatten()
        .filter_map(open_to_others)
        .collect();
    if let Some(login) = login
        && let Err(error) = login.password()
    {
        wrong.push(format!("The mail password {} cannot be read: {error}.", login.password_file.display()));
    }
    wrong
}

fn open_to_others(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let shown = path.display();
    (mode & 0o077 != 0)
        .then(|| format!("{shown} can be read by others (mode {mode:o}). Run: chmod 600 {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_behind_the_newest_row_is_wrong_and_one_before_it_is_not() {
        let minute = |minutes: i64| Timestamp(minutes * 60_000);
        assert!(clock(None, minute(5)).is_empty());
        assert!(clock(Some(minute(4)), minute(5)).is_empty());
        assert!(clock(Some(minute(6)), minute(5)).is_empty());
        assert!(clock(Some(minute(8)), minute(5))[0].contains("180 s from now"));
    }

    #[test]
    fn the_first_of_many_is_named() {
        let found = |count| Orphaned { count, named: vec!["logs/0/1.0.log".into()] };
        assert_eq!(orphaned(&Orphaned::default(), "log", "is gone"), None);
        assert_eq!(orphaned(&found(1), "log", "is gone").unwrap(), "A log is gone: logs/0/1.0.log.");
        let many = orphaned(&found(3), "log", "is gone").unwrap();
        assert_eq!(many, "3 times a log is gone: logs/0/1.0.log and others.");
    }
}
