//! Histories as pictures, one change for each character: `+` passed, `-` failed, `s` skipped, `m` missing, `u` not reached, `=` not run
//! since the inputs were equal to those of the build before, `!` failed for another reason than before, since another
//! change took it over, `.` not built. After a `|` come new project inputs, on the
//! change before it.

mod properties;
mod shared_failures;

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
            'u' => Some(Verdict::Unreached),
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
            green: !verdicts_at(change).iter().any(|it| matches!(it, Verdict::Fail | Verdict::Unreached)),
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
fn a_build_that_did_not_reach_a_case_is_neither_its_good_end_nor_its_repair() {
    assert_eq!(settled(&["+uu-"], &[]), settled(&["+..-"], &[]));
    assert_eq!(settled(&["+-+uu"], &[named(1, 0, 1, &[1])]), settled(&["+-+.."], &[named(1, 0, 1, &[1])]));
    assert_eq!(settled(&["+-um"], &[]), settled(&["+-.m"], &[]));
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
