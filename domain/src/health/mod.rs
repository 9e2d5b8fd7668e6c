//! Self-diagnostics: what is wrong with the farm itself, in sentences: what it is, since when, and what to do about it.

pub mod missing_ref;
pub mod production;

use std::time::Duration;

use crate::project_inputs;
use crate::words::ids::Timestamp;
use missing_ref::MissingRef;
use production::ProductionFacts;

/// That no worker is connected is a problem after so long, if the master was up all the time.
const DISCONNECTED: Duration = Duration::from_secs(30);

/// That the machine's clock jumped is a problem from so much on; the farm makes up for less in a few minutes.
const JUMPED_MS: u64 = 60_000;

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
    /// Canaries without the outcome that they must have, as finished sentences.
    pub canaries: Vec<String>,
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
    /// Projects whose revision in use cannot be fetched any more, with that revision, and since when.
    pub lost_revisions: Vec<(String, String, Timestamp)>,
    /// By how many milliseconds the machine's clock is ahead of the farm's.
    pub clock_ahead_ms: i64,
    /// Branches and tags that are configured and that their remotes do not have, the first found first.
    pub missing_refs: Vec<MissingRef>,
    /// Caches that changed what a build showed, the newest first.
    pub cache_disagreements: Vec<CacheDisagreement>,
    /// What the farm is to test, and with whom; none if that could not be read.
    pub production: Option<ProductionFacts>,
}

/// How long a disagreement about caches is shown.
pub const CACHES_SHOWN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Runs without declared caches that showed something else than runs with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheDisagreement {
    /// The project, or the trunk whose recipe declares the caches.
    pub owner: String,
    /// The commit that was tested.
    pub change: String,
    /// The last run without them.
    pub build: i64,
    /// When that run ended.
    pub found_at: Timestamp,
    /// How many cases differ.
    pub cases: u32,
    /// The name of one of them.
    pub example: String,
}

impl CacheDisagreement {
    fn sentence(&self, date: fn(Timestamp) -> String) -> String {
        let CacheDisagreement { owner, build, cases, example, .. } = self;
        let change: String = self.change.chars().take(10).collect();
        let cases = match cases {
            1 => format!("case `{example}` differs"),
            more => format!("{more} cases differ, such as `{example}`"),
        };
        format!(
            "The caches of {owner} change what its builds show: at {change}, {cases} where it runs without them (build {build}, \
             {}). They were dropped and begin empty. If this comes again, leave out of [[cache]] what is made with the \
             toolchain and not only downloaded.",
            date(self.found_at)
        )
    }
}

/// Whether a worker counts as here: one that lost its connection a moment ago is on its way back, and after a start of the
/// master all are.
pub fn is_here(
    connected: bool,
    seen_at: Option<Timestamp>,
    up_since: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    connected || seen_at.max(up_since).is_some_and(|since| since + DISCONNECTED >= now)
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
    problems.extend(facts.lost_revisions.iter().map(|(name, revision, since)| {
        warning(format!(
            "Revision {revision} of {name}, which is in use, has not been there any more since {}: its repository was \
             force-pushed. Its newest revision is taken into use as soon as it has run once.",
            date(*since)
        ))
    }));
    let jumped_ms = facts.clock_ahead_ms.unsigned_abs();
    problems.extend((jumped_ms >= JUMPED_MS).then(|| {
        let minutes = jumped_ms / 60_000;
        let direction = if facts.clock_ahead_ms > 0 { "ahead of" } else { "behind" };
        warning(format!(
            "The machine's clock jumped, or the machine was suspended: it is {minutes} min {direction} the farm's clock, which \
             follows slowly so that nothing ends too early. If the machine is right, restart the master: then the farm \
             takes its time at once."
        ))
    }));
    problems.extend(facts.canaries.iter().map(|sentence| warning(sentence.clone())));
    problems.extend(facts.toolchain_inputs.iter().map(|(builder, since)| {
        let (since, until) = (date(*since), date(*since + project_inputs::LONGEST));
        warning(format!(
            "{builder}: with the new recipe or compiler no toolchain can be made of a change that could be built before \
             (since {since}). Mend it; the old inputs stay in use until {until}."
        ))
    }));
    let since = facts.last_seen.max(facts.up_since);
    let are_missed = facts.connected == 0 && since.is_some_and(|since| since + DISCONNECTED < now);
    if are_missed && facts.workers > 0 {
        problems.push(warning(match facts.last_seen {
            Some(last) => {
                format!("No workers are connected (last seen {}); no builds are running.", date(last))
            }
            None => "No approved worker has connected yet, so nothing is built. Start `farm-worker run` on its machine."
                .into(),
        }));
    }
    problems.extend(facts.cache_disagreements.iter().map(|it| warning(it.sentence(date))));
    problems.extend(missing_refs(&facts.missing_refs, date).into_iter().map(warning));
    let production = facts.production.iter().flat_map(|facts| production::problems(facts, now, date));
    problems.extend(production.map(warning));
    problems
}

