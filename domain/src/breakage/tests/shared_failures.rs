//! Which of several cases that fail together is to be explained: steps, faults, and cases that another change took over.

use super::*;

#[test]
fn where_the_names_of_faults_are_unstable_new_ones_are_left_to_their_step() {
    let settled = |pictures: &[&str], has_unstable_faults| {
        let (faults, steps) = (cases(&[1, 2]), cases(&[3]));
        shown(settle(&BuilderHistory { faults, steps, has_unstable_faults, ..history(pictures) }, &[]))
    };
    let red = ["++-+", "+++-", "++--"];
    assert_eq!(settled(&red, false), "open 1..2 cases 1,3; open 2..3 cases 2,3");
    assert_eq!(settled(&red, true), "open 1..2 cases 3");
    // A name that was there once may be one of a few that take turns; one that stayed is stable.
    assert_eq!(settled(&["+-++-", "+++++", "+-++-"], true), "open 3..4 cases 3");
    assert_eq!(
        settled(&["+---++-", "+++++++", "+---++-"], true),
        "open 0..1 cases 3 fixed 3..4; open 5..6 cases 1,3"
    );
}

/// A few names take turns: each of them is bad in some runs, whatever the change is.
fn taking_turns(turns: &[usize], names: usize) -> (Vec<String>, BuilderHistory) {
    let picture = |name: usize| {
        let runs = turns.iter().map(|turn| if *turn % names == name { '-' } else { '+' });
        format!("+{}", runs.collect::<String>())
    };
    let mut pictures: Vec<String> = (0..names).map(picture).collect();
    pictures.push(format!("+{}", "-".repeat(turns.len())));
    let all: Vec<&str> = pictures.iter().map(String::as_str).collect();
    let known = history(&all);
    (pictures.clone(), known)
}

proptest! {
    #[test]
    fn names_that_differed_on_identical_inputs_accuse_no_change(
        turns in prop::collection::vec(0_usize..6, 2..12),
        names in 2_usize..6,
        known_ones in prop::collection::vec(any::<bool>(), 6),
    ) {
        // Three times the same one in a row would look stable.
        prop_assume!(turns.windows(3).all(|three| three.iter().any(|turn| turn % names != three[0] % names)));
        let (pictures, known) = taking_turns(&turns, names);
        let faults: Vec<i64> = (1..=names as i64).collect();
        let step = names as i64 + 1;
        let settled = shown(settle(
            &BuilderHistory {
                faults: cases(&faults),
                unstable: faults.iter().filter(|fault| known_ones[**fault as usize % 6]).map(|id| CaseId(*id)).collect(),
                steps: cases(&[step]),
                has_unstable_faults: true,
                ..known
            },
            &[],
        ));
        prop_assert_eq!(settled, format!("open 0..1 cases {}", step), "{:?}", pictures);
    }
}

/// The history of cases of which the last one is the step that runs the others.
fn with_step(pictures: &[&str]) -> BuilderHistory {
    BuilderHistory { steps: cases(&[pictures.len() as i64]), ..history(pictures) }
}

#[test]
fn a_repaired_breakage_is_not_reopened_by_the_step_that_fails_for_another_reason() {
    let named_first = named(1, 0, 1, &[1, 3]);
    let fixed = StoredBreakage {
        state: BreakageState::Fixed,
        fixed: Some(Fix { after: ChangeId(1), by: ChangeId(2) }),
        ..named_first.clone()
    };
    let settled = |pictures: &[&str], known: &[StoredBreakage]| shown(settle(&with_step(pictures), known));
    let burst = ["+-+.+", "+++.-", "+-+.-"];
    assert_eq!(settled(&burst, std::slice::from_ref(&fixed)), "open 2..4 cases 2,3");
    assert_eq!(settled(&burst, &[named_first]), "update #1 0..1 cases 1,3 fixed 1..2; open 2..4 cases 2,3");
    let second = named(2, 2, 4, &[2, 3]);
    assert_eq!(settled(&["+-+.++", "+++.-+", "+-+.-+"], &[fixed.clone(), second.clone()]), "prove #2 at 5");
    assert_eq!(
        settled(&["+-+.+++", "+++.-++", "+-+.-++"], &[fixed.clone(), second]),
        "update #2 2..4 cases 2,3 fixed 4..5"
    );
    // Its own case is bad again: it comes back.
    assert_eq!(settled(&["+-+.-", "+++.+", "+-+.-"], &[fixed]), "open 2..4 cases 1,3 again #1");
}

