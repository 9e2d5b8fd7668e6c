//! Histories as pictures: `+` passed, `-` failed, `s` skipped, `m` missing, `.` not built; one change a character. What
//! follows a `|` is a new project side on the change before it.

use super::*;

fn strip(case: i64, picture: &str) -> Strip {
    let mut drawn = Strip { case: CaseId(case), verdicts: Vec::new(), sides: BTreeSet::new() };
    let mut change = 0;
    for letter in picture.chars() {
        let verdict = match letter {
            '+' => Some(Verdict::Pass),
            '-' => Some(Verdict::Fail),
            's' => Some(Verdict::Skip),
            'm' => Some(Verdict::Missing),
            '.' => None,
            '|' => {
                drawn.sides.insert(drawn.verdicts.len());
                change -= 1;
                continue;
            }
            other => panic!("no verdict is drawn as {other}"),
        };
        drawn.verdicts.extend(verdict.map(|verdict| (ChangeId(change), verdict)));
        change += 1;
    }
    drawn
}

fn order(changes: usize) -> Vec<ChangeId> {
    (0..changes as i64).map(ChangeId).collect()
}

fn cases(ids: &[i64]) -> BTreeSet<CaseId> {
    ids.iter().copied().map(CaseId).collect()
}

fn stored(id: i64, good: i64, bad: i64, of: &[i64], state: BreakageState) -> Stored {
    Stored {
        id: BreakageId(id),
        good: ChangeId(good),
        bad: ChangeId(bad),
        state,
        culprit: None,
        cases: cases(of),
        fixed: None,
    }
}

fn named(id: i64, good: i64, culprit: i64, of: &[i64]) -> Stored {
    Stored { culprit: Some(ChangeId(culprit)), ..stored(id, good, culprit, of, BreakageState::Named) }
}

/// Pictures of cases 1, 2, ... against what is stored; one line an action.
fn settled(pictures: &[&str], known: &[Stored]) -> String {
    let strips: Vec<Strip> = pictures.iter().zip(1..).map(|(picture, case)| strip(case, picture)).collect();
    let length = pictures.iter().map(|p| p.len()).max().unwrap_or(0);
    say(settle(&order(length), &strips, known, &BTreeSet::new()))
}

fn say(actions: Vec<Action>) -> String {
    let list =
        |cases: &BTreeSet<CaseId>| cases.iter().map(|case| case.to_string()).collect::<Vec<_>>().join(",");
    let repair =
        |fixed: Option<Fix>| fixed.map_or(String::new(), |f| format!(" fixed {}..{}", f.after, f.by));
    let lines: Vec<String> = actions
        .into_iter()
        .map(|action| match action {
            Action::Open { good, bad, cases, fixed, split_from, again_of } => {
                let from = split_from.map_or(String::new(), |id| format!(" from #{id}"));
                let again = again_of.map_or(String::new(), |id| format!(" again #{id}"));
                format!("open {good}..{bad} cases {}{}{from}{again}", list(&cases), repair(fixed))
            }
            Action::Update { id, good, bad, cases, fixed } => {
                format!("update #{id} {good}..{bad} cases {}{}", list(&cases), repair(fixed))
            }
            Action::Gone(id) => format!("gone #{id}"),
        })
        .collect();
    lines.join("; ")
}

#[test]
fn green_is_no_news() {
    assert_eq!(settled(&["++++"], &[]), "");
}

#[test]
fn a_case_that_goes_bad_opens_a_breakage_with_its_range() {
    assert_eq!(settled(&["+..-"], &[]), "open 0..3 cases 1");
    assert_eq!(settled(&["+..--"], &[]), "open 0..3 cases 1");
}

#[test]
fn bad_from_the_first_build_on_is_inherited() {
    assert_eq!(settled(&["----"], &[]), "");
    assert_eq!(settled(&["--++"], &[]), "");
}

#[test]
fn a_new_failure_in_a_red_project_is_news() {
    assert_eq!(settled(&["----", "++--"], &[]), "open 1..2 cases 2");
}

#[test]
fn cases_that_broke_together_are_one_breakage_and_others_another() {
    assert_eq!(settled(&["+..-", "+..-", "++.-"], &[]), "open 0..3 cases 1,2; open 1..3 cases 3");
}

#[test]
fn a_build_in_between_narrows_the_range() {
    let open = [stored(1, 0, 3, &[1], BreakageState::Searching)];
    assert_eq!(settled(&["+..-"], &open), "");
    assert_eq!(settled(&["++.-"], &open), "update #1 1..3 cases 1");
    assert_eq!(settled(&["+.--"], &open), "update #1 0..2 cases 1");
}

#[test]
fn a_build_in_between_that_separates_cases_splits_the_breakage() {
    let open = [stored(1, 0, 3, &[1, 2, 3], BreakageState::Searching)];
    assert_eq!(
        settled(&["++.-", "++.-", "+--."], &open),
        "update #1 1..3 cases 1,2; open 0..1 cases 3 from #1"
    );
}

#[test]
fn a_pass_after_it_is_its_repair_and_narrows_too() {
    let open = [stored(1, 0, 1, &[1], BreakageState::Searching)];
    assert_eq!(settled(&["+-..+"], &open), "update #1 0..1 cases 1 fixed 1..4");
    let open = [named(1, 0, 1, &[1])];
    assert_eq!(settled(&["+-.-+"], &open), "update #1 0..1 cases 1 fixed 3..4");
}

