//! Searches played against a trunk drawn as a picture: `+` passes there, `-` fails, `b` has no toolchain, `s` says
//! nothing; `=` has the very toolchain of the change before it.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::{Sha256, Verdict};

use super::*;
use crate::culprit::{Cost, Purpose, Tally};
use crate::sentences::{RunCount, WorkerRuns};
use crate::words::ids::{CaseId, ChangeId};

const HERE: WorkerId = WorkerId(1);
const THERE: WorkerId = WorkerId(2);
const CASE: CaseId = CaseId(1);
const OTHER: CaseId = CaseId(2);

fn range(picture: &str) -> Vec<Candidate> {
    let mut artifact = 0;
    let candidate = |(c, id): (char, i64)| {
        artifact = if c == '=' { artifact } else { id as u8 };
        let toolchain = if c == 'b' {
            CandidateToolchain::Broken
        } else {
            CandidateToolchain::Built(Sha256([artifact; 32]))
        };
        Candidate { change: ChangeId(id), toolchain }
    };
    picture.chars().zip(0..).map(candidate).collect()
}

fn run(at: usize, worker: WorkerId, verdict: Verdict) -> SearchRun {
    SearchRun {
        at,
        worker,
        environment: None,
        is_alarm: false,
        scope: RunScope::Whole,
        verdicts: BTreeMap::from([(CASE, verdict)]),
    }
}

fn available_worker(worker: WorkerId) -> AvailableWorker {
    AvailableWorker { worker, free: 1 }
}

/// The inputs after an alarm: good at the first change and bad at the last, on one machine.
fn facts(picture: &str) -> SearchInputs {
    let range = range(picture);
    let alarm = |at, verdict| SearchRun { is_alarm: true, ..run(at, HERE, verdict) };
    let known = (Tally { fails: 0, passes: 30 }, Tally::default());
    SearchInputs {
        suspicion: vec![1.0; range.len() - 1],
        cases: BTreeMap::from([(CASE, known)]),
        runs: vec![alarm(0, Verdict::Pass), alarm(range.len() - 1, Verdict::Fail)],
        range,
        past: PastSearches::default(),
        unbuildable: 0.05,
        cost: Cost { build: 1.0, suite: 1.0 },
        spent_seconds: 0.0,
        probes: 0,
        pending: vec![],
        available_workers: vec![available_worker(HERE)],
        alarm: Some(HERE),
        await_alarm: false,
        selects: false,
    }
}

/// Plays a search to its end, and returns where it probed. `answer` returns the verdict of a machine's nth run at a change.
fn play(
    facts: SearchInputs,
    answer: impl Fn(usize, WorkerId, usize) -> Verdict,
) -> (SearchResult, Vec<usize>) {
    let before = facts.runs.len();
    let (found, facts) = play_on(facts, answer);
    (found, facts.runs[before..].iter().map(|run| run.at).collect())
}

/// Plays a search to its end, and returns the inputs that it had then.
fn play_on(
    mut facts: SearchInputs,
    answer: impl Fn(usize, WorkerId, usize) -> Verdict,
) -> (SearchResult, SearchInputs) {
    let mut asked: Vec<usize> = Vec::new();
    loop {
        match next(&facts).0 {
            SearchStep::Ask(asks) => {
                for ask in asks {
                    assert_ne!(
                        facts.range[ask.at].toolchain,
                        CandidateToolchain::Broken,
                        "a probe without a toolchain"
                    );
                    let times = asked.iter().filter(|at| **at == ask.at).count();
                    asked.push(ask.at);
                    facts.probes += 1;
                    facts.spent_seconds += facts.cost.suite;
                    facts.runs.push(run(ask.at, ask.worker, answer(ask.at, ask.worker, times)));
                }
            }
            SearchStep::Found(found) => return (found, facts),
            other => panic!("not in this game: {other:?} after {asked:?}"),
        }
    }
}

