//! Breakages: opened, moved, answered, fixed, gone; and which culprits are still to be announced.

use domain::breakage::Fix;
use domain::words::BreakageState as S;

use super::*;

async fn breakage(farm: &Farm, id: BreakageId) -> Breakage {
    ask!(farm, read => read.breakage(id)).unwrap()
}

/// Ends a search: at this culprit, whose parent passed.
async fn found(farm: &Farm, id: BreakageId, state: S, culprit: Option<usize>, at: Timestamp) -> Result<()> {
    let (culprit, parent) = (culprit.map(|c| farm.change(c)), culprit.map(|c| farm.change(c - 1)));
    put!(farm, tx => tx.record_search_result(id, state, culprit, parent, at))
}

async fn repaired(farm: &Farm, id: BreakageId, fixed: Option<(usize, usize)>) -> Result<()> {
    let row = breakage(farm, id).await;
    let fixed = fixed.map(|(after, by)| Fix { after: farm.change(after), by: farm.change(by) });
    let not_run = row.not_run;
    let update = BreakageUpdate {
        good: row.good,
        bad: row.bad,
        cases: row.cases,
        not_run,
        repaired: [].into(),
        fixed,
    };
    put!(farm, tx => tx.update_breakage(id, &update, LATER))
}

async fn told(farm: &Farm, kind: NoticeKind, culprit: usize, breakages: &[BreakageId]) {
    let notice = NewNotice {
        kind,
        change: farm.change(culprit),
        recipients: vec!["list@example.org".to_string()],
        subject: "s".to_string(),
        body: "b".to_string(),
        message_id: format!("<{kind}.{culprit}.{}@example.org>", breakages[0]),
        in_reply_to: None,
        breakages: breakages.to_vec(),
        mentions: vec![],
    };
    put!(farm, tx => tx.put_notice(&notice, AT)).unwrap();
}

#[tokio::test]
async fn a_breakage_reads_back_as_it_was_opened() {
    let farm = Farm::new().await;
    farm.run(1, "PPP").await;
    let cases = [farm.case('a').await, farm.case('c').await];
    let id = farm.open_breakage(1, 4, &cases).await;
    let expected = Breakage {
        hidden: [].into(),
        repaired: [].into(),
        id,
        builder: farm.suites,
        good: farm.change(1),
        bad: farm.change(4),
        state: S::Suspected,
        found: None,
        found_at: None,
        culprit: None,
        parent: None,
        search_worker: None,
        fixed: None,
        cases: cases.into(),
        not_run: [].into(),
    };
    assert_eq!(breakage(&farm, id).await, expected);
    assert_eq!(ask!(farm, read => read.case_names(&expected.cases)).unwrap(), ["a", "c"]);
    assert_eq!(refusal(ask!(farm, read => read.breakage(BreakageId(99)))), "there is no such breakage");
}

#[tokio::test]
async fn its_ends_and_cases_move_and_cases_may_leave_for_one_of_their_own() {
    let farm = Farm::new().await;
    farm.run(1, "PP").await;
    let (a, b) = (farm.case('a').await, farm.case('b').await);
    let id = farm.open_breakage(1, 5, &[a, b]).await;
    let (good, bad) = (farm.change(2), farm.change(4));
    let update =
        BreakageUpdate { good, bad, cases: [a].into(), not_run: [].into(), repaired: [].into(), fixed: None };
    put!(farm, tx => tx.update_breakage(id, &update, AT)).unwrap();
    let opened =
        NewBreakage { split_from: Some(id), search_worker: Some(farm.worker), ..farm.opened(1, 5, &[b]) };
    let apart = put!(farm, tx => tx.open_breakage(&opened, AT)).unwrap();
    let row = breakage(&farm, id).await;
    assert_eq!((row.good, row.bad, row.cases), (good, bad, [a].into()));
    let suites = farm.suites;
    let all = ask!(farm, read => read.breakages_of(suites)).unwrap();
    assert_eq!(all.iter().map(|row| row.id).collect::<Vec<_>>(), [id, apart]);
    assert_eq!(all[1].search_worker, Some(farm.worker));
    assert_eq!(ask!(farm, read => read.cases_of_open_breakages(suites)).unwrap(), [a, b].into());
    put!(farm, tx => tx.record_search_result(apart, S::Flaky, None, None, AT)).unwrap();
    assert_eq!(ask!(farm, read => read.cases_of_open_breakages(suites)).unwrap(), [a, b].into());
    assert_eq!(ask!(farm, read => read.cases_believed_broken(suites)).unwrap(), [a].into());
    assert_eq!(ask!(farm, read => read.answers_without_culprit(suites)).unwrap(), []);
    put!(farm, tx => tx.record_search_result(id, S::Environment, None, None, AT)).unwrap();
    let without = ask!(farm, read => read.answers_without_culprit(suites)).unwrap();
    assert_eq!(without.iter().map(|row| row.id).collect::<Vec<_>>(), [id]);
}

