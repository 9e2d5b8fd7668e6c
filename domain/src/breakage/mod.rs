//! From what a builder's cases did, change by change, to its breakages: the cases that went bad, or were lost, between
//! the same good and bad end.
//!
//! [`settle`] looks at the whole known history of the cases in question and says how the stored breakages must
//! change to agree with it. It is asked again after every build, so it never depends on what was asked before.

pub mod dependency;
pub mod failure_group;
pub mod flaky;
pub mod mark;
pub mod sick;

mod episode;
mod loss;
mod regression_kind;

use std::collections::{BTreeMap, BTreeSet};

use protocol::Verdict;

use crate::words::BreakageState;
use crate::words::ids::{BreakageId, CaseId, ChangeId};
use episode::{Episode, Repair, episodes};
pub use loss::{ALWAYS_ENOUGH, is_alarming};
pub use regression_kind::RegressionKind;

/// A builder's history, as far as it says something of breakages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuilderHistory {
    /// The branch's changes, first to last.
    pub order: Vec<ChangeId>,
    /// The builder's cover builds, in that order.
    pub history_builds: Vec<HistoryBuild>,
    /// Of the cases that were ever bad or lost, or are of a breakage; or only of those of them that news is of.
    pub case_histories: Vec<CaseHistory>,
    /// How many cases without a strip here were good and then not run any more, by the change that it shows at. It may
    /// be left out where no case with a strip was lost, and need not be more than makes any loss an alarm.
    pub others_lost: BTreeMap<ChangeId, usize>,
    /// Cases proven to be flaky: they open nothing more.
    pub flaky: BTreeSet<CaseId>,
    /// Cases whose names come and go on identical inputs: that they vanish is no loss.
    pub unstable: BTreeSet<CaseId>,
    /// How many good runs in a row prove a repair.
    pub proof: u32,
}

/// A suite may pass by luck.
pub const SUITE_PROOF: u32 = 2;
/// A compiler is no flaky test.
pub const TOOLCHAIN_PROOF: u32 = 1;

/// A build that makes history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryBuild {
    pub change: ChangeId,
    /// Whether it was run; else an equal build's verdicts stand for it.
    pub own: bool,
    /// How many cases ran.
    pub ran: u32,
    pub green: bool,
}

/// One case over the cover builds of its builder, in first-parent order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseHistory {
    pub case: CaseId,
    pub verdicts: Vec<(ChangeId, Verdict)>,
    /// Where in them another project side begins: what differs there is the project's own doing.
    pub sides: BTreeSet<usize>,
    /// What runs said that make no history: null runs and probes.
    pub beside: Vec<(ChangeId, Verdict)>,
}

/// A breakage as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBreakage {
    pub id: BreakageId,
    pub good: ChangeId,
    pub bad: ChangeId,
    pub state: BreakageState,
    pub culprit: Option<ChangeId>,
    pub cases: BTreeSet<CaseId>,
    /// Those of its cases that were lost; the others fail.
    pub lost: BTreeSet<CaseId>,
    pub fixed: Option<Fix>,
}

impl StoredBreakage {
    fn regression_kind(&self, case: CaseId) -> RegressionKind {
        if self.lost.contains(&case) { RegressionKind::Lost } else { RegressionKind::Bad }
    }
}

/// Still bad after one change, good again by the other. Where both are one change, the project repaired it itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fix {
    pub after: ChangeId,
    pub by: ChangeId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakageAction {
    Open {
        good: ChangeId,
        bad: ChangeId,
        cases: BTreeSet<CaseId>,
        /// Those of the cases that were lost.
        lost: BTreeSet<CaseId>,
        fixed: Option<Fix>,
        split_from: Option<BreakageId>,
        again_of: Option<BreakageId>,
    },
    /// The ends moved, cases left for a breakage of their own, or a repair was seen (or taken back).
    Update { id: BreakageId, good: ChangeId, bad: ChangeId, cases: BTreeSet<CaseId>, fixed: Option<Fix> },
    /// Its cases are good again at this change, and it takes one more run there to believe it.
    Prove { id: BreakageId, at: ChangeId },
    /// Its bad end is history no more.
    Gone(BreakageId),
}

