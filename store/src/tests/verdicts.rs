//! What cases did: lists that builds share, rows for what changed, and histories that carry verdicts from row to
//! row. Pictures are those of [`told`].

use super::*;

const PASS: &str = "pass";

/// A build's rows: `b pass>fail, c >fail`.
async fn rows(farm: &Farm, build: BuildId) -> String {
    let rows = sqlx::query_as::<_, (String, Option<String>, String)>(
        "select n.name, t.was, t.became from transition t join named_case n on n.id = t.case_id
         where t.build_id = ? order by n.name",
    )
    .bind(build.0);
    let rows = ask!(farm, read => rows.fetch_all(&mut *read.connection)).unwrap();
    let word = |letter: String| crate::cases::verdicts::verdict(&letter).unwrap().as_str();
    let row = |(name, was, became): (String, Option<String>, String)| {
        format!("{name} {}>{}", was.map(word).unwrap_or_default(), word(became))
    };
    rows.into_iter().map(row).collect::<Vec<_>>().join(", ")
}

/// The case histories: each case's verdicts over the history builds in change order.
async fn case_histories(farm: &Farm) -> String {
    let suites = farm.suites;
    let names = sqlx::query_as::<_, (i64, String)>("select id, name from named_case");
    let names: std::collections::BTreeMap<i64, String> =
        ask!(farm, read => names.fetch_all(&mut *read.connection)).unwrap().into_iter().collect();
    let case_histories = histories::history(farm, suites).await.case_histories;
    let letter = |(_, verdict): &(ChangeId, Verdict)| match verdict {
        Verdict::Pass => 'P',
        Verdict::Fail => 'F',
        Verdict::Error => 'E',
        Verdict::Skip => 'S',
        Verdict::Missing => 'M',
        Verdict::Unreached => 'U',
        Verdict::Xfail | Verdict::Xpass => panic!("not drawn here"),
    };
    let mut told: Vec<String> = case_histories
        .iter()
        .map(|s| format!("{} {}", names[&s.case.0], s.verdicts.iter().map(letter).collect::<String>()))
        .collect();
    told.sort();
    told.join(", ")
}

/// Builds of the changes in this order, each with its picture; then the rows of each change, and the case
/// histories.
async fn history(builds: &[(usize, &str)]) -> (Vec<String>, String) {
    let farm = Farm::new().await;
    let mut made = Vec::new();
    for &(position, picture) in builds {
        made.push((position, farm.run(position, picture).await));
    }
    made.sort();
    let mut told = Vec::new();
    for (position, build) in made {
        told.push(format!("{position}: {}", rows(&farm, build).await));
    }
    (told, case_histories(&farm).await)
}

#[tokio::test]
async fn builds_that_ran_the_same_cases_share_their_list() {
    let farm = Farm::new().await;
    farm.run(1, "PPP").await;
    farm.run(2, "PFP").await;
    assert_eq!((farm.count("case_list").await, farm.count("case_name").await), (1, 3));
    farm.run(3, "PFPP").await;
    assert_eq!((farm.count("case_list").await, farm.count("case_name").await), (2, 4));
}

#[tokio::test]
async fn a_column_reads_back_and_is_shared_by_an_equal_build() {
    let farm = Farm::new().await;
    let ran = farm.run(1, "PFS.EU").await;
    let pointing = farm.point(2, ran).await;
    let nothing = farm.queue(farm.suite(3, Reason::Tip)).await;
    let case_verdicts = ask!(farm, read => read.case_verdicts(ran)).unwrap();
    let verdicts: Vec<_> = case_verdicts.values().map(|verdict| verdict.as_str()).collect();
    assert_eq!(verdicts, [PASS, "fail", "skip", "error", "unreached"]);
    assert_eq!(case_verdicts[&farm.case('e').await], Verdict::Error);
    assert_eq!(ask!(farm, read => read.case_verdicts(pointing)).unwrap(), case_verdicts);
    assert_eq!(
        ask!(farm, read => read.case_verdicts(nothing)).unwrap(),
        domain::project_inputs::CaseVerdicts::new()
    );
}

#[tokio::test]
async fn a_list_of_two_hundred_thousand_cases_reads_back() {
    let farm = Farm::new().await;
    let build = farm.queue(farm.suite(1, Reason::Tip)).await;
    farm.finish(build, Outcome::Failed).await;
    let runs = (0..200_000).map(|number| CaseRun {
        name: format!("case {number:06}"),
        verdict: Verdict::Fail,
        duration_ms: None,
        text: None,
        places: vec![],
    });
    let (list, results) = results::collect(runs, true);
    let suites = farm.suites;
    put!(farm, tx => tx.put_results(build, &list, &results)).unwrap();
    put!(farm, tx => tx.make_history(suites, build)).unwrap();
    assert_eq!(ask!(farm, read => read.case_verdicts(build)).unwrap().len(), 200_000);
    assert_eq!(farm.count("transition").await, 200_000);
}