#[tokio::test]
async fn a_search_ends_once() {
    let farm = Farm::new().await;
    let (id, worker) = (farm.open_breakage(1, 5, &[]).await, farm.worker);
    let undecided = || async { ask!(farm, read => read.undecided_breakages()).unwrap().len() };
    put!(farm, tx => tx.mark_breakage_searching(id, Some(worker), AT)).unwrap();
    assert_eq!((breakage(&farm, id).await.state, undecided().await), (S::Searching, 1));
    found(&farm, id, S::Named, Some(3), AT).await.unwrap();
    let row = breakage(&farm, id).await;
    assert_eq!((row.state, row.found), (S::Named, Some(S::Named)));
    assert_eq!((row.culprit, row.parent), (Some(farm.change(3)), Some(farm.change(2))));
    assert_eq!(undecided().await, 0);

    assert_eq!(refusal(found(&farm, id, S::Flaky, None, AT).await), "the search has ended");
    let again = put!(farm, tx => tx.mark_breakage_searching(id, None, AT));
    assert_eq!(refusal(again), "the search has ended");
}

#[tokio::test]
async fn what_a_search_finds_is_a_finding_with_what_belongs_to_it() {
    let farm = Farm::new().await;
    let cases = [
        (S::Named, Some(3), true),
        (S::OneOfK, Some(3), true),
        (S::Inconclusive, None, true),
        (S::Flaky, None, true),
        (S::Environment, None, true),
        (S::Named, None, false),
        (S::OneOfK, None, false),
        (S::Fixed, Some(3), false),
        (S::Gone, None, false),
        (S::Searching, None, false),
    ];
    for (state, culprit, kept) in cases {
        let id = farm.open_breakage(1, 5, &[]).await;
        assert_eq!(found(&farm, id, state, culprit, AT).await.is_ok(), kept, "{state} {culprit:?}");
    }
}

/// (what the search found, whether a repair then ends the breakage)
#[tokio::test]
async fn a_repair_ends_a_named_breakage_and_keeps_the_answer() {
    let farm = Farm::new().await;
    let cases = [
        (S::Named, Some(3), S::Fixed),
        (S::OneOfK, Some(3), S::Fixed),
        (S::Inconclusive, None, S::Fixed),
        (S::Flaky, None, S::Flaky),
        (S::Environment, None, S::Environment),
    ];
    for (state, culprit, then) in cases {
        let id = farm.open_breakage(1, 5, &[]).await;
        found(&farm, id, state, culprit, AT).await.unwrap();
        repaired(&farm, id, Some((4, 5))).await.unwrap();
        let row = breakage(&farm, id).await;
        assert_eq!((row.state, row.found), (then, Some(state)));
        assert_eq!(row.fixed, Some(Fix { after: farm.change(4), by: farm.change(5) }));
    }
}

#[tokio::test]
async fn a_repair_seen_before_the_culprit_is_named_waits_for_that() {
    let farm = Farm::new().await;
    let id = farm.open_breakage(1, 3, &[]).await;
    repaired(&farm, id, Some((4, 5))).await.unwrap();
    assert_eq!(breakage(&farm, id).await.state, S::Suspected);
    found(&farm, id, S::Named, Some(3), AT).await.unwrap();
    assert_eq!(breakage(&farm, id).await.state, S::Fixed);
}

/// A build may land in between and show that it was still bad.
#[tokio::test]
async fn a_repair_that_is_taken_back_opens_the_breakage_again() {
    let farm = Farm::new().await;
    let id = farm.open_breakage(1, 3, &[]).await;
    found(&farm, id, S::Named, Some(3), AT).await.unwrap();
    repaired(&farm, id, Some((3, 4))).await.unwrap();
    repaired(&farm, id, None).await.unwrap();
    let row = breakage(&farm, id).await;
    assert_eq!((row.state, row.fixed), (S::Named, None));
    repaired(&farm, id, Some((4, 5))).await.unwrap();
    assert_eq!(breakage(&farm, id).await.state, S::Fixed);
}

