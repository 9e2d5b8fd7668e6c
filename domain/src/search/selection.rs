//! Which probes of a search run only the cases in question, and how far that is believed.
//!
//! A case may do alone something else than it does among its neighbours, and a suite may ignore what it is asked for. So a
//! selected run is compared with whole runs first: at both ends of the range, which the alarm has run as a whole. And no
//! change is named before whole runs agree at the change and before it.

use std::collections::BTreeSet;

use super::inputs::{RunScope, SearchInputs, SearchRun, passed};
use super::step::{ProbeRequest, SearchResult, SearchStep};
use super::toolchain_groups::ToolchainGroups;
use crate::culprit::Purpose;
use crate::outcome::words;
use crate::readers::is_fault;
use crate::results::repeated;
use crate::words::ids::{CaseId, WorkerId};

/// A breakage of more cases is probed with whole runs: a runner that gets a long list of names saves little.
pub const MAX_SELECTED: usize = 100;
/// All names together; a plan carries them in one message.
const MAX_NAME_BYTES: usize = 64 << 10;

/// How far the selected runs of a search are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// There are none, or they do not count.
    Off,
    /// They are tried at the ends of the range.
    Trial,
    /// They agree with the whole runs at both ends.
    Trusted,
    /// One contradicts a whole run on the same machine: the project's suite is not selected from any more.
    Withdrawn(Disagreement),
}

/// How a selected run contradicts whole runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disagreement {
    /// A case passes alone where it fails among the others.
    PassesAlone,
    /// A case fails alone where it passes among the others.
    FailsAlone,
    /// A case is not reported though it was asked for.
    Unreported,
    /// All cases were run.
    Ignored,
}

words!(Disagreement {
    PassesAlone = "passes-alone", FailsAlone = "fails-alone", Unreported = "unreported", Ignored = "ignored",
});

impl Disagreement {
    /// Why selection was withdrawn, in a clause.
    pub fn clause(self) -> &'static str {
        match self {
            Disagreement::PassesAlone => "a case passes alone that fails in a run of the whole suite",
            Disagreement::FailsAlone => "a case fails alone that passes in a run of the whole suite",
            Disagreement::Unreported => "a run that was asked for a case did not report it",
            Disagreement::Ignored => "a run that was asked for a few cases ran the suite as a whole",
        }
    }
}

/// Whether a runner can be asked for these cases by their names. What is no test of its own has no name that a runner knows;
/// and that a case is no longer run, only a whole run shows.
pub fn can_select<'n>(names: impl Iterator<Item = &'n str>) -> bool {
    let (mut count, mut bytes) = (0, 0);
    for name in names {
        let has_place = name.ends_with(']') && name.contains(" [");
        if name.starts_with("step:")
            || is_fault(name)
            || repeated(name).is_some()
            || has_place
            || name.contains('\n')
        {
            return false;
        }
        count += 1;
        bytes += name.len() + 1;
    }
    (1..=MAX_SELECTED).contains(&count) && bytes <= MAX_NAME_BYTES
}

/// Whether a run that was asked for some cases ran most of the suite instead. Of a small suite nobody can tell.
pub fn is_ignored(asked: u64, reported: u64, whole: u64) -> bool {
    whole > 4 * asked && reported > whole / 2
}

/// How far the selected runs are believed, by all runs so far.
pub fn selection(facts: &SearchInputs) -> Selection {
    judge(facts, &ToolchainGroups::new(&facts.range))
}

pub(super) fn judge(facts: &SearchInputs, groups: &ToolchainGroups) -> Selection {
    if !facts.selects {
        return Selection::Off;
    }
    let mut elsewhere = false;
    let selected = || facts.runs.iter().filter(|run| run.scope != RunScope::Whole);
    for run in selected() {
        if let Some(disagreement) = contradicts(facts, groups, run, Some(run.worker)) {
            return Selection::Withdrawn(disagreement);
        }
        // Perhaps the machine is to blame: this search does without.
        elsewhere |= contradicts(facts, groups, run, None).is_some();
    }
    // The ends of the range move: what agreed at an earlier end that is still in the range has shown it once.
    // Where whole runs differ among themselves, a selected run shows nothing.
    let agrees = |run: &SearchRun, case: CaseId, good: bool| {
        let whole: BTreeSet<bool> =
            whole_runs(facts, groups, run, None).filter_map(|other| shown(other, case)).collect();
        shown(run, case) == Some(good) && whole == BTreeSet::from([good])
    };
    let shows = |good: bool| facts.cases.keys().all(|case| selected().any(|run| agrees(run, *case, good)));
    match () {
        () if elsewhere => Selection::Off,
        () if shows(true) && shows(false) => Selection::Trusted,
        () => Selection::Trial,
    }
}

