//! Whether the farm tests what it is configured to test, and if not, why, and what to do: all is well only if every
//! branch is built on every platform, every project can run there, and results arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::dispatch::waiting::{BuildNeeds, KnownWorker, WaitReason, why};
use crate::variant::target;
use crate::words::ids::Timestamp;
use crate::words::{BuilderKind, Reason};

/// A branch whose newest changes have had no verdict for so long is a problem. Most toolchains and suites take minutes.
pub const MAX_WAIT: Duration = Duration::from_secs(6 * 3600);
/// A farm that has ended no build for so long, although a change waits, is a problem.
const MAX_STANDSTILL: Duration = Duration::from_secs(24 * 3600);

/// A branch on a platform, in one variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchPlatform {
    /// The name of the trunk.
    pub trunk: String,
    /// The name of the branch.
    pub branch: String,
    /// The label of the platform.
    pub platform: String,
    /// What the variant is called; none where the trunk has the default build only.
    pub variant: Option<String>,
    /// Its suites.
    pub suites: Vec<SuiteNeeds>,
    /// When the oldest of its newest changes without a verdict was found: those after the newest change that has one.
    pub waits_since: Option<Timestamp>,
    /// Its newest change, short.
    pub tip: Option<String>,
}

/// A suite that is to run on a branch and platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteNeeds {
    /// Its project.
    pub project: String,
    /// What a worker must offer for it.
    pub wants: Vec<String>,
}

/// A worker that has asked to join, and waits for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingWorker {
    /// Its name.
    pub name: String,
}

/// A project whose last builds were all infra failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfraProject {
    /// Its name.
    pub project: String,
    /// How many builds in a row, as far as they were counted.
    pub builds: u64,
    /// When the last of them finished.
    pub last: Timestamp,
    /// Why, where it cannot fetch what it needs: a clause.
    pub fetch: Option<String>,
}

/// What the farm is to test, with whom, and how far it gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProductionFacts {
    /// Each watched branch on each of its platforms.
    pub columns: Vec<BranchPlatform>,
    /// The workers that are approved. One that was lost a moment ago counts as here.
    pub workers: Vec<KnownWorker>,
    /// Those that wait for approval.
    pub pending: Vec<PendingWorker>,
    /// When a build last ended with an outcome.
    pub last_finished: Option<Timestamp>,
    /// Projects whose last builds were all infra failures.
    pub infra_projects: Vec<InfraProject>,
}

/// How many sentences of one kind are written before the rest is counted.
const MAX_SENTENCES: usize = 5;
/// How many names a sentence lists before the rest is counted.
const MAX_NAMES: usize = 4;

/// Everything that keeps the farm from testing what it is configured to test, each in a sentence with its cure.
pub fn problems(facts: &ProductionFacts, now: Timestamp, date: fn(Timestamp) -> String) -> Vec<String> {
    if facts.columns.is_empty() {
        return vec!["No branch is watched, so nothing is built. Add a [[trunk]] to farm.toml.".into()];
    }
    let mut sentences = Vec::new();
    if facts.workers.is_empty() {
        sentences.push(no_worker(&facts.pending));
    } else {
        sentences.extend(bounded(platforms_without_toolchains(facts), "platforms"));
        sentences.extend(bounded(suites_without_workers(facts), "projects"));
    }
    sentences.extend(waiting(facts, now, date));
    sentences.extend(bounded(facts.infra_projects.iter().map(|row| infra(row, date)).collect(), "projects"));
    sentences
}

fn no_worker(pending: &[PendingWorker]) -> String {
    match pending {
        [] => "No worker is approved, so nothing is built. Run `farm-worker join` on a machine, and approve it with \
               `farm-master worker approve CODE --owner NAME --trust maker`."
            .into(),
        [_, ..] => {
            let names: Vec<String> = pending.iter().map(|worker| worker.name.clone()).collect();
            let verb = if pending.len() == 1 { "waits" } else { "wait" };
            format!(
                "No worker is approved, so nothing is built; {} {verb} for approval. `farm-master worker pending` shows \
                 their codes; approve one with `farm-master worker approve CODE --owner NAME --trust maker`.",
                listed(&names)
            )
        }
    }
}

/// The needs of a toolchain, and of a suite, for the newest change.
fn needs<'a>(kind: BuilderKind, platform: &'a str, wants: &'a [String]) -> BuildNeeds<'a> {
    BuildNeeds { kind, reason: Reason::Tip, platform, wants, only_worker: None, makers: &[] }
}