#[tokio::test]
async fn the_last_repairs_of_each_builder_are_those_that_a_change_may_have_made() {
    let farm = Farm::new().await;
    let (suites, toolchains) = (farm.suites, farm.toolchains);
    let repairs = async |builder: BuilderId, most| {
        ask!(farm, read => read.last_repairs(&[builder].into(), most)).unwrap()
    };
    let fix = |after, by| Fix { after: farm.change(after), by: farm.change(by) };
    for repair in [(2, 4), (3, 5), (4, 4)] {
        let id = farm.open_breakage(1, 2, &[]).await;
        repaired(&farm, id, Some(repair)).await.unwrap();
        let fixed = repairs(suites, 9).await;
        assert!(!fixed.contains(&fix(repair.0, repair.1)), "its search has not ended: {fixed:?}");
        found(&farm, id, S::Named, Some(2), AT).await.unwrap();
    }
    assert_eq!(repairs(suites, 3).await, [fix(2, 4), fix(3, 5)]);
    assert_eq!(repairs(suites, 2).await, [fix(3, 5)]);
    assert_eq!(repairs(toolchains, 3).await, []);
}

#[tokio::test]
async fn what_is_gone_stays_so() {
    let farm = Farm::new().await;
    let id = farm.open_breakage(1, 3, &[]).await;
    put!(farm, tx => tx.mark_breakage_gone(id, AT)).unwrap();
    put!(farm, tx => tx.mark_breakage_gone(id, LATER)).unwrap();
    assert_eq!(breakage(&farm, id).await.state, S::Gone);
    assert_eq!(refusal(repaired(&farm, id, None).await), "the breakage is gone");
    assert_eq!(refusal(found(&farm, id, S::Named, Some(3), AT).await), "the search has ended");
    assert_eq!(ask!(farm, read => read.undecided_breakages()).unwrap(), []);
}

#[tokio::test]
async fn a_case_is_flaky_for_a_while_after_a_search_proved_it() {
    let farm = Farm::new().await;
    farm.run(1, "PPP").await;
    let suites = farm.suites;
    let (a, b, c) = (farm.case('a').await, farm.case('b').await, farm.case('c').await);
    for (case, state, at) in [(a, S::Flaky, AT), (b, S::Flaky, LATER), (c, S::Inconclusive, LATER)] {
        let id = farm.open_breakage(1, 3, &[case]).await;
        found(&farm, id, state, None, at).await.unwrap();
    }
    let flaky = |since: Timestamp| {
        let farm = &farm;
        async move { ask!(farm, read => read.flaky_cases(suites, since)).unwrap() }
    };
    assert_eq!(flaky(AT).await, [a, b].into());
    assert_eq!(flaky(LATER).await, [b].into());
    assert_eq!(flaky(Timestamp(LATER.0 + 1)).await, [].into());
    let toolchains = farm.toolchains;
    assert_eq!(ask!(farm, read => read.flaky_cases(toolchains, AT)).unwrap(), [].into());
}

#[tokio::test]
async fn a_culprit_is_announced_until_its_thread_has_reported_everything() {
    let farm = Farm::new().await;
    let to_tell = || async { ask!(farm, read => read.culprits_to_notify()).unwrap() };
    let culprit = farm.change(3);
    let first = farm.open_breakage(1, 5, &[]).await;
    let unclear = farm.open_breakage(1, 5, &[]).await;
    assert_eq!(to_tell().await, []);
    found(&farm, unclear, S::Inconclusive, None, AT).await.unwrap();
    assert_eq!(to_tell().await, []);
    found(&farm, first, S::Named, Some(3), AT).await.unwrap();
    assert_eq!(to_tell().await, [culprit]);
    assert_eq!(ask!(farm, read => read.breakages_by(culprit)).unwrap()[0].id, first);
    told(&farm, NoticeKind::Named, 3, &[first]).await;
    assert_eq!(to_tell().await, []);

    let second = farm.open_breakage(2, 3, &[]).await;
    found(&farm, second, S::OneOfK, Some(3), AT).await.unwrap();
    assert_eq!(to_tell().await, [culprit]);
    told(&farm, NoticeKind::Spread, 3, &[second]).await;
    assert_eq!(to_tell().await, []);

    repaired(&farm, first, Some((4, 5))).await.unwrap();
    assert_eq!(to_tell().await, [culprit]);
    told(&farm, NoticeKind::Fixed, 3, &[first]).await;
    assert_eq!(to_tell().await, []);
}