#[test]
fn a_break_and_its_repair_between_two_green_builds_are_found_by_a_build_in_between() {
    assert_eq!(settled(&["+.-.+"], &[]), "open 0..2 cases 1 fixed 2..4");
}

#[test]
fn red_that_vanishes_is_not_repaired() {
    let open = [named(1, 0, 1, &[1])];
    assert_eq!(settled(&["+-m"], &open), "");
    assert_eq!(settled(&["+-s"], &open), "");
}

#[test]
fn a_breakage_is_repaired_only_when_all_its_cases_are() {
    let open = [named(1, 0, 1, &[1, 2])];
    assert_eq!(settled(&["+-+", "+--"], &open), "");
    assert_eq!(settled(&["+-+.", "+--+"], &open), "update #1 0..1 cases 1,2 fixed 2..3");
}

#[test]
fn bad_again_after_a_repair_is_a_new_breakage() {
    let mut fixed = named(1, 0, 1, &[1]);
    fixed.state = BreakageState::Fixed;
    fixed.fixed = Some(Fix { after: ChangeId(1), by: ChangeId(2) });
    assert_eq!(settled(&["+-+-"], &[fixed]), "open 2..3 cases 1 again #1");
}

#[test]
fn a_case_is_in_one_open_breakage_at_most() {
    assert_eq!(settled(&["+-+-+-"], &[]), "open 4..5 cases 1");
    let open = [stored(1, 4, 5, &[1], BreakageState::Searching)];
    assert_eq!(settled(&["+-+-+-"], &open), "");
    let ended = [stored(1, 4, 5, &[1], BreakageState::Inconclusive)];
    assert_eq!(settled(&["+-+-+-"], &ended), "open 2..3 cases 1 fixed 3..4 again #1");
}

#[test]
fn a_flaky_case_opens_nothing_more() {
    let flaky = cases(&[1]);
    let strips = [strip(1, "+-+-"), strip(2, "+++-")];
    assert_eq!(say(settle(&order(4), &strips, &[], &flaky)), "open 2..3 cases 2");
}

#[test]
fn a_breakage_whose_bad_end_was_rewound_is_gone() {
    let open = [stored(1, 0, 9, &[1], BreakageState::Searching), named(2, 0, 8, &[1])];
    assert_eq!(settled(&["+++"], &open), "gone #1; gone #2");
}

#[test]
fn a_case_that_passes_and_fails_on_identical_inputs_is_flaky() {
    let column = |verdicts: [Verdict; 4]| (1..).map(CaseId).zip(verdicts).collect();
    let one = column([Verdict::Pass, Verdict::Fail, Verdict::Pass, Verdict::Fail]);
    let other = column([Verdict::Pass, Verdict::Pass, Verdict::Missing, Verdict::Error]);
    assert_eq!(flaky(&one, &other), cases(&[2]));
    assert_eq!(flaky(&one, &BTreeMap::new()), cases(&[]));
}

proptest::proptest! {
    /// What was decided once is decided: asked again with the answer stored, there is nothing to do.
    #[test]
    fn settling_twice_changes_nothing(pictures in proptest::collection::vec("[+\\-sm.]{6}", 1..5)) {
        let strips: Vec<Strip> = pictures.iter().zip(1..).map(|(p, case)| strip(case, p)).collect();
        let none = BTreeSet::new();
        let mut known: Vec<Stored> = Vec::new();
        for action in settle(&order(6), &strips, &[], &none) {
            let Action::Open { good, bad, cases, fixed, .. } = action else { panic!("nothing was stored yet") };
            let id = BreakageId(known.len() as i64 + 1);
            let state = BreakageState::Searching;
            known.push(Stored { id, good, bad, state, culprit: None, cases, fixed });
        }
        proptest::prop_assert_eq!(settle(&order(6), &strips, &known, &none), vec![]);
    }
}

#[test]
fn what_is_gone_stays_gone_when_its_change_comes_back() {
    let gone = [Stored { state: BreakageState::Gone, ..named(1, 0, 1, &[1]) }];
    assert_eq!(settled(&["+-+"], &gone), "open 0..1 cases 1 fixed 1..2 again #1");
    assert_eq!(settled(&["+.."], &gone), "");
}

#[test]
fn what_a_new_project_side_breaks_is_no_breakage_of_the_trunk() {
    assert_eq!(settled(&["++|--"], &[]), "");
    assert_eq!(settled(&["++|s-"], &[]), "");
    // Good with the new side and bad later: that is the trunk's.
    assert_eq!(settled(&["++|+-"], &[]), "open 1..2 cases 1");
    assert_eq!(settled(&["+-|--"], &[]), "open 0..1 cases 1");
    // The project repaired itself, and a change broke it again.
    assert_eq!(settled(&["++|-|+-"], &[]), "open 1..2 cases 1");
}

#[test]
fn what_a_new_project_side_mends_is_repaired_by_the_project() {
    assert_eq!(settled(&["+-|++"], &[named(1, 0, 1, &[1])]), "update #1 0..1 cases 1 fixed 1..1");
    assert_eq!(settled(&["+-|-+"], &[named(1, 0, 1, &[1])]), "update #1 0..1 cases 1 fixed 1..2");
}
