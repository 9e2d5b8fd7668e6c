//! A builder's breakages, from the verdicts of its cases change by change: the cases that began to fail, or are not run any
//! longer, between the same good and bad end.
//!
//! [`settle`] reads the whole known history of the cases in question and returns how the stored breakages must change to
//! agree with it. It is called again after every build, so it never depends on an earlier result.

pub mod dependency;
pub mod failure_group;
pub mod flaky;
pub mod mark;
pub mod sick;

mod action;
mod episode;
mod history;
mod loss;
mod regression_kind;

use std::collections::{BTreeMap, BTreeSet};

use protocol::Verdict;

use crate::words::BreakageState;
use crate::words::ids::{BreakageId, CaseId, ChangeId};
pub use action::{BreakageAction, Fix, StoredBreakage};
use episode::{Episode, EpisodeRules, Repair, episodes};
pub use history::{BuilderHistory, CaseHistory, HistoryBuild, SUITE_PROOF, TOOLCHAIN_PROOF};
pub use loss::{ALWAYS_ENOUGH, is_alarming};
pub use regression_kind::{Axis, RegressionKind, is_run};

/// Returns how the stored breakages must change.
///
/// The result for a case follows from the case's history, from how many others were lost with it, and from the breakages
/// that it belongs to. If none of that has changed since the last call, the case may be left out. For the cases that are
/// given, all their breakages must be given, and for the breakages that may change, all their cases.
pub fn settle(history: &BuilderHistory, stored: &[StoredBreakage]) -> Vec<BreakageAction> {
    let position: BTreeMap<ChangeId, usize> =
        history.order.iter().enumerate().map(|(at, &change)| (change, at)).collect();
    let history_builds: BTreeMap<ChangeId, HistoryBuild> =
        history.history_builds.iter().map(|history_build| (history_build.change, *history_build)).collect();
    let alarms = loss::alarms(history);
    // The episodes that belong to each breakage, by case.
    let mut claimed: BTreeMap<BreakageId, BTreeMap<CaseId, Episode>> = BTreeMap::new();
    let mut unclaimed: Vec<(CaseId, Vec<Episode>)> = Vec::new();
    for case_history in &history.case_histories {
        // A breakage that is gone stays gone: a change that comes back broken is a breakage of its own.
        let standing: Vec<&StoredBreakage> = stored
            .iter()
            .filter(|s| s.state != BreakageState::Gone && s.cases.contains(&case_history.case))
            .collect();
        // A loss that was an alarm once keeps being watched.
        let is_known = |s: &&&StoredBreakage, change: ChangeId| {
            let at = position.get(&change);
            s.lost.contains(&case_history.case) && position.get(&s.good) < at && at <= position.get(&s.bad)
        };
        let begins = |change| {
            alarms.contains(&(change, case_history.case)) || standing.iter().any(|s| is_known(&s, change))
        };
        let rules = EpisodeRules { history_builds: &history_builds, proof: history.proof, begins };
        let mut rest: Vec<Episode> = [Axis::Passing, Axis::Running]
            .into_iter()
            .flat_map(|axis| episodes(case_history, axis, &rules))
            .collect();
        rest.sort_by_key(|episode| position.get(&episode.bad));
        for claims in [belongs, swallows] {
            for breakage in &standing {
                let has_one =
                    |episodes: &BTreeMap<CaseId, Episode>| episodes.contains_key(&case_history.case);
                if claimed.get(&breakage.id).is_some_and(has_one) {
                    continue;
                }
                let is_claimed = |episode: &Episode| {
                    episode.regression_kind.axis() == breakage.regression_kind(case_history.case).axis()
                        && claims(episode, breakage, &position)
                };
                if let Some(at) = rest.iter().rposition(is_claimed) {
                    claimed.entry(breakage.id).or_default().insert(case_history.case, rest.remove(at));
                }
            }
        }
        unclaimed.push((case_history.case, rest));
    }

    // Episodes that belong to no breakage open one. A case is in one open breakage at most: an earlier episode waits until
    // the search for this one has ended.
    let mut fresh: BTreeMap<(ChangeId, ChangeId, Option<BreakageId>), BTreeMap<CaseId, Episode>> =
        BTreeMap::new();
    for (case, mut rest) in unclaimed {
        let of_case = || stored.iter().filter(|s| s.cases.contains(&case));
        let undecided = of_case().any(|s| s.state.is_undecided() && claimed.contains_key(&s.id));
        if history.flaky.contains(&case) || undecided {
            continue;
        }
        if let Some(episode) = rest.pop() {
            let axis = episode.regression_kind.axis();
            let again_of = of_case().filter(|s| s.regression_kind(case).axis() == axis).map(|s| s.id).max();
            fresh.entry((episode.good, episode.bad, again_of)).or_default().insert(case, episode);
        }
    }

    let mut actions = Vec::new();
    for breakage in stored {
        match claimed.remove(&breakage.id) {
            Some(episodes) => actions.extend(reconcile(breakage, episodes, &position)),
            None => actions.extend(without_episode(breakage, &history.case_histories, &position)),
        }
    }
    for ((good, bad, again_of), episodes) in fresh {
        actions.push(open(good, bad, &episodes, &position, None, again_of));
    }
    actions
}

