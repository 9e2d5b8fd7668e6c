//! The episodes of one case: good, then regressed, and perhaps repaired, with proof.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Verdict;

use super::action::Fix;
use super::history::{CaseHistory, HistoryBuild, RepairProof};
use super::regression_kind::{Axis, RegressionKind, is_run};
use crate::culprit::{RepairEvidence, STILL_BROKEN, Tally, is_refuted, still_broken};
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
    regression_kind: RegressionKind,
    last_bad: ChangeId,
    /// Where the case was good again for the first time, and in how many runs since.
    good_again: Option<(ChangeId, u32)>,
    /// The runs before it.
    known_good: Tally,
    /// The runs while it goes on; good ones were lucky.
    known_bad: Tally,
}

impl OpenEpisode {
    fn is_taken_over(&self, verdict: Verdict) -> bool {
        self.regression_kind == RegressionKind::Failing
            && RegressionKind::Failing.shows_good(verdict) == Some(false)
    }
}

/// What can begin an episode, and what ends one.
pub struct EpisodeRules<'a, F: Fn(ChangeId) -> bool> {
    pub history_builds: &'a BTreeMap<ChangeId, HistoryBuild>,
    pub position: &'a BTreeMap<ChangeId, usize>,
    pub proof: RepairProof,
    /// Whether it counts that the case is not run any longer, at a change.
    pub begins: F,
    /// Where a repair of the case was proven before. It stays so, unless runs there refute it: the case may be bad again,
    /// but that is news.
    pub repaired_by: BTreeSet<ChangeId>,
}

/// The episodes of a case on one axis, oldest first.
///
/// A case that is bad from the first build on, or from the first one with other project inputs on, is *inherited*: that is
/// no episode on either axis, since only what was good once can be lost. A case that a build does not report keeps its
/// state, so that a failure which vanishes is not taken for repaired.
pub fn episodes(
    case_history: &CaseHistory,
    axis: Axis,
    rules: &EpisodeRules<'_, impl Fn(ChangeId) -> bool>,
) -> Vec<Episode> {
    let mut episodes = Vec::new();
    let mut state = CaseState::default();
    let mut open: Option<OpenEpisode> = None;
    let mut known_good = Tally::default();
    for (at, &(change, verdict)) in case_history.verdicts.iter().enumerate() {
        let inputs_change = case_history.baselines.contains(&at);
        if inputs_change {
            // That the case was good with the old inputs says nothing about the new ones.
            state = CaseState::default();
            // A test that the project has removed is not broken any longer.
            if verdict == Verdict::Missing
                && let Some(dropped) = open.take()
            {
                let fix = Fix { after: change, by: change };
                episodes.push(episode(&dropped, Repair::Proven(fix)));
            }
        }
        // Another change took the case over: what failed until now is repaired, and what fails from here on is its own.
        if case_history.takeovers.contains(&at)
            && let Some(ended) = open.take_if(|going| going.is_taken_over(verdict))
        {
            let good = ended.good_again.and(state.good).unwrap_or(ended.last_bad);
            let fix = Fix { after: ended.last_bad, by: change };
            episodes.push(episode(&ended, Repair::Proven(fix)));
            let known_bad = Tally { fails: u32::from(is_own(rules.history_builds, change)), passes: 0 };
            open = Some(OpenEpisode {
                good,
                bad: change,
                last_bad: change,
                good_again: None,
                known_bad,
                ..ended
            });
        } else if let Some(going) = &mut open {
            let is_refuted = is_refuted_at(case_history, going.regression_kind, rules.history_builds, change);
            match going.regression_kind.shows_good(verdict).map(|is_good| is_good && !is_refuted) {
                Some(true) => {
                    if inputs_change && going.good_again.is_none() {
                        going.last_bad = change;
                    }
                    let (by, before) = going.good_again.unwrap_or((change, 0));
                    let runs =
                        before + good_runs(case_history, going.regression_kind, rules.history_builds, change);
                    going.good_again = Some((by, runs));
                    let is_proven = is_proven(case_history, going, runs, rules);
                    let was_proven = rules.repaired_by.contains(&change);
                    if is_proven || was_proven {
                        // A case that passes now and then while it is bad may have been lucky before its proven repair.
                        let by = if was_proven && going.known_bad.passes > 0 { change } else { by };
                        let fix = Fix { after: going.last_bad, by };
                        episodes.push(episode(going, Repair::Proven(fix)));
                        open = None;
                    }
                }
                Some(false) => {
                    let (_, lucky) = going.good_again.take().unwrap_or((change, 0));
                    going.last_bad = change;
                    going.known_bad.passes += lucky;
                    if is_own(rules.history_builds, change) {
                        going.known_bad.count(!is_refuted);
                    }
                }
                None => {}
            }
        } else if let Some((good, regression_kind)) = state.regression(axis, change, verdict, &rules.begins) {
            let known_bad = Tally { fails: u32::from(is_own(rules.history_builds, change)), passes: 0 };
            let (bad, last_bad, good_again) = (change, change, None);
            open =
                Some(OpenEpisode { good, bad, regression_kind, last_bad, good_again, known_good, known_bad });
        }
        if open.is_none() && RegressionKind::Failing.shows_good(verdict) == Some(true) {
            known_good.passes += u32::from(is_own(rules.history_builds, change));
        }
        state.record(change, verdict);
    }
    if let Some(going) = open {
        let repair = match going.good_again {
            Some((by, _)) => Repair::Seen(Fix { after: going.last_bad, by }),
            None => Repair::None,
        };
        episodes.push(episode(&going, repair));
    }
    episodes
}

