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
pub mod takeover;

mod action;
mod episode;
mod history;
mod loss;
mod new_failure;
mod regression_kind;
mod shared;

use std::collections::{BTreeMap, BTreeSet};

use protocol::Verdict;

use crate::words::BreakageState;
use crate::words::ids::{BreakageId, CaseId, ChangeId};
pub use action::{BreakageAction, Fix, StoredBreakage};
use episode::{Episode, EpisodeRules, Repair, episodes};
pub use history::{BuilderHistory, CaseHistory, HistoryBuild, ListChange, RepairProof};
pub use loss::{ALWAYS_ENOUGH, is_alarming};
pub use new_failure::{NewFailure, NewFailureAction, StoredNewFailure};
pub use regression_kind::{Axis, RegressionKind, is_run};
pub use shared::leading_cases;
use shared::{CaseRank, Explanations};

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
    let mut settling = Settling {
        history,
        stored,
        position: &position,
        history_builds: &history_builds,
        alone: BTreeMap::new(),
    };
    let (claimed, unclaimed, alone) = settling.claim();
    settling.alone = alone;
    let fresh = settling.fresh(&claimed, unclaimed);
    let mut claimed = claimed;
    let mut actions = Vec::new();
    for breakage in stored {
        match claimed.remove(&breakage.id) {
            Some(episodes) => actions.extend(settling.reconcile(breakage, episodes)),
            None => actions.extend(without_episode(breakage, &history.case_histories, &position)),
        }
    }
    for ((good, bad, again_of), episodes) in fresh {
        actions.push(settling.open(good, bad, episodes, None, again_of));
    }
    actions
}

/// Episodes of each case, oldest first.
type ByCase = BTreeMap<CaseId, Vec<Episode>>;
/// By breakage, the episodes that belong to it, by case.
type Claimed = BTreeMap<BreakageId, BTreeMap<CaseId, Episode>>;
/// By the ends of their range, and by the breakage that comes back, the episodes that belong to no breakage.
type Fresh = BTreeMap<(ChangeId, ChangeId, Option<BreakageId>), BTreeMap<CaseId, Episode>>;

/// What is settled, with its history by change.
struct Settling<'a> {
    history: &'a BuilderHistory,
    stored: &'a [StoredBreakage],
    position: &'a BTreeMap<ChangeId, usize>,
    history_builds: &'a BTreeMap<ChangeId, HistoryBuild>,
    /// The episodes of shared cases that nothing explains.
    alone: ByCase,
}