#[test]
fn a_step_opens_a_breakage_only_where_no_test_explains_it() {
    let settled = |pictures: &[&str]| shown(settle(&with_step(pictures), &[]));
    assert_eq!(settled(&["+++", "+--"]), "open 0..1 cases 2");
    assert_eq!(settled(&["++-", "+--"]), "open 0..1 cases 2; open 1..2 cases 1", "it failed before");
    assert_eq!(settled(&["---", "+--"]), "open 0..1 cases 2", "what never was good explains nothing");
    // The test was not built where the step still was good.
    assert_eq!(settled(&["+.-", "++-"]), "open 0..2 cases 1,2");
}

#[test]
fn a_fault_goes_with_what_went_bad_together_with_it_and_is_news_where_nothing_did() {
    let settled = |pictures: &[&str]| {
        let history = BuilderHistory { faults: cases(&[2]), ..history(pictures) };
        shown(settle(&history, &[]))
    };
    assert_eq!(settled(&["+.--", "++--"]), "open 0..2 cases 1,2");
    assert_eq!(settled(&["+---", "++--"]), "open 0..1 cases 1; open 1..2 cases 2");
}

#[test]
fn what_another_change_took_over_is_its_own_and_the_rest_is_repaired() {
    let first = named(1, 0, 1, &[1, 2, 3]);
    // One more run proves the repair of the others.
    let half = "update #1 0..1 cases 1,2,3 repaired 3; prove #1 at 2; open 1..2 cases 3";
    assert_eq!(settled(&["+-+", "+-+", "+-!"], std::slice::from_ref(&first)), half);
    let whole = "update #1 0..1 cases 1,2,3 fixed 1..2; open 1..2 cases 3";
    assert_eq!(settled(&["+-++", "+-++", "+-!-"], std::slice::from_ref(&first)), whole);
    // What fails as before stays, and what was good in between has a good end there.
    assert_eq!(
        settled(&["+-++", "+---", "+-!-"], std::slice::from_ref(&first)),
        "update #1 0..1 cases 1,2,3 repaired 1,3; open 1..2 cases 3"
    );
    assert_eq!(
        settled(&["+-.+", "+-.+", "+-+!"], std::slice::from_ref(&first)),
        "update #1 0..1 cases 1,2,3 repaired 3; prove #1 at 3; open 2..3 cases 3"
    );
    // A case without a breakage was taken over by nobody else.
    assert_eq!(settled(&["+!"], &[]), "open 0..1 cases 1");
    // As long as the first culprit is sought, the case waits.
    let sought = stored(1, 0, 1, &[1, 2, 3], BreakageState::Searching);
    assert_eq!(settled(&["+-+", "+-+", "+-!"], &[sought]), "update #1 0..1 cases 1,2,3 repaired 3");
}

#[test]
fn a_case_that_was_taken_over_is_repaired_for_both() {
    let second = named(2, 1, 2, &[3]);
    let first = named(1, 0, 1, &[1, 2, 3]);
    assert_eq!(
        settled(&["+-++++", "+-++++", "+-!-++"], &[first, second]),
        "update #1 0..1 cases 1,2,3 fixed 1..2; update #2 1..2 cases 3 fixed 3..4"
    );
}

#[test]
fn a_partial_repair_is_proven_too() {
    let first = named(1, 0, 1, &[1, 2]);
    assert_eq!(settled(&["+-+", "+--"], &[first]), "prove #1 at 2");
}
