//! Searches on a trunk that is drawn as a picture: at `+` the case passes, at `-` it fails, and `b` has no toolchain. And
//! the posterior, compared with a slow one that computes each hypothesis by itself.

use proptest::prelude::*;

use super::*;

const NEVER_FAILED: Tally = Tally { fails: 0, passes: 100 };
const NEVER_PASSED: Tally = Tally { fails: 50, passes: 0 };

fn case(changes: usize) -> SearchedCase {
    let prior = Arc::new(Prior::new(0.08, 0.2, &vec![1.0; changes]));
    SearchedCase { prior, good: NEVER_FAILED, bad: NEVER_PASSED, runs: vec![] }
}

/// The good end is first; every toolchain but those of the ends has to be built.
fn question(changes: usize, cases: usize, idle: usize) -> Question {
    let mut toolchains = vec![ToolchainSupply::Unbuilt; changes + 1];
    toolchains[0] = ToolchainSupply::Cached;
    toolchains[changes] = ToolchainSupply::Cached;
    Question {
        toolchains,
        cost: Cost { build: 3.0, suite: 1.0 },
        unbuildable: 0.05,
        cases: vec![case(changes); cases],
        pending: vec![],
        idle,
        standard: Standard { posterior: ANNOUNCED, runs: 1, rules_out_luck: false },
    }
}

/// Plays until there is nothing to probe, or after 200 probes. `fails` returns whether the nth run of a change fails, for
/// each case; none if the change cannot be built.
fn play(mut question: Question, fails: impl Fn(usize, usize) -> Option<Vec<bool>>) -> (Answer, Vec<usize>) {
    let mut asked: Vec<usize> = Vec::new();
    loop {
        let answer = answer(&question);
        if answer.probes.is_empty() || asked.len() >= 200 {
            return (answer, asked);
        }
        for probe in &answer.probes {
            let times = asked.iter().filter(|at| **at == probe.at).count();
            asked.push(probe.at);
            let Some(failed) = fails(probe.at, times) else {
                question.toolchains[probe.at] = ToolchainSupply::Broken;
                continue;
            };
            question.toolchains[probe.at] = ToolchainSupply::Cached;
            for (case, failed) in question.cases.iter_mut().zip(failed) {
                case.runs.push(CaseRunResult { at: probe.at, worker: 1, failed });
            }
        }
    }
}

fn shown(verdict: Option<Conclusion>) -> String {
    match verdict {
        Some(Conclusion::Culprit { parent, last }) if last == parent + 1 => format!("{last}"),
        Some(Conclusion::Culprit { parent, last }) => format!("one of {}..{last}", parent + 1),
        Some(Conclusion::NotTheTrunk) => "not the trunk".into(),
        Some(Conclusion::Flaky) => "flaky".into(),
        None => "undecided".into(),
    }
}

fn found(picture: &str) -> String {
    let truth: Vec<char> = picture.chars().collect();
    let (answer, _) = play(question(truth.len() - 1, 1, 1), |at, _| match truth[at] {
        'b' => None,
        drawn => Some(vec![drawn == '-']),
    });
    shown(answer.verdicts[0])
}

#[test]
fn the_culprit_is_found_wherever_it_is() {
    for culprit in 1..40 {
        let picture: String = (0..40).map(|at| if at < culprit { '+' } else { '-' }).collect();
        assert_eq!(found(&picture), culprit.to_string());
    }
}

#[test]
fn a_range_of_one_change_is_searched_like_any_other() {
    assert_eq!(found("+-"), "1");
    assert_eq!(found("--"), "not the trunk");
    assert_eq!(found("++"), "flaky");
}

#[test]
fn a_change_without_a_toolchain_is_stepped_around_and_never_blamed_alone() {
    assert_eq!(found("+b-"), "one of 1..2");
    assert_eq!(found("++bb+---"), "5");
    assert_eq!(found("++bbb---"), "one of 2..5");
}

#[test]
fn a_thousand_changes_take_about_as_many_probes_as_their_number_has_digits_in_binary() {
    let (answer, asked) = play(question(1024, 1, 1), |at, _| Some(vec![at >= 700]));
    assert_eq!(shown(answer.verdicts[0]), "700");
    assert!(asked.len() <= 20, "{asked:?}");
}