impl Settling<'_> {
    /// The episodes that belong to each breakage, the others of each case, and those of shared cases that nothing explains.
    fn claim(&self) -> (Claimed, Vec<(CaseId, Vec<Episode>)>, ByCase) {
        let alarms = loss::alarms(self.history);
        let (mut claimed, mut unclaimed, mut alone) = (Claimed::new(), Vec::new(), ByCase::new());
        let mut explanations = Explanations::default();
        for rank in CaseRank::ALL {
            let mut of_rank = Explanations::default();
            let is_of_rank = |case_history: &&CaseHistory| self.history.rank(case_history.case) == rank;
            for case_history in self.history.case_histories.iter().filter(is_of_rank) {
                let rest = explanations.explain(case_history, rank);
                let mut episodes = self.episodes_of(&rest, &alarms);
                episodes.retain(|episode| !self.history.is_left_to_step(case_history, episode));
                of_rank.add(case_history, &episodes, self.position);
                of_rank.add_changes(self.history.failing_as_new(case_history));
                if rank != CaseRank::Named {
                    alone.insert(rest.case, episodes.clone());
                }
                unclaimed.push((case_history.case, self.claim_of_case(rest.case, episodes, &mut claimed)));
            }
            explanations.extend(of_rank);
        }
        (claimed, unclaimed, alone)
    }

    /// The breakages of a case. One that is gone stays gone: a change that comes back broken is a breakage of its own.
    fn standing(&self, case: CaseId) -> impl Iterator<Item = &StoredBreakage> {
        self.stored.iter().filter(move |s| s.state != BreakageState::Gone && s.cases.contains(&case))
    }

    /// All episodes of a case, oldest first.
    fn episodes_of(&self, case_history: &CaseHistory, alarms: &BTreeSet<(ChangeId, CaseId)>) -> Vec<Episode> {
        let (case, position) = (case_history.case, self.position);
        // A loss that was an alarm once keeps being watched.
        let is_known = |s: &StoredBreakage, change: ChangeId| {
            let at = position.get(&change);
            s.lost.contains(&case) && position.get(&s.good) < at && at <= position.get(&s.bad)
        };
        let begins =
            |change| alarms.contains(&(change, case)) || self.standing(case).any(|s| is_known(s, change));
        let (proof, history_builds) = (self.history.proof, self.history_builds);
        let mut all = Vec::new();
        for axis in [Axis::Passing, Axis::Running] {
            let of_axis = self.standing(case).filter(|s| s.regression_kind(case).axis() == axis);
            let repaired_by = of_axis.filter_map(|s| s.fixed).map(|fix| fix.by).collect();
            let rules = EpisodeRules { history_builds, position, proof, begins, repaired_by };
            all.extend(episodes(case_history, axis, &rules));
        }
        all.sort_by_key(|episode| position.get(&episode.bad));
        all
    }

    /// Gives each breakage of a case the episode that belongs to it. Returns the rest.
    fn claim_of_case(&self, case: CaseId, mut rest: Vec<Episode>, claimed: &mut Claimed) -> Vec<Episode> {
        for claims in [belongs, swallows] {
            for breakage in self.standing(case) {
                let has_one = |episodes: &BTreeMap<CaseId, Episode>| episodes.contains_key(&case);
                if claimed.get(&breakage.id).is_some_and(has_one) {
                    continue;
                }
                let is_claimed = |episode: &Episode| {
                    episode.regression_kind.axis() == breakage.regression_kind(case).axis()
                        && claims(episode, breakage, self.position)
                };
                if let Some(at) = rest.iter().rposition(is_claimed) {
                    claimed.entry(breakage.id).or_default().insert(case, rest.remove(at));
                }
            }
        }
        rest
    }

    /// Episodes that belong to no breakage open one. A case is in one open breakage at most: an earlier episode waits until
    /// the search for this one has ended.
    fn fresh(&self, claimed: &Claimed, unclaimed: Vec<(CaseId, Vec<Episode>)>) -> Fresh {
        let mut fresh = Fresh::new();
        for (case, mut rest) in unclaimed {
            let of_case = || self.stored.iter().filter(|s| s.cases.contains(&case));
            let undecided = of_case().any(|s| s.state.is_undecided() && claimed.contains_key(&s.id));
            if self.history.flaky.contains(&case) || undecided {
                continue;
            }
            let Some(episode) = rest.pop() else { continue };
            let axis = episode.regression_kind.axis();
            // A breakage comes back with what it was about; one from which a case was taken over does not.
            let is_taken_over = self.history.is_taken_over(case, episode.bad);
            let is_about = |s: &&StoredBreakage| {
                !is_taken_over
                    && s.regression_kind(case).axis() == axis
                    && self.history.leading(&s.cases).contains(&case)
            };
            let again_of = of_case().filter(is_about).map(|s| s.id).max();
            // What is shared goes with the cases that went bad at the same change.
            let joins = |(_, bad, _): &&(ChangeId, ChangeId, Option<BreakageId>)| *bad == episode.bad;
            let with = match self.history.rank(case) {
                CaseRank::Named => None,
                CaseRank::Fault | CaseRank::Step => fresh.keys().find(joins).copied(),
            };
            let group = with.unwrap_or((episode.good, episode.bad, again_of));
            fresh.entry(group).or_default().insert(case, episode);
        }
        fresh
    }

    /// Opens a breakage of these episodes, and of the shared cases that they explain.
    fn open(
        &self,
        good: ChangeId,
        bad: ChangeId,
        episodes: BTreeMap<CaseId, Episode>,
        split_from: Option<BreakageId>,
        again_of: Option<BreakageId>,
    ) -> BreakageAction {
        let mut cases: BTreeSet<CaseId> = episodes.keys().copied().collect();
        cases.extend(self.attached(bad, &episodes));
        let fixed = fixed(episodes.values(), self.position).proven();
        BreakageAction::Open {
            good,
            bad,
            cases,
            lost: lost(&episodes),
            hidden: of_kind(&episodes, |kind| kind == RegressionKind::Hidden),
            repaired: if fixed.is_none() { repaired(&episodes) } else { BTreeSet::new() },
            fixed,
            split_from,
            again_of,
        }
    }

    fn reconcile(
        &self,
        breakage: &StoredBreakage,
        episodes: BTreeMap<CaseId, Episode>,
    ) -> Vec<BreakageAction> {
        let unchanged = BreakageAction::Update {
            id: breakage.id,
            good: breakage.good,
            bad: breakage.bad,
            cases: breakage.cases.clone(),
            lost: breakage.lost.clone(),
            repaired: breakage.repaired.clone(),
            fixed: breakage.fixed,
        };
        let mut actions = match breakage.state.is_undecided() {
            true => self.narrow(breakage, episodes),
            false => self.watch_repair(breakage, &episodes),
        };
        actions.retain(|action| *action != unchanged);
        actions
    }

    /// A breakage whose search has ended keeps its cases and ends: only its repair is still news.
    fn watch_repair(
        &self,
        breakage: &StoredBreakage,
        episodes: &BTreeMap<CaseId, Episode>,
    ) -> Vec<BreakageAction> {
        let is_whole = self.history.leading(&breakage.cases).iter().all(|case| episodes.contains_key(case));
        let repair = fixed(episodes.values(), self.position);
        let StoredBreakage { id, good, bad, cases, lost, .. } = breakage.clone();
        let fixed = if is_whole { repair.proven() } else { breakage.fixed };
        let repaired = if fixed.is_none() { repaired(episodes) } else { BTreeSet::new() };
        let mut actions = vec![BreakageAction::Update { id, good, bad, cases, lost, repaired, fixed }];
        if fixed.is_none()
            && let Some(at) = self.to_prove(episodes)
        {
            actions.push(BreakageAction::Prove { id, at });
        }
        actions
    }

    /// The newest change at which leading cases seem to be repaired, whatever the others do.
    fn to_prove(&self, episodes: &BTreeMap<CaseId, Episode>) -> Option<ChangeId> {
        let leading = self.history.leading(&episodes.keys().copied().collect());
        let seen = |(case, episode): (&CaseId, &Episode)| match episode.repair {
            Repair::Seen(fix) if leading.contains(case) => Some(fix.by),
            Repair::Seen(_) | Repair::Proven(_) | Repair::None => None,
        };
        episodes.iter().filter_map(seen).max_by_key(|change| self.position.get(change))
    }

    /// A breakage that is searched has the range of its cases; those with another range get breakages of their own. What is
    /// shared stays.
    fn narrow(
        &self,
        breakage: &StoredBreakage,
        mut episodes: BTreeMap<CaseId, Episode>,
    ) -> Vec<BreakageAction> {
        let leading = self.history.leading(&episodes.keys().copied().collect());
        let shared: BTreeSet<CaseId> = self.shared_of(breakage, &leading);
        episodes.retain(|case, _| leading.contains(case));
        let mut groups: BTreeMap<(ChangeId, ChangeId), BTreeMap<CaseId, Episode>> = BTreeMap::new();
        for (case, episode) in episodes {
            groups.entry((episode.good, episode.bad)).or_default().insert(case, episode);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        // The largest group keeps the number; the others get breakages of their own.
        groups.sort_by_key(|(_, cases)| cases.len());
        let ((good, bad), largest) = groups.pop().expect("reconcile is called with at least one episode");
        let fixed = fixed(largest.values(), self.position).proven();
        let repaired = if fixed.is_none() { repaired(&largest) } else { BTreeSet::new() };
        let (cases, lost) = (largest.keys().copied().chain(shared).collect(), lost(&largest));
        let mut actions =
            vec![BreakageAction::Update { id: breakage.id, good, bad, cases, lost, repaired, fixed }];
        for ((good, bad), split_off) in groups {
            actions.push(self.open(good, bad, split_off, Some(breakage.id), None));
        }
        actions
    }

    /// The cases of a breakage that are shared with others, beside those that lead it.
    fn shared_of(&self, breakage: &StoredBreakage, leading: &BTreeSet<CaseId>) -> BTreeSet<CaseId> {
        let first = leading.iter().map(|case| self.history.rank(*case)).min();
        breakage.cases.iter().copied().filter(|case| Some(self.history.rank(*case)) > first).collect()
    }

    /// The shared cases that fail at a change, beside other cases that went bad there: they belong to them.
    fn attached(&self, bad: ChangeId, cases: &BTreeMap<CaseId, Episode>) -> Vec<CaseId> {
        let Some(first) = cases.keys().map(|case| self.history.rank(*case)).min() else { return Vec::new() };
        let fails = |case_history: &&CaseHistory| {
            let at = case_history.verdicts.iter().rfind(|(change, _)| *change == bad);
            at.is_some_and(|(_, verdict)| RegressionKind::Failing.shows_good(*verdict) == Some(false))
        };
        let was_good = |case_history: &&CaseHistory| {
            let before = case_history.verdicts.iter().take_while(|(change, _)| *change != bad);
            before.map(|(_, verdict)| *verdict).any(|it| RegressionKind::Failing.shows_good(it) == Some(true))
        };
        let at = |change: ChangeId| self.position.get(&change);
        let fails_alone = |case: CaseId| {
            let goes_on = |episode: &Episode| match episode.repair {
                Repair::None => true,
                Repair::Seen(fix) | Repair::Proven(fix) => at(fix.after) >= at(bad),
            };
            let before = |episode: &&Episode| at(episode.bad) < at(bad);
            self.alone.get(&case).is_some_and(|all| all.iter().filter(before).any(goes_on))
        };
        let shared = self.history.case_histories.iter().filter(|it| self.history.rank(it.case) > first);
        let shared = shared.filter(|case_history| !fails_alone(case_history.case));
        shared.filter(fails).filter(was_good).map(|case_history| case_history.case).collect()
    }
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

/// The cases that are not run any longer.
fn lost(episodes: &BTreeMap<CaseId, Episode>) -> BTreeSet<CaseId> {
    of_kind(episodes, |kind| kind != RegressionKind::Failing)
}

/// The cases that are repaired, with proof.
fn repaired(episodes: &BTreeMap<CaseId, Episode>) -> BTreeSet<CaseId> {
    let proven = episodes.iter().filter(|(_, episode)| episode.repair.proven().is_some());
    proven.map(|(case, _)| *case).collect()
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
        let is_later = |(change, verdict): &&(ChangeId, Verdict)| {
            position.get(change) >= from && *verdict != Verdict::Unreached
        };
        let later = case_history.and_then(|case_history| case_history.verdicts.iter().find(is_later));
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
            let (fixed, repaired) = (Some(Fix { after: bad, by: bad }), BTreeSet::new());
            Some(BreakageAction::Update { id: breakage.id, good, bad, cases, lost, repaired, fixed })
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