#[tokio::test]
async fn the_first_build_writes_only_what_is_not_a_pass() {
    let (rows, _) = history(&[(1, "PFPES")]).await;
    assert_eq!(rows, ["1: b >fail, d >error, e >skip"]);
}

#[tokio::test]
async fn a_build_writes_only_what_changed() {
    let (rows, case_histories) = history(&[(1, "PFP"), (2, "PFF"), (3, "PFF"), (4, "PPF")]).await;
    assert_eq!(rows, ["1: b >fail", "2: c pass>fail", "3: ", "4: b fail>pass"]);
    assert_eq!(case_histories, "b FFFP, c PFFF");
}

#[tokio::test]
async fn a_case_that_came_or_went_was_missing() {
    let (rows, case_histories) = history(&[(1, "PP"), (2, "P.F"), (3, "PPF")]).await;
    assert_eq!(rows, ["1: ", "2: b pass>missing, c missing>fail", "3: b missing>pass"]);
    assert_eq!(case_histories, "b PMP, c MFF");
}

/// A fault is reported only if it is bad.
#[tokio::test]
async fn a_fault_that_a_whole_run_does_not_tell_of_has_passed() {
    let farm = Farm::new().await;
    let run = async |position: usize, faults: &[&str], complete: bool| {
        let build = farm.queue(farm.suite(position, Reason::Tip)).await;
        farm.finish(build, Outcome::Failed).await;
        let runs = faults.iter().map(|name| CaseRun {
            name: format!("fault:{name}"),
            verdict: Verdict::Fail,
            duration_ms: None,
            text: None,
            places: vec![],
        });
        let step = CaseRun::of_step("test", Verdict::Pass);
        let (list, results) = results::collect(runs.chain([step]), complete);
        let suites = farm.suites;
        put!(farm, tx => tx.put_results(build, &list, &results)).unwrap();
        put!(farm, tx => tx.make_history(suites, build)).unwrap();
        build
    };
    let before = run(1, &[], true).await;
    let broken = run(2, &["a", "b"], true).await;
    let part = run(3, &["a"], false).await;
    let after = run(4, &["a"], true).await;
    assert_eq!(rows(&farm, broken).await, "fault:a pass>fail, fault:b pass>fail");
    assert_eq!(rows(&farm, part).await, "");
    assert_eq!(rows(&farm, after).await, "fault:b fail>pass");
    assert_eq!(case_histories(&farm).await, "fault:a PFFF, fault:b PFUP");
    let faults = [farm.named("fault:a".into()).await, farm.named("fault:b".into()).await];
    for (build, passed) in [(before, 2), (part, 0), (after, 1)] {
        let mut case_verdicts = ask!(farm, read => read.case_verdicts(build)).unwrap();
        ask!(farm, read => read.add_unreported(build, &mut case_verdicts, faults)).unwrap();
        let told = case_verdicts
            .iter()
            .filter(|(case, verdict)| faults.contains(case) && **verdict == Verdict::Pass);
        assert_eq!(told.count(), passed, "of {build:?}");
    }
}

#[tokio::test]
async fn a_repeated_failure_message_is_stored_once() {
    let farm = Farm::new().await;
    for (position, texts) in [(1, ["why", "why"]), (2, ["why", "another why"])] {
        let build = farm.queue(farm.suite(position, Reason::Tip)).await;
        farm.finish(build, Outcome::Failed).await;
        let runs = ["a", "b"].into_iter().zip(texts).map(|(name, text)| CaseRun {
            name: name.into(),
            verdict: Verdict::Fail,
            duration_ms: Some(7),
            text: Some(text.into()),
            places: vec![],
        });
        let (list, results) = results::collect(runs, true);
        for _ in 0..2 {
            let (list, results) = (list.clone(), results.clone());
            put!(farm, tx => tx.put_results(build, &list, &results)).unwrap();
        }
        let cases = ask!(farm, read => read.bad_cases(build.0, 9)).unwrap();
        let said: Vec<&str> = cases.iter().filter_map(|case| case.text.as_deref()).collect();
        assert_eq!(said, texts);
    }
    assert_eq!((farm.count("case_failure").await, farm.count("failure_message").await), (4, 2));
}