impl BreakageAction {
    /// The cases whose breakages it changes. Of them, there may be more to say once it is done.
    pub fn unsettles(&self, stored: &[StoredBreakage]) -> BTreeSet<CaseId> {
        match self {
            BreakageAction::Open { cases, .. } => cases.clone(),
            BreakageAction::Update { id, .. } | BreakageAction::Gone(id) => stored
                .iter()
                .filter(|known| known.id == *id)
                .flat_map(|known| &known.cases)
                .copied()
                .collect(),
            BreakageAction::Prove { .. } => BTreeSet::new(),
        }
    }
}

/// Says how `stored` must change.
///
/// What it says of a case follows from the case's strip, from how many others were lost with it, and from the breakages
/// that it is of. So where nothing of that has changed since it was last asked, a case may be left out; with the cases
/// that stay come all breakages that they are of, and of the breakages that may change, all cases.
pub fn settle(history: &BuilderHistory, stored: &[StoredBreakage]) -> Vec<BreakageAction> {
    let position: BTreeMap<ChangeId, usize> =
        history.order.iter().enumerate().map(|(at, &change)| (change, at)).collect();
    let history_builds: BTreeMap<ChangeId, HistoryBuild> =
        history.history_builds.iter().map(|history_build| (history_build.change, *history_build)).collect();
    let alarms = loss::alarms(history);
    // Which episode belongs to which breakage.
    let mut claimed: BTreeMap<BreakageId, BTreeMap<CaseId, Episode>> = BTreeMap::new();
    let mut unclaimed: Vec<(CaseId, Vec<Episode>)> = Vec::new();
    for case_history in &history.case_histories {
        // What is gone stays gone: a change that comes back broken is a breakage of its own.
        let standing: Vec<&StoredBreakage> = stored
            .iter()
            .filter(|s| s.state != BreakageState::Gone && s.cases.contains(&case_history.case))
            .collect();
        // Once it was alarmed of a loss, the farm keeps its eyes on it.
        let is_known = |s: &&&StoredBreakage, change: ChangeId| {
            let at = position.get(&change);
            s.lost.contains(&case_history.case) && position.get(&s.good) < at && at <= position.get(&s.bad)
        };
        let begins = |change| {
            alarms.contains(&(change, case_history.case)) || standing.iter().any(|s| is_known(&s, change))
        };
        let mut rest: Vec<Episode> = [RegressionKind::Bad, RegressionKind::Lost]
            .into_iter()
            .flat_map(|regression_kind| {
                episodes(case_history, regression_kind, &history_builds, history.proof, begins)
            })
            .collect();
        rest.sort_by_key(|episode| position.get(&episode.bad));
        for is_its in [belongs, swallows] {
            for breakage in &standing {
                let claims = |claims: &BTreeMap<CaseId, Episode>| claims.contains_key(&case_history.case);
                if claimed.get(&breakage.id).is_some_and(claims) {
                    continue;
                }
                let is_its = |e: &Episode| {
                    e.regression_kind == breakage.regression_kind(case_history.case)
                        && is_its(e, breakage, &position)
                };
                if let Some(at) = rest.iter().rposition(is_its) {
                    claimed.entry(breakage.id).or_default().insert(case_history.case, rest.remove(at));
                }
            }
        }
        unclaimed.push((case_history.case, rest));
    }

    // Those of none open one. A case is in one open breakage at most: an earlier episode waits until the search for
    // this one has ended.
    let mut fresh: BTreeMap<(ChangeId, ChangeId, Option<BreakageId>), BTreeMap<CaseId, Episode>> =
        BTreeMap::new();
    for (case, mut rest) in unclaimed {
        let of_case = || stored.iter().filter(|s| s.cases.contains(&case));
        let undecided = of_case().any(|s| s.state.is_undecided() && claimed.contains_key(&s.id));
        if history.flaky.contains(&case) || undecided {
            continue;
        }
        if let Some(episode) = rest.pop() {
            let again_of =
                of_case().filter(|s| s.regression_kind(case) == episode.regression_kind).map(|s| s.id).max();
            fresh.entry((episode.good, episode.bad, again_of)).or_default().insert(case, episode);
        }
    }

    let mut actions = Vec::new();
    for breakage in stored {
        match claimed.remove(&breakage.id) {
            Some(episodes) => actions.extend(reconcile(breakage, episodes, &position)),
            None => actions.extend(orphaned(breakage, &history.case_histories, &position)),
        }
    }
    for ((good, bad, again_of), episodes) in fresh {
        actions.push(open(good, bad, &episodes, &position, None, again_of));
    }
    actions
}

