//! Self-diagnostics: what is wrong with the farm itself, in sentences: what it is, since when, and what to do about it.

use std::time::Duration;

use crate::project_inputs;
use crate::words::ids::Timestamp;

/// That no worker is connected is a problem after so long, if the master was up all the time.
const DISCONNECTED: Duration = Duration::from_secs(30);

/// Whether the farm still works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, but its operator should look at it.
    Warning,
    /// It does not work.
    Grave,
}

impl Severity {
    /// The word for it in JSON and CSS.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Grave => "grave",
        }
    }
}

/// Something that is wrong with the farm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthProblem {
    /// How bad it is.
    pub severity: Severity,
    /// One sentence or more for the operator.
    pub sentence: String,
}

/// The state of the farm itself at one moment.
#[derive(Debug, Clone, Default)]
pub struct HealthFacts {
    /// Problems of the configuration files, as finished sentences.
    pub configuration: Vec<String>,
    /// None if the disk's state is unknown.
    pub disk: Option<Disk>,
    /// Why the database cannot be written or read.
    pub store: Option<String>,
    /// Background tasks that are overdue.
    pub stuck: Vec<String>,
    /// Since when no mail could be sent.
    pub mail: Option<FailingSince>,
    /// Trunks whose remote cannot be polled, by name.
    pub trunks: Vec<(String, FailingSince)>,
    /// Builders whose new toolchain inputs wait because nothing can be built with them, and since when.
    pub toolchain_inputs: Vec<(String, Timestamp)>,
    /// How many workers are approved.
    pub workers: u64,
    /// How many of them are connected.
    pub connected: u64,
    /// When the last of them was seen.
    pub last_seen: Option<Timestamp>,
    /// When the master started.
    pub up_since: Option<Timestamp>,
}

/// The disk that holds the farm's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Free space.
    pub free_bytes: u64,
    /// With less free space no builds are offered.
    pub floor_bytes: u64,
}

impl Disk {
    /// Whether there is room for the results of new builds.
    pub fn has_room(self) -> bool {
        self.free_bytes >= self.floor_bytes
    }
}

/// Something that has failed since a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingSince {
    /// When it began to fail.
    pub since: Timestamp,
    /// The last error, as a sentence.
    pub why: String,
}

/// All problems, the gravest first. `date` formats a moment for readers.
pub fn problems(facts: &HealthFacts, now: Timestamp, date: fn(Timestamp) -> String) -> Vec<HealthProblem> {
    let grave = |sentence| HealthProblem { severity: Severity::Grave, sentence };
    let warning = |sentence| HealthProblem { severity: Severity::Warning, sentence };
    let mut problems = Vec::new();
    problems.extend(facts.store.iter().map(|why| grave(format!("The database does not answer: {why}."))));
    problems.extend(facts.stuck.iter().map(|name| grave(format!("The background task `{name}` is stuck."))));
    problems.extend(facts.disk.and_then(|disk| {
        let (free, floor) = (bytes(disk.free_bytes), bytes(disk.floor_bytes));
        if !disk.has_room() {
            return Some(grave(format!(
                "The disk is full: {free} are free, and below {floor} no new builds are offered. Free some, or lower \
                 `free` or how long data is kept in [retention]."
            )));
        }
        let is_near = disk.free_bytes < disk.floor_bytes.saturating_mul(2);
        is_near.then(|| {
            warning(format!("The disk is nearly full: {free} are free; below {floor} no new builds are offered."))
        })
    }));
    problems.extend(facts.configuration.iter().map(|sentence| warning(sentence.clone())));
    problems.extend(facts.mail.iter().map(|FailingSince { since, why }| {
        warning(format!("No mail has been sent since {}: {why}", date(*since)))
    }));
    problems.extend(facts.trunks.iter().map(|(name, FailingSince { since, why })| {
        warning(format!("{name} has not been polled since {}: {why}", date(*since)))
    }));
    problems.extend(facts.toolchain_inputs.iter().map(|(builder, since)| {
        let (since, until) = (date(*since), date(*since + project_inputs::LONGEST));
        warning(format!(
            "{builder}: with the new recipe or compiler no toolchain can be made of a change that could be built before \
             (since {since}). Mend it; the old inputs stay in use until {until}."
        ))
    }));
    let since = facts.last_seen.max(facts.up_since);
    let are_missed = facts.connected == 0 && since.is_some_and(|since| since + DISCONNECTED < now);
    let last = facts.last_seen.filter(|_| are_missed && facts.workers > 0);
    problems.extend(last.map(|last| {
        let last = date(last);
        warning(format!("No workers are connected (last seen {last}); no builds are running."))
    }));
    problems
}

fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => {
            let tenths = (u128::from(bytes) * 10 + u128::from(unit / 2)) / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// One line for each problem, the grave ones with a `!`.
    fn shown(facts: HealthFacts) -> String {
        let line = |problem: HealthProblem| match problem.severity {
            Severity::Grave => format!("! {}", problem.sentence),
            Severity::Warning => problem.sentence,
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
    fn a_healthy_farm_has_no_problems() {
        assert_eq!(shown(HealthFacts::default()), "");
        assert_eq!(shown(HealthFacts { workers: 1, connected: 1, ..disk(4 * GIB) }), "");
    }

    #[test]
    fn a_disk_is_nearly_full_before_it_is_full() {
        assert_eq!(
            shown(disk(4 * GIB - 1)),
            "The disk is nearly full: 4.0 GiB are free; below 2.0 GiB no new builds are offered."
        );
        assert!(!shown(disk(2 * GIB)).starts_with('!'));
        assert!(shown(disk(2 * GIB - 1)).starts_with("! The disk is full: 2.0 GiB are free"));
        assert!(shown(disk(0)).starts_with("! The disk is full: 0 B are free"));
    }

    #[test]
    fn what_stops_the_farm_comes_first() {
        let failing = |why: &str| FailingSince { since: Timestamp(3), why: why.into() };
        let facts = HealthFacts {
            configuration: vec!["farm.toml:3: no".into()],
            stuck: vec!["search".into()],
            mail: Some(failing("refused")),
            trunks: vec![("lua".into(), failing("no route"))],
            toolchain_inputs: vec![("lua master linux".into(), Timestamp(7))],
            ..HealthFacts::default()
        };
        assert_eq!(
            shown(facts),
            "! The background task `search` is stuck.\n\
             farm.toml:3: no\n\
             No mail has been sent since day 3: refused\n\
             lua has not been polled since day 3: no route\n\
             lua master linux: with the new recipe or compiler no toolchain can be made of a change that could be built \
             before (since day 7). Mend it; the old inputs stay in use until day 1209600007."
        );
    }

    #[test]
    fn that_no_worker_is_connected_is_a_problem_only_if_one_was_seen_before() {
        let away = |workers, last_seen| HealthFacts { workers, last_seen, ..HealthFacts::default() };
        assert_eq!(shown(away(0, None)), "");
        assert_eq!(shown(away(2, None)), "", "they are approved and have not connected yet");
        let missed = shown(away(2, Some(Timestamp(5))));
        assert_eq!(missed, "No workers are connected (last seen day 5); no builds are running.");
        assert_eq!(shown(away(2, Some(Timestamp(80_000)))), "", "it may be on its way back");
        let started = HealthFacts { up_since: Some(Timestamp(80_000)), ..away(2, Some(Timestamp(5))) };
        assert_eq!(shown(started), "", "the master has not been up for long");
    }
}