/// How often a name comes is a case, too. Each word is a build's runs of one name.
#[tokio::test]
async fn a_name_that_occurs_less_often_is_not_run_unless_it_is_bad() {
    for (builds, expected) in [
        ("PPP PP PPP", "a ×3 PMP"),
        ("PPP P PP", "a ×2 PMP, a ×3 PMM"),
        // A run that stops at a failure, and one that reports a failure twice: how many of a name are bad is a case, too.
        ("PP F PP", "a PFP"),
        ("P FF P", "a PFP, fault:a ×2 PFP"),
        ("PP FF P", "a PFP, a ×2 PUM, fault:a ×2 PFP"),
        // How often a bad name would have occurred is unknown: the count starts over.
        ("PP F P PP", "a PFPP"),
    ] {
        let farm = Farm::new().await;
        for (position, word) in (1..).zip(builds.split(' ')) {
            let build = farm.queue(farm.suite(position, Reason::Tip)).await;
            farm.finish(build, Outcome::Failed).await;
            let run = |letter| CaseRun {
                name: "a".into(),
                verdict: if letter == 'P' { Verdict::Pass } else { Verdict::Fail },
                duration_ms: None,
                text: None,
                places: vec![],
            };
            let (list, results) = results::collect(word.chars().map(run), true);
            let (list, results) = results::count_repeats(list, results);
            let suites = farm.suites;
            put!(farm, tx => tx.put_results(build, &list, &results)).unwrap();
            put!(farm, tx => tx.make_history(suites, build)).unwrap();
        }
        assert_eq!(case_histories(&farm).await, expected, "{builds}");
    }
}

#[tokio::test]
async fn a_build_that_lands_in_between_rewrites_the_one_after_it() {
    let (rows, case_histories) = history(&[(1, "PP"), (5, "FP"), (3, "FF")]).await;
    assert_eq!(rows, ["1: ", "3: a pass>fail, b pass>fail", "5: b fail>pass"]);
    assert_eq!(case_histories, "a PFF, b PFP");
}

#[tokio::test]
async fn a_build_that_lands_before_all_others_takes_over_as_the_first() {
    let (rows, case_histories) = history(&[(3, "PF"), (1, "PP")]).await;
    assert_eq!(rows, ["1: ", "3: b pass>fail"]);
    assert_eq!(case_histories, "b PF");
}

#[tokio::test]
async fn an_unreached_case_keeps_what_it_last_did_writes_no_row_and_is_no_evidence() {
    let (rows, case_histories) = history(&[(1, "PP"), (2, "PF"), (3, "PU"), (4, "UU"), (5, "PP")]).await;
    assert_eq!(rows, ["1: ", "2: b pass>fail", "3: ", "4: ", "5: b fail>pass"]);
    assert_eq!(case_histories, "b PFUUP");
}

#[tokio::test]
async fn cases_of_a_run_that_broke_off_are_unreached_and_not_missing() {
    let (rows, case_histories) = history(&[(1, "PPF"), (2, "F~"), (3, "PP~"), (4, "PPP")]).await;
    assert_eq!(rows, ["1: c >fail", "2: a pass>fail", "3: a fail>pass", "4: c fail>pass"]);
    assert_eq!(case_histories, "a PFPP, c FUUP");
}

#[tokio::test]
async fn a_case_that_was_gone_before_a_run_broke_off_stays_gone() {
    let (rows, _) = history(&[(1, "PPP"), (2, "P.P"), (3, "P~"), (4, "P.P")]).await;
    assert_eq!(rows, ["1: ", "2: b pass>missing", "3: ", "4: "]);
}

/// Unreached cases depend on the build that landed, and so do the builds after it.
#[tokio::test]
async fn a_build_that_lands_before_unreached_cases_rewrites_all_that_depend_on_it() {
    let (rows, case_histories) = history(&[(1, "P"), (3, "U"), (4, "P"), (5, "P"), (2, "F")]).await;
    assert_eq!(rows, ["1: ", "2: a pass>fail", "3: ", "4: a fail>pass", "5: "]);
    assert_eq!(case_histories, "a PFUPP");
}

/// Nobody asked what a build did not reach until a later one failed there.
#[tokio::test]
async fn the_last_good_build_of_a_case_is_one_that_reached_it() {
    for builds in [
        [(1, "PP"), (2, "PU"), (3, "P~"), (4, "PF")],
        [(4, "PF"), (3, "P~"), (2, "PU"), (1, "PP")],
        [(1, "PP"), (4, "PF"), (2, "PU"), (3, "P~")],
    ] {
        assert_eq!(history(&builds).await.1, "b PUUF", "{builds:?}");
    }
}

#[tokio::test]
async fn a_case_that_was_never_reached_is_unreached_until_it_is() {
    let (rows, _) = history(&[(1, "PU"), (2, "PF")]).await;
    assert_eq!(rows, ["1: b >unreached", "2: b unreached>fail"]);
}

#[tokio::test]
async fn a_cell_that_points_to_an_equal_build_changes_nothing_after_it() {
    let farm = Farm::new().await;
    let ran = farm.run(1, "PF").await;
    let pointing = farm.point(2, ran).await;
    assert_eq!(rows(&farm, pointing).await, "");
    farm.run(3, "FF").await;
    assert_eq!(case_histories(&farm).await, "a PPF, b FFF");
}