/// Why a toolchain is not built on a platform; none if it is.
fn toolchain_obstacle(workers: &[KnownWorker], platform: &str) -> Option<WaitReason> {
    obstacle(why(&needs(BuilderKind::Toolchain, platform, &[]), workers))
}

/// A build that waits for its turn is not kept from anything.
fn obstacle(reason: WaitReason) -> Option<WaitReason> {
    match reason {
        WaitReason::Turn | WaitReason::Busy(_) | WaitReason::BusyMakers(_) | WaitReason::AbsentMakers(_) => {
            None
        }
        WaitReason::Absent(_) | WaitReason::NoOffer(_) | WaitReason::NoTrust(_) | WaitReason::NoPlatform => {
            Some(reason)
        }
    }
}

fn is_anyone_here(workers: &[KnownWorker]) -> bool {
    workers.iter().any(|worker| worker.is_here)
}

/// One sentence for each platform on which no toolchain can be made.
fn platforms_without_toolchains(facts: &ProductionFacts) -> Vec<String> {
    let mut trunks: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for column in &facts.columns {
        trunks.entry(&column.platform).or_default().insert(&column.trunk);
    }
    let sentence = |(platform, trunks): (&str, BTreeSet<&str>)| {
        let trunks = listed(&trunks.into_iter().map(str::to_string).collect::<Vec<_>>());
        Some(match toolchain_obstacle(&facts.workers, platform)? {
            WaitReason::NoPlatform => {
                let waits = match facts.pending.len() {
                    0 => String::new(),
                    n => format!(" ({n} still wait for approval)"),
                };
                format!(
                    "No approved worker is of platform {platform}{waits}, so {trunks} is not built there. Approve a worker \
                     of that platform, or correct `platforms` in farm.toml."
                )
            }
            WaitReason::NoTrust(_) => format!(
                "No maker is approved for {platform}, so no toolchain of {trunks} is built there. Make one of its workers a \
                 maker: `farm-master worker approve CODE --owner NAME --trust maker`."
            ),
            WaitReason::Absent(makers) if is_anyone_here(&facts.workers) => format!(
                "No maker for {platform} is connected, so no toolchain of {trunks} is built there. Start `farm-worker run` on \
                 {}, or make a connected worker a maker.",
                listed(&makers)
            ),
            // That nobody is connected is a problem of its own.
            WaitReason::Absent(_)
            | WaitReason::NoOffer(_)
            | WaitReason::Turn
            | WaitReason::Busy(_)
            | WaitReason::BusyMakers(_)
            | WaitReason::AbsentMakers(_) => {
                return None;
            }
        })
    };
    trunks.into_iter().filter_map(sentence).collect()
}

/// One sentence for each project that no worker of a platform can test, though toolchains are built there.
fn suites_without_workers(facts: &ProductionFacts) -> Vec<String> {
    let mut found: BTreeMap<(&str, Vec<String>, Lack), BTreeSet<&str>> = BTreeMap::new();
    for column in &facts.columns {
        if toolchain_obstacle(&facts.workers, &column.platform).is_some() {
            continue;
        }
        for suite in &column.suites {
            let needs = needs(BuilderKind::Suite, &column.platform, &suite.wants);
            let (missing, lack) = match why(&needs, &facts.workers) {
                WaitReason::NoOffer(missing) => (missing, Lack::Offer),
                WaitReason::Absent(workers) => (workers, Lack::Connection),
                // A maker is trusted with suites, too, and is here.
                WaitReason::NoTrust(_)
                | WaitReason::NoPlatform
                | WaitReason::Turn
                | WaitReason::Busy(_)
                | WaitReason::BusyMakers(_)
                | WaitReason::AbsentMakers(_) => {
                    continue;
                }
            };
            found.entry((&suite.project, missing, lack)).or_default().insert(&column.platform);
        }
    }
    let sentence = |((project, names, lack), platforms): ((&str, Vec<String>, Lack), BTreeSet<&str>)| {
        let platforms = listed(&platforms.into_iter().map(str::to_string).collect::<Vec<_>>());
        match lack {
            Lack::Offer => format!(
                "{project} is not tested on {platforms}: it wants {}, which no approved worker there offers. Add it to \
                 `offers` in a worker's worker.toml, or take it out of the project's `wants`.",
                listed(&names)
            ),
            Lack::Connection => format!(
                "{project} is not tested on {platforms}: the workers that offer what it wants are not connected. Start \
                 `farm-worker run` on {}.",
                listed(&names)
            ),
        }
    };
    found.into_iter().map(sentence).collect()
}

