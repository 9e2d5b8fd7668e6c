//! From what a builder's cases did, change by change, to its breakages: the cases that went bad between the same
//! good and bad end.
//!
//! [`settle`] looks at the whole known history of the cases in question and says how the stored breakages must
//! change to agree with it. It is asked again after every build, so it never depends on what was asked before.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Verdict;

use crate::ids::{BreakageId, CaseId, ChangeId};
use crate::words::BreakageState;

/// One case over the cover builds of its builder, in first-parent order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip {
    pub case: CaseId,
    pub verdicts: Vec<(ChangeId, Verdict)>,
    /// Where in them another project side begins: what differs there is the project's own doing.
    pub sides: BTreeSet<usize>,
}

/// A breakage as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub id: BreakageId,
    pub good: ChangeId,
    pub bad: ChangeId,
    pub state: BreakageState,
    pub culprit: Option<ChangeId>,
    pub cases: BTreeSet<CaseId>,
    pub fixed: Option<Fix>,
}

/// Still bad after one change, good again by the other. Where both are one change, the project repaired it itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fix {
    pub after: ChangeId,
    pub by: ChangeId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Open {
        good: ChangeId,
        bad: ChangeId,
        cases: BTreeSet<CaseId>,
        fixed: Option<Fix>,
        split_from: Option<BreakageId>,
        again_of: Option<BreakageId>,
    },
    /// The ends moved closer, cases left for a breakage of their own, or a repair was seen (or taken back).
    Update { id: BreakageId, good: ChangeId, bad: ChangeId, cases: BTreeSet<CaseId>, fixed: Option<Fix> },
    /// Its bad end is history no more.
    Gone(BreakageId),
}

/// The cases that differ between two runs of identical inputs on one worker: they are flaky. What a run does not
/// tell of is no difference.
pub fn flaky(one: &BTreeMap<CaseId, Verdict>, other: &BTreeMap<CaseId, Verdict>) -> BTreeSet<CaseId> {
    let told = |verdict: Verdict| match verdict {
        Verdict::Pass | Verdict::Xfail | Verdict::Xpass => Some(true),
        Verdict::Fail | Verdict::Error => Some(false),
        Verdict::Skip | Verdict::Missing | Verdict::Unreached => None,
    };
    let differs = |case: &CaseId, verdict: Verdict| {
        let theirs = other.get(case).copied().and_then(told);
        theirs.is_some_and(|theirs| told(verdict).is_some_and(|ours| ours != theirs))
    };
    one.iter().filter(|&(case, &verdict)| differs(case, verdict)).map(|(case, _)| *case).collect()
}

/// A run of badness of one case: good, then bad, and perhaps good again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Episode {
    good: ChangeId,
    bad: ChangeId,
    fixed: Option<Fix>,
}

/// Says how `stored` must change. `order` is the branch's changes, first to last; `flaky` are cases proven to be so,
/// which open nothing more.
pub fn settle(
    order: &[ChangeId],
    strips: &[Strip],
    stored: &[Stored],
    flaky: &BTreeSet<CaseId>,
) -> Vec<Action> {
    let position: BTreeMap<ChangeId, usize> = order.iter().enumerate().map(|(at, &c)| (c, at)).collect();
    // Which episode belongs to which breakage; those of none open one.
    let mut claimed: BTreeMap<BreakageId, BTreeMap<CaseId, Episode>> = BTreeMap::new();
    let mut fresh: BTreeMap<(ChangeId, ChangeId, Option<BreakageId>), BTreeMap<CaseId, Episode>> =
        BTreeMap::new();
    for strip in strips {
        let mut rest = episodes(strip);
        let of_case = stored.iter().filter(|s| s.cases.contains(&strip.case));
        // What is gone stays gone: a change that comes back broken is a breakage of its own.
        for breakage in of_case.clone().filter(|s| s.state != BreakageState::Gone) {
            if let Some(at) = rest.iter().rposition(|e| belongs(e, breakage, &position)) {
                claimed.entry(breakage.id).or_default().insert(strip.case, rest.remove(at));
            }
        }
        // A case is in one open breakage at most: an earlier episode waits until the search for this one has ended.
        let undecided = of_case.clone().any(|s| s.state.is_undecided());
        if flaky.contains(&strip.case) || undecided {
            continue;
        }
        if let Some(episode) = rest.pop() {
            let again_of = of_case.map(|s| s.id).max();
            fresh.entry((episode.good, episode.bad, again_of)).or_default().insert(strip.case, episode);
        }
    }

    let mut actions = Vec::new();
    for breakage in stored {
        match claimed.remove(&breakage.id) {
            Some(episodes) => actions.extend(reconcile(breakage, episodes, &position)),
            None => actions.extend(orphaned(breakage, &position)),
        }
    }
    for ((good, bad, again_of), episodes) in fresh {
        let fixed = fixed(episodes.values(), &position);
        let cases = episodes.into_keys().collect();
        actions.push(Action::Open { good, bad, cases, fixed, split_from: None, again_of });
    }
    actions
}