fn open(
    good: ChangeId,
    bad: ChangeId,
    episodes: &BTreeMap<CaseId, Episode>,
    position: &BTreeMap<ChangeId, usize>,
    split_from: Option<BreakageId>,
    again_of: Option<BreakageId>,
) -> BreakageAction {
    let lost = episodes.iter().filter(|(_, episode)| episode.regression_kind == RegressionKind::Lost);
    BreakageAction::Open {
        good,
        bad,
        cases: episodes.keys().copied().collect(),
        lost: lost.map(|(case, _)| *case).collect(),
        fixed: fixed(episodes.values(), position).proven(),
        split_from,
        again_of,
    }
}

/// An episode belongs to a breakage when it lies in its range, or, where the culprit is found, around the culprit.
/// An end that was rewound bounds nothing.
fn belongs(episode: &Episode, breakage: &StoredBreakage, position: &BTreeMap<ChangeId, usize>) -> bool {
    let at = |change: ChangeId| position.get(&change).copied();
    match breakage.culprit {
        Some(culprit) => at(episode.good) < at(culprit) && at(culprit) <= at(episode.bad),
        None => {
            let within = at(breakage.good).is_none_or(|good| at(episode.good) >= Some(good));
            within && at(episode.bad) <= at(breakage.bad)
        }
    }
}

/// What was an episode of its own until an older one turned out to go on beyond it, since the good run between them was
/// a lucky one: as long as its culprit is sought, the older one is what it is about.
fn swallows(older: &Episode, breakage: &StoredBreakage, position: &BTreeMap<ChangeId, usize>) -> bool {
    let at = |change: ChangeId| position.get(&change).copied();
    let goes_on = match older.repair {
        Repair::None => true,
        Repair::Seen(fix) | Repair::Proven(fix) => at(fix.after) >= at(breakage.bad),
    };
    breakage.state.is_undecided() && at(older.bad) < at(breakage.bad) && goes_on
}

