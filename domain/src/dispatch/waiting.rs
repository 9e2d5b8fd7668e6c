//! Why a build waits: what has to change before it can run.

use protocol::WorkerFacts;

use crate::words::platform;
use crate::words::{BuilderKind, Reason, Trust};

/// A worker that the operator has approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownWorker {
    /// Its name.
    pub name: String,
    /// How far its results are trusted.
    pub trust: Trust,
    /// What its machine is.
    pub facts: WorkerFacts,
    /// Whether it is connected.
    pub is_here: bool,
    /// How many more builds it can start.
    pub free_slots: u32,
}

/// What a build needs of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildNeeds<'a> {
    /// Whether it is of a toolchain or of a suite.
    pub kind: BuilderKind,
    /// Why it exists.
    pub reason: Reason,
    /// The label of its platform.
    pub platform: &'a str,
    /// What the worker must offer.
    pub wants: &'a [String],
    /// The name of the worker to which it is bound.
    pub only_worker: Option<&'a str>,
    /// The names of the makers that have, or may have, the environment in which a toolchain is to be made; any maker may
    /// make it if there are none.
    pub makers: &'a [String],
}

/// Why a build waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitReason {
    /// A suitable worker is free.
    Turn,
    /// These workers are suitable, and have no free slot.
    Busy(Vec<String>),
    /// These workers are suitable, and are not connected.
    Absent(Vec<String>),
    /// Other makers are suitable but for their environment; these have the right one, and have no free slot.
    BusyMakers(Vec<String>),
    /// The same, and these are not connected.
    AbsentMakers(Vec<String>),
    /// No worker of the platform offers all that the build wants; no worker at all offers these.
    NoOffer(Vec<String>),
    /// No worker of the platform is trusted so far.
    NoTrust(Trust),
    /// No worker is of the platform.
    NoPlatform,
}

/// The first reason why a build waits, from the one that lasts longest to the one that passes by itself.
pub fn why(asks: &BuildNeeds<'_>, workers: &[KnownWorker]) -> WaitReason {
    let mut fit: Vec<&KnownWorker> =
        workers.iter().filter(|worker| platform::matches(asks.platform, &worker.facts)).collect();
    if fit.is_empty() {
        return WaitReason::NoPlatform;
    }
    let trust = needed(asks.kind, asks.reason);
    fit.retain(|worker| worker.trust >= trust);
    if fit.is_empty() {
        return WaitReason::NoTrust(trust);
    }
    let offers = |worker: &KnownWorker, want: &String| worker.facts.offers.contains(want);
    let offered_by_none: Vec<String> =
        asks.wants.iter().filter(|want| !fit.iter().any(|worker| offers(worker, want))).cloned().collect();
    fit.retain(|worker| asks.wants.iter().all(|want| offers(worker, want)));
    if fit.is_empty() {
        let missing = if offered_by_none.is_empty() { asks.wants.to_vec() } else { offered_by_none };
        return WaitReason::NoOffer(missing);
    }
    fit.retain(|worker| asks.only_worker.is_none_or(|only| only == worker.name));
    let suitable = fit.len();
    fit.retain(|worker| asks.makers.is_empty() || asks.makers.contains(&worker.name));
    let is_elsewhere = asks.only_worker.is_none() && fit.len() < suitable;
    let names = |workers: &[&KnownWorker]| workers.iter().map(|worker| worker.name.clone()).collect();
    let here: Vec<&KnownWorker> = fit.iter().copied().filter(|worker| worker.is_here).collect();
    if here.is_empty() {
        return match asks.only_worker {
            Some(only) => WaitReason::Absent(vec![only.to_string()]),
            None if is_elsewhere => WaitReason::AbsentMakers(names(&fit)),
            None => WaitReason::Absent(names(&fit)),
        };
    }
    match here.iter().any(|worker| worker.free_slots > 0) {
        true => WaitReason::Turn,
        false if is_elsewhere => WaitReason::BusyMakers(names(&here)),
        false => WaitReason::Busy(names(&here)),
    }
}

/// How far a worker must be trusted to run a build.
pub fn needed(kind: BuilderKind, reason: Reason) -> Trust {
    match (kind, reason) {
        (BuilderKind::Toolchain, _) => Trust::Maker,
        // By null runs a worker on probation shows that its results agree with those of others.
        (BuilderKind::Suite, Reason::Null) => Trust::Probation,
        (
            BuilderKind::Suite,
            Reason::Tip
            | Reason::Backfill
            | Reason::Baseline
            | Reason::Probe
            | Reason::Force
            | Reason::Latest,
        ) => Trust::Counted,
    }
}

impl WaitReason {
    /// As it stands on a page.
    pub fn words(&self, platform: &str) -> String {
        match self {
            WaitReason::Turn => "next in turn".into(),
            WaitReason::Busy(names) => format!("waits: {} no room", listed(names, "has", "have")),
            WaitReason::Absent(names) => format!("waits: {} not here", listed(names, "is", "are")),
            WaitReason::BusyMakers(names) => format!(
                "waits: of the makers only {} the environment in use, and {} no room",
                listed(names, "has", "have"),
                if names.len() == 1 { "has" } else { "have" }
            ),
            WaitReason::AbsentMakers(names) => format!(
                "waits: of the makers only {} the environment in use, and {} not here",
                listed(names, "has", "have"),
                if names.len() == 1 { "is" } else { "are" }
            ),
            WaitReason::NoOffer(offers) => format!("no worker of {platform} offers {}", offers.join(" and ")),
            WaitReason::NoTrust(Trust::Maker) => format!("no worker of {platform} is a maker"),
            WaitReason::NoTrust(Trust::Counted | Trust::Probation) => {
                format!("every worker of {platform} is on probation")
            }
            WaitReason::NoPlatform => format!("no worker is of {platform}"),
        }
    }
}

