//! Where another change took a case of an open breakage over.

use super::*;

/// Runs cases `a`, `b`, ... on a change as a history build, each with its failure message, or `+` if it passed.
async fn run(farm: &Farm, position: usize, messages: &[&str]) -> BuildId {
    let build = farm.queue(farm.suite(position, Reason::Tip)).await;
    farm.finish(build, Outcome::Failed).await;
    let runs = ('a'..).zip(messages).map(|(name, message)| CaseRun {
        name: name.to_string(),
        verdict: if *message == "+" { Verdict::Pass } else { Verdict::Fail },
        duration_ms: None,
        text: (*message != "+").then(|| message.to_string()),
        places: vec![],
    });
    let (list, results) = results::collect(runs, true);
    let suites = farm.suites;
    put!(farm, tx => tx.put_results(build, &list, &results)).unwrap();
    put!(farm, tx => tx.make_history(suites, build)).unwrap();
    build
}

/// The changes at which a case was taken over.
async fn taken_over_at(farm: &Farm, case: char) -> Vec<usize> {
    let case = farm.case(case).await;
    let all = histories::history(farm, farm.suites).await.case_histories;
    let of_case = all.into_iter().find(|it| it.case == case).expect("its history");
    let at =
        |at: &usize| farm.changes.iter().position(|change| *change == of_case.verdicts[*at].0).unwrap() + 1;
    of_case.takeovers.iter().map(at).collect()
}

#[tokio::test]
async fn only_a_case_that_fails_differently_where_others_are_repaired_is_taken_over() {
    let farm = Farm::new().await;
    run(&farm, 1, &["+", "+", "+"]).await;
    run(&farm, 2, &["x", "x", "x"]).await;
    let cases = [farm.case('a').await, farm.case('b').await, farm.case('c').await];
    farm.open_breakage(1, 2, &cases).await;
    run(&farm, 3, &["x", "x", "y"]).await;
    assert_eq!(taken_over_at(&farm, 'c').await, [0; 0], "nothing is repaired");
    run(&farm, 4, &["+", "x", "z"]).await;
    assert_eq!(taken_over_at(&farm, 'c').await, [0; 0], "its message differed already");
    assert_eq!(taken_over_at(&farm, 'b').await, [0; 0], "it fails as before");
    run(&farm, 5, &["+", "y", "z"]).await;
    assert_eq!(taken_over_at(&farm, 'b').await, [5]);
}

#[tokio::test]
async fn a_build_in_between_moves_a_takeover() {
    let farm = Farm::new().await;
    run(&farm, 1, &["+", "+"]).await;
    run(&farm, 2, &["x", "x"]).await;
    let [a, b] = [farm.case('a').await, farm.case('b').await];
    farm.open_breakage(1, 2, &[a, b]).await;
    run(&farm, 5, &["+", "y"]).await;
    assert_eq!(taken_over_at(&farm, 'b').await, [5]);
    run(&farm, 3, &["x", "x"]).await;
    assert_eq!(taken_over_at(&farm, 'b').await, [5]);
    run(&farm, 4, &["+", "y"]).await;
    assert_eq!(taken_over_at(&farm, 'b').await, [4]);
}

#[tokio::test]
async fn the_failure_from_before_a_takeover_is_no_evidence_against_a_change() {
    let farm = Farm::new().await;
    run(&farm, 1, &["+", "+"]).await;
    run(&farm, 2, &["x", "x"]).await;
    let [a, b] = [farm.case('a').await, farm.case('b').await];
    let first = farm.open_breakage(1, 2, &[a, b]).await;
    run(&farm, 3, &["+", "y"]).await;
    let second = farm.open_breakage(2, 3, &[b]).await;
    let shown = async |of: BreakageId| {
        let of = ask!(farm, read => read.breakage(of)).unwrap();
        let runs = ask!(farm, read => read.evidence(&of, &farm.changes)).unwrap();
        runs.iter().map(|run| run.verdicts[&b].as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(second).await, "pass xfail fail");
    assert_eq!(shown(first).await, "pass fail fail");
}

#[tokio::test]
async fn a_bad_end_that_is_built_last_shows_the_takeover_behind_it() {
    let farm = Farm::new().await;
    run(&farm, 1, &["+", "+"]).await;
    run(&farm, 5, &["+", "y"]).await;
    let [a, b] = [farm.case('a').await, farm.case('b').await];
    farm.open_breakage(1, 5, &[b]).await;
    let bad_end = run(&farm, 3, &["x", "x"]).await;
    assert_eq!(taken_over_at(&farm, 'b').await, [0; 0], "no breakage has its bad end before");
    farm.open_breakage(1, 3, &[a, b]).await;
    let suites = farm.suites;
    let behind = async || put!(farm, tx => tx.put_takeovers_behind(suites, bad_end)).unwrap();
    assert_eq!(behind().await, BTreeSet::from([b]));
    assert_eq!(behind().await, BTreeSet::new(), "it is no news");
    assert_eq!(taken_over_at(&farm, 'b').await, [5]);
}
