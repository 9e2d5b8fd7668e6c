//! Assigns waiting builds to idle workers.

pub mod lease;
pub mod makers;
pub mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::Sha256;

use crate::words::ids::{BuildId, PinId, PlatformId, ProjectId, Timestamp, WorkerId};
use crate::words::{BuilderKind, Reason, Trust};

/// Builds and searches no longer wait for a worker that has been away for so long.
pub const AWAY: Duration = Duration::from_secs(3600);

/// A build that waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchBuild {
    /// The build.
    pub build: BuildId,
    /// Whether it is of a toolchain or of a suite.
    pub kind: BuilderKind,
    /// Its platform.
    pub platform: PlatformId,
    /// The project of a suite.
    pub project: Option<ProjectId>,
    /// The project inputs whose dependencies it is to choose for all platforms: it waits while another run of these inputs
    /// may choose them.
    pub chooses: Option<PinId>,
    /// Why it exists.
    pub reason: Reason,
    /// Whether its change is the newest of its branch.
    pub newest: bool,
    /// The worker to which it is bound.
    pub only_worker: Option<WorkerId>,
    /// The makers that have, or may have, the environment in which a toolchain is to be made. Any maker may make it if this
    /// is empty.
    pub makers: BTreeSet<WorkerId>,
    /// The silent worker that holds it: it is offered only to others.
    pub holder: Option<WorkerId>,
    /// Workers whose owners do not allow it.
    pub excluded: BTreeSet<WorkerId>,
    /// Workers that gave this build up or declined it: others are preferred.
    pub avoid: Vec<WorkerId>,
    /// The toolchain of a suite.
    pub artifact: Option<Sha256>,
    /// What the worker must offer.
    pub wants: Vec<String>,
    /// When it was queued.
    pub queued_at: Timestamp,
}

/// A worker with free slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdleWorker {
    /// The worker.
    pub worker: WorkerId,
    /// How many more builds it can start.
    pub free_slots: u32,
    /// The platforms that its machine matches.
    pub platforms: Vec<PlatformId>,
    /// How far its results are trusted.
    pub trust: Trust,
    /// What its owner declares that it has.
    pub offers: Vec<String>,
    /// The toolchains in its cache.
    pub artifacts: BTreeSet<Sha256>,
}

/// What is running now, for fairness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunningLoad {
    /// How many probes run on each platform.
    pub probes: BTreeMap<PlatformId, u32>,
    /// How many builds run on each platform, probes included.
    pub builds: BTreeMap<PlatformId, u32>,
    /// How many builds run of each project.
    pub by_project: BTreeMap<ProjectId, u32>,
    /// The project inputs with which builds run.
    pub pins: BTreeSet<PinId>,
}

/// A build for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The build.
    pub build: BuildId,
    /// The worker that is to run it.
    pub worker: WorkerId,
}

/// Assigns as many waiting builds as there are free slots, the most valuable first. `probe_share` is the share of a
/// platform's running builds, from 0 to 1, that searches may take from tips; they also get all that tips leave idle.
pub fn assign(
    waiting: &[DispatchBuild],
    idle: &[IdleWorker],
    mut running: RunningLoad,
    probe_share: f64,
) -> Vec<Assignment> {
    let mut left: Vec<&DispatchBuild> = waiting.iter().collect();
    let mut idle: Vec<IdleWorker> = idle.to_vec();
    let mut assignments = Vec::new();
    loop {
        let best = left
            .iter()
            .enumerate()
            .filter(|(_, build)| !waits_for_choice(build, &running))
            .filter_map(|(index, build)| Some((index, choose_worker(build, &idle)?)))
            .min_by_key(|&(index, _)| value(left[index], &running, probe_share));
        let Some((index, worker)) = best else { return assignments };
        let build = left.swap_remove(index);
        assignments.push(Assignment { build: build.build, worker: idle[worker].worker });
        idle[worker].free_slots -= 1;
        running.pins.extend(build.chooses);
        *running.builds.entry(build.platform).or_default() += 1;
        if build.reason == Reason::Probe {
            *running.probes.entry(build.platform).or_default() += 1;
        }
        if let Some(project) = build.project {
            *running.by_project.entry(project).or_default() += 1;
        }
    }
}

/// Whether a build waits until another run has chosen the dependencies. A build that a silent worker holds is the choosing
/// run itself, and may be given to another worker.
fn waits_for_choice(build: &DispatchBuild, running: &RunningLoad) -> bool {
    build.holder.is_none() && build.chooses.is_some_and(|pin| running.pins.contains(&pin))
}