/// What keeps a suite from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    /// No approved worker offers what it wants.
    Offer,
    /// Those that do are not connected.
    Connection,
}

/// Changes that have waited too long for a verdict, where workers are here for them; and a farm that ends no build at all.
fn waiting(facts: &ProductionFacts, now: Timestamp, date: fn(Timestamp) -> String) -> Vec<String> {
    let waits = |column: &&BranchPlatform, limit| column.waits_since.is_some_and(|since| since + limit < now);
    let oldest = facts.columns.iter().filter(|column| waits(column, MAX_STANDSTILL));
    let oldest = oldest.min_by_key(|column| column.waits_since);
    let stands_still = facts.last_finished.is_none_or(|last| last + MAX_STANDSTILL < now);
    if let Some(column) = oldest.filter(|_| stands_still) {
        let last = match facts.last_finished {
            Some(last) => format!("No build has ended since {}", date(last)),
            None => "No build has ever ended".into(),
        };
        return vec![format!(
            "{last}, although a change of {} {} waits. /queue shows what each build waits for.",
            column.trunk, column.branch
        )];
    }
    let is_unexplained = |column: &&BranchPlatform| {
        waits(column, MAX_WAIT) && toolchain_obstacle(&facts.workers, &column.platform).is_none()
    };
    let sentence = |column: &BranchPlatform| {
        let since = column.waits_since.map(date).unwrap_or_default();
        let tip = column.tip.as_deref().unwrap_or_default();
        format!(
            "{} {} has had no verdict on {} for changes since {since} (newest: {tip}), although workers are connected. \
             /queue shows what each build waits for.",
            column.trunk,
            column.branch,
            target(&column.platform, column.variant.as_deref())
        )
    };
    bounded(facts.columns.iter().filter(is_unexplained).map(sentence).collect(), "platforms")
}

fn infra(row: &InfraProject, date: fn(Timestamp) -> String) -> String {
    let builds = if row.builds == 1 {
        "its only build was an infra failure".into()
    } else {
        format!("its last {} builds were infra failures", row.builds)
    };
    let fetch = row.fetch.as_ref().map(|fetch| format!(": {fetch}")).unwrap_or_default();
    format!(
        "{} is not tested: {builds}, the last on {}{fetch}. /projects/{} shows their causes.",
        row.project,
        date(row.last),
        row.project
    )
}