#[test]
fn suspicion_shortens_the_search_and_does_not_mislead_it() {
    let probes = |culprit: usize| {
        let mut question = question(512, 1, 1);
        let weights: Vec<f64> = (1..=512).map(|change| if change == 300 { 125.0 } else { 1.0 }).collect();
        question.cases[0].prior = Arc::new(Prior::new(0.08, 0.2, &weights));
        let (answer, asked) = play(question, |at, _| Some(vec![at >= culprit]));
        assert_eq!(shown(answer.verdicts[0]), culprit.to_string());
        asked.len()
    };
    assert!(probes(300) < probes(77));
}

#[test]
fn two_culprits_in_one_range_come_apart_on_shared_probes() {
    let culprits = [9, 40, 9];
    let (answer, asked) =
        play(question(64, 3, 1), |at, _| Some(culprits.iter().map(|culprit| at >= *culprit).collect()));
    assert_eq!(answer.verdicts.into_iter().map(shown).collect::<Vec<_>>(), ["9", "40", "9"]);
    assert!(asked.len() < 30, "{asked:?}");
}

#[test]
fn idle_workers_make_the_rounds_fewer() {
    let rounds = |idle: usize| {
        let mut question = question(512, 1, idle);
        let mut rounds = 0;
        loop {
            let answer = answer(&question);
            if answer.probes.is_empty() {
                assert_eq!(shown(answer.verdicts[0]), "333");
                return rounds;
            }
            assert!(answer.probes.len() <= idle);
            rounds += 1;
            for probe in answer.probes {
                question.toolchains[probe.at] = ToolchainSupply::Cached;
                question.cases[0].runs.push(CaseRunResult {
                    at: probe.at,
                    worker: 1,
                    failed: probe.at >= 333,
                });
            }
        }
    };
    assert!(rounds(16) < rounds(4) && rounds(4) < rounds(1));
}

#[test]
fn a_probe_that_is_under_way_is_not_repeated_and_another_one_complements_it() {
    let mut question = question(64, 1, 1);
    let first = answer(&question).probes[0].at;
    question.pending = vec![first];
    let next = answer(&question).probes;
    assert_eq!(next.len(), 1);
    assert_ne!(next[0].at, first);
    question.idle = 0;
    assert_eq!(answer(&question).probes, []);
}

#[test]
fn a_culprit_must_have_failed_where_its_parent_passed_on_one_machine() {
    let mut question = question(1, 1, 1);
    let run = |at, worker, failed| CaseRunResult { at, worker, failed };
    for _ in 0..4 {
        question.cases[0].runs.extend([run(0, 1, false), run(1, 2, true)]);
    }
    let before = answer(&question);
    assert_eq!(before.verdicts, [None]);
    assert_eq!(before.probes.len(), 1);
    question.cases[0].runs.push(run(1, 1, true));
    assert_eq!(shown(answer(&question).verdicts[0]), "1");
}

#[test]
fn each_probe_has_its_purpose() {
    let mut question = question(64, 1, 1);
    let mut purposes = Vec::new();
    while let Some(&probe) = answer(&question).probes.first() {
        purposes.push(probe.purpose);
        question.toolchains[probe.at] = ToolchainSupply::Cached;
        question.cases[0].runs.push(CaseRunResult { at: probe.at, worker: 1, failed: probe.at >= 20 });
    }
    assert_eq!(purposes[0], Purpose::Head);
    for purpose in [Purpose::Base, Purpose::Divide] {
        assert!(purposes.contains(&purpose), "{purposes:?}");
    }
}

/// A case that fails three times in ten whatever the change is, and that has a short history.
#[test]
fn a_flaky_case_is_hardly_ever_blamed_on_a_change() {
    let mut blamed = 0;
    for seed in 0..100 {
        let mut question = question(24, 1, 4);
        question.cases[0].good = Tally { fails: 1, passes: 19 };
        let (answer, _) = play(question, |at, times| {
            let mut mixed = (seed * 31 + at as u64) * 37 + times as u64;
            for _ in 0..3 {
                mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).wrapping_add(seed);
            }
            Some(vec![(mixed >> 40) % 10 < 3])
        });
        blamed += u32::from(matches!(answer.verdicts[0], Some(Conclusion::Culprit { .. })));
    }
    assert!(blamed <= 1, "{blamed} of 100");
}

