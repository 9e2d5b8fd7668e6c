//! One case's history as runs of harm: good, then harmed, and perhaps good again, with proof.

use std::collections::BTreeMap;

use protocol::Verdict;

use super::{CaseHistory, Fix, HistoryBuild, RegressionKind};
use crate::words::ids::ChangeId;

/// A case was good at one change, harmed at another, and perhaps good again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Episode {
    pub good: ChangeId,
    pub bad: ChangeId,
    pub regression_kind: RegressionKind,
    pub repair: Repair,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repair {
    None,
    /// Good again, and seen too seldom to be believed.
    Seen(Fix),
    Proven(Fix),
}

/// What an episode is as long as it goes on.
struct Open {
    good: ChangeId,
    bad: ChangeId,
    last_bad: ChangeId,
    /// Where it was good again for the first time, and in how many runs since.
    seen: Option<(ChangeId, u32)>,
}

/// The episodes of a case, oldest first. `begins` says whether a loss at a change is one that counts; `proof` is how
/// many good runs in a row make a repair.
///
/// Harmed from the first build on, or from the first of another project side on, is *inherited*: it is no episode. What
/// a build does not tell of keeps what it was, so that red which vanishes is not taken for repaired.
pub fn episodes(
    case_history: &CaseHistory,
    regression_kind: RegressionKind,
    history_builds: &BTreeMap<ChangeId, HistoryBuild>,
    proof: u32,
    begins: impl Fn(ChangeId) -> bool,
) -> Vec<Episode> {
    let mut episodes = Vec::new();
    let mut good: Option<ChangeId> = None;
    let mut open: Option<Open> = None;
    for (at, &(change, verdict)) in case_history.verdicts.iter().enumerate() {
        let is_another_side = case_history.sides.contains(&at);
        if is_another_side {
            // What the old side could says nothing of the new one.
            good = None;
            // Nothing can be broken any more in a test that the project has dropped.
            if verdict == Verdict::Missing
                && let Some(dropped) = open.take()
            {
                let fix = Fix { after: change, by: change };
                episodes.push(episode(&dropped, regression_kind, Repair::Proven(fix)));
            }
        }
        match regression_kind.is_free(verdict) {
            None => {}
            Some(true) => {
                if let Some(going) = &mut open {
                    if is_another_side && going.seen.is_none() {
                        going.last_bad = change;
                    }
                    let (by, before) = going.seen.unwrap_or((change, 0));
                    let runs = before + good_runs(case_history, regression_kind, history_builds, change);
                    going.seen = Some((by, runs));
                    if runs >= proof {
                        let fix = Fix { after: going.last_bad, by };
                        episodes.push(episode(going, regression_kind, Repair::Proven(fix)));
                        open = None;
                    }
                }
                if open.is_none() {
                    good = Some(change);
                }
            }
            Some(false) => match (&mut open, good) {
                (Some(going), _) => (going.last_bad, going.seen) = (change, None),
                (None, Some(good)) if regression_kind == RegressionKind::Bad || begins(change) => {
                    open = Some(Open { good, bad: change, last_bad: change, seen: None });
                }
                // A loss that is no alarm is the new state of things: what follows is measured against it.
                (None, Some(_)) => good = None,
                (None, None) => {}
            },
        }
    }
    if let Some(going) = open {
        let repair = match going.seen {
            Some((by, _)) => Repair::Seen(Fix { after: going.last_bad, by }),
            None => Repair::None,
        };
        episodes.push(episode(&going, regression_kind, repair));
    }
    episodes
}

fn episode(open: &Open, regression_kind: RegressionKind, repair: Repair) -> Episode {
    Episode { good: open.good, bad: open.bad, regression_kind, repair }
}

/// Runs at a change that saw the case good. One that points to an equal build was not run; and where runs of identical
/// inputs disagree, none of them is proof.
fn good_runs(
    case_history: &CaseHistory,
    regression_kind: RegressionKind,
    history_builds: &BTreeMap<ChangeId, HistoryBuild>,
    change: ChangeId,
) -> u32 {
    let own = u32::from(history_builds.get(&change).is_some_and(|history_build| history_build.own));
    let beside = case_history.beside.iter().filter(|(at, _)| *at == change);
    let said: Vec<bool> =
        beside.filter_map(|&(_, verdict): &(_, Verdict)| regression_kind.is_free(verdict)).collect();
    match said.contains(&false) {
        true => 0,
        false => own + said.len() as u32,
    }
}