/// The sort key of a build, smallest first: the rank of its reason, then how many builds of its project run, then when it
/// was queued.
fn value(build: &DispatchBuild, running: &RunningLoad, probe_share: f64) -> (u8, u32, Timestamp, BuildId) {
    let count = |of: &BTreeMap<PlatformId, u32>| f64::from(of.get(&build.platform).copied().unwrap_or(0));
    let probes_are_owed = count(&running.probes) < probe_share * (count(&running.builds) + 1.0);
    let rank = match (build.reason, build.kind) {
        (Reason::Force | Reason::Latest, _) => 0,
        (Reason::Probe, _) if probes_are_owed => 1,
        (Reason::Tip, BuilderKind::Toolchain) if build.newest => 2,
        (Reason::Tip, _) if build.newest => 3,
        // The builds after a baseline wait for it.
        (Reason::Tip | Reason::Baseline, _) => 4,
        (Reason::Probe, _) => 5,
        (Reason::Backfill, BuilderKind::Suite) => 7,
        (Reason::Backfill, BuilderKind::Toolchain) => 8,
        (Reason::Null, _) => 9,
    };
    let fair = build.project.and_then(|project| running.by_project.get(&project)).copied().unwrap_or(0);
    (rank, fair, build.queued_at, build.build)
}

/// A worker that may run the build; among several, one that has not given it up, that holds the toolchain, and that has
/// the most free slots.
fn choose_worker(build: &DispatchBuild, idle: &[IdleWorker]) -> Option<usize> {
    idle.iter()
        .enumerate()
        .filter(|(_, worker)| may_run(build, worker))
        .max_by_key(|(index, worker)| {
            let fresh = !build.avoid.contains(&worker.worker);
            let holds = build.artifact.is_some_and(|artifact| worker.artifacts.contains(&artifact));
            (fresh, holds, worker.free_slots, std::cmp::Reverse(*index))
        })
        .map(|(index, _)| index)
}