/// The whole runs with the toolchain of a selected run: those of one machine, or all.
fn whole_runs<'f>(
    facts: &'f SearchInputs,
    groups: &'f ToolchainGroups,
    run: &'f SearchRun,
    of: Option<WorkerId>,
) -> impl Iterator<Item = &'f SearchRun> {
    facts.runs.iter().filter(move |other| {
        let is_same_machine =
            of.is_none_or(|worker| other.worker == worker && other.environment == run.environment);
        other.scope == RunScope::Whole
            && groups.group_of(other.at) == groups.group_of(run.at)
            && is_same_machine
    })
}

fn shown(run: &SearchRun, case: CaseId) -> Option<bool> {
    run.verdicts.get(&case).copied().and_then(passed)
}

/// Whether a selected run contradicts the whole runs with its toolchain: those of one machine, or all.
fn contradicts(
    facts: &SearchInputs,
    groups: &ToolchainGroups,
    run: &SearchRun,
    of: Option<WorkerId>,
) -> Option<Disagreement> {
    if run.scope == RunScope::Ignored {
        return Some(Disagreement::Ignored);
    }
    facts.cases.keys().find_map(|case| {
        let whole: BTreeSet<bool> =
            whole_runs(facts, groups, run, of).filter_map(|other| shown(other, *case)).collect();
        match shown(run, *case) {
            _ if whole.is_empty() => None,
            None => Some(Disagreement::Unreported),
            Some(good) if whole.contains(&good) => None,
            Some(true) => Some(Disagreement::PassesAlone),
            Some(false) => Some(Disagreement::FailsAlone),
        }
    })
}

impl Selection {
    /// Whether selected runs are evidence.
    pub(super) fn counts(self) -> bool {
        match self {
            Selection::Trial | Selection::Trusted => true,
            Selection::Off | Selection::Withdrawn(_) => false,
        }
    }

    /// Whether a probe of this group runs only the cases in question.
    pub(super) fn is_selected_at(self, group: usize, head: usize) -> bool {
        match self {
            Selection::Trusted => true,
            Selection::Trial => group == 0 || group == head,
            Selection::Off | Selection::Withdrawn(_) => false,
        }
    }
}

/// The inputs without the selected runs.
pub(super) fn without_selected(facts: &SearchInputs) -> SearchInputs {
    let mut whole = facts.clone();
    whole.runs.retain(|run| run.scope == RunScope::Whole);
    whole.selects = false;
    whole
}

/// The ends that no selected run has tried yet: they come first, the bad one before the good one.
pub(super) fn trials(facts: &SearchInputs, groups: &ToolchainGroups) -> Vec<(usize, Purpose)> {
    let is_tried = |group: usize| {
        facts.runs.iter().any(|run| run.scope != RunScope::Whole && groups.group_of(run.at) == group)
    };
    let ends = [(groups.head(), Purpose::Head), (0, Purpose::Base)];
    ends.into_iter().filter(|(group, _)| !is_tried(*group)).collect()
}

/// The groups beside an answer at which no whole run shows all cases: they are run as a whole before the answer is given.
pub(super) fn unconfirmed(
    facts: &SearchInputs,
    groups: &ToolchainGroups,
    step: &SearchStep,
) -> Vec<(usize, Purpose)> {
    let SearchStep::Found(
        SearchResult::Named { parent, culprit: last } | SearchResult::OneOf { parent, last },
    ) = step
    else {
        return Vec::new();
    };
    let is_shown = |group: usize| {
        facts.cases.keys().all(|case| {
            let whole = facts.runs.iter().filter(|run| run.scope == RunScope::Whole);
            whole.filter(|run| groups.group_of(run.at) == group).any(|run| shown(run, *case).is_some())
        })
    };
    let beside = [(groups.group_of(*last), Purpose::Confirm), (groups.group_of(*parent), Purpose::Confirm)];
    beside.into_iter().filter(|(group, _)| !is_shown(*group)).collect()
}