/// The cases that a run shows bad, that were good in the history before it, and that nobody holds.
pub fn newly_bad(
    before: &BTreeMap<CaseId, Verdict>,
    run: &BTreeMap<CaseId, Verdict>,
    held: &BTreeSet<CaseId>,
) -> BTreeSet<CaseId> {
    let shows = |of: &BTreeMap<CaseId, Verdict>, case: &CaseId| {
        of.get(case).and_then(|verdict| RegressionKind::Failing.shows_good(*verdict))
    };
    let is_new = |case: &&CaseId| {
        shows(run, case) == Some(false) && shows(before, case) == Some(true) && !held.contains(case)
    };
    run.keys().filter(is_new).copied().collect()
}

/// Opens a breakage of these episodes.
fn open(
    good: ChangeId,
    bad: ChangeId,
    episodes: &BTreeMap<CaseId, Episode>,
    position: &BTreeMap<ChangeId, usize>,
    split_from: Option<BreakageId>,
    again_of: Option<BreakageId>,
) -> BreakageAction {
    BreakageAction::Open {
        good,
        bad,
        cases: episodes.keys().copied().collect(),
        lost: lost(episodes),
        hidden: of_kind(episodes, |kind| kind == RegressionKind::Hidden),
        fixed: fixed(episodes.values(), position).proven(),
        split_from,
        again_of,
    }
}

/// The cases that are not run any longer.
fn lost(episodes: &BTreeMap<CaseId, Episode>) -> BTreeSet<CaseId> {
    of_kind(episodes, |kind| kind != RegressionKind::Failing)
}

fn of_kind(
    episodes: &BTreeMap<CaseId, Episode>,
    is_of_it: impl Fn(RegressionKind) -> bool,
) -> BTreeSet<CaseId> {
    let of_it = episodes.iter().filter(|(_, episode)| is_of_it(episode.regression_kind));
    of_it.map(|(case, _)| *case).collect()
}

/// An episode belongs to a breakage if it lies in its range, or, if a culprit is named, around the culprit. An end that was
/// rewound is no bound.
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

/// A breakage had an episode of its own, until an older one turned out to continue into it, since the good run between
/// them was a lucky one. As long as its culprit is sought, the breakage is about the older episode.
fn swallows(older: &Episode, breakage: &StoredBreakage, position: &BTreeMap<ChangeId, usize>) -> bool {
    let at = |change: ChangeId| position.get(&change).copied();
    let continues = match older.repair {
        Repair::None => true,
        Repair::Seen(fix) | Repair::Proven(fix) => at(fix.after) >= at(breakage.bad),
    };
    breakage.state.is_undecided() && at(older.bad) < at(breakage.bad) && continues
}

