//! Whose turn it is among the suites of a branch: what `domain::schedule::sample` needs to know, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use domain::project_inputs::source_only::{NeededProject, closure};
use domain::schedule::sample::{self, SuiteStanding};
use domain::words::Reason;
use domain::words::ids::{BuilderId, ChangeId, PlatformId, ProjectId, Timestamp};
use domain::words::platform::platforms_of;
use store::{Builder, HistoryCell, Write};

use crate::config::Config;
use crate::farm::connections::ConnectedWorker;

/// How many changes' suites are enqueued at once when workers are idle; the next tick enqueues more.
const BACKFILL_CHANGES: usize = 3;

/// A change with its toolchain.
pub type SuiteTarget<'t> = (ChangeId, &'t HistoryCell);

/// What a suite is yet to build.
#[derive(Default)]
pub struct SuiteTargets<'t> {
    pub standing: SuiteStanding,
    pub newest: Option<SuiteTarget<'t>>,
    pub oldest: Option<SuiteTarget<'t>>,
    /// The newest first.
    pub between: Vec<SuiteTarget<'t>>,
}

/// What the suites are to build, in turn: the newest change first, then the oldest one, then what is between. `begun` other suites were
/// enqueued at the newest change before.
pub fn in_turn<'t>(suites: &[SuiteTargets<'t>], begun: usize) -> Vec<(usize, SuiteTarget<'t>, Reason)> {
    let mut turns = Vec::new();
    let mut add = |begun, reason, of: &dyn Fn(&SuiteTargets<'t>) -> (Vec<SuiteTarget<'t>>, SuiteStanding)| {
        let wanted: Vec<(usize, Vec<SuiteTarget<'t>>, SuiteStanding)> = suites
            .iter()
            .map(of)
            .enumerate()
            .filter(|(_, (targets, _))| !targets.is_empty())
            .map(|(suite, (targets, standing))| (suite, targets, standing))
            .collect();
        let standings: Vec<SuiteStanding> = wanted.iter().map(|(.., standing)| *standing).collect();
        for place in sample::order(&standings, begun) {
            let (suite, targets, _) = &wanted[place];
            turns.extend(targets.iter().map(|target| (*suite, *target, reason)));
        }
    };
    add(begun, Reason::Tip, &|suite| (suite.newest.into_iter().collect(), suite.standing));
    add(0, Reason::Tip, &|suite| (suite.oldest.into_iter().collect(), suite.standing));
    add(0, Reason::Backfill, &|suite| {
        // Whoever has most gaps has waited for longest.
        let standing = SuiteStanding { untested: suite.between.len(), ..suite.standing };
        (suite.between.iter().take(BACKFILL_CHANGES).copied().collect(), standing)
    });
    turns
}

/// What is known of all suites.
pub struct SuiteWorth {
    dependents: BTreeMap<ProjectId, u32>,
    breakages: BTreeMap<BuilderId, u32>,
    /// Suites that no connected worker of their platform can run: others need not wait behind them.
    unoffered: BTreeSet<BuilderId>,
    slots: u32,
}

impl SuiteWorth {
    pub async fn load(
        tx: &mut Write<'_>,
        config: &Config,
        builders: &[Builder],
        workers: &[ConnectedWorker],
        at: Timestamp,
    ) -> store::Result<SuiteWorth> {
        let rows = tx.projects().await?;
        let ids: BTreeMap<&str, ProjectId> = rows.iter().map(|row| (row.name.as_str(), row.id)).collect();
        let wants: BTreeMap<ProjectId, &[String]> =
            rows.iter().map(|row| (row.id, row.wants.as_slice())).collect();
        let platforms = tx.platforms().await?;
        let offering: Vec<(Vec<PlatformId>, &ConnectedWorker)> =
            workers.iter().map(|worker| (platforms_of(&worker.facts, &platforms), worker)).collect();
        let is_unoffered = |builder: &&Builder| {
            let wants = builder.project.and_then(|project| wants.get(&project)).copied().unwrap_or_default();
            let mut of_platform = offering.iter().filter(|(of, _)| of.contains(&builder.platform)).peekable();
            of_platform.peek().is_some()
                && !of_platform.any(|(_, worker)| wants.iter().all(|want| worker.facts.offers.contains(want)))
        };
        Ok(SuiteWorth {
            dependents: dependents(config)
                .into_iter()
                .filter_map(|(name, count)| Some((*ids.get(name)?, count)))
                .collect(),
            breakages: tx.recently_named(at - sample::RECENT).await?,
            unoffered: builders.iter().filter(is_unoffered).map(|builder| builder.id).collect(),
            slots: workers.iter().map(|worker| worker.slots).sum(),
        })
    }

    pub fn standing(&self, builder: &Builder, untested: usize) -> SuiteStanding {
        let dependents = builder.project.and_then(|project| self.dependents.get(&project)).copied();
        SuiteStanding {
            dependents: dependents.unwrap_or(0),
            breakages: self.breakages.get(&builder.id).copied().unwrap_or(0),
            untested,
        }
    }

    /// Whether others wait behind a suite.
    pub fn is_counted(&self, builder: BuilderId) -> bool {
        !self.unoffered.contains(&builder)
    }

    /// How many suites more may wait.
    pub fn room(&self, waiting: usize) -> usize {
        sample::most_waiting(self.slots).saturating_sub(waiting)
    }
}

/// How many projects need each one, directly or not.
fn dependents(config: &Config) -> BTreeMap<&str, u32> {
    let registered: BTreeMap<&str, NeededProject<'_>> = config
        .projects
        .iter()
        .map(|project| (project.name.as_str(), NeededProject { needs: &project.needs, steps: None }))
        .collect();
    let mut dependents = BTreeMap::new();
    for project in &config.projects {
        for needed in closure(&project.needs, &registered) {
            *dependents.entry(needed).or_default() += 1;
        }
    }
    dependents
}