/// A sentence for each, up to a bound.
fn missing_refs(missing: &[MissingRef], date: fn(Timestamp) -> String) -> Vec<String> {
    const MOST: usize = 10;
    let mut sentences: Vec<String> = missing.iter().take(MOST).map(|one| one.sentence(date)).collect();
    if missing.len() > MOST {
        sentences.push(format!("{} more branches and tags are missing; / lists them.", missing.len() - MOST));
    }
    sentences
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
            canaries: vec!["Canary failing.".into()],
            toolchain_inputs: vec![("lua master linux".into(), Timestamp(7))],
            ..HealthFacts::default()
        };
        assert_eq!(
            shown(facts),
            "! The background task `search` is stuck.\n\
             farm.toml:3: no\n\
             No mail has been sent since day 3: refused\n\
             lua has not been polled since day 3: no route\n\
             Canary failing.\n\
             lua master linux: with the new recipe or compiler no toolchain can be made of a change that could be built \
             before (since day 7). Mend it; the old inputs stay in use until day 1209600007."
        );
    }

    #[test]
    fn caches_that_change_a_result_are_named_with_the_cure() {
        let disagreement = CacheDisagreement {
            owner: "polite".into(),
            change: "0123456789abcdef".into(),
            build: 7,
            found_at: Timestamp(3),
            cases: 2,
            example: "says hello".into(),
        };
        let one = CacheDisagreement { cases: 1, ..disagreement.clone() };
        let facts = |it| HealthFacts { cache_disagreements: vec![it], ..HealthFacts::default() };
        assert_eq!(
            shown(facts(disagreement)),
            "The caches of polite change what its builds show: at 0123456789, 2 cases differ, such as `says hello` where it \
             runs without them (build 7, day 3). They were dropped and begin empty. If this comes again, leave out of \
             [[cache]] what is made with the toolchain and not only downloaded."
        );
        assert!(shown(facts(one)).contains("at 0123456789, case `says hello` differs where it runs"));
    }

    #[test]
    fn a_revision_that_is_gone_is_named() {
        let lost_revisions = vec![("polite".into(), "1f3a".into(), Timestamp(3))];
        assert_eq!(
            shown(HealthFacts { lost_revisions, ..HealthFacts::default() }),
            "Revision 1f3a of polite, which is in use, has not been there any more since day 3: its repository was \
             force-pushed. Its newest revision is taken into use as soon as it has run once."
        );
    }

    #[test]
    fn a_clock_that_jumped_is_a_problem_until_the_farm_has_nearly_caught_up() {
        let off = |clock_ahead_ms| shown(HealthFacts { clock_ahead_ms, ..HealthFacts::default() });
        assert_eq!(off(59_999), "");
        assert_eq!(off(-59_999), "");
        assert!(off(86_400_000).contains("it is 1440 min ahead of the farm's clock"));
        assert!(off(-60_000).contains("it is 1 min behind the farm's clock"));
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
        let never = HealthFacts { up_since: Some(Timestamp(5)), ..away(2, None) };
        assert!(shown(never).starts_with("No approved worker has connected yet"));
    }

    #[test]
    fn a_worker_that_left_a_moment_ago_counts_as_here() {
        let now = Timestamp(100_000);
        assert!(is_here(true, None, None, now));
        assert!(is_here(false, Some(Timestamp(80_000)), None, now));
        assert!(is_here(false, Some(Timestamp(5)), Some(Timestamp(80_000)), now));
        assert!(!is_here(false, Some(Timestamp(5)), Some(Timestamp(5)), now));
        assert!(!is_here(false, None, None, now));
    }

    #[test]
    fn what_keeps_the_farm_from_testing_is_a_warning_as_it_works_itself() {
        let missing = MissingRef {
            owner: missing_ref::RefOwner::Trunk("lua".into()),
            kind: missing_ref::RefKind::Branch,
            name: "master".into(),
            since: Timestamp(5),
            head: None,
            present: Vec::new(),
            more: 0,
        };
        let facts = HealthFacts {
            missing_refs: vec![missing; 12],
            production: Some(ProductionFacts::default()),
            ..HealthFacts::default()
        };
        let text = shown(facts);
        assert!(!text.contains('!'), "{text}");
        assert_eq!(
            text.lines().filter(|line| line.starts_with("lua has no branch `master`")).count(),
            10,
            "{text}"
        );
        assert!(text.contains("2 more branches and tags are missing; / lists them."), "{text}");
        assert!(
            text.ends_with("No branch is watched, so nothing is built. Add a [[trunk]] to farm.toml."),
            "{text}"
        );
    }
}