fn reconcile(
    breakage: &StoredBreakage,
    episodes: BTreeMap<CaseId, Episode>,
    position: &BTreeMap<ChangeId, usize>,
) -> Vec<BreakageAction> {
    let mut actions = Vec::new();
    // A breakage whose search has ended keeps its cases and ends: only its repair is still news.
    let (good, bad, cases, lost, fixed) = if !breakage.state.is_undecided() {
        let is_whole = episodes.len() == breakage.cases.len();
        let repair = fixed(episodes.values(), position);
        if let (true, Repair::Seen(fix)) = (is_whole, repair) {
            actions.push(BreakageAction::Prove { id: breakage.id, at: fix.by });
        }
        let fixed = if is_whole { repair.proven() } else { breakage.fixed };
        (breakage.good, breakage.bad, breakage.cases.clone(), breakage.lost.clone(), fixed)
    } else {
        let mut groups: BTreeMap<(ChangeId, ChangeId), BTreeMap<CaseId, Episode>> = BTreeMap::new();
        for (case, episode) in episodes {
            groups.entry((episode.good, episode.bad)).or_default().insert(case, episode);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        // The largest group keeps the number; the others get breakages of their own.
        groups.sort_by_key(|(_, cases)| cases.len());
        let (ends, largest) = groups.pop().expect("reconcile is called with at least one episode");
        for ((good, bad), split_off) in groups {
            actions.push(open(good, bad, &split_off, position, Some(breakage.id), None));
        }
        let fixed = self::fixed(largest.values(), position).proven();
        (ends.0, ends.1, largest.keys().copied().collect(), self::lost(&largest), fixed)
    };
    let update = BreakageAction::Update { id: breakage.id, good, bad, cases, lost, fixed };
    let unchanged = BreakageAction::Update {
        id: breakage.id,
        good: breakage.good,
        bad: breakage.bad,
        cases: breakage.cases.clone(),
        lost: breakage.lost.clone(),
        fixed: breakage.fixed,
    };
    if update != unchanged {
        actions.insert(0, update);
    }
    actions
}

/// A breakage is fixed when all of its cases are; the widest of their repairs contains the true one.
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

/// Whether builds with other project inputs stand at the bad end or after it, and all cases are good there: the project
/// has repaired them itself.
fn is_repaired_by_project(
    breakage: &StoredBreakage,
    case_histories: &[CaseHistory],
    position: &BTreeMap<ChangeId, usize>,
) -> bool {
    let from = position.get(&breakage.bad);
    breakage.cases.iter().all(|case| {
        let case_history = case_histories.iter().find(|case_history| case_history.case == *case);
        let later = case_history
            .and_then(|case_history| case_history.verdicts.iter().find(|(c, _)| position.get(c) >= from));
        later.is_some_and(|(_, verdict)| matches!(verdict, Verdict::Pass | Verdict::Xfail | Verdict::Xpass))
    })
}

/// What becomes of a breakage to which no episode belongs any longer: its changes were rewound, or its only bad build no
/// longer counts.
fn without_episode(
    breakage: &StoredBreakage,
    case_histories: &[CaseHistory],
    position: &BTreeMap<ChangeId, usize>,
) -> Option<BreakageAction> {
    let is_rewound = !position.contains_key(&breakage.bad);
    match breakage.state {
        BreakageState::Named | BreakageState::OneOfK | BreakageState::Inconclusive
            if !is_rewound
                && breakage.fixed.is_none()
                && is_repaired_by_project(breakage, case_histories, position) =>
        {
            let (good, bad, cases, lost) =
                (breakage.good, breakage.bad, breakage.cases.clone(), breakage.lost.clone());
            let fixed = Some(Fix { after: bad, by: bad });
            Some(BreakageAction::Update { id: breakage.id, good, bad, cases, lost, fixed })
        }
        BreakageState::Fixed | BreakageState::Gone => None,
        BreakageState::Suspected | BreakageState::Searching => Some(BreakageAction::Gone(breakage.id)),
        BreakageState::Named
        | BreakageState::OneOfK
        | BreakageState::Inconclusive
        | BreakageState::Flaky
        | BreakageState::Environment => is_rewound.then_some(BreakageAction::Gone(breakage.id)),
    }
}

#[cfg(test)]
mod tests;