fn may_run(build: &DispatchBuild, worker: &IdleWorker) -> bool {
    worker.trust >= waiting::needed(build.kind, build.reason)
        && worker.free_slots > 0
        && worker.platforms.contains(&build.platform)
        && build.only_worker.is_none_or(|only| only == worker.worker)
        && (build.makers.is_empty() || build.makers.contains(&worker.worker))
        && build.holder != Some(worker.worker)
        && !build.excluded.contains(&worker.worker)
        && build.wants.iter().all(|want| worker.offers.contains(want))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: Sha256 = Sha256([7; 32]);

    /// `id:reason[:project][@worker]`; reasons in capitals are toolchain builds; `tip!` is the newest change.
    fn waiting(text: &str) -> Vec<DispatchBuild> {
        text.split_whitespace()
            .map(|word| {
                let (word, only) = match word.split_once('@') {
                    Some((word, worker)) => (word, Some(WorkerId(worker.parse().unwrap()))),
                    None => (word, None),
                };
                let mut parts = word.split(':');
                let id: i64 = parts.next().unwrap().parse().unwrap();
                let reason = parts.next().unwrap();
                let project = parts.next().map(|p| ProjectId(p.parse().unwrap()));
                let kind = if reason.starts_with(char::is_uppercase) {
                    BuilderKind::Toolchain
                } else {
                    BuilderKind::Suite
                };
                let name = reason.trim_end_matches('!').to_lowercase();
                DispatchBuild {
                    build: BuildId(id),
                    kind,
                    platform: PlatformId(1),
                    project,
                    chooses: None,
                    reason: Reason::parse(&name).unwrap(),
                    newest: reason.ends_with('!'),
                    only_worker: only,
                    makers: BTreeSet::new(),
                    holder: None,
                    excluded: BTreeSet::new(),
                    avoid: Vec::new(),
                    artifact: Some(HELD),
                    wants: Vec::new(),
                    queued_at: Timestamp(id),
                }
            })
            .collect()
    }

    fn worker(id: i64, free_slots: u32) -> IdleWorker {
        IdleWorker {
            worker: WorkerId(id),
            free_slots,
            platforms: vec![PlatformId(1)],
            trust: Trust::Maker,
            offers: Vec::new(),
            artifacts: BTreeSet::new(),
        }
    }

    fn assigned(text: &str, idle: &[IdleWorker]) -> String {
        shown(assign(&waiting(text), idle, RunningLoad::default(), 0.3))
    }

    fn shown(assignments: Vec<Assignment>) -> String {
        let mut pairs: Vec<String> =
            assignments.iter().map(|a| format!("{}>{}", a.build, a.worker)).collect();
        pairs.sort();
        pairs.join(" ")
    }

    #[test]
    fn tips_come_before_backfill_and_null_runs() {
        assert_eq!(assigned("1:null 2:backfill 3:tip!", &[worker(1, 1)]), "3>1");
        assert_eq!(assigned("1:null 2:backfill", &[worker(1, 1)]), "2>1");
        assert_eq!(assigned("1:null", &[worker(1, 1)]), "1>1");
    }

    #[test]
    fn suites_of_a_backfilled_change_come_before_the_next_toolchain() {
        assert_eq!(assigned("1:Backfill 2:backfill", &[worker(1, 1)]), "2>1");
        assert_eq!(assigned("1:tip! 2:Tip!", &[worker(1, 1)]), "2>1");
    }

    #[test]
    fn searches_have_their_share_and_no_more_while_tips_wait() {
        let tips = "2:tip! 3:tip! 4:tip! 5:probe 6:probe";
        assert_eq!(assigned(tips, &[worker(1, 3)]), "2>1 3>1 5>1");
    }

    #[test]
    fn a_bound_build_goes_only_to_its_worker() {
        assert_eq!(assigned("1:probe@2", &[worker(1, 5)]), "");
        assert_eq!(assigned("1:probe@2", &[worker(1, 5), worker(2, 1)]), "1>2");
    }

    #[test]
    fn a_build_of_a_silent_worker_goes_to_another_worker_or_to_none() {
        let mut build = waiting("1:tip!");
        build[0].holder = Some(WorkerId(1));
        let try_on = |idle: &[IdleWorker]| shown(assign(&build, idle, RunningLoad::default(), 0.3));
        assert_eq!(try_on(&[worker(1, 4)]), "");
        assert_eq!(try_on(&[worker(1, 4), worker(2, 1)]), "1>2");
    }

    #[test]
    fn the_first_run_of_project_inputs_chooses_their_dependencies_alone() {
        let mut builds = waiting("1:tip! 2:tip! 3:tip!");
        builds[0].chooses = Some(PinId(7));
        builds[1].chooses = Some(PinId(7));
        let during = |builds: &[DispatchBuild], pins: &[i64]| {
            let pins = pins.iter().copied().map(PinId).collect();
            shown(assign(builds, &[worker(1, 4)], RunningLoad { pins, ..RunningLoad::default() }, 0.3))
        };
        assert_eq!(during(&builds, &[]), "1>1 3>1");
        assert_eq!(during(&builds, &[7]), "3>1");
        assert_eq!(during(&builds, &[8]), "1>1 3>1");
        builds[1].holder = Some(WorkerId(2));
        assert_eq!(during(&builds[1..], &[7]), "2>1 3>1", "the run that chooses is with a silent worker");
    }

    #[test]
    fn projects_take_turns() {
        assert_eq!(assigned("1:tip!:1 2:tip!:1 3:tip!:2", &[worker(1, 2)]), "1>1 3>1");
    }

    #[test]
    fn a_worker_that_holds_the_toolchain_comes_first() {
        let holder = IdleWorker { artifacts: BTreeSet::from([HELD]), ..worker(2, 1) };
        assert_eq!(assigned("1:tip!", &[worker(1, 4), holder]), "1>2");
    }

    #[test]
    fn another_worker_is_tried_first_after_a_failed_attempt() {
        let mut build = waiting("1:tip!");
        build[0].avoid = vec![WorkerId(1)];
        let try_on = |idle: &[IdleWorker]| shown(assign(&build, idle, RunningLoad::default(), 0.3));
        assert_eq!(try_on(&[worker(1, 4), worker(2, 1)]), "1>2");
        assert_eq!(try_on(&[worker(1, 4)]), "1>1");
    }

    #[test]
    fn only_makers_make_toolchains_and_probation_counts_for_nothing() {
        let of = |trust| [IdleWorker { trust, ..worker(1, 9) }];
        assert_eq!(assigned("1:Tip! 2:tip! 3:null", &of(Trust::Maker)), "1>1 2>1 3>1");
        assert_eq!(assigned("1:Tip! 2:tip! 3:null", &of(Trust::Counted)), "2>1 3>1");
        assert_eq!(assigned("1:Tip! 2:tip! 3:null", &of(Trust::Probation)), "3>1");
    }

    #[test]
    fn a_toolchain_is_made_where_the_others_were_made() {
        let mut build = waiting("1:Tip!");
        let try_on = |build: &[DispatchBuild], idle: &[IdleWorker]| {
            shown(assign(build, idle, RunningLoad::default(), 0.3))
        };
        assert_eq!(try_on(&build, &[worker(1, 4), worker(2, 1)]), "1>1");
        build[0].makers = BTreeSet::from([WorkerId(2)]);
        assert_eq!(try_on(&build, &[worker(1, 4), worker(2, 1)]), "1>2");
        assert_eq!(try_on(&build, &[worker(1, 4)]), "", "it waits for the maker that is away");
    }

    #[test]
    fn a_worker_must_offer_what_a_project_wants() {
        let mut build = waiting("1:tip!");
        build[0].wants = vec!["postgresql".into()];
        let offering = IdleWorker { offers: vec!["postgresql".into()], ..worker(2, 1) };
        let try_on = |idle: &[IdleWorker]| shown(assign(&build, idle, RunningLoad::default(), 0.3));
        assert_eq!(try_on(&[worker(1, 1)]), "");
        assert_eq!(try_on(&[worker(1, 1), offering]), "1>2");
    }
}