/// The first of them, and how many more there are.
fn bounded(mut sentences: Vec<String>, what: &str) -> Vec<String> {
    let more = sentences.len().saturating_sub(MAX_SENTENCES);
    if more > 0 {
        sentences.truncate(MAX_SENTENCES);
        sentences.push(format!("The same holds for {more} more {what}."));
    }
    sentences
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::WorkerFacts;

    use super::*;
    use crate::words::Trust;

    const HOUR: i64 = 3_600_000;
    const NOW: Timestamp = Timestamp(1_000 * HOUR);

    /// A worker as `name trust arch offers`; with a `!` after its name it is connected.
    fn worker(text: &str) -> KnownWorker {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [name, trust, arch, offers] = words[..] else { panic!("four words: {text}") };
        let offers = offers.split(',').filter(|offer| *offer != "-").map(str::to_string).collect();
        KnownWorker {
            name: name.trim_end_matches('!').into(),
            trust: Trust::parse(trust).unwrap(),
            facts: WorkerFacts { os: "linux".into(), arch: arch.into(), offers, ..WorkerFacts::default() },
            is_here: name.ends_with('!'),
            free_slots: 1,
        }
    }

    /// `lua master` on this platform, with a suite `say` that wants nothing and a suite `sql` that wants postgresql.
    fn column(arch: &str) -> BranchPlatform {
        let suite = |project: &str, wants: &[&str]| SuiteNeeds {
            project: project.into(),
            wants: wants.iter().map(ToString::to_string).collect(),
        };
        BranchPlatform {
            trunk: "lua".into(),
            branch: "master".into(),
            platform: format!("linux-{arch}"),
            variant: None,
            suites: vec![suite("say", &[]), suite("sql", &["postgresql"])],
            waits_since: None,
            tip: Some("abc1234".into()),
        }
    }

    fn facts(columns: &[&str], workers: &[&str]) -> ProductionFacts {
        ProductionFacts {
            columns: columns.iter().map(|arch| column(arch)).collect(),
            workers: workers.iter().map(|text| worker(text)).collect(),
            last_finished: Some(Timestamp(999 * HOUR)),
            ..ProductionFacts::default()
        }
    }

    fn shown(facts: &ProductionFacts) -> String {
        problems(facts, NOW, |at| format!("hour {}", at.0 / HOUR)).join("\n")
    }

    #[test]
    fn a_farm_that_can_test_everything_has_no_problem() {
        assert_eq!(shown(&facts(&["x86_64"], &["w1! maker x86_64 postgresql"])), "");
        assert_eq!(shown(&facts(&["x86_64"], &["w1! maker x86_64 -", "w2! counted x86_64 postgresql"])), "");
    }

    #[test]
    fn an_empty_farm_is_not_well() {
        assert_eq!(
            shown(&ProductionFacts::default()),
            "No branch is watched, so nothing is built. Add a [[trunk]] to farm.toml."
        );
        let nobody = facts(&["x86_64"], &[]);
        assert!(
            shown(&nobody).starts_with("No worker is approved, so nothing is built. Run `farm-worker join`")
        );
        let pending = |name: &str| PendingWorker { name: name.into() };
        assert_eq!(
            shown(&ProductionFacts { pending: vec![pending("a"), pending("b")], ..nobody }),
            "No worker is approved, so nothing is built; a, b wait for approval. `farm-master worker pending` shows their \
             codes; approve one with `farm-master worker approve CODE --owner NAME --trust maker`."
        );
    }

    #[test]
    fn each_lack_is_named_with_its_cure() {
        for (columns, workers, expected) in [
            (
                &["x86_64", "aarch64"][..],
                &["w1! maker x86_64 postgresql"][..],
                "No approved worker is of platform linux-aarch64, so lua is not built there. Approve a worker of that \
                 platform, or correct `platforms` in farm.toml.",
            ),
            (
                &["x86_64"],
                &["w1! counted x86_64 postgresql"],
                "No maker is approved for linux-x86_64, so no toolchain of lua is built there. Make one of its workers a \
                 maker: `farm-master worker approve CODE --owner NAME --trust maker`.",
            ),
            (
                &["x86_64"],
                &["w1 maker x86_64 postgresql", "w2! counted x86_64 postgresql"],
                "No maker for linux-x86_64 is connected, so no toolchain of lua is built there. Start `farm-worker run` on \
                 w1, or make a connected worker a maker.",
            ),
            (
                &["x86_64"],
                &["w1! maker x86_64 -"],
                "sql is not tested on linux-x86_64: it wants postgresql, which no approved worker there offers. Add it to \
                 `offers` in a worker's worker.toml, or take it out of the project's `wants`.",
            ),
            (
                &["x86_64"],
                &["w1! maker x86_64 -", "w2 counted x86_64 postgresql"],
                "sql is not tested on linux-x86_64: the workers that offer what it wants are not connected. Start \
                 `farm-worker run` on w2.",
            ),
        ] {
            assert_eq!(shown(&facts(columns, workers)), expected);
        }
    }

    #[test]
    fn changes_that_wait_too_long_are_named_only_where_workers_are() {
        let mut farm = facts(&["x86_64"], &["w1! maker x86_64 postgresql"]);
        farm.columns[0].waits_since = Some(Timestamp(995 * HOUR));
        assert_eq!(shown(&farm), "", "a suite may take that long");
        farm.columns[0].waits_since = Some(Timestamp(990 * HOUR));
        assert_eq!(
            shown(&farm),
            "lua master has had no verdict on linux-x86_64 for changes since hour 990 (newest: abc1234), although workers \
             are connected. /queue shows what each build waits for."
        );
        farm.workers = vec![worker("w1! counted x86_64 postgresql")];
        assert!(!shown(&farm).contains("no verdict"), "the lack of a maker explains it: {}", shown(&farm));
    }

    #[test]
    fn a_farm_that_ends_no_build_for_a_day_is_named_if_a_change_waits() {
        let mut farm = facts(&["x86_64"], &["w1! maker x86_64 postgresql"]);
        farm.last_finished = Some(Timestamp(900 * HOUR));
        assert_eq!(shown(&farm), "", "nothing is to be built");
        farm.columns[0].waits_since = Some(Timestamp(950 * HOUR));
        assert_eq!(
            shown(&farm),
            "No build has ended since hour 900, although a change of lua master waits. /queue shows what each build waits \
             for."
        );
        farm.last_finished = None;
        assert!(shown(&farm).starts_with("No build has ever ended, although"));
    }

    #[test]
    fn a_project_with_nothing_but_infra_failures_is_named_and_lists_are_bounded() {
        let mut farm = facts(&["x86_64"], &["w1! maker x86_64 postgresql"]);
        let row = |n: u64| InfraProject {
            project: format!("p{n}"),
            builds: n,
            last: Timestamp(998 * HOUR),
            fetch: (n == 2).then(|| "its fetch step `deps` fails".into()),
        };
        farm.infra_projects = (1..=8).map(row).collect();
        let text = shown(&farm);
        assert!(
            text.starts_with("p1 is not tested: its only build was an infra failure, the last on hour 998."),
            "{text}"
        );
        assert!(
            text.contains(
                "p2 is not tested: its last 2 builds were infra failures, the last on hour 998: its fetch step `deps` fails."
            ),
            "{text}"
        );
        assert!(text.ends_with("The same holds for 3 more projects."), "{text}");
    }

    fn any_worker() -> impl Strategy<Value = String> {
        (
            prop::sample::select(vec!["w", "w!"]),
            prop::sample::select(vec!["probation", "counted", "maker"]),
            prop::sample::select(vec!["x86_64", "aarch64"]),
            prop::sample::select(vec!["-", "postgresql"]),
        )
            .prop_map(|(name, trust, arch, offers)| format!("{name} {trust} {arch} {offers}"))
    }

    proptest! {
        /// "All is well" is earned: it is written exactly if each branch has a connected maker on each platform, each suite
        /// a connected worker there that offers all it wants, and no change waits too long. That nobody at all is connected
        /// is another rule's sentence, which `health` tests.
        #[test]
        fn all_is_well_only_if_everything_can_be_tested(
            arches in prop::collection::btree_set(prop::sample::select(vec!["x86_64", "aarch64"]), 0..3),
            workers in prop::collection::vec(any_worker(), 0..6),
            waits in prop::option::of(900_i64..1_000),
            finished in prop::option::of(900_i64..1_000),
            infra in 0_usize..2,
        ) {
            let columns: Vec<&str> = arches.iter().copied().collect();
            let workers: Vec<&str> = workers.iter().map(String::as_str).collect();
            let mut farm = facts(&columns, &workers);
            prop_assume!(farm.workers.is_empty() || farm.workers.iter().any(|worker| worker.is_here));
            for column in &mut farm.columns {
                column.waits_since = waits.map(|hour| Timestamp(hour * HOUR));
            }
            farm.last_finished = finished.map(|hour| Timestamp(hour * HOUR));
            let row = InfraProject { project: "p".into(), builds: 3, last: NOW, fetch: None };
            farm.infra_projects = vec![row; infra];
            let can = |arch: &str, trust: Trust, offer: Option<&str>| farm.workers.iter().any(|worker| {
                worker.is_here && worker.facts.arch == arch && worker.trust >= trust
                    && offer.is_none_or(|offer| worker.facts.offers.iter().any(|has| has == offer))
            });
            let is_well = !columns.is_empty() && infra == 0
                && columns.iter().all(|arch| {
                    can(arch, Trust::Maker, None) && can(arch, Trust::Counted, Some("postgresql"))
                })
                // A wait of more than six hours is a problem, and the only one that an hour or a day decides.
                && waits.is_none_or(|hour| hour >= 994);
            let text = shown(&farm);
            prop_assert_eq!(text.is_empty(), is_well, "{}", text);
            // Bounded, whatever the farm is like; and each sentence says what to do or where to look.
            prop_assert!(text.lines().count() <= 2 * (MAX_SENTENCES + 1) + 3);
            for line in text.lines() {
                let has_cure = ["Approve", "approve", "Add", "Start", "/queue", "/projects"];
                prop_assert!(has_cure.iter().any(|cure| line.contains(cure)), "{}", line);
            }
        }
    }
}