/// A page has no room for a hundred names.
const NAMES_SHOWN: usize = 3;

fn listed(names: &[String], one: &str, several: &str) -> String {
    let shown = names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        1 => format!("{shown} {one}"),
        n if n <= NAMES_SHOWN => format!("{shown} {several}"),
        n => format!("{shown} and {} more {several}", n - NAMES_SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Workers as `name trust arch offers slots`; with `-` in place of the slots it is not here.
    fn worker(text: &str) -> KnownWorker {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [name, trust, arch, offers, slots] = words[..] else { panic!("five words: {text}") };
        let offers = offers.split(',').filter(|offer| *offer != "-").map(str::to_string).collect();
        KnownWorker {
            name: name.into(),
            trust: Trust::parse(trust).unwrap(),
            facts: WorkerFacts { os: "linux".into(), arch: arch.into(), offers, ..WorkerFacts::default() },
            is_here: slots != "-",
            free_slots: slots.parse().unwrap_or(0),
        }
    }

    /// A tip build that asks for nothing.
    fn needs(kind: BuilderKind) -> BuildNeeds<'static> {
        let (reason, platform) = (Reason::Tip, "linux-x86_64");
        BuildNeeds { kind, reason, platform, wants: &[], only_worker: None, makers: &[] }
    }

    fn answer(asks: &BuildNeeds<'_>, workers: &[&str]) -> String {
        let workers: Vec<KnownWorker> = workers.iter().map(|text| worker(text)).collect();
        why(asks, &workers).words(asks.platform)
    }

    fn sentence(wants: &[&str], only_worker: Option<&str>, workers: &[&str]) -> String {
        let wants: Vec<String> = wants.iter().map(ToString::to_string).collect();
        answer(&BuildNeeds { wants: &wants, only_worker, ..needs(BuilderKind::Suite) }, workers)
    }

    #[test]
    fn what_is_missing_is_named_in_words() {
        assert_eq!(sentence(&[], None, &[]), "no worker is of linux-x86_64");
        assert_eq!(sentence(&[], None, &["attic counted aarch64 - 1"]), "no worker is of linux-x86_64");
        assert_eq!(
            sentence(&[], None, &["attic probation x86_64 - 1"]),
            "every worker of linux-x86_64 is on probation"
        );
        let attic = "attic counted x86_64 postgresql 1";
        assert_eq!(sentence(&["redis"], None, &[attic]), "no worker of linux-x86_64 offers redis");
        assert_eq!(
            sentence(&["postgresql", "redis"], None, &[attic, "barn counted x86_64 redis 1"]),
            "no worker of linux-x86_64 offers postgresql and redis"
        );
        assert_eq!(sentence(&["postgresql"], None, &[attic]), "next in turn");
    }

    #[test]
    fn who_fits_and_cannot_is_named() {
        let (busy, away) = ("attic counted x86_64 - 0", "barn maker x86_64 - -");
        assert_eq!(sentence(&[], None, &[busy, away]), "waits: attic has no room");
        assert_eq!(sentence(&[], None, &[away]), "waits: barn is not here");
        assert_eq!(
            sentence(&[], Some("barn"), &["attic counted x86_64 - 3", away]),
            "waits: barn is not here"
        );
        assert_eq!(sentence(&[], Some("gone"), &["attic counted x86_64 - 3"]), "waits: gone is not here");
        let many =
            ["a counted x86_64 - 0", "b counted x86_64 - 0", "c counted x86_64 - 0", "d counted x86_64 - 0"];
        assert_eq!(sentence(&[], None, &many), "waits: a, b, c and 1 more have no room");
    }

    #[test]
    fn a_toolchain_needs_a_maker() {
        assert_eq!(
            answer(&needs(BuilderKind::Toolchain), &["attic counted x86_64 - 1"]),
            "no worker of linux-x86_64 is a maker"
        );
    }

    #[test]
    fn a_toolchain_that_waits_for_its_environment_names_who_has_it() {
        let waits = |makers: &[&str], workers: &[&str]| {
            let makers: Vec<String> = makers.iter().map(ToString::to_string).collect();
            answer(&BuildNeeds { makers: &makers, ..needs(BuilderKind::Toolchain) }, workers)
        };
        let (free, busy, away) =
            ("attic maker x86_64 - 1", "cellar maker x86_64 - 0", "barn maker x86_64 - -");
        assert_eq!(
            waits(&["barn"], &[free, away]),
            "waits: of the makers only barn has the environment in use, and is not here"
        );
        assert_eq!(
            waits(&["cellar"], &[free, busy]),
            "waits: of the makers only cellar has the environment in use, and has no room"
        );
        assert_eq!(waits(&["barn", "attic"], &[free, away]), "next in turn");
        assert_eq!(waits(&["barn"], &[away]), "waits: barn is not here", "no other one would do");
        assert_eq!(waits(&[], &[free, away]), "next in turn", "any maker may make it");
    }
}