/// A change after which a case fails every other time is found nevertheless.
#[test]
fn a_case_that_became_flaky_is_traced_to_the_change_that_made_it_so() {
    let mut right = 0;
    for culprit in 1..=24 {
        let (answer, _) =
            play(question(24, 1, 4), |at, times| Some(vec![at >= culprit && (at + times) % 2 == 0]));
        right += u32::from(shown(answer.verdicts[0]) == culprit.to_string());
    }
    assert!(right >= 20, "{right} of 24");
}

/// The probability of these lies and truths, one run after the other, if the rate is Beta(a, b).
fn one_by_one(a: f64, b: f64, lies: u32, truths: u32) -> f64 {
    let (mut a, mut b, mut probability) = (a, b, 1.0);
    for _ in 0..lies {
        probability *= a / (a + b);
        a += 1.0;
    }
    for _ in 0..truths {
        probability *= b / (a + b);
        b += 1.0;
    }
    probability
}

fn brute_force(case: &SearchedCase, prior: &[f64]) -> Vec<f64> {
    let (good, bad) = (case.good, case.bad);
    let (a_f, b_f) = (0.5 + f64::from(good.fails), 9.5 + f64::from(good.passes));
    let (a_g, b_g) = (0.2 + f64::from(bad.passes), 9.8 + f64::from(bad.fails));
    let likely = |hypothesis: usize| {
        let count = |bad: bool, failed: bool| {
            case.runs.iter().filter(|run| (run.at >= hypothesis) == bad && run.failed == failed).count()
                as u32
        };
        let (f, s) = (count(false, true), count(false, false));
        let (lies, truths) = (count(true, false), count(true, true));
        (0.95 * one_by_one(a_f, b_f, f, s) + 0.05 * one_by_one(1.0, 9.0, f, s))
            * (0.95 * one_by_one(a_g, b_g, lies, truths) + 0.05 * one_by_one(1.0, 1.0, lies, truths))
    };
    let weights: Vec<f64> = prior.iter().enumerate().map(|(h, prior)| prior * likely(h)).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

proptest! {
    #[test]
    fn the_posterior_is_equal_to_that_of_each_hypothesis_by_itself(
        weights in prop::collection::vec(prop::sample::select(vec![0.0, 1.0, 5.0, 125.0]), 1..40),
        runs in prop::collection::vec((0..1000_usize, any::<bool>()), 0..40),
        good in (0..20_u32, 0..180_u32),
        bad in (0..10_u32, 0..90_u32),
    ) {
        let changes = weights.len();
        let total: f64 = weights.iter().sum();
        let mut plain = vec![0.08];
        plain.extend(weights.iter().map(|weight| {
            let share = if total > 0.0 { weight / total } else { 1.0 / changes as f64 };
            0.72 * (0.8 * share + 0.2 / changes as f64)
        }));
        plain.push(0.2);
        let case = SearchedCase {
            prior: Arc::new(Prior::new(0.08, 0.2, &weights)),
            good: Tally { fails: good.0, passes: good.1 },
            bad: Tally { fails: bad.1, passes: bad.0 },
            runs: runs.into_iter().map(|(at, failed)| CaseRunResult { at: at % (changes + 1), worker: 1, failed }).collect(),
        };
        let posterior = believe(&case);
        for (hypothesis, expected) in brute_force(&case, &plain).into_iter().enumerate() {
            prop_assert!((posterior.of(hypothesis) - expected).abs() < 1e-9);
        }
        let entropy: f64 = (0..changes + 2)
            .map(|hypothesis| posterior.of(hypothesis))
            .map(|p| if p > 0.0 { -p * p.log2() } else { 0.0 })
            .sum();
        prop_assert!((posterior.entropy() - entropy).abs() < 1e-6);
    }
}