fn reconcile(
    breakage: &StoredBreakage,
    episodes: BTreeMap<CaseId, Episode>,
    position: &BTreeMap<ChangeId, usize>,
) -> Vec<BreakageAction> {
    let mut actions = Vec::new();
    // A breakage that a search has ended keeps its cases and ends: only its repair is still news.
    let (good, bad, cases, fixed) = if !breakage.state.is_undecided() {
        let whole = episodes.len() == breakage.cases.len();
        let repair = fixed(episodes.values(), position);
        if let (true, Repair::Seen(fix)) = (whole, repair) {
            actions.push(BreakageAction::Prove { id: breakage.id, at: fix.by });
        }
        let fixed = if whole { repair.proven() } else { breakage.fixed };
        (breakage.good, breakage.bad, breakage.cases.clone(), fixed)
    } else {
        let mut groups: BTreeMap<(ChangeId, ChangeId), BTreeMap<CaseId, Episode>> = BTreeMap::new();
        for (case, episode) in episodes {
            groups.entry((episode.good, episode.bad)).or_default().insert(case, episode);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        // The most cases keep the number; the others get breakages of their own.
        groups.sort_by_key(|(_, cases)| cases.len());
        let (ends, kept) = groups.pop().expect("reconcile is called with at least one episode");
        for ((good, bad), apart) in groups {
            actions.push(open(good, bad, &apart, position, Some(breakage.id), None));
        }
        (ends.0, ends.1, kept.keys().copied().collect(), self::fixed(kept.values(), position).proven())
    };
    let update = BreakageAction::Update { id: breakage.id, good, bad, cases, fixed };
    let same = BreakageAction::Update {
        id: breakage.id,
        good: breakage.good,
        bad: breakage.bad,
        cases: breakage.cases.clone(),
        fixed: breakage.fixed,
    };
    if update != same {
        actions.insert(0, update);
    }
    actions
}

impl Repair {
    fn proven(self) -> Option<Fix> {
        match self {
            Repair::Proven(fix) => Some(fix),
            Repair::Seen(_) | Repair::None => None,
        }
    }
}

/// Fixed when all of its cases are; the widest of their repairs is the one that is sure.
fn fixed<'a>(episodes: impl Iterator<Item = &'a Episode>, position: &BTreeMap<ChangeId, usize>) -> Repair {
    let later = |one: ChangeId, other: ChangeId| {
        if position.get(&one) >= position.get(&other) { one } else { other }
    };
    let wider =
        |one: Fix, other: Fix| Fix { after: later(one.after, other.after), by: later(one.by, other.by) };
    let both = |one: Repair, other: Repair| match (one, other) {
        (Repair::None, _) | (_, Repair::None) => Repair::None,
        (Repair::Proven(one), Repair::Proven(other)) => Repair::Proven(wider(one, other)),
        (Repair::Seen(one) | Repair::Proven(one), Repair::Seen(other) | Repair::Proven(other)) => {
            Repair::Seen(wider(one, other))
        }
    };
    episodes.map(|episode| episode.repair).reduce(both).unwrap_or(Repair::None)
}

/// Whether another project side stands at its bad end or behind it, and all of its cases are good there: the project
/// has repaired them itself.
fn is_overtaken(
    breakage: &StoredBreakage,
    case_histories: &[CaseHistory],
    position: &BTreeMap<ChangeId, usize>,
) -> bool {
    let from = position.get(&breakage.bad);
    breakage.cases.iter().all(|case| {
        let case_history = case_histories.iter().find(|case_history| case_history.case == *case);
        let behind = case_history
            .and_then(|case_history| case_history.verdicts.iter().find(|(c, _)| position.get(c) >= from));
        behind.is_some_and(|(_, verdict)| matches!(verdict, Verdict::Pass | Verdict::Xfail | Verdict::Xpass))
    })
}

/// No history speaks for it any more: its changes were rewound, or its only bad build no longer counts.
fn orphaned(
    breakage: &StoredBreakage,
    case_histories: &[CaseHistory],
    position: &BTreeMap<ChangeId, usize>,
) -> Option<BreakageAction> {
    let rewound = !position.contains_key(&breakage.bad);
    match breakage.state {
        BreakageState::Named | BreakageState::OneOfK | BreakageState::Inconclusive
            if !rewound && breakage.fixed.is_none() && is_overtaken(breakage, case_histories, position) =>
        {
            let (good, bad, cases) = (breakage.good, breakage.bad, breakage.cases.clone());
            let fixed = Some(Fix { after: bad, by: bad });
            Some(BreakageAction::Update { id: breakage.id, good, bad, cases, fixed })
        }
        BreakageState::Fixed | BreakageState::Gone => None,
        BreakageState::Suspected | BreakageState::Searching => Some(BreakageAction::Gone(breakage.id)),
        BreakageState::Named
        | BreakageState::OneOfK
        | BreakageState::Inconclusive
        | BreakageState::Flaky
        | BreakageState::Environment => rewound.then_some(BreakageAction::Gone(breakage.id)),
    }
}

#[cfg(test)]
mod tests;
