//! What holds for all histories.

use super::*;

proptest::proptest! {
    /// A step that fails exactly where one of its tests does is part of their breakages, and changes nothing else.
    #[test]
    fn a_step_that_fails_with_its_tests_changes_no_breakage(
        pictures in proptest::collection::vec("\\+[+\\-.]{7}", 1..4),
        ends in proptest::collection::vec(1_usize..=8, 1..3),
    ) {
        let column = |at: usize| pictures.iter().map(|picture| picture.as_bytes()[at]).collect::<Vec<_>>();
        let step: String = (0..8)
            .map(|at| match () {
                () if column(at).contains(&b'-') => '-',
                () if column(at).contains(&b'+') => '+',
                () => '.',
            })
            .collect();
        let last = CaseId(pictures.len() as i64 + 1);
        let mut known = [Vec::new(), Vec::new()];
        for end in ends.iter().copied().chain([8]) {
            let until = |picture: &String| picture[..end].to_string();
            let alone: Vec<String> = pictures.iter().map(until).collect();
            let both: Vec<String> = pictures.iter().chain([&step]).map(until).collect();
            let drawn = |of: &[String]| history(&of.iter().map(String::as_str).collect::<Vec<_>>());
            let histories =
                [drawn(&alone), BuilderHistory { steps: [last].into(), ..drawn(&both) }];
            for (history, known) in histories.iter().zip(&mut known) {
                settle_and_name(history, known);
            }
            let without_step = |known: &[StoredBreakage]| {
                let of_tests = |row: &StoredBreakage| {
                    let mut row = row.clone();
                    row.cases.remove(&last);
                    row
                };
                known.iter().map(of_tests).collect::<Vec<_>>()
            };
            proptest::prop_assert_eq!(&known[0], &without_step(&known[1]));
        }
    }

    /// Whatever comes in and is named: the cases of open breakages, without those that are repaired, are the cases that are
    /// bad in the newest build and were good once, or whose repair is not proven; each in one breakage.
    #[test]
    fn what_is_open_is_what_is_bad_today(
        pictures in proptest::collection::vec("\\+[+\\-.]{7}", 1..4),
        ends in proptest::collection::vec(1_usize..=8, 1..4),
    ) {
        let mut known = Vec::new();
        let mut ends = ends;
        ends.sort_unstable();
        for end in ends {
            let drawn: Vec<&str> = pictures.iter().map(|picture| &picture[..end]).collect();
            settle_and_name(&history(&drawn), &mut known);
            let is_open = |row: &&StoredBreakage| row.state == BreakageState::Named;
            for (picture, case) in drawn.iter().zip(1..).filter(|(picture, _)| picture.contains('-')) {
                let case = CaseId(case);
                let holds = |row: &&StoredBreakage| {
                    is_open(row) && row.cases.contains(&case) && !row.repaired.contains(&case)
                };
                let open = known.iter().filter(holds).count();
                let newest = picture.replace('.', "");
                let (bad, good_again) = newest.rsplit_once('-').unwrap_or_default();
                // One good run after a few bad ones is no repair; two are, where none of the bad ones was a good one.
                let expected = match good_again.len() {
                    0 | 1 => 1..=1,
                    _ if !bad.trim_start_matches('+').contains('+') => 0..=0,
                    _ => 0..=1,
                };
                proptest::prop_assert!(expected.contains(&open), "{} of {:?}: {:?}", case, &drawn, &known);
            }
        }
    }

    /// A build that did not reach a case says of it what a build that was not made says: nothing.
    #[test]
    fn a_build_that_did_not_reach_a_case_is_no_evidence_of_it(
        picture in "[+\\-smu]{1,8}",
        stored in proptest::option::of((0_i64..7, 1_i64..4)),
    ) {
        let known: Vec<StoredBreakage> =
            stored.into_iter().map(|(good, after)| named(1, good, good + after, &[1])).collect();
        let order: Vec<ChangeId> = (0..picture.len() as i64).map(ChangeId).collect();
        let settled = |picture: &str| {
            shown(settle(&BuilderHistory { order: order.clone(), ..history(&[picture]) }, &known))
        };
        proptest::prop_assert_eq!(settled(&picture), settled(&picture.replace('u', ".")));
    }

    /// What was decided once is decided: asked again with the answer stored, there is nothing to do.
    #[test]
    fn settling_twice_changes_nothing(pictures in proptest::collection::vec("[+\\-sm=.]{6}", 1..5)) {
        let pictures: Vec<&str> = pictures.iter().map(String::as_str).collect();
        let history = history(&pictures);
        let mut known: Vec<StoredBreakage> = Vec::new();
        for action in settle(&history, &[]) {
            let BreakageAction::Open { good, bad, cases, lost, hidden, repaired, fixed, .. } = action else {
                panic!("nothing was stored yet")
            };
            let id = BreakageId(known.len() as i64 + 1);
            let state = BreakageState::Searching;
            known.push(StoredBreakage { cases, lost, hidden, repaired, fixed, ..stored(id.0, good.0, bad.0, &[], state) });
        }
        proptest::prop_assert_eq!(settle(&history, &known), vec![]);
    }

    /// In whatever order its range is built, a repair keeps to its breakage, contains the change that made it, and ends as
    /// that one change.
    #[test]
    fn a_repair_is_narrowed_to_the_change_that_made_it(
        fixer in 2_i64..20,
        behind in 0_i64..20,
        order in proptest::collection::vec(proptest::prelude::any::<proptest::sample::Index>(), 40),
    ) {
        let by = fixer + behind;
        let mut unbuilt: Vec<i64> = (2..by).collect();
        let mut picture: Vec<char> = vec!['.'; by as usize + 2];
        for (at, letter) in [(0, '+'), (1, '-'), (by as usize, '+'), (by as usize + 1, '+')] {
            picture[at] = letter;
        }
        let mut known = vec![repaired(1, by)];
        for next in order.iter().take(unbuilt.len()) {
            let at = unbuilt.remove(next.index(unbuilt.len()));
            picture[at as usize] = if at < fixer { '-' } else { '+' };
            let drawn: String = picture.iter().collect();
            for action in settle(&history(&[&drawn]), &known.clone()) {
                perform(action, &mut known);
            }
            let [row] = known.as_slice() else { panic!("one breakage: {known:?}") };
            let fix = row.fixed.expect("its repair stays proven");
            proptest::prop_assert!(fix.after.0 < fixer && fixer <= fix.by.0, "{drawn}: {fix:?}");
        }
        let (after, by) = (ChangeId(fixer - 1), ChangeId(fixer));
        proptest::prop_assert_eq!(known[0].fixed, Some(Fix { after, by }));
    }

    /// However builds come in, a case is in one undecided breakage at most.
    #[test]
    fn a_case_never_is_in_two_undecided_breakages(
        before in proptest::collection::vec("[+\\-sm.]{6}", 1..4),
        dots in proptest::collection::vec(0_usize..6, 0..5),
    ) {
        let full: Vec<&str> = before.iter().map(String::as_str).collect();
        let sparse: Vec<String> = full
            .iter()
            .map(|picture| picture.chars().enumerate().map(|(at, c)| if dots.contains(&at) { '.' } else { c }).collect())
            .collect();
        let sparse: Vec<&str> = sparse.iter().map(String::as_str).collect();
        let mut known: Vec<StoredBreakage> = Vec::new();
        for history in [history(&sparse), history(&full)] {
            for action in settle(&history, &known.clone()) {
                perform(action, &mut known);
            }
            let undecided = || known.iter().filter(|row| row.state.is_undecided());
            let all: usize = undecided().map(|row| row.cases.len()).sum();
            let distinct: BTreeSet<CaseId> = undecided().flat_map(|row| row.cases.iter().copied()).collect();
            proptest::prop_assert_eq!(all, distinct.len());
        }
    }
    /// Only what was good once can be lost, and nothing accuses a change of what failed before it.
    #[test]
    fn a_breakage_begins_after_its_cases_were_good_and_before_they_were_bad(
        pictures in proptest::collection::vec("[+\\-sm.]{7}", 1..5),
    ) {
        let drawn: Vec<&str> = pictures.iter().map(String::as_str).collect();
        for action in settle(&history(&drawn), &[]) {
            let BreakageAction::Open { good, bad, cases, hidden, fixed, .. } = action else { continue };
            for case in cases {
                let letters: Vec<char> = pictures[case.0 as usize - 1].chars().collect();
                let between = &letters[good.0 as usize + 1..bad.0 as usize];
                let was_good = letters[..=good.0 as usize].contains(&'+');
                proptest::prop_assert!(was_good, "{case} of {drawn:?}");
                let is_hidden = hidden.contains(&case);
                proptest::prop_assert_eq!(letters[good.0 as usize], if is_hidden { '-' } else { '+' });
                proptest::prop_assert!(!between.contains(&'-'), "{case} of {drawn:?}");
                let repaired = |fix: Fix| letters[fix.after.0 as usize..=fix.by.0 as usize].contains(&'+');
                proptest::prop_assert!(is_hidden || fixed.is_none_or(repaired), "a failure repairs nothing: {drawn:?}");
            }
        }
    }

    /// Whatever comes in, what another change took over is charged to it alone: the case is in one open breakage, and that
    /// does not begin before the last takeover.
    #[test]
    fn what_was_taken_over_is_charged_to_the_last_that_took_it(
        pictures in proptest::collection::vec("\\+-[!\\-]{5}", 1..4),
    ) {
        let drawn: Vec<&str> = pictures.iter().map(String::as_str).collect();
        let mut known = Vec::new();
        for end in 2..=7 {
            let until: Vec<&str> = drawn.iter().map(|picture| &picture[..end]).collect();
            settle_and_name(&history(&until), &mut known);
        }
        for (picture, case) in drawn.iter().zip(1..) {
            let culprit = picture.rfind('!').unwrap_or(1) as i64;
            let holds = |row: &&StoredBreakage| {
                let case = CaseId(case);
                row.state == BreakageState::Named && row.cases.contains(&case) && !row.repaired.contains(&case)
            };
            let culprits: Vec<_> = known.iter().filter(holds).map(|row| row.culprit).collect();
            proptest::prop_assert_eq!(culprits, [Some(ChangeId(culprit))], "{} of {:?}", case, &drawn);
        }
    }
}
