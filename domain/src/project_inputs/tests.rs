//! Project inputs as pictures. A history is a list of words: a change, the letter of the inputs, `*` for a baseline build,
//! and `~` if the run did not end: `1a 2a 2b* 3b`.

use super::*;

fn history_builds(picture: &str) -> Vec<TimelineBuild> {
    (1..)
        .zip(picture.split_whitespace())
        .map(|(build, word)| {
            let digits = word.bytes().take_while(u8::is_ascii_digit).count();
            let position: i64 = word[..digits].parse().unwrap();
            let project_inputs = word.as_bytes()[digits];
            TimelineBuild {
                build: BuildId(build),
                change: ChangeId(position),
                position,
                inputs: InputsId { toolchain: None, pin: Some(PinId(i64::from(project_inputs))) },
                is_baseline: word.contains('*'),
                complete: !word.contains('~'),
            }
        })
        .collect()
}

fn letter(inputs: InputsId) -> char {
    inputs.pin.map_or('-', |pin| char::from(pin.0 as u8))
}

/// The history of builds that are given in the order in which they were made.
fn history_of(picture: &str) -> String {
    let history = history(&history_builds(picture));
    let words: Vec<String> = history
        .iter()
        .map(|history_build| format!("{}{}", history_build.position, letter(history_build.inputs)))
        .collect();
    words.join(" ")
}

#[test]
fn at_a_baseline_there_is_a_build_with_both_inputs() {
    assert_eq!(history_of("1a 3a 2a"), "1a 2a 3a");
    assert_eq!(history_of("1a 2a 2b* 3b"), "1a 2a 2b 3b");
    assert_eq!(history_of("1a 2a 2b* 2c* 3c"), "1a 2a 2b 2c 3c");
}

#[test]
fn builds_with_the_old_inputs_after_the_baseline_are_no_longer_history() {
    assert_eq!(history_of("1a 2a 3a~ 2b* 3b 4b"), "1a 2a 2b 3b 4b");
}

#[test]
fn of_two_baselines_of_the_same_inputs_the_last_one_joins() {
    assert_eq!(history_of("1a 2a 2b* 3a 3b* 4b"), "1a 2a 3a 3b 4b");
}

#[test]
fn inputs_without_a_baseline_begin_with_their_first_build() {
    assert_eq!(history_of("1b 4b"), "1b 4b");
    assert_eq!(history_of("3a 3b 4b"), "3a 3b 4b");
}

#[test]
fn changes_before_the_baseline_are_tested_with_the_old_inputs() {
    let history = history(&history_builds("1a 5a 5b* 9b"));
    let sides: String =
        [1, 3, 5, 7, 9, 12].iter().map(|position| letter(at(&history, *position).unwrap())).collect();
    assert_eq!(sides, "aabbbb");
    assert_eq!(begins(&history), BTreeSet::from([2]));
    assert_eq!(at(&[], 1), None);
}

#[test]
fn the_newest_complete_build_on_a_change_that_is_not_sick_is_repeated() {
    let baseline = |picture: &str, sick: &[i64]| {
        let sick = sick.iter().copied().map(ChangeId).collect();
        baseline_at(&history(&history_builds(picture)), &sick).map(|history_build| history_build.position)
    };
    assert_eq!(baseline("1a 2a 3a", &[]), Some(3));
    assert_eq!(baseline("1a 2a 3a~", &[]), Some(2));
    assert_eq!(baseline("1a 2a 3a", &[3]), Some(2));
    // A suite that was never complete must be able to recover.
    assert_eq!(baseline("1a~ 2a~", &[]), Some(2));
    assert_eq!(baseline("", &[]), None);
}