/// Bad from the first build on, or from the first of another project side on, is *inherited*: it is no episode. Skipped, missing and unreached cases keep their
/// last verdict, so that red which vanishes is not taken for repaired.
fn episodes(strip: &Strip) -> Vec<Episode> {
    let mut episodes: Vec<Episode> = Vec::new();
    let mut good: Option<ChangeId> = None;
    let mut last_bad: Option<ChangeId> = None;
    for (at, &(change, verdict)) in strip.verdicts.iter().enumerate() {
        let is_another_side = strip.sides.contains(&at);
        match verdict {
            Verdict::Pass | Verdict::Xfail | Verdict::Xpass => {
                if let (Some(after), Some(open)) = (last_bad.take(), episodes.last_mut())
                    && open.fixed.is_none()
                {
                    let after = if is_another_side { change } else { after };
                    open.fixed = Some(Fix { after, by: change });
                }
                good = Some(change);
            }
            // What the old side could says nothing of the new one.
            Verdict::Skip | Verdict::Missing | Verdict::Unreached if is_another_side => good = None,
            Verdict::Fail | Verdict::Error => {
                if is_another_side {
                    good = None;
                }
                if let (Some(good), None) = (good, last_bad) {
                    episodes.push(Episode { good, bad: change, fixed: None });
                }
                last_bad = Some(change);
            }
            Verdict::Skip | Verdict::Missing | Verdict::Unreached => {}
        }
    }
    episodes
}

/// An episode belongs to a breakage when it lies in its range, or, where the culprit is found, around the culprit.
fn belongs(episode: &Episode, breakage: &Stored, position: &BTreeMap<ChangeId, usize>) -> bool {
    let at = |change: ChangeId| position.get(&change).copied();
    match breakage.culprit {
        Some(culprit) => at(episode.good) < at(culprit) && at(culprit) <= at(episode.bad),
        None => at(episode.good) >= at(breakage.good) && at(episode.bad) <= at(breakage.bad),
    }
}

fn reconcile(
    breakage: &Stored,
    episodes: BTreeMap<CaseId, Episode>,
    position: &BTreeMap<ChangeId, usize>,
) -> Vec<Action> {
    let mut actions = Vec::new();
    // A breakage that a search has ended keeps its cases and ends: only its repair is still news.
    let (good, bad, cases, fixed) = if !breakage.state.is_undecided() {
        let whole = episodes.len() == breakage.cases.len();
        let fixed = if whole { fixed(episodes.values(), position) } else { breakage.fixed };
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
            let fixed = self::fixed(apart.values(), position);
            let cases = apart.into_keys().collect();
            let split_from = Some(breakage.id);
            actions.push(Action::Open { good, bad, cases, fixed, split_from, again_of: None });
        }
        (ends.0, ends.1, kept.keys().copied().collect(), self::fixed(kept.values(), position))
    };
    let update = Action::Update { id: breakage.id, good, bad, cases, fixed };
    let same = Action::Update {
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

/// Fixed when all of its cases are; the widest of their repairs is the one that is sure.
fn fixed<'a>(
    episodes: impl Iterator<Item = &'a Episode>,
    position: &BTreeMap<ChangeId, usize>,
) -> Option<Fix> {
    let at = |change: ChangeId| position.get(&change).copied();
    episodes
        .map(|episode| episode.fixed)
        .reduce(|one, other| {
            let (one, other) = (one?, other?);
            let after = if at(one.after) >= at(other.after) { one.after } else { other.after };
            let by = if at(one.by) >= at(other.by) { one.by } else { other.by };
            Some(Fix { after, by })
        })
        .flatten()
}

/// No history speaks for it any more: its changes were rewound, or its only bad build no longer counts.
fn orphaned(breakage: &Stored, position: &BTreeMap<ChangeId, usize>) -> Option<Action> {
    let rewound = !position.contains_key(&breakage.bad);
    match breakage.state {
        BreakageState::Fixed | BreakageState::Gone => None,
        BreakageState::Suspected | BreakageState::Searching => Some(Action::Gone(breakage.id)),
        BreakageState::Named
        | BreakageState::OneOfK
        | BreakageState::Inconclusive
        | BreakageState::Flaky
        | BreakageState::Environment => rewound.then_some(Action::Gone(breakage.id)),
    }
}

#[cfg(test)]
mod tests;