#[tokio::test]
async fn history_is_in_change_order_without_what_was_rewound() {
    let farm = Farm::new().await;
    let (branch, suites) = (farm.branch, farm.suites);
    let last = farm.run(5, "P").await;
    let first = farm.run(1, "P").await;
    let probe = farm.queue(farm.suite(2, Reason::Probe)).await;
    farm.tell(probe, "F").await;
    let lost = farm.queue(farm.suite(3, Reason::Tip)).await;
    farm.finish(lost, Outcome::Infra).await;
    let history_builds = || async { ask!(farm, read => read.history_builds(suites)).unwrap() };
    assert_eq!(history_builds().await, [(farm.change(1), first), (farm.change(5), last)]);
    put!(farm, tx => tx.mark_position_gone(branch, 5, LATER)).unwrap();
    assert_eq!(history_builds().await, [(farm.change(1), first)]);
}

#[tokio::test]
async fn case_histories_cover_cases_that_were_bad_or_not_run_or_belong_to_a_breakage() {
    let farm = Farm::new().await;
    farm.run(1, "PPSP").await;
    farm.run(2, "PFPS").await;
    assert_eq!(case_histories(&farm).await, "b PF, d PS");
    let skipped = farm.case('c').await;
    farm.open_breakage(1, 2, &[skipped]).await;
    assert_eq!(case_histories(&farm).await, "b PF, c SP, d PS");
}

#[tokio::test]
async fn a_case_has_its_transitions_and_its_history() {
    let farm = Farm::new().await;
    for (position, picture) in [(1, "PPF"), (2, "PFF"), (3, "PF"), (5, "PPP")] {
        farm.run(position, picture).await;
    }
    let page = async |name: &str| {
        let (builder, turns) = (farm.suites.0, 2);
        let page = ask!(farm, read => read.case_page(builder, name, turns, 3)).unwrap();
        let turn = |turn: &crate::pages::CaseTransitionRow| {
            let was = turn.was.map(Verdict::as_str).unwrap_or_default();
            format!("{} {was}>{}", turn.history_build.position, turn.became)
        };
        let turns: Vec<String> = page.turns.iter().map(turn).collect();
        let case_history: Vec<&str> =
            page.case_history.iter().map(|(_, v)| v.map_or("-", Verdict::as_str)).collect();
        format!("{} | {}", turns.join(", "), case_history.join(" "))
    };
    assert_eq!(page("a").await, " | pass pass pass");
    assert_eq!(page("b").await, "5 fail>pass, 2 pass>fail | pass fail fail");
    assert_eq!(page("c").await, "5 missing>pass, 3 fail>missing | pass missing fail");
    let (builder, name) = (farm.suites.0, "nobody");
    assert_eq!(refusal(ask!(farm, read => read.case_page(builder, name, 9, 9))), "there is no such case");
}

#[tokio::test]
async fn failure_messages_of_a_change_are_found_by_its_breakages() {
    let farm = Farm::new().await;
    farm.run(1, "PP").await;
    farm.run(2, "FF").await;
    let cases = [farm.case('a').await, farm.case('b').await];
    let breakage = farm.open_breakage(1, 2, &cases).await;
    let change = farm.change(2).0;
    let said = ask!(farm, read => read.failures_of_change(change, 9)).unwrap();
    let said: Vec<String> =
        said.into_iter().map(|s| format!("{} {}: {}", s.project, s.case, s.text)).collect();
    assert_eq!(said, ["penlight a: a is broken", "penlight b: b is broken"]);
    assert_eq!(ask!(farm, read => read.failures_of_breakage(breakage.0, 9)).unwrap().len(), 2);
    let change = farm.change(1).0;
    assert_eq!(ask!(farm, read => read.failures_of_change(change, 9)).unwrap(), []);
}

#[tokio::test]
async fn results_reported_again_replace_the_first_ones() {
    let farm = Farm::new().await;
    let build = farm.run(1, "PF").await;
    let (suites, (list, results)) = (farm.suites, told("FF"));
    put!(farm, tx => tx.put_results(build, &list, &results)).unwrap();
    put!(farm, tx => tx.make_history(suites, build)).unwrap();
    assert_eq!(rows(&farm, build).await, "a >fail, b >fail");
}

#[tokio::test]
async fn every_verdict_is_read_as_it_is_written() {
    for verdict in Verdict::ALL {
        assert_eq!(
            crate::cases::verdicts::verdict(&domain::results::letter(verdict).to_string()).unwrap(),
            verdict
        );
    }
    for odd in ["", "p", "PP", "\u{e9}"] {
        assert!(crate::cases::verdicts::verdict(odd).is_err(), "{odd}");
    }
}
