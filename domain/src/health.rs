//! What is wrong with the farm itself, in sentences: what it is, since when, and what to do about it.

use std::time::Duration;

use crate::words::ids::Timestamp;

/// Workers are missed when none was heard for so long, while the master was up to hear them.
const MISSED: Duration = Duration::from_secs(30);

/// Whether the farm still does what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does, but somebody should look.
    Warning,
    /// It does not.
    Grave,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Grave => "grave",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthProblem {
    pub gravity: Severity,
    pub said: String,
}

/// What is known of the farm itself at one moment.
#[derive(Debug, Clone, Default)]
pub struct HealthFacts {
    /// What the files say that is not in force, as finished sentences.
    pub configuration: Vec<String>,
    /// None when the disk could not be asked.
    pub disk: Option<Disk>,
    /// Why nothing can be written, or read.
    pub store: Option<String>,
    /// Patrols that were not heard of for too long.
    pub stuck: Vec<String>,
    pub mail: Option<FailingSince>,
    /// Trunks whose remote does not answer, by name.
    pub trunks: Vec<(String, FailingSince)>,
    /// How many workers were let in, how many of them are connected, and when the last of them was heard.
    pub workers: u64,
    pub connected: u64,
    pub last_heard: Option<Timestamp>,
    /// When the master started.
    pub up_since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    pub free_bytes: u64,
    /// Below it no builds are offered.
    pub floor_bytes: u64,
}

impl Disk {
    /// Whether there is room for what new builds would bring.
    pub fn has_room(self) -> bool {
        self.free_bytes >= self.floor_bytes
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingSince {
    pub since: Timestamp,
    pub why: String,
}

/// The gravest first. `date` writes a moment for readers.
pub fn problems(facts: &HealthFacts, now: Timestamp, date: fn(Timestamp) -> String) -> Vec<HealthProblem> {
    let grave = |said| HealthProblem { gravity: Severity::Grave, said };
    let warning = |said| HealthProblem { gravity: Severity::Warning, said };
    let mut problems = Vec::new();
    problems.extend(facts.store.iter().map(|why| grave(format!("The database does not answer: {why}."))));
    problems.extend(
        facts.stuck.iter().map(|name| grave(format!("The master's patrol `{name}` does not move any more."))),
    );
    problems.extend(facts.disk.and_then(|disk| {
        let (free, floor) = (bytes(disk.free_bytes), bytes(disk.floor_bytes));
        if !disk.has_room() {
            return Some(grave(format!(
                "The disk is full: {free} are free, and below {floor} no new builds are offered. Free some, or lower \
                 `free` or what is kept in [retention]."
            )));
        }
        let is_near = disk.free_bytes < disk.floor_bytes.saturating_mul(2);
        is_near.then(|| {
            warning(format!("The disk is nearly full: {free} are free; below {floor} no new builds are offered."))
        })
    }));
    problems.extend(facts.configuration.iter().map(|said| warning(said.clone())));
    problems.extend(facts.mail.iter().map(|FailingSince { since, why }| {
        warning(format!("Mail has not left the farm since {}: {why}", date(*since)))
    }));
    problems.extend(facts.trunks.iter().map(|(name, FailingSince { since, why })| {
        warning(format!("{name} cannot be polled since {}: {why}", date(*since)))
    }));
    let since = facts.last_heard.max(facts.up_since);
    let are_missed = facts.connected == 0 && since.is_some_and(|since| since + MISSED < now);
    let last = facts.last_heard.filter(|_| are_missed && facts.workers > 0);
    problems.extend(last.map(|last| {
        let last = date(last);
        warning(format!("No worker is here; the last one was heard on {last}. Nothing is built meanwhile."))
    }));
    problems
}

fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// One line a trouble, the grave ones with a `!`.
    fn said(facts: HealthFacts) -> String {
        let line = |trouble: HealthProblem| match trouble.gravity {
            Severity::Grave => format!("! {}", trouble.said),
            Severity::Warning => trouble.said,
        };
        let lines: Vec<String> = problems(&facts, Timestamp(100_000), |at| format!("day {}", at.0))
            .into_iter()
            .map(line)
            .collect();
        lines.join("\n")
    }

    fn disk(free_bytes: u64) -> HealthFacts {
        HealthFacts { disk: Some(Disk { free_bytes, floor_bytes: 2 * GIB }), ..HealthFacts::default() }
    }

    #[test]
    fn a_farm_that_is_well_says_nothing() {
        assert_eq!(said(HealthFacts::default()), "");
        assert_eq!(said(HealthFacts { workers: 1, connected: 1, ..disk(4 * GIB) }), "");
    }

    #[test]
    fn a_disk_is_nearly_full_before_it_is_full() {
        assert_eq!(
            said(disk(4 * GIB - 1)),
            "The disk is nearly full: 4.0 GiB are free; below 2.0 GiB no new builds are offered."
        );
        assert!(!said(disk(2 * GIB)).starts_with('!'));
        assert!(said(disk(2 * GIB - 1)).starts_with("! The disk is full: 2.0 GiB are free"));
        assert!(said(disk(0)).starts_with("! The disk is full: 0 B are free"));
    }

    #[test]
    fn what_stops_the_farm_comes_first() {
        let failing = |why: &str| FailingSince { since: Timestamp(3), why: why.into() };
        let facts = HealthFacts {
            configuration: vec!["farm.toml:3: no".into()],
            stuck: vec!["searching".into()],
            mail: Some(failing("refused")),
            trunks: vec![("lua".into(), failing("no route"))],
            ..HealthFacts::default()
        };
        assert_eq!(
            said(facts),
            "! The master's patrol `searching` does not move any more.\n\
             farm.toml:3: no\n\
             Mail has not left the farm since day 3: refused\n\
             lua cannot be polled since day 3: no route"
        );
    }

    #[test]
    fn workers_that_are_all_away_are_missed_and_a_farm_without_any_misses_none() {
        let away = |workers, last_heard| HealthFacts { workers, last_heard, ..HealthFacts::default() };
        assert_eq!(said(away(0, None)), "");
        assert_eq!(said(away(2, None)), "", "they were let in and have not come yet");
        let missed = said(away(2, Some(Timestamp(5))));
        assert_eq!(missed, "No worker is here; the last one was heard on day 5. Nothing is built meanwhile.");
        assert_eq!(said(away(2, Some(Timestamp(80_000)))), "", "it may be on its way back");
        let started = HealthFacts { up_since: Some(Timestamp(80_000)), ..away(2, Some(Timestamp(5))) };
        assert_eq!(said(started), "", "the master has not been up for long");
    }
}