/// Runs with the old and with the new inputs, one letter for each case.
fn compared(old: &str, new: &str) -> String {
    let columns = |text: &str| -> Vec<CaseVerdicts> {
        let case_verdicts = |word: &str| {
            (1..)
                .zip(word.chars())
                .filter_map(|(case, letter)| {
                    let verdict = match letter {
                        '+' => Verdict::Pass,
                        '-' => Verdict::Fail,
                        's' => Verdict::Skip,
                        '.' => return None,
                        other => panic!("no verdict is drawn as {other}"),
                    };
                    Some((CaseId(case), verdict))
                })
                .collect()
        };
        text.split_whitespace().map(case_verdicts).collect()
    };
    match compare(&columns(old), &columns(new), false) {
        InputsComparison::NoWorse => "no worse".into(),
        InputsComparison::Unsure(InputsVersion::Old) => "the old once more".into(),
        InputsComparison::Unsure(InputsVersion::New) => "the new once more".into(),
        InputsComparison::Worse(cases) => {
            format!("worse: {}", cases.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        }
    }
}

#[test]
fn a_case_that_failed_before_is_no_worse() {
    assert_eq!(compared("++-", "++-"), "no worse");
    assert_eq!(compared("++-", "+++"), "no worse");
    assert_eq!(compared("++", "++-"), "no worse");
}

#[test]
fn one_removed_test_is_no_worse_but_more_than_half_of_them_are() {
    assert_eq!(compared("++++", "++."), "no worse");
    assert_eq!(compared("++++", "s++."), "no worse");
    assert_eq!(compared("++++ ++++", "+ssss +ssss"), "worse: 2,3,4");
}

#[test]
fn a_case_is_worse_only_if_two_runs_with_each_inputs_show_it() {
    assert_eq!(compared("++", "+-"), "the new once more");
    assert_eq!(compared("++", "+- ++"), "no worse");
    assert_eq!(compared("++", "+- +-"), "the old once more");
    assert_eq!(compared("++ +-", "+- +-"), "no worse");
    assert_eq!(compared("++ ++", "+- +-"), "worse: 2");
}

const DAY: i64 = 24 * 3600 * 1000;

fn facts(at: Option<i64>, baseline: Option<(i64, BaselineProgress)>) -> BaselineFacts {
    let baseline = baseline.map(|(change, ran)| BaselineBuild { change: ChangeId(change), ran });
    BaselineFacts {
        at: at.map(ChangeId),
        busy: false,
        baseline,
        worse_since: None,
        is_old_gone: false,
        is_stranded: false,
    }
}

#[test]
fn new_inputs_are_repeated_and_then_used() {
    let now = Timestamp(DAY);
    assert_eq!(next(&facts(None, None), now), BaselineStep::Take);
    assert_eq!(next(&facts(Some(4), None), now), BaselineStep::Repeat(ChangeId(4)));
    assert_eq!(next(&BaselineFacts { busy: true, ..facts(Some(4), None) }, now), BaselineStep::Wait);
    assert_eq!(next(&facts(Some(4), Some((4, BaselineProgress::UnderWay))), now), BaselineStep::Wait);
    assert_eq!(
        next(&facts(Some(4), Some((4, BaselineProgress::Compared(InputsComparison::NoWorse)))), now),
        BaselineStep::Take
    );
    // The history went on meanwhile: the baseline must be at its end.
    assert_eq!(
        next(&facts(Some(5), Some((4, BaselineProgress::Compared(InputsComparison::NoWorse)))), now),
        BaselineStep::Repeat(ChangeId(5))
    );
}

#[test]
fn a_baseline_without_a_result_is_made_again_later() {
    let in_vain = |ended| facts(Some(4), Some((4, BaselineProgress::NoResult { ended: Timestamp(ended) })));
    assert_eq!(next(&in_vain(DAY), Timestamp(DAY + 1)), BaselineStep::Later);
    assert_eq!(next(&in_vain(DAY), Timestamp(2 * DAY)), BaselineStep::Repeat(ChangeId(4)));
}

#[test]
fn worse_inputs_wait_for_14_days_and_are_then_used() {
    let worse = BaselineProgress::Compared(InputsComparison::Worse(BTreeSet::from([CaseId(1)])));
    let held = BaselineFacts { worse_since: Some(Timestamp(DAY)), ..facts(Some(4), Some((4, worse))) };
    assert_eq!(next(&held, Timestamp(2 * DAY)), BaselineStep::Hold(BTreeSet::from([CaseId(1)])));
    assert_eq!(next(&held, Timestamp(15 * DAY)), BaselineStep::Take);
    // The trunk has moved: the baseline is made again at the end, and the inputs are used whatever its result is.
    let moved = BaselineFacts { at: Some(ChangeId(9)), ..held };
    assert_eq!(next(&moved, Timestamp(15 * DAY)), BaselineStep::Repeat(ChangeId(9)));
}

/// Project inputs as words: those that are wanted, in use, and proposed (`-` for none).
fn proposal(wanted: &str, current: &str, proposed: &str, under_way: bool) -> InputsProposal {
    let project_inputs = |revision: &str| ProjectInputs {
        revision: revision.into(),
        recipe: protocol::Sha256([0; 32]),
        needs: Vec::new(),
    };
    let proposed = (proposed != "-").then(|| project_inputs(proposed));
    propose(&project_inputs(wanted), &project_inputs(current), proposed.as_ref(), under_way, false)
}

#[test]
fn new_inputs_are_proposed_and_newer_ones_replace_them_unless_they_are_being_proven() {
    assert_eq!(proposal("a", "a", "-", false), InputsProposal::Keep);
    assert_eq!(proposal("b", "a", "-", false), InputsProposal::Propose);
    assert_eq!(proposal("b", "a", "b", false), InputsProposal::Keep);
    assert_eq!(proposal("c", "a", "b", true), InputsProposal::Keep);
    assert_eq!(proposal("c", "a", "b", false), InputsProposal::Propose);
    // The project took its change back: that is a repair, too.
    assert_eq!(proposal("a", "a", "b", false), InputsProposal::Drop);
}

#[test]
fn each_difference_has_its_sentence() {
    let project_inputs = |revision: &str, recipe: u8, needs: &[(&str, &str)]| ProjectInputs {
        revision: revision.into(),
        recipe: protocol::Sha256([recipe; 32]),
        needs: needs.iter().map(|(name, revision)| (name.to_string(), revision.to_string())).collect(),
    };
    let words = |old: &ProjectInputs, new: &ProjectInputs| {
        differs(old, new).into_iter().map(|differs| differs.words).collect::<Vec<_>>().join("; ")
    };
    let old = project_inputs("1.0", 1, &[("say", "1"), ("ini", "1")]);
    assert_eq!(words(&old, &old), "its locked dependencies were chosen again");
    assert_eq!(
        words(&old, &project_inputs("1.1", 2, &[("say", "1"), ("ini", "1")])),
        "revision 1.0 is now 1.1; its recipe changed"
    );
    assert_eq!(
        words(&old, &project_inputs("1.0", 1, &[("say", "2")])),
        "say 1 is now 2; ini is no longer needed"
    );
    let new = project_inputs("1.0", 1, &[("say", "1"), ("ini", "1"), ("csv", "3")]);
    assert_eq!(differs(&old, &new)[0].need.as_deref(), Some("csv"));
    assert_eq!(short(&"a".repeat(40)), "a".repeat(12));
}

#[test]
fn a_recipe_that_reads_a_lock_chooses_dependencies() {
    let step = |run: &str| protocol::RecipeStep {
        name: "deps".into(),
        kind: protocol::StepKind::Fetch,
        run: run.into(),
        network: true,
        report: None,
        patterns: None,
        time_ms: None,
        silence_ms: None,
    };
    let recipe = |run| protocol::Recipe { steps: vec![step(run)], ..Default::default() };
    assert!(chooses(&recipe("[ -n \"$FARM_LOCK\" ] || pip freeze > $FARM_OUT/lock")));
    assert!(!chooses(&recipe("make deps")));
}

#[test]
fn a_revision_is_one_word() {
    for word in ["1.2.3", "v1", "4ea0e5b", "1!2.0rc1+local"] {
        assert_eq!(revision(word), Ok(word.to_string()));
    }
    for other in ["", "1.2 (latest)", "1.2\u{1b}[2J", "eins\u{e4}", &"1".repeat(201)] {
        assert!(revision(other).is_err(), "{other}");
    }
}

/// With a revision that was pruned upstream nothing can be tested, so the new inputs are waited for no longer than one run
/// takes; and no step asks for a run with the old ones.
#[test]
fn inputs_that_cannot_be_had_any_more_are_given_up_as_soon_as_the_new_ones_have_run() {
    let cases = BTreeSet::from([CaseId(1)]);
    for (comparison, usual, gone) in [
        (InputsComparison::NoWorse, BaselineStep::Take, BaselineStep::Take),
        (InputsComparison::Worse(cases.clone()), BaselineStep::Hold(cases), BaselineStep::Take),
        (
            InputsComparison::Unsure(InputsVersion::Old),
            BaselineStep::Confirm(InputsVersion::Old),
            BaselineStep::Take,
        ),
        (
            InputsComparison::Unsure(InputsVersion::New),
            BaselineStep::Confirm(InputsVersion::New),
            BaselineStep::Confirm(InputsVersion::New),
        ),
    ] {
        let had = facts(Some(4), Some((4, BaselineProgress::Compared(comparison))));
        assert_eq!(next(&had, Timestamp(0)), usual);
        assert_eq!(next(&BaselineFacts { is_old_gone: true, ..had }, Timestamp(0)), gone);
    }
    // Without a change to repeat, history begins anew.
    assert_eq!(
        next(&BaselineFacts { is_old_gone: true, ..facts(None, None) }, Timestamp(0)),
        BaselineStep::Take
    );
}

proptest::proptest! {
    /// Whatever is known, no step holds history for a toolchain that no worker has, or asks for what cannot be had.
    #[test]
    fn what_cannot_be_run_is_neither_asked_nor_waited_for(
        at in proptest::option::of(1i64..5),
        busy in proptest::bool::ANY,
        baseline in proptest::option::of((1i64..5, 0usize..6)),
        (is_old_gone, is_stranded) in proptest::arbitrary::any::<(bool, bool)>(),
        now in 0i64..1_000_000,
    ) {
        let progress = |which: usize| match which {
            0 => BaselineProgress::NoResult { ended: Timestamp(0) },
            1 => BaselineProgress::Compared(InputsComparison::NoWorse),
            2 => BaselineProgress::Compared(InputsComparison::Unsure(InputsVersion::Old)),
            3 => BaselineProgress::Compared(InputsComparison::Unsure(InputsVersion::New)),
            4 => BaselineProgress::Compared(InputsComparison::Worse(BTreeSet::from([CaseId(1)]))),
            _ => BaselineProgress::UnderWay,
        };
        let baseline = baseline.map(|(change, which)| (change, progress(which)));
        let is_under_way = matches!(baseline, Some((_, BaselineProgress::UnderWay)));
        let facts = BaselineFacts { busy, is_old_gone, is_stranded, ..facts(at, baseline) };
        let step = next(&facts, Timestamp(now));
        if is_stranded {
            let is_waiting = matches!(step, BaselineStep::Repeat(_) | BaselineStep::Wait);
            proptest::prop_assert!(!is_waiting || is_under_way, "{:?}", step);
        }
        if is_old_gone {
            let asks_old = matches!(step, BaselineStep::Hold(_) | BaselineStep::Confirm(InputsVersion::Old));
            proptest::prop_assert!(!asks_old, "{:?}", step);
        }
    }
}

#[test]
fn what_the_old_inputs_did_once_decides_if_they_cannot_be_run_again() {
    let run = |verdict| CaseVerdicts::from([(CaseId(1), verdict)]);
    let (old, new) = (vec![run(Verdict::Pass)], vec![run(Verdict::Fail), run(Verdict::Fail)]);
    assert_eq!(compare(&old, &new, false), InputsComparison::Unsure(InputsVersion::Old));
    assert_eq!(compare(&old, &new, true), InputsComparison::Worse(BTreeSet::from([CaseId(1)])));
    assert_eq!(compare(&old, &new[..1], true), InputsComparison::Unsure(InputsVersion::New));
}

#[test]
fn a_step_that_fails_along_with_a_new_test_is_not_worse_and_a_test_that_was_good_is() {
    use protocol::Verdict::{Fail, Missing, Pass};
    let names: BTreeMap<CaseId, String> = [(1, "step:test"), (2, "is old"), (3, "is new"), (4, "fault:x")]
        .map(|(case, name)| (CaseId(case), name.to_string()))
        .into();
    let run = |verdicts: &[(i64, Verdict)]| -> CaseVerdicts {
        verdicts.iter().map(|(case, verdict)| (CaseId(*case), *verdict)).collect()
    };
    let old = || vec![run(&[(1, Pass), (2, Pass), (4, Pass)]); 2];
    for (what, old, new, worse) in [
        ("a new test", old(), run(&[(1, Fail), (2, Pass), (3, Fail)]), vec![]),
        (
            "a test that was removed once",
            vec![run(&[(1, Pass), (2, Pass), (3, Missing)]); 2],
            run(&[(1, Fail), (2, Pass), (3, Fail)]),
            vec![],
        ),
        ("an old test, too", old(), run(&[(1, Fail), (2, Fail), (3, Fail)]), vec![2]),
        ("a step alone", old(), run(&[(1, Fail), (2, Pass)]), vec![1]),
        ("a fault", old(), run(&[(1, Fail), (2, Pass), (4, Fail)]), vec![1, 4]),
        (
            "a test that passed before",
            vec![run(&[(1, Pass), (2, Pass), (3, Pass)]); 2],
            run(&[(1, Fail), (2, Pass), (3, Fail)]),
            vec![1, 3],
        ),
    ] {
        let (mut old, new) = (old, vec![new; 2]);
        excuse_steps(&mut old, &new, &names);
        let expected: BTreeSet<CaseId> = worse.into_iter().map(CaseId).collect();
        let compared = match compare(&old, &new, false) {
            InputsComparison::Worse(cases) => cases,
            InputsComparison::NoWorse => BTreeSet::new(),
            InputsComparison::Unsure(which) => panic!("{what}: unsure of {which:?}"),
        };
        assert_eq!(compared, expected, "{what}");
    }
}