#[tokio::test]
async fn a_breakage_whose_changes_were_rewound_is_no_news() {
    let farm = Farm::new().await;
    let id = farm.open_breakage(1, 5, &[]).await;
    found(&farm, id, S::Named, Some(3), AT).await.unwrap();
    put!(farm, tx => tx.mark_breakage_gone(id, AT)).unwrap();
    assert_eq!(ask!(farm, read => read.culprits_to_notify()).unwrap(), []);
}

#[tokio::test]
async fn a_breakage_of_a_whole_suite_is_opened_and_named() {
    let farm = Farm::new().await;
    let names: Vec<String> = (0..50_000).map(|number| format!("case {number:05}")).collect();
    let interned = names.clone();
    let cases = farm
        .store
        .write(move |tx| {
            Box::pin(async move {
                tx.intern_cases(&interned.iter().map(String::as_str).collect::<Vec<_>>()).await
            })
        })
        .await
        .unwrap();
    let id = farm.open_breakage(1, 2, &cases).await;
    let row = breakage(&farm, id).await;
    assert_eq!(row.cases.len(), 50_000);
    assert_eq!(ask!(farm, read => read.case_names(&row.cases)).unwrap(), names);
}

#[tokio::test]
async fn each_change_of_a_range_leads_to_what_one_of_them_broke_or_repaired() {
    use crate::pages::BreakageFilter::{Culprit, Fixer, RepairedWithin, Within};
    let farm = Farm::new().await;
    farm.run(1, "PP").await;
    let a = farm.case('a').await;
    let id = farm.open_breakage(1, 4, &[a]).await;
    let (culprit, parent) = (Some(farm.change(3)), Some(farm.change(1)));
    put!(farm, tx => tx.record_search_result(id, S::OneOfK, culprit, parent, AT)).unwrap();
    repaired(&farm, id, Some((3, 5))).await.unwrap();
    let of = async |position: usize| {
        let change = farm.change(position).0;
        let mut found = Vec::new();
        for (filter, word) in [
            (Culprit(change), "last"),
            (Within(change), "within"),
            (Fixer(change), "fixer"),
            (RepairedWithin(change), "repair"),
        ] {
            if !ask!(farm, read => read.breakage_rows(filter, 9)).unwrap().is_empty() {
                found.push(word);
            }
        }
        found.join(" ")
    };
    assert_eq!(of(1).await, "", "it was seen to be good");
    assert_eq!(of(2).await, "within");
    assert_eq!(of(3).await, "last");
    assert_eq!(of(4).await, "repair");
    assert_eq!(of(5).await, "fixer");
    let row = ask!(farm, read => read.breakage_row(id.0)).unwrap();
    assert_eq!((row.range, row.suspects, row.repair_range), (3, 2, 2));
}

#[tokio::test]
async fn a_case_counts_once_for_its_project_and_a_step_is_no_test() {
    let farm = Farm::new().await;
    farm.run(1, "PPP").await;
    let cases = [farm.case('a').await, farm.case('b').await, farm.case('c').await];
    let not_run = [cases[2]].into();
    let opened = NewBreakage { not_run, ..farm.opened(1, 4, &cases) };
    let one = put!(farm, tx => tx.open_breakage(&opened, AT)).unwrap();
    let other = farm.open_breakage(1, 5, &cases[..1]).await;
    let counts = ask!(farm, read => read.case_counts(&[(0, one.0), (0, other.0), (7, other.0)])).unwrap();
    let of = |group: usize| (counts[&group].failing, counts[&group].not_run, counts[&group].platforms);
    assert_eq!((of(0), of(7)), ((2, 1, 1), (1, 0, 1)));
    assert!(counts[&0].steps.is_empty() && counts[&0].faults == 0, "{counts:?}");
    put!(farm, tx => tx.set_unreached(other, 30)).unwrap();
    let counts = ask!(farm, read => read.case_counts(&[(0, one.0), (0, other.0)])).unwrap();
    assert_eq!(counts[&0].not_run, 31);
}