/// Whether whole runs of one of these groups show nothing, however often it is run.
pub(super) fn is_mute(facts: &SearchInputs, groups: &ToolchainGroups, missing: &[(usize, Purpose)]) -> bool {
    missing.iter().any(|(group, _)| {
        let whole = facts.runs.iter().filter(|run| run.scope == RunScope::Whole);
        whole.filter(|run| groups.group_of(run.at) == *group).count() >= super::MUTE_RUNS
    })
}

/// Probes of these groups on the first workers with room, as far as none is under way.
pub(super) fn probes_of(
    facts: &SearchInputs,
    groups: &ToolchainGroups,
    wanted: &[(usize, Purpose)],
    selected: bool,
) -> SearchStep {
    let pending: BTreeSet<usize> = facts.pending.iter().map(|at| groups.group_of(*at)).collect();
    let slots = facts
        .available_workers
        .iter()
        .flat_map(|one| std::iter::repeat_n(one.worker, crate::numbers::index(one.free)));
    let wanted = wanted.iter().filter(|(group, _)| !pending.contains(group));
    let requests: Vec<ProbeRequest> = wanted
        .zip(slots)
        .map(|(&(group, purpose), worker)| ProbeRequest {
            at: groups.first_of(group),
            worker,
            purpose,
            bits: 0.0,
            selected,
        })
        .collect();
    if requests.is_empty() { SearchStep::Wait } else { SearchStep::Ask(requests) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use protocol::{Sha256, Verdict};

    use super::super::{AvailableWorker, Candidate, CandidateToolchain, PastSearches, next};
    use super::*;
    use crate::culprit::{Cost, Tally};
    use crate::words::ids::ChangeId;

    const HERE: WorkerId = WorkerId(1);
    const CASE: CaseId = CaseId(1);

    /// What a suite does when it is asked for one case.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Suite {
        Honest,
        PassesAlone,
        FailsAlone,
        Silent,
        RunsAll,
        /// Alone, the case is broken by another change.
        OtherCulprit(usize),
    }

    fn run(at: usize, scope: RunScope, verdict: Option<bool>) -> SearchRun {
        let verdict = verdict.map(|good| (CASE, if good { Verdict::Pass } else { Verdict::Fail }));
        SearchRun {
            at,
            worker: HERE,
            environment: None,
            is_alarm: false,
            scope,
            verdicts: verdict.into_iter().collect(),
        }
    }

    fn facts(head: usize) -> SearchInputs {
        let toolchain = |at: usize| CandidateToolchain::Built(Sha256([u8::try_from(at).unwrap(); 32]));
        let candidate =
            |at: usize| Candidate { change: ChangeId(i64::try_from(at).unwrap()), toolchain: toolchain(at) };
        let alarm = |at, good| SearchRun { is_alarm: true, ..run(at, RunScope::Whole, Some(good)) };
        SearchInputs {
            range: (0..=head).map(candidate).collect(),
            suspicion: vec![1.0; head],
            cases: BTreeMap::from([(CASE, (Tally { fails: 0, passes: 30 }, Tally::default()))]),
            runs: vec![alarm(0, true), alarm(head, false)],
            past: PastSearches::default(),
            unbuildable: 0.05,
            cost: Cost { build: 1.0, suite: 1.0 },
            spent_seconds: 0.0,
            probes: 0,
            pending: vec![],
            available_workers: vec![AvailableWorker { worker: HERE, free: 1 }],
            alarm: Some(HERE),
            await_alarm: false,
            selects: true,
        }
    }

    /// Plays a search to its end. Returns its result, and all that was run.
    fn play(head: usize, culprit: usize, suite: Suite) -> (SearchResult, SearchInputs) {
        let mut facts = facts(head);
        loop {
            let requests = match next(&facts).0 {
                SearchStep::Ask(requests) => requests,
                SearchStep::Found(found) => return (found, facts),
                other => panic!("not in this game: {other:?}"),
            };
            for ProbeRequest { at, selected, .. } in requests {
                let whole = at < culprit;
                let (scope, verdict) = match (selected, suite) {
                    (false, _) => (RunScope::Whole, Some(whole)),
                    (true, Suite::Honest) => (RunScope::Selected, Some(whole)),
                    (true, Suite::PassesAlone) => (RunScope::Selected, Some(true)),
                    (true, Suite::FailsAlone) => (RunScope::Selected, Some(false)),
                    (true, Suite::Silent) => (RunScope::Selected, None),
                    (true, Suite::RunsAll) => (RunScope::Ignored, Some(whole)),
                    (true, Suite::OtherCulprit(other)) => (RunScope::Selected, Some(at < other)),
                };
                facts.runs.push(run(at, scope, verdict));
                facts.probes += 1;
                // As the master does: a withdrawal is stored.
                facts.selects &= !matches!(selection(&facts), Selection::Withdrawn(_));
            }
            assert!(facts.probes < 200, "the search ends");
        }
    }

    fn whole_probes(facts: &SearchInputs) -> usize {
        facts.runs.iter().filter(|run| run.scope == RunScope::Whole && !run.is_alarm).count()
    }

    #[test]
    fn a_suite_that_selects_is_run_as_a_whole_only_to_confirm_the_answer() {
        let (found, facts) = play(60, 23, Suite::Honest);
        assert_eq!(found, SearchResult::Named { parent: 22, culprit: 23 });
        assert_eq!(whole_probes(&facts), 2, "once before the change, and once with it");
        assert!(facts.runs.len() > 8);
    }

    #[test]
    fn names_that_no_runner_knows_are_not_selected() {
        let can = |names: &[&str]| can_select(names.iter().copied());
        assert!(can(&["tests/a.py::test_one[1-2]", "a test with words"]));
        for not in ["step:test", "fault:import", "one \u{d7}2", "one [suite a]", "two\nlines"] {
            assert!(!can(&["one", not]), "{not}");
        }
        assert!(!can(&[]));
        assert!(can(&["x"; MAX_SELECTED]) && !can(&["x"; MAX_SELECTED + 1]));
        assert!(!can(&[&"x".repeat(MAX_NAME_BYTES + 1)]));
    }

    #[test]
    fn a_run_of_most_of_a_suite_ignores_what_it_was_asked_for() {
        assert!(is_ignored(1, 10_000, 10_000));
        assert!(!is_ignored(1, 300, 10_000), "a file of the case is fine");
        assert!(!is_ignored(1, 3, 3), "of a small suite nobody can tell");
    }

    fn any_suite() -> impl Strategy<Value = Suite> {
        prop_oneof![
            Just(Suite::Honest),
            Just(Suite::PassesAlone),
            Just(Suite::FailsAlone),
            Just(Suite::Silent),
            Just(Suite::RunsAll),
            (1_usize..40).prop_map(Suite::OtherCulprit),
        ]
    }

    proptest! {
        /// However a suite lies about what it does alone, the answer is that of its whole runs; and a lie ends selection.
        #[test]
        fn a_lie_never_changes_the_answer(head in 1_usize..40, culprit in 0_usize..40, suite in any_suite()) {
            let culprit = 1 + culprit % head;
            let suite = match suite {
                Suite::OtherCulprit(other) => Suite::OtherCulprit(1 + other % head),
                other => other,
            };
            let (found, facts) = play(head, culprit, suite);
            prop_assert_eq!(found, SearchResult::Named { parent: culprit - 1, culprit });
            let is_true = matches!(suite, Suite::Honest) || suite == Suite::OtherCulprit(culprit);
            prop_assert_eq!(facts.selects, is_true, "{:?}", suite);
            if is_true {
                prop_assert!(whole_probes(&facts) <= 2);
            }
        }

        /// Before a selected run has failed at the bad end and another has passed at the good one, nothing else is selected.
        #[test]
        fn nothing_between_the_ends_is_selected_before_both_ends_agree(
            head in 2_usize..40,
            runs in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 0..6),
        ) {
            let mut facts = facts(head);
            for (is_head, selected, good) in runs {
                let scope = if selected { RunScope::Selected } else { RunScope::Whole };
                facts.runs.push(run(if is_head { head } else { 0 }, scope, Some(good)));
            }
            let selected_at = |at: usize, good: bool| {
                facts.runs.iter().any(|run| run.scope == RunScope::Selected && run.at == at && shown(run, CASE) == Some(good))
            };
            let agree = selected_at(head, false) && selected_at(0, true);
            if let SearchStep::Ask(requests) = next(&facts).0 {
                for request in requests.iter().filter(|request| request.selected) {
                    prop_assert!(agree || [0, head].contains(&request.at), "{:?}", request);
                }
            }
        }
    }
}
