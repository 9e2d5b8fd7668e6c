//! Histories as pictures, one change for each character: `+` passed, `-` failed, `s` skipped, `m` missing, `=` not run
//! since the inputs were equal to those of the build before, `!` failed for another reason than before, since another
//! change took it over, `.` not built. After a `|` come new project inputs, on the
//! change before it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn case_history(case: i64, picture: &str) -> CaseHistory {
    let mut drawn = CaseHistory {
        case: CaseId(case),
        verdicts: Vec::new(),
        baselines: BTreeSet::new(),
        takeovers: BTreeSet::new(),
        evidence_verdicts: Vec::new(),
    };
    let mut change = 0;
    for letter in picture.chars() {
        let verdict = match letter {
            '+' => Some(Verdict::Pass),
            '-' => Some(Verdict::Fail),
            '!' => {
                drawn.takeovers.insert(drawn.verdicts.len());
                Some(Verdict::Fail)
            }
            's' => Some(Verdict::Skip),
            'm' => Some(Verdict::Missing),
            '=' => drawn.verdicts.last().map(|(_, verdict)| *verdict),
            '.' => None,
            '|' => {
                drawn.baselines.insert(drawn.verdicts.len());
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

/// The history of cases 1, 2, ... of a suite that has no other cases.
fn history(pictures: &[&str]) -> BuilderHistory {
    let case_histories: Vec<CaseHistory> =
        pictures.iter().zip(1..).map(|(picture, case)| case_history(case, picture)).collect();
    let changes = pictures.iter().map(|picture| picture.replace('|', "").len()).max().unwrap_or(0) as i64;
    let order: Vec<ChangeId> = (0..changes).map(ChangeId).collect();
    let verdicts_at = |change: ChangeId| -> Vec<Verdict> {
        let of = |case_history: &CaseHistory| {
            case_history.verdicts.iter().find(|(at, _)| *at == change).map(|(_, verdict)| *verdict)
        };
        case_histories.iter().filter_map(of).collect()
    };
    let is_pointed = |change: ChangeId| {
        let letter = |picture: &&str| picture.replace('|', "").chars().nth(change.0 as usize);
        pictures.iter().any(|picture| letter(picture) == Some('='))
    };
    let history_builds =
        order.iter().filter(|change| !verdicts_at(**change).is_empty()).map(|&change| HistoryBuild {
            change,
            own: !is_pointed(change),
            ran: verdicts_at(change).iter().filter(|verdict| is_run(**verdict) == Some(true)).count() as u32,
            green: !verdicts_at(change).contains(&Verdict::Fail),
        });
    let history_builds = history_builds.collect();
    BuilderHistory { order, history_builds, case_histories, ..BuilderHistory::default() }
}

fn cases(ids: &[i64]) -> BTreeSet<CaseId> {
    ids.iter().copied().map(CaseId).collect()
}

fn stored(id: i64, good: i64, bad: i64, of: &[i64], state: BreakageState) -> StoredBreakage {
    StoredBreakage {
        id: BreakageId(id),
        good: ChangeId(good),
        bad: ChangeId(bad),
        state,
        culprit: None,
        cases: cases(of),
        lost: BTreeSet::new(),
        hidden: BTreeSet::new(),
        repaired: BTreeSet::new(),
        fixed: None,
    }
}

fn named(id: i64, good: i64, culprit: i64, of: &[i64]) -> StoredBreakage {
    StoredBreakage { culprit: Some(ChangeId(culprit)), ..stored(id, good, culprit, of, BreakageState::Named) }
}

fn lost(of: &[i64], breakage: StoredBreakage) -> StoredBreakage {
    StoredBreakage { lost: cases(of), ..breakage }
}

fn hidden(of: &[i64], breakage: StoredBreakage) -> StoredBreakage {
    StoredBreakage { hidden: cases(of), ..lost(of, breakage) }
}

/// Settles the pictures of cases 1, 2, ... with what is stored; one line for each action.
fn settled(pictures: &[&str], known: &[StoredBreakage]) -> String {
    shown(settle(&history(pictures), known))
}

fn shown(actions: Vec<BreakageAction>) -> String {
    let list = |cases: &BTreeSet<CaseId>| cases.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let repair =
        |fixed: Option<Fix>| fixed.map_or(String::new(), |f| format!(" fixed {}..{}", f.after, f.by));
    let lines: Vec<String> = actions
        .into_iter()
        .map(|action| match action {
            BreakageAction::Open {
                good,
                bad,
                cases,
                lost,
                hidden,
                repaired: _,
                fixed,
                split_from,
                again_of,
            } => {
                let from = split_from.map_or(String::new(), |id| format!(" from #{id}"));
                let again = again_of.map_or(String::new(), |id| format!(" again #{id}"));
                let listed = |what: &str, cases: &BTreeSet<CaseId>| match cases.is_empty() {
                    true => String::new(),
                    false => format!(" {what} {}", list(cases)),
                };
                let (lost, hidden) = (listed("lost", &lost), listed("hidden", &hidden));
                format!(
                    "open {good}..{bad} cases {}{lost}{hidden}{}{from}{again}",
                    list(&cases),
                    repair(fixed)
                )
            }
            BreakageAction::Update { id, good, bad, cases, lost: _, repaired, fixed } => {
                let repaired = match repaired.is_empty() {
                    true => String::new(),
                    false => format!(" repaired {}", list(&repaired)),
                };
                format!("update #{id} {good}..{bad} cases {}{repaired}{}", list(&cases), repair(fixed))
            }
            BreakageAction::Prove { id, at } => format!("prove #{id} at {at}"),
            BreakageAction::Gone(id) => format!("gone #{id}"),
        })
        .collect();
    lines.join("; ")
}

/// Settles until nothing changes, and names the bad end of each breakage that is not decided.
fn settle_and_name(history: &BuilderHistory, known: &mut Vec<StoredBreakage>) {
    for _ in 0..20 {
        let actions = settle(history, known);
        let is_done = actions.iter().all(|action| matches!(action, BreakageAction::Prove { .. }));
        actions.into_iter().for_each(|action| perform(action, known));
        for row in known.iter_mut().filter(|row| row.state.is_undecided()) {
            (row.state, row.culprit) = (BreakageState::Named, Some(row.bad));
        }
        for row in known.iter_mut().filter(|row| row.state != BreakageState::Gone) {
            row.state = if row.fixed.is_some() { BreakageState::Fixed } else { BreakageState::Named };
        }
        if is_done {
            return;
        }
    }
    panic!("it does not come to an end: {known:?}");
}

/// Does what the store does.
fn perform(action: BreakageAction, known: &mut Vec<StoredBreakage>) {
    match action {
        BreakageAction::Open { good, bad, cases, lost, hidden, repaired, fixed, .. } => {
            let id = BreakageId(known.len() as i64 + 1);
            let state = BreakageState::Suspected;
            known.push(StoredBreakage {
                cases,
                lost,
                hidden,
                repaired,
                fixed,
                ..stored(id.0, good.0, bad.0, &[], state)
            });
        }
        BreakageAction::Update { id, good, bad, cases, lost, repaired, fixed } => {
            let row = known.iter_mut().find(|row| row.id == id).unwrap();
            (row.good, row.bad, row.fixed) = (good, bad, fixed);
            row.hidden.retain(|case| cases.contains(case));
            (row.cases, row.lost, row.repaired) = (cases, lost, repaired);
        }
        BreakageAction::Gone(id) => {
            known.iter_mut().find(|row| row.id == id).unwrap().state = BreakageState::Gone;
        }
        BreakageAction::Prove { .. } => {}
    }
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
fn two_good_builds_after_it_are_its_repair() {
    let open = [stored(1, 0, 1, &[1], BreakageState::Searching)];
    assert_eq!(settled(&["+-..+"], &open), "");
    assert_eq!(settled(&["+-..++"], &open), "update #1 0..1 cases 1 fixed 1..4");
    let open = [named(1, 0, 1, &[1])];
    assert_eq!(settled(&["+-.-+.+"], &open), "update #1 0..1 cases 1 fixed 3..4");
}

#[test]
fn an_older_failure_that_turns_out_to_continue_takes_over_the_breakage() {
    let known = [stored(7, 2, 3, &[1], BreakageState::Searching)];
    assert_eq!(settled(&["+.+-"], &known), "");
    // One good build is no repair: the case is bad from 1 to 3.
    assert_eq!(settled(&["+-+-"], &known), "update #7 0..1 cases 1");
    assert_eq!(settled(&["+-+-+"], &known), "update #7 0..1 cases 1");
    // As it was lucky before, it takes more than two good builds.
    assert_eq!(settled(&["+-+-++"], &known), "update #7 0..1 cases 1");
    assert_eq!(settled(&["+-+-++++++++++"], &known), "update #7 0..1 cases 1 fixed 3..4");
    // Another breakage has it already; or an answer was found, and the breakage keeps its ends.
    let both = [stored(8, 0, 1, &[1], BreakageState::Searching), known[0].clone()];
    assert_eq!(settled(&["+-+-"], &both), "gone #7");
    let both = [known[0].clone(), stored(8, 0, 1, &[1], BreakageState::Searching)];
    assert_eq!(settled(&["+-+-"], &both), "gone #7");
    assert_eq!(settled(&["+-+-"], &[named(7, 2, 3, &[1])]), "open 0..1 cases 1 again #7");
    // It was repaired before that.
    assert_eq!(
        settled(&["+-++."], &[stored(7, 3, 4, &[1], BreakageState::Searching)]),
        "gone #7; open 0..1 cases 1 fixed 1..2 again #7"
    );
}

#[test]
fn one_good_build_is_to_be_proven_once_the_search_has_ended() {
    let searching = [stored(1, 0, 1, &[1], BreakageState::Searching)];
    assert_eq!(settled(&["+--+"], &searching), "");
    let open = [named(1, 0, 1, &[1])];
    assert_eq!(settled(&["+--+"], &open), "prove #1 at 3");
    // A build that was not run proves nothing.
    assert_eq!(settled(&["+--+=="], &open), "prove #1 at 3");
    assert_eq!(settled(&["+--+==+"], &open), "update #1 0..1 cases 1 fixed 2..3");
}

#[test]
fn a_run_that_makes_no_history_proves_a_repair_or_refutes_it() {
    let open = [named(1, 0, 1, &[1])];
    let evidence_verdicts = |verdict| {
        let mut history = history(&["+--+"]);
        history.case_histories[0].evidence_verdicts.push((ChangeId(3), verdict));
        shown(settle(&history, &open))
    };
    assert_eq!(evidence_verdicts(Verdict::Pass), "update #1 0..1 cases 1 fixed 2..3");
    assert_eq!(evidence_verdicts(Verdict::Fail), "prove #1 at 3");
    assert_eq!(evidence_verdicts(Verdict::Unreached), "prove #1 at 3");
}

#[test]
fn a_proven_repair_falls_when_its_runs_refute_it_and_the_breakage_is_open_again() {
    let fixed = [repaired(2, 3)];
    let repeated = |picture: &str, runs: &str| {
        let mut history = history(&[picture]);
        let verdict = |letter| if letter == '+' { Verdict::Pass } else { Verdict::Fail };
        let runs = runs.chars().map(|letter| (ChangeId(3), verdict(letter)));
        history.case_histories[0].evidence_verdicts.extend(runs);
        shown(settle(&history, &fixed))
    };
    assert_eq!(repeated("+--+", "+"), "");
    assert_eq!(repeated("+--+", "+--"), "", "two failures may be bad luck");
    assert_eq!(repeated("+--+", "+---"), "update #1 0..1 cases 1");
    assert_eq!(repeated("+--+", "+++---"), "", "it passed as often");
    assert_eq!(repeated("+--+", "----+++----"), "update #1 0..1 cases 1");
    // Later changes may have repaired it all the same.
    assert_eq!(repeated("+--+++", "+---"), "update #1 0..1 cases 1; prove #1 at 4");
    assert_eq!(repeated("+--+++++++++++++++", "+---"), "update #1 0..1 cases 1 fixed 3..4");
}

#[test]
fn a_case_that_passes_in_half_of_its_bad_runs_is_repaired_only_after_many_good_ones() {
    let open = [named(1, 0, 1, &[1])];
    assert_eq!(settled(&["+--++"], &open), "update #1 0..1 cases 1 fixed 2..3");
    let lucky = |picture: &str| {
        let mut history = history(&[picture]);
        let probes = [(1, Verdict::Pass), (1, Verdict::Pass), (2, Verdict::Fail)];
        let probes = probes.map(|(change, verdict)| (ChangeId(change), verdict));
        history.case_histories[0].evidence_verdicts.extend(probes);
        shown(settle(&history, &open))
    };
    assert_eq!(lucky("+--++"), "prove #1 at 3");
    assert_eq!(lucky("+--++++"), "prove #1 at 3");
    assert_eq!(lucky("+--+++++++++++++"), "update #1 0..1 cases 1 fixed 2..3");
    // It failed in so many runs that one good run is no luck.
    let always = format!("+{}+", "-".repeat(40));
    assert_eq!(settled(&[&always], &open), "update #1 0..1 cases 1 fixed 40..41");
}

#[test]
fn a_run_shows_what_nobody_holds() {
    let verdicts = |picture: &str| -> BTreeMap<CaseId, Verdict> {
        let letter = |letter| match letter {
            '+' => Verdict::Pass,
            '-' => Verdict::Fail,
            _ => Verdict::Missing,
        };
        (1..).map(CaseId).zip(picture.chars().map(letter)).collect()
    };
    assert_eq!(newly_bad(&verdicts("++-m+"), &verdicts("-+--m"), &cases(&[])), cases(&[1]));
    assert_eq!(newly_bad(&verdicts("++"), &verdicts("--"), &cases(&[2])), cases(&[1]));
}

#[test]
fn a_compiler_that_succeeds_once_is_repaired() {
    let history = BuilderHistory { proof: RepairProof::OneRun, ..history(&["+--+"]) };
    assert_eq!(shown(settle(&history, &[named(1, 0, 1, &[1])])), "update #1 0..1 cases 1 fixed 2..3");
}

/// A change made a test flaky: its lucky runs are no repair, and its failures are no breakages of their own.
#[test]
fn a_lucky_build_does_not_end_a_breakage() {
    let open = [named(1, 0, 1, &[1])];
    assert_eq!(settled(&["+-+-"], &open), "");
    assert_eq!(settled(&["+-+-+-+"], &open), "prove #1 at 6");
    assert_eq!(settled(&["+-+-+-"], &[]), "open 0..1 cases 1");
}

#[test]
fn a_break_and_its_repair_between_two_green_builds_are_found_by_a_build_in_between() {
    assert_eq!(settled(&["+.-.+"], &[]), "open 0..2 cases 1");
    assert_eq!(settled(&["+.-.++"], &[]), "open 0..2 cases 1 fixed 2..4");
}

#[test]
fn a_failing_case_that_vanishes_is_not_repaired() {
    let open = [named(1, 0, 1, &[1])];
    assert_eq!(settled(&["+-m", "---"], &open), "");
    assert_eq!(settled(&["+-s", "---"], &open), "");
}

/// The vanished case turns the build green: that is a loss.
#[test]
fn a_build_that_turns_green_because_its_failing_cases_are_not_run_is_a_loss() {
    let open = [named(1, 0, 1, &[1])];
    let many = ["+++"; 40];
    let with = |first: &'static str| [&[first][..], &many].concat();
    assert_eq!(settled(&with("+-m"), &open), "open 1..2 cases 1 lost 1 hidden 1");
    assert_eq!(settled(&with("+-s"), &open), "open 1..2 cases 1 lost 1 hidden 1");
    let open = [open[0].clone(), hidden(&[1], stored(2, 1, 2, &[1], BreakageState::Searching))];
    assert_eq!(settled(&with("+-s"), &open), "");
    let open = [open[0].clone(), hidden(&[1], named(2, 1, 2, &[1]))];
    assert_eq!(settled(&["+-s-"], &open), "prove #2 at 3", "it runs again, and fails as before");
    assert_eq!(settled(&["+-s--"], &open), "update #2 1..2 cases 1 fixed 2..3");
}

/// What is reported only while a suite cannot be loaded vanishes when that is repaired.
#[test]
fn only_what_was_good_once_can_be_lost() {
    let load = ["+m+", "+m+", "m-m"];
    assert_eq!(settled(&load, &[]), "open 0..1 cases 1,2 lost 1,2");
    let named = [lost(&[1, 2], named(1, 0, 1, &[1, 2]))];
    assert_eq!(settled(&load, &named), "prove #1 at 2");
    assert_eq!(settled(&["+m++", "+m++", "m-mm"], &named), "update #1 0..1 cases 1,2 fixed 1..2");
    // Bad from its first run on, and later gone from a build that turned green.
    assert_eq!(settled(&["--m", "+++"], &[]), "");
    // With the new project inputs it never was good.
    assert_eq!(settled(&["++|-m", "++|++"], &[]), "");
}

#[test]
fn a_case_that_fails_and_then_is_not_run_broke_where_it_failed() {
    let many = ["+++++"; 10];
    let with = |first: &'static str| [&[first][..], &many].concat();
    assert_eq!(settled(&with("+...m"), &[]), "open 0..4 cases 1 lost 1");
    let open = [lost(&[1], stored(1, 0, 4, &[1], BreakageState::Searching))];
    assert_eq!(settled(&with("+..-m"), &open), "update #1 0..3 cases 1", "it failed first");
    assert_eq!(settled(&with("+s.--"), &[]), "open 0..1 cases 1 lost 1", "a failure is no repair");
    assert_eq!(settled(&with("+s.-+"), &[lost(&[1], named(1, 0, 1, &[1]))]), "prove #1 at 4");
    // A search has found that it failed first: the breakage is the same.
    assert_eq!(settled(&with("+...m"), &[named(1, 0, 2, &[1])]), "");
}

#[test]
fn cases_that_are_not_run_any_longer_are_a_breakage_though_all_others_pass() {
    assert_eq!(settled(&["+..s", "+..m", "+..+"], &[]), "open 0..3 cases 1,2 lost 1,2");
    let open = [lost(&[1, 2], stored(1, 0, 3, &[1, 2], BreakageState::Searching))];
    assert_eq!(settled(&["+..s", "+..m", "+..+"], &open), "");
    assert_eq!(settled(&["++.s", "++.m", "++.+"], &open), "update #1 1..3 cases 1,2");
    let open = [lost(&[1, 2], named(1, 0, 1, &[1, 2]))];
    assert_eq!(settled(&["+sss", "+mmm", "++++"], &open), "");
    assert_eq!(settled(&["+s.++", "+m.++", "++.++"], &open), "update #1 0..1 cases 1,2 fixed 1..3");
}

#[test]
fn cases_that_fail_and_cases_that_are_lost_at_one_change_are_one_breakage() {
    assert_eq!(settled(&["+-", "+m", "+m"], &[]), "open 0..1 cases 1,2,3 lost 2,3");
}

#[test]
fn a_small_loss_is_no_alarm_and_later_builds_are_compared_with_it() {
    let many = ["++++"; 40];
    let with = |first: &'static str| [&[first][..], &many].concat();
    assert_eq!(settled(&with("+m.."), &[]), "");
    assert_eq!(settled(&with("+mmm"), &[]), "");
    assert_eq!(settled(&with("+m+m"), &[]), "");
    // A case that raised an alarm once keeps being watched.
    let open = [lost(&[1], stored(1, 0, 3, &[1], BreakageState::Searching))];
    assert_eq!(settled(&with("+.mm"), &open), "update #1 0..2 cases 1");
}

#[test]
fn names_that_come_and_go_by_themselves_are_no_loss() {
    let history = BuilderHistory { unstable: cases(&[1]), ..history(&["+m", "+m", "++"]) };
    assert_eq!(shown(settle(&history, &[])), "open 0..1 cases 2 lost 2");
}

#[test]
fn tests_that_a_project_removes_are_no_loss() {
    assert_eq!(settled(&["++|mm", "++|++"], &[]), "");
}

#[test]
fn a_breakage_is_repaired_only_when_all_its_cases_are() {
    let open = [named(1, 0, 1, &[1, 2])];
    assert_eq!(settled(&["+-+++", "+----"], &open), "update #1 0..1 cases 1,2 repaired 1");
    assert_eq!(settled(&["+-++++", "+---++"], &open), "update #1 0..1 cases 1,2 fixed 3..4");
    assert_eq!(settled(&["+-+++", "+---+"], &open), "update #1 0..1 cases 1,2 repaired 1; prove #1 at 4");
}

/// A breakage that a change up to `by` repaired, where it was bad last at `after`.
fn repaired(after: i64, by: i64) -> StoredBreakage {
    let fixed = Some(Fix { after: ChangeId(after), by: ChangeId(by) });
    StoredBreakage { state: BreakageState::Fixed, fixed, ..named(1, 0, 1, &[1]) }
}

#[test]
fn a_build_within_a_proven_repair_narrows_it() {
    assert_eq!(settled(&["+-.-..++"], &[repaired(1, 6)]), "update #1 0..1 cases 1 fixed 3..6");
    assert_eq!(settled(&["+-..+.++"], &[repaired(1, 6)]), "update #1 0..1 cases 1 fixed 1..4");
    // It was good by luck while it was bad, so one good run is no proof.
    assert_eq!(settled(&["+-+-.+.++++++++++"], &[repaired(3, 7)]), "");
    assert_eq!(settled(&["+-+-.+-++++++++++"], &[repaired(3, 7)]), "update #1 0..1 cases 1 fixed 6..7");
}

#[test]
fn bad_again_after_a_repair_is_a_new_breakage() {
    let mut fixed = named(1, 0, 1, &[1]);
    fixed.state = BreakageState::Fixed;
    fixed.fixed = Some(Fix { after: ChangeId(1), by: ChangeId(2) });
    assert_eq!(settled(&["+-++-"], &[fixed]), "open 3..4 cases 1 again #1");
}

#[test]
fn a_case_is_in_one_open_breakage_at_most() {
    assert_eq!(settled(&["+-++-++-"], &[]), "open 6..7 cases 1");
    let open = [stored(1, 6, 7, &[1], BreakageState::Searching)];
    assert_eq!(settled(&["+-++-++-"], &open), "");
    let ended = [stored(1, 6, 7, &[1], BreakageState::Inconclusive)];
    assert_eq!(settled(&["+-++-++-"], &ended), "open 3..4 cases 1 fixed 4..5 again #1");
}

#[test]
fn a_flaky_case_opens_nothing_more() {
    let history = BuilderHistory { flaky: cases(&[1]), ..history(&["+-++-", "++++-"]) };
    assert_eq!(shown(settle(&history, &[])), "open 3..4 cases 2");
}

#[test]
fn a_breakage_whose_bad_end_was_rewound_is_gone() {
    let open = [stored(1, 0, 9, &[1], BreakageState::Searching), named(2, 0, 8, &[1])];
    assert_eq!(settled(&["+++"], &open), "gone #1; gone #2");
}

#[test]
fn the_surviving_tip_is_compared_again_after_a_rewind() {
    // Change 9 was rewound; the change in its place at 2 is bad as well.
    let open = [stored(1, 0, 9, &[1], BreakageState::Searching)];
    assert_eq!(settled(&["++-"], &open), "gone #1; open 1..2 cases 1 again #1");
}

#[test]
fn with_only_the_good_end_gone_the_newest_surviving_good_one_takes_its_place() {
    let open = [stored(1, 9, 3, &[1], BreakageState::Searching)];
    assert_eq!(settled(&["++.-"], &open), "update #1 1..3 cases 1");
    // No good change survives: nothing shows any longer that the case was ever good.
    assert_eq!(settled(&["...-"], &open), "gone #1");
}

#[test]
fn a_breakage_that_is_gone_stays_gone_when_its_change_comes_back() {
    let gone = [StoredBreakage { state: BreakageState::Gone, ..named(1, 0, 1, &[1]) }];
    assert_eq!(settled(&["+-++"], &gone), "open 0..1 cases 1 fixed 1..2 again #1");
    assert_eq!(settled(&["+.."], &gone), "");
}

#[test]
fn a_case_that_new_project_inputs_break_is_no_breakage_of_the_trunk() {
    assert_eq!(settled(&["++|--"], &[]), "");
    assert_eq!(settled(&["++|s-"], &[]), "");
    // Good with the new inputs and bad later: the trunk broke it.
    assert_eq!(settled(&["++|+-"], &[]), "open 1..2 cases 1");
    assert_eq!(settled(&["+-|--"], &[]), "open 0..1 cases 1");
    // The project repaired itself, and a change broke it again.
    assert_eq!(settled(&["++|-|+-"], &[]), "open 1..2 cases 1");
}

#[test]
fn a_case_that_is_good_with_new_project_inputs_is_repaired_by_the_project() {
    assert_eq!(settled(&["+-|++"], &[named(1, 0, 1, &[1])]), "update #1 0..1 cases 1 fixed 1..1");
    assert_eq!(settled(&["+-|-++"], &[named(1, 0, 1, &[1])]), "update #1 0..1 cases 1 fixed 1..2");
    // A test that the project removes is not broken any longer; one that vanishes otherwise still is.
    assert_eq!(settled(&["+-|mm"], &[named(1, 0, 1, &[1])]), "update #1 0..1 cases 1 fixed 1..1");
    assert_eq!(settled(&["+-mm"], &[named(1, 0, 1, &[1])]), "open 1..2 cases 1 lost 1 hidden 1");
}

#[test]
fn a_breakage_whose_bad_end_is_good_with_new_inputs_is_repaired_by_the_project() {
    // The run of change 2 with the old inputs did not end; the baseline was made at change 1, and change 2 is good with the
    // new inputs.
    assert_eq!(settled(&["++|++"], &[named(1, 1, 2, &[1])]), "update #1 1..2 cases 1 fixed 2..2");
    assert_eq!(settled(&["++|+."], &[named(1, 1, 2, &[1])]), "", "nobody has run it yet");
}

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