fn words(found: SearchResult) -> String {
    match found {
        SearchResult::Named { parent, culprit } => format!("{culprit} after {parent}"),
        SearchResult::OneOf { parent, last } => format!("one of {}..{last}", parent + 1),
        SearchResult::Flaky => "flaky".into(),
        SearchResult::Environment => "environment".into(),
        SearchResult::Inconclusive => "inconclusive".into(),
    }
}

/// The result on a trunk whose verdicts are the picture itself.
fn found(picture: &str) -> String {
    let truth: Vec<char> = picture.chars().collect();
    let (found, _) =
        play(facts(picture), |at, _, _| match (0..=at).rev().map(|at| truth[at]).find(|c| *c != '=') {
            Some('-') => Verdict::Fail,
            Some('s') => Verdict::Missing,
            _ => Verdict::Pass,
        });
    words(found)
}

#[test]
fn a_range_of_one_change_is_confirmed_like_any_other() {
    let (found, probes) = play(facts("+-"), |at, _, _| if at == 1 { Verdict::Fail } else { Verdict::Pass });
    assert_eq!(words(found), "1 after 0");
    assert!((3..=8).contains(&probes.len()), "{probes:?}");
}

#[test]
fn the_culprit_is_found_wherever_it_is() {
    for culprit in 1..32 {
        let picture: String = (0..32).map(|at| if at < culprit { '+' } else { '-' }).collect();
        assert_eq!(found(&picture), format!("{culprit} after {}", culprit - 1));
    }
}

#[test]
fn a_change_without_a_toolchain_is_stepped_around_and_never_blamed_alone() {
    assert_eq!(found("+b-"), "one of 1..2");
    assert_eq!(found("++bb+--"), "5 after 4");
}

#[test]
fn of_equal_toolchains_only_the_first_is_a_candidate() {
    assert_eq!(found("+==-=="), "3 after 2");
    // With the same toolchain at both ends the trunk is not to blame, and both ends are probed nevertheless.
    let (found, _) = play(facts("+==="), |_, _, _| Verdict::Fail);
    assert_eq!(found, SearchResult::Environment);
}

#[test]
fn differing_verdicts_on_one_toolchain_of_one_machine_are_a_flaky_case() {
    let (found, _) = play(facts("+++-"), |_, _, _| Verdict::Pass);
    assert_eq!(
        found,
        SearchResult::Flaky,
        "the run that raised the alarm failed on this machine, and now it passes"
    );
}

#[test]
fn a_good_end_that_was_never_really_good_accuses_no_change() {
    let (found, probes) = play(facts("+++-"), |_, _, _| Verdict::Fail);
    assert_eq!(found, SearchResult::Environment);
    assert!(probes.len() < 10, "{probes:?}");
}

#[test]
fn a_case_that_fails_on_one_machine_whatever_the_change_accuses_no_change() {
    // The alarm was raised on one machine, and that machine is available alone, or with another one.
    for available_workers in
        [vec![available_worker(THERE)], vec![available_worker(THERE), available_worker(HERE)]]
    {
        let mut facts = facts("++++++-");
        facts.runs[1].worker = THERE;
        facts.alarm = Some(THERE);
        facts.available_workers = available_workers;
        let (found, _) =
            play(facts, |_, worker, _| if worker == THERE { Verdict::Fail } else { Verdict::Pass });
        assert_eq!(found, SearchResult::Environment);
    }
}

#[test]
fn runs_of_a_machine_count_once_it_has_passed_the_good_end_itself() {
    let mut facts = facts("+++-");
    facts.runs.extend((0..9).map(|_| run(1, THERE, Verdict::Fail)));
    assert_eq!(next(&facts).1.left_out, [(THERE, ExcludedWorker::Unproven)]);
    assert!(next(&facts).1.changes[1] < 0.5);
    facts.runs.push(run(0, THERE, Verdict::Pass));
    assert_eq!(next(&facts).1.left_out, []);
    assert!(next(&facts).1.changes[1] > 0.9);
}

