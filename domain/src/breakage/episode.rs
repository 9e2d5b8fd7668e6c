//! The episodes of one case: good, then regressed, and perhaps repaired, with proof.

use std::collections::BTreeMap;

use protocol::Verdict;

use super::action::Fix;
use super::history::{CaseHistory, HistoryBuild};
use super::regression_kind::RegressionKind;
use crate::words::ids::ChangeId;

/// A case was good at one change, regressed at another, and perhaps good again later.
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
    /// Good again, in fewer runs than prove it.
    Seen(Fix),
    Proven(Fix),
}

impl Repair {
    pub fn proven(self) -> Option<Fix> {
        match self {
            Repair::Proven(fix) => Some(fix),
            Repair::Seen(_) | Repair::None => None,
        }
    }
}

/// An episode that goes on.
struct OpenEpisode {
    good: ChangeId,
    bad: ChangeId,
    last_bad: ChangeId,
    /// Where the case was good again for the first time, and in how many runs since.
    good_again: Option<(ChangeId, u32)>,
}

/// The episodes of a case, oldest first. `begins` returns whether a loss at a change counts; `proof` is how many good runs
/// in a row prove a repair.
///
/// A case that is regressed from the first build on, or from the first one with other project inputs on, is *inherited*:
/// that is no episode. A case that a build does not report keeps its state, so that a failure which vanishes is not taken
/// for repaired.
pub fn episodes(
    case_history: &CaseHistory,
    regression_kind: RegressionKind,
    history_builds: &BTreeMap<ChangeId, HistoryBuild>,
    proof: u32,
    begins: impl Fn(ChangeId) -> bool,
) -> Vec<Episode> {
    let mut episodes = Vec::new();
    let mut good: Option<ChangeId> = None;
    let mut open: Option<OpenEpisode> = None;
    for (at, &(change, verdict)) in case_history.verdicts.iter().enumerate() {
        let inputs_change = case_history.baselines.contains(&at);
        if inputs_change {
            // That the case was good with the old inputs says nothing about the new ones.
            good = None;
            // A test that the project has removed is not broken any longer.
            if verdict == Verdict::Missing
                && let Some(dropped) = open.take()
            {
                let fix = Fix { after: change, by: change };
                episodes.push(episode(&dropped, regression_kind, Repair::Proven(fix)));
            }
        }
        match regression_kind.shows_good(verdict) {
            None => {}
            Some(true) => {
                if let Some(going) = &mut open {
                    if inputs_change && going.good_again.is_none() {
                        going.last_bad = change;
                    }
                    let (by, before) = going.good_again.unwrap_or((change, 0));
                    let runs = before + good_runs(case_history, regression_kind, history_builds, change);
                    going.good_again = Some((by, runs));
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
                (Some(going), _) => (going.last_bad, going.good_again) = (change, None),
                (None, Some(good)) if regression_kind == RegressionKind::Failing || begins(change) => {
                    open = Some(OpenEpisode { good, bad: change, last_bad: change, good_again: None });
                }
                // A loss that is no alarm is the new normal: later builds are compared with it.
                (None, Some(_)) => good = None,
                (None, None) => {}
            },
        }
    }
    if let Some(going) = open {
        let repair = match going.good_again {
            Some((by, _)) => Repair::Seen(Fix { after: going.last_bad, by }),
            None => Repair::None,
        };
        episodes.push(episode(&going, regression_kind, repair));
    }
    episodes
}

fn episode(open: &OpenEpisode, regression_kind: RegressionKind, repair: Repair) -> Episode {
    Episode { good: open.good, bad: open.bad, regression_kind, repair }
}

/// How many runs at a change saw the case good. A build that points to an equal one was not run. If runs of identical
/// inputs disagree, none of them is a proof.
fn good_runs(
    case_history: &CaseHistory,
    regression_kind: RegressionKind,
    history_builds: &BTreeMap<ChangeId, HistoryBuild>,
    change: ChangeId,
) -> u32 {
    let own = u32::from(history_builds.get(&change).is_some_and(|history_build| history_build.own));
    let evidence_verdicts = case_history.evidence_verdicts.iter().filter(|(at, _)| *at == change);
    let results: Vec<bool> = evidence_verdicts
        .filter_map(|&(_, verdict): &(_, Verdict)| regression_kind.shows_good(verdict))
        .collect();
    match results.contains(&false) {
        true => 0,
        false => own + u32::try_from(results.len()).unwrap_or(u32::MAX - own),
    }
}