/// What a case did until now, with the same project inputs.
#[derive(Default)]
struct CaseState {
    /// Where it was good last.
    good: Option<ChangeId>,
    /// Where it ran last, if it has run since it was found not to run, and whether it was good there.
    run: Option<(ChangeId, bool)>,
}

impl CaseState {
    /// The last good change, and how the case regressed, if a verdict begins an episode on an axis.
    fn regression(
        &self,
        axis: Axis,
        change: ChangeId,
        verdict: Verdict,
        begins: impl Fn(ChangeId) -> bool,
    ) -> Option<(ChangeId, RegressionKind)> {
        match (axis, is_run(verdict)?, self.run) {
            (Axis::Passing, true, _) => {
                let is_bad = RegressionKind::Failing.shows_good(verdict) == Some(false);
                is_bad.then_some((self.good?, RegressionKind::Failing))
            }
            (Axis::Passing, false, Some((good, true))) => {
                begins(change).then_some((good, RegressionKind::NotRun))
            }
            // Only what was good once can be lost.
            (Axis::Running, false, Some((failed, false))) => {
                (self.good.is_some() && begins(change)).then_some((failed, RegressionKind::Hidden))
            }
            (Axis::Passing, false, Some((_, false)) | None)
            | (Axis::Running, true, _)
            | (Axis::Running, false, Some((_, true)) | None) => None,
        }
    }

    fn record(&mut self, change: ChangeId, verdict: Verdict) {
        match RegressionKind::NotRun.shows_good(verdict) {
            Some(true) => (self.good, self.run) = (Some(change), Some((change, true))),
            Some(false) if is_run(verdict) == Some(true) => self.run = Some((change, false)),
            // A loss that is no alarm is the new normal: later builds are compared with it.
            Some(false) => self.run = None,
            None => {}
        }
    }
}

fn episode(open: &OpenEpisode, repair: Repair) -> Episode {
    Episode { good: open.good, bad: open.bad, regression_kind: open.regression_kind, repair }
}

/// Whether so many good runs in a row prove that a case is good again.
fn is_proven(
    case_history: &CaseHistory,
    going: &OpenEpisode,
    passes: u32,
    rules: &EpisodeRules<'_, impl Fn(ChangeId) -> bool>,
) -> bool {
    match rules.proof {
        RepairProof::OneRun => passes > 0,
        RepairProof::Model => {
            let good = going.known_good;
            let bad = going.known_bad + evidence_within(case_history, going, rules);
            passes > 0 && still_broken(&RepairEvidence { good, bad, passes }) < STILL_BROKEN
        }
    }
}

fn is_own(history_builds: &BTreeMap<ChangeId, HistoryBuild>, change: ChangeId) -> bool {
    history_builds.get(&change).is_some_and(|history_build| history_build.own)
}

/// The runs beside the history while an episode goes on, and those that failed where it seems to have ended.
fn evidence_within(
    case_history: &CaseHistory,
    going: &OpenEpisode,
    rules: &EpisodeRules<'_, impl Fn(ChangeId) -> bool>,
) -> Tally {
    let at = |change: ChangeId| rules.position.get(&change);
    let mut tally = Tally::default();
    for (change, verdict) in &case_history.evidence_verdicts {
        let Some(is_good) = going.regression_kind.shows_good(*verdict) else { continue };
        let is_within = (at(going.bad)..=at(going.last_bad)).contains(&at(*change));
        // A good run at a change where the history is good, too, was counted there.
        let is_counted = is_good && is_good_at(case_history, going.regression_kind, *change);
        if (is_within && !is_counted) || (at(*change) > at(going.last_bad) && !is_good) {
            tally.count(!is_good);
        }
    }
    tally
}

/// Whether other runs at a change whose history build shows a case good show that it is bad there.
fn is_refuted_at(
    case_history: &CaseHistory,
    regression_kind: RegressionKind,
    history_builds: &BTreeMap<ChangeId, HistoryBuild>,
    change: ChangeId,
) -> bool {
    let mut runs = Tally { fails: 0, passes: u32::from(is_own(history_builds, change)) };
    for (_, verdict) in case_history.evidence_verdicts.iter().filter(|(at, _)| *at == change) {
        if let Some(is_good) = regression_kind.shows_good(*verdict) {
            runs.count(!is_good);
        }
    }
    is_good_at(case_history, regression_kind, change) && is_refuted(runs)
}

fn is_good_at(case_history: &CaseHistory, regression_kind: RegressionKind, change: ChangeId) -> bool {
    let verdict = case_history.verdicts.iter().rfind(|(at, _)| *at == change);
    verdict.is_some_and(|(_, verdict)| regression_kind.shows_good(*verdict) == Some(true))
}

/// How many runs at a change saw the case good. A build that points to an equal one was not run. If runs of identical
/// inputs disagree, none of them is a proof.
fn good_runs(
    case_history: &CaseHistory,
    regression_kind: RegressionKind,
    history_builds: &BTreeMap<ChangeId, HistoryBuild>,
    change: ChangeId,
) -> u32 {
    let own = u32::from(is_own(history_builds, change));
    let evidence_verdicts = case_history.evidence_verdicts.iter().filter(|(at, _)| *at == change);
    let results: Vec<bool> = evidence_verdicts
        .filter_map(|&(_, verdict): &(_, Verdict)| regression_kind.shows_good(verdict))
        .collect();
    match results.contains(&false) {
        true => 0,
        false => own + u32::try_from(results.len()).unwrap_or(u32::MAX - own),
    }
}