#[test]
fn a_machine_in_a_new_environment_has_to_prove_itself_again() {
    let mut facts = facts("+++-");
    facts.runs.push(SearchRun { environment: Some(Sha256([1; 32])), ..run(3, HERE, Verdict::Fail) });
    match next(&facts).0 {
        SearchStep::Ask(asks) => assert_eq!((asks[0].at, asks[0].purpose), (0, Purpose::Base)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failure_on_a_machine_that_is_away_is_waited_for_and_then_blamed_on_it() {
    let mut facts = facts("+++-");
    facts.runs[1].worker = THERE;
    facts.alarm = Some(THERE);
    facts.runs.extend((0..9).map(|_| run(3, HERE, Verdict::Pass)));
    facts.await_alarm = true;
    assert_eq!(next(&facts).0, SearchStep::Wait);
    facts.await_alarm = false;
    assert_eq!(next(&facts).0, SearchStep::Found(SearchResult::Environment));
}

#[test]
fn two_culprits_in_one_range_come_apart() {
    let mut facts = facts("++++++++-");
    facts.cases.insert(OTHER, facts.cases[&CASE]);
    for run in &mut facts.runs {
        let verdict = run.verdicts[&CASE];
        run.verdicts.insert(OTHER, verdict);
    }
    let apart = loop {
        match next(&facts).0 {
            SearchStep::Ask(asks) => {
                let at = asks[0].at;
                let verdict = |culprit| if at >= culprit { Verdict::Fail } else { Verdict::Pass };
                let verdicts = BTreeMap::from([(CASE, verdict(3)), (OTHER, verdict(6))]);
                facts.runs.push(SearchRun { verdicts, ..run(at, HERE, Verdict::Pass) });
            }
            SearchStep::Split(apart) => break apart,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(apart.len(), 1);
    facts.cases.retain(|case, _| !apart.contains(case));
    let (found, _) = play(facts, |at, _, _| if at >= 3 { Verdict::Fail } else { Verdict::Pass });
    let culprit = if apart.contains(&OTHER) { "3 after 2" } else { "6 after 5" };
    assert_eq!(words(found), culprit);
}

#[test]
fn contradictory_evidence_ends_the_search_when_the_budget_is_spent() {
    // Broken, repaired and broken again, each by half.
    let (found, probes) = play(facts("+-+-+-+-"), |at, _, times| match (at + times / 2) % 2 {
        0 => Verdict::Pass,
        _ => Verdict::Fail,
    });
    assert!(!matches!(found, SearchResult::Named { .. }), "{found:?}");
    assert!(probes.len() <= MAX_PROBES as usize);
}

#[test]
fn runs_without_verdicts_end_the_search() {
    let (found, probes) = play(facts("+sss-"), |at, _, _| match at {
        0 => Verdict::Pass,
        4 => Verdict::Fail,
        _ => Verdict::Missing,
    });
    assert_eq!(words(found), "one of 1..4");
    assert!(probes.len() <= MAX_PROBES as usize);
}

#[test]
fn builds_that_were_made_for_another_reason_are_evidence() {
    let mut facts = facts("++++++++");
    let before = next(&facts).1;
    for at in [3, 3, 3, 5, 5, 5, 7, 7] {
        let verdict = if at > 4 { Verdict::Fail } else { Verdict::Pass };
        facts.runs.push(run(at, HERE, verdict));
    }
    let after = next(&facts).1;
    assert!(after.changes[4] + after.changes[5] > 0.9);
    assert!(after.probes_left < before.probes_left);
}

#[test]
fn a_result_is_doubted_when_later_evidence_disagrees() {
    let mut facts = facts("+++---");
    let named = SearchResult::Named { parent: 2, culprit: 3 };
    for (at, verdict) in [(2, Verdict::Pass), (3, Verdict::Fail)] {
        facts.runs.extend((0..3).map(|_| run(at, HERE, verdict)));
    }
    assert!(!is_doubtful(&facts, named));
    facts.runs.extend((0..4).map(|_| run(2, HERE, Verdict::Fail)));
    assert!(is_doubtful(&facts, named));
}

#[test]
fn a_case_found_flaky_that_fails_only_since_some_change_is_doubted() {
    let mut facts = facts(&"+".repeat(20));
    assert!(!is_doubtful(&facts, SearchResult::Flaky));
    for at in 0..20 {
        let verdict = if at >= 8 && at % 2 == 0 { Verdict::Fail } else { Verdict::Pass };
        facts.runs.push(run(at, HERE, verdict));
    }
    assert!(is_doubtful(&facts, SearchResult::Flaky));
}

/// A case that is known to be flaky is ignored for weeks: that must not hide that a change breaks it for good.
#[test]
fn a_case_found_flaky_that_fails_in_every_run_since_some_change_is_doubted() {
    let mut facts = facts(&"+".repeat(20));
    for at in 0..20 {
        let verdict = if at >= 8 || at == 3 { Verdict::Fail } else { Verdict::Pass };
        facts.runs.push(run(at, HERE, verdict));
    }
    assert!(is_doubtful(&facts, SearchResult::Flaky));
}

#[test]
fn several_workers_probe_at_once_and_each_within_its_free_slots() {
    let mut facts = facts(&"+".repeat(200));
    facts.runs.push(run(0, THERE, Verdict::Pass));
    facts.available_workers = vec![AvailableWorker { worker: HERE, free: 2 }, available_worker(THERE)];
    match next(&facts).0 {
        SearchStep::Ask(asks) => {
            let of = |worker| asks.iter().filter(|ask| ask.worker == worker).count();
            assert_eq!((of(HERE), of(THERE)), (2, 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn past_searches_change_the_prior() {
    let (environment, flaky) = PastSearches::default().environment_and_flaky();
    assert_eq!((environment, flaky), (0.1, 0.3));
    let (_, flaky) = PastSearches { ended: 90, flaky: 87, environment: 0 }.environment_and_flaky();
    assert_eq!(flaky, 0.9);
}

#[test]
fn probes_without_a_result_are_repeated_after_growing_pauses_and_not_for_ever() {
    let waits: Vec<Option<u64>> = (0..8).map(|in_vain| pause(in_vain).map(|wait| wait.as_secs())).collect();
    let expected = [0, 10, 40, 160, 640, 2560, 10240].map(Some);
    assert_eq!(waits, [&expected[..], &[None]].concat());
    assert_eq!(pause(u32::MAX), None);
}

/// A splitmix64 generator (Steele, Lea, Flood 2014), as a number from 0 up to 1.
fn chance(state: &Cell<u64>) -> f64 {
    state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
    let mut z = state.get();
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// What a search of a case that fails by luck ends with, for one of many such searches.
fn found_by_luck(number: usize, known: u32, fails: impl Fn() -> bool) -> SearchResult {
    let mut facts = facts(&"+".repeat(2 + number % 5));
    let bad = (0..known).filter(|_| fails()).count() as u32;
    facts.cases.insert(CASE, (Tally { fails: bad, passes: known - bad }, Tally::default()));
    play(facts, |_, _, _| if fails() { Verdict::Fail } else { Verdict::Pass }).0
}

/// Thousands of searches of a case that fails by luck, the same each time: fewer than one in a thousand names a change,
/// at whatever rate the case fails, and however little is known of it.
#[test]
fn a_case_that_fails_by_luck_is_blamed_on_a_change_in_fewer_than_one_of_a_thousand_searches() {
    let lines = [(0.05, 0), (0.125, 0), (0.25, 0), (0.25, 0), (0.4, 0), (0.6, 0), (0.25, 30), (0.4, 30)];
    let searches = 500;
    let blamed: Vec<(f64, u32, usize)> = std::thread::scope(|threads| {
        let line = |(seed, (rate, known))| {
            threads.spawn(move || {
                let state = Cell::new(seed);
                let blamed = (0..searches).filter(|&number| {
                    let found = found_by_luck(number, known, || chance(&state) < rate);
                    matches!(found, SearchResult::Named { .. } | SearchResult::OneOf { .. })
                });
                (rate, known, blamed.count())
            })
        };
        let running: Vec<_> = (1..).zip(lines).map(line).collect();
        running.into_iter().map(|line| line.join().expect("a search does not panic")).collect()
    });
    let all: usize = blamed.iter().map(|(_, _, blamed)| blamed).sum();
    assert!(1000 * all < blamed.len() * searches && all < 2, "{blamed:?}");
}

/// The counts that a mail prints of these runs: passes before, and failures with, by worker.
fn printed(proof: &[WorkerProof]) -> Vec<(u32, u32)> {
    let count = |tally: Tally| RunCount { good: tally.passes, bad: tally.fails };
    let runs = proof.iter().map(|of_it| WorkerRuns {
        worker: format!("w{}", of_it.worker),
        before: count(of_it.before),
        with: count(of_it.with),
    });
    let number = |words: &str, what: &str| {
        let before = words.split(what).next().filter(|before| before.len() < words.len());
        before.and_then(|before| before.split_whitespace().last()?.parse().ok()).unwrap_or(0)
    };
    runs.map(|runs| {
        let words = runs.words(false);
        (number(&words, " passes before it"), number(&words, " failures with it"))
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever the trunk, the noise, the workers and the cases are, and however many neighbours share a toolchain: the
    /// runs that a mail counts for a named change are a proof, and so are those at the two ends of an answer that names
    /// several changes.
    #[test]
    fn what_is_named_is_printed_with_three_passes_without_it_and_three_failures_with_it_on_one_worker(
        equal in prop::collection::vec(prop::bool::weighted(0.4), 1..24),
        truth in 0..30_usize,
        noise in 0.0..0.4_f64,
        known in 0..40_u32,
        has_two_workers in any::<bool>(),
        has_two_cases in any::<bool>(),
        seed in 1..u64::MAX,
    ) {
        let state = Cell::new(seed);
        let picture: String =
            std::iter::once('+').chain(equal.iter().map(|is_equal| if *is_equal { '=' } else { '+' })).collect();
        let mut facts = facts(&picture);
        let tallies = (Tally { fails: 0, passes: known }, Tally::default());
        facts.cases.insert(CASE, tallies);
        if has_two_cases {
            facts.cases.insert(OTHER, tallies);
        }
        if has_two_workers {
            facts.available_workers.push(available_worker(THERE));
            facts.runs.push(run(0, THERE, Verdict::Pass));
        }
        let groups = ToolchainGroups::new(&facts.range);
        let truth = groups.group_of(truth.min(facts.range.len() - 1));
        let verdict = |at: usize| match (groups.group_of(at) >= truth) == (chance(&state) >= noise) {
            true => Verdict::Fail,
            false => Verdict::Pass,
        };
        let found = loop {
            match next(&facts).0 {
                SearchStep::Ask(asks) => for ask in asks {
                    facts.probes += 1;
                    let verdicts = facts.cases.keys().map(|case| (*case, verdict(ask.at))).collect();
                    facts.runs.push(SearchRun { verdicts, ..run(ask.at, ask.worker, Verdict::Pass) });
                },
                SearchStep::Found(found) => break found,
                SearchStep::Split(apart) => facts.cases.retain(|case, _| !apart.contains(case)),
                SearchStep::Wait => panic!("nothing is under way"),
            }
        };
        prop_assert!(facts.probes <= MAX_PROBES + 3, "{} probes", facts.probes);
        if let SearchResult::Named { parent, culprit } | SearchResult::OneOf { parent, last: culprit } = found {
            let counts = printed(&proof(&facts, parent, culprit));
            prop_assert!(counts.iter().any(|&(passes, fails)| passes >= 3 && fails >= 3), "{found:?}: {counts:?}");
        }
    }
}

/// Neighbours with one toolchain are one version: whichever of them ran, the runs are of what the mail names.
#[test]
fn runs_of_neighbours_with_the_same_toolchain_are_counted() {
    let mut facts = facts("++=-=");
    facts.runs.extend([1, 1, 2].map(|at| run(at, HERE, Verdict::Pass)));
    facts.runs.extend([3, 4, 4].map(|at| run(at, HERE, Verdict::Fail)));
    facts.runs.push(run(0, HERE, Verdict::Pass));
    let counted = WorkerProof {
        worker: HERE,
        before: Tally { fails: 0, passes: 3 },
        with: Tally { fails: 3, passes: 0 },
    };
    assert_eq!(proof(&facts, 2, 3), [counted]);
}

/// Each of two cases has three passes there, but only two runs show both good.
#[test]
fn of_several_cases_the_one_that_shows_the_least_counts() {
    let mut facts = facts("+-");
    facts.cases.insert(OTHER, facts.cases[&CASE]);
    let verdicts = |one, other| BTreeMap::from([(CASE, one), (OTHER, other)]);
    let (pass, fail) = (Verdict::Pass, Verdict::Fail);
    for (at, one, other) in [(0, pass, pass), (0, pass, fail), (1, fail, fail), (1, fail, pass)] {
        facts.runs.push(SearchRun { verdicts: verdicts(one, other), ..run(at, HERE, pass) });
    }
    let counted = WorkerProof {
        worker: HERE,
        before: Tally { fails: 1, passes: 1 },
        with: Tally { fails: 1, passes: 1 },
    };
    assert_eq!(proof(&facts, 0, 1), [counted]);
}

#[test]
fn a_toolchain_is_named_after_fewer_builds_but_not_without_seeing_both_ends() {
    let mut facts = facts("+-");
    for candidate in &mut facts.range {
        candidate.toolchain = CandidateToolchain::Itself;
    }
    let (found, probes) = play(facts, |at, _, _| if at == 1 { Verdict::Fail } else { Verdict::Pass });
    assert_eq!(words(found), "1 after 0");
    assert!(probes.contains(&0) && probes.contains(&1) && probes.len() < 6, "{probes:?}");
}

/// A search that runs out of probes accuses nobody unless the ends of what is left are proven like an answer.
#[test]
fn a_spent_search_names_several_changes_only_with_the_proof_of_an_answer() {
    let mut facts = facts(&"+".repeat(12));
    facts.probes = MAX_PROBES;
    for (at, verdict) in [(4, Verdict::Pass), (9, Verdict::Fail)] {
        facts.runs.extend((0..2).map(|_| run(at, HERE, verdict)));
    }
    assert_eq!(next(&facts).0, SearchStep::Found(SearchResult::Inconclusive));
    for (at, verdict) in [(4, Verdict::Pass), (9, Verdict::Fail)] {
        facts.runs.extend((0..2).map(|_| run(at, HERE, verdict)));
    }
    assert_eq!(next(&facts).0, SearchStep::Found(SearchResult::OneOf { parent: 4, last: 9 }));
}

proptest! {
    /// Each part of a search may spend a budget on what a split revealed, and a search that is split again and again ends.
    #[test]
    fn a_split_renews_the_budget_but_not_for_ever(
        at in prop::collection::btree_set(1..2_000_i64, 0..20),
        seconds in 0.1..10.0_f64,
    ) {
        let mut facts = facts("+-");
        let (mut made, mut splits) = (Vec::new(), Vec::new());
        for now in (1..).map(Timestamp) {
            splits.extend(at.contains(&now.0).then_some(now));
            let since = budget_since(&splits);
            facts.probes = u32::try_from(made.iter().filter(|probe| **probe >= since).count()).unwrap();
            facts.spent_seconds = f64::from(facts.probes) * seconds;
            if is_spent(&facts) {
                break;
            }
            made.push(now);
        }
        let renewed = splits.len().min(index(MAX_RENEWED));
        prop_assert!(made.len() <= (renewed + 1) * index(MAX_PROBES), "{} probes, {splits:?}", made.len());
        for (place, split) in splits.iter().enumerate() {
            let own = made.iter().filter(|probe| *probe >= split).count();
            prop_assert!(place >= renewed || own >= index(MIN_PROBES), "{own} probes after {split:?}");
        }
    }
}
