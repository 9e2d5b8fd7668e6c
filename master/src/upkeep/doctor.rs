//! `farm-master doctor`: checks the farm's data, its disk and its secrets, and reports what is wrong and what to do about it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use domain::words::ids::Timestamp;
use store::{Orphaned, Store};

use crate::config::Config;
use crate::farm::{disk, now, poke_token};

/// A clock that is wrong by less is not reported: the newest row may be a worker's heartbeat of a moment ago.
const CLOCK_MS: i64 = 60_000;

/// The results: a sentence for each check.
#[derive(Debug, Default)]
pub struct Findings {
    pub passed: Vec<String>,
    pub failed: Vec<String>,
}

impl Findings {
    /// Adds one check: it passed, or `problems` says what is wrong.
    fn add(&mut self, check: &str, problems: Vec<String>) {
        match problems.is_empty() {
            true => self.passed.push(check.to_string()),
            false => self.failed.extend(problems),
        }
    }
}

/// Runs all checks, also while the master runs. It changes nothing, except that opening the store migrates its schema. It is
/// a command of its own, so that its checks may block on files: nothing else waits for its runtime.
pub async fn examine(config: &Config) -> Result<Findings> {
    let mut findings = Findings::default();
    let store = Store::open(&config.data).await?;
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let broken = read.integrity().await?.into_iter().map(|damage| {
        format!("The database is damaged: {damage}. Stop the master and restore the last backup.")
    });
    findings.add("the database is sound", broken.collect());
    let newest = read.newest_moment().await?;
    findings.add("the clock is not behind the newest row", clock(newest, now()));
    drop(snapshot);
    // Rows that are written after the files are listed would seem to have none: so this reads outside the snapshot.
    let orphans = store.latest().await?.read().orphans(&config.data).await?;
    let kinds = [
        (&orphans.lost_logs, "log", "is missing or too short; pages say so, and nothing else needs it"),
        (
            &orphans.lost_toolchains,
            "toolchain",
            "is missing or too short; suites that need it end as an infra failure",
        ),
        (&orphans.stray_logs, "file of a log", "belongs to no row; you may remove it"),
        (&orphans.stray_toolchains, "file of a toolchain", "belongs to no row; you may remove it"),
    ];
    let orphans =
        kinds.into_iter().filter_map(|(found, what, consequence)| describe_orphans(found, what, consequence));
    findings.add("rows and files fit together", orphans.collect());
    store.close().await;
    findings.add("the disk has enough free space", free_space(config).await);
    findings.add("all mirrors can be opened", mirrors(config));
    findings.add("only the farm's user can read its secrets", secrets(config));
    Ok(findings)
}

fn clock(newest: Option<Timestamp>, now: Timestamp) -> Vec<String> {
    let ahead = newest.map_or(0, |newest| newest.0 - now.0);
    if ahead <= CLOCK_MS {
        return Vec::new();
    }
    vec![format!(
        "The clock is wrong: the newest row lies {} s in the future. Set the clock by NTP; until then leases and polls wait.",
        ahead / 1000
    )]
}

fn describe_orphans(found: &Orphaned, what: &str, consequence: &str) -> Option<String> {
    let first = found.named.first()?;
    Some(match found.count {
        1 => format!("A {what} {consequence}: {first}."),
        count => format!("{count} times a {what} {consequence}: {first} and others."),
    })
}

async fn free_space(config: &Config) -> Vec<String> {
    let Some(disk) = disk::free_space(config, &config.data).await else {
        return vec![format!(
            "Cannot read the free space in {}. Check the file system.",
            config.data.display()
        )];
    };
    if disk.has_room() {
        return Vec::new();
    }
    let (free, floor) = (disk.free_bytes >> 20, disk.floor_bytes >> 20);
    vec![format!(
        "The disk is full: {free} MiB are free, and below {floor} MiB (`free` in [retention]) no builds are offered. Free some space."
    )]
}

#[expect(clippy::disallowed_methods, reason = "a command of its own")]
fn mirrors(config: &Config) -> Vec<String> {
    let broken = config.trunks.iter().filter_map(|trunk| {
        let path = config.data.join("git").join(format!("{}.git", trunk.name));
        if !path.exists() {
            return None;
        }
        let error = git2::Repository::open_bare(&path).err()?;
        let path = path.display();
        Some(format!(
            "Cannot open the mirror {path}: {}. Remove it; the next poll fetches it again.",
            error.message()
        ))
    });
    broken.collect()
}

fn secrets(config: &Config) -> Vec<String> {
    let token = poke_token::path(&config.data);
    let login = config.mail.as_ref().and_then(|mail| mail.smtp.login.as_ref());
    let mut problems: Vec<String> = [Some(token.as_path()), login.map(|login| login.password_file.as_path())]
        .into_iter()
        .flatten()
        .filter_map(readable_by_others)
        .collect();
    if let Some(login) = login
        && let Err(error) = login.password()
    {
        problems
            .push(format!("Cannot read the mail password in {}: {error}.", login.password_file.display()));
    }
    problems
}

#[expect(clippy::disallowed_methods, reason = "a command of its own")]
fn readable_by_others(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let shown = path.display();
    (mode & 0o077 != 0)
        .then(|| format!("Other users can read {shown} (mode {mode:o}). Run: chmod 600 {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_is_minutes_behind_the_newest_row_is_wrong() {
        let minute = |minutes: i64| Timestamp(minutes * 60_000);
        assert!(clock(None, minute(5)).is_empty());
        assert!(clock(Some(minute(4)), minute(5)).is_empty());
        assert!(clock(Some(minute(6)), minute(5)).is_empty());
        assert!(clock(Some(minute(8)), minute(5))[0].contains("180 s in the future"));
    }

    #[test]
    fn the_first_of_several_orphans_is_named() {
        let found = |count| Orphaned { count, named: vec!["logs/0/1.0.log".into()] };
        assert_eq!(describe_orphans(&Orphaned::default(), "log", "is gone"), None);
        assert_eq!(describe_orphans(&found(1), "log", "is gone").unwrap(), "A log is gone: logs/0/1.0.log.");
        let many = describe_orphans(&found(3), "log", "is gone").unwrap();
        assert_eq!(many, "3 times a log is gone: logs/0/1.0.log and others.");
    }
}
