//! Which answers may be repeated, what repeats them, and how the results are counted.

use domain::breakage::Fix;
use domain::project_inputs::InputsId;
use domain::self_check::{CheckKind, CheckResult};
use domain::words::BreakageState;

use super::*;

/// Three breakages with an answer, and one without: a change that is named, a flaky case, and a repair.
async fn answered(farm: &Farm) -> [BreakageId; 4] {
    for (position, picture) in [(1, "PP"), (2, "FF"), (3, "PP")] {
        farm.run(position, picture).await;
    }
    let case = farm.case('a').await;
    let mut breakages = Vec::new();
    for _ in 0..4 {
        breakages.push(farm.open_breakage(1, 2, &[case]).await);
    }
    let [named, flaky, fixed, undecided] = breakages.try_into().unwrap();
    let (parent, culprit, fixer) = (farm.change(1), farm.change(2), farm.change(3));
    let mut update = update(farm.opened(1, 2, &[case]));
    update.fixed = Some(Fix { after: culprit, by: fixer });
    farm.store
        .write(move |tx| {
            Box::pin(async move {
                tx.update_breakage(fixed, &update, AT).await?;
                let (culprit, parent) = (Some(culprit), Some(parent));
                tx.record_search_result(named, BreakageState::Named, culprit, parent, AT).await?;
                tx.record_search_result(flaky, BreakageState::Flaky, None, None, AT).await?;
                tx.record_search_result(fixed, BreakageState::Named, culprit, parent, AT).await
            })
        })
        .await
        .unwrap();
    [named, flaky, fixed, undecided]
}

fn update(opened: NewBreakage) -> BreakageUpdate {
    BreakageUpdate {
        good: opened.good,
        bad: opened.bad,
        cases: opened.cases,
        not_run: opened.not_run,
        repaired: BTreeSet::new(),
        fixed: None,
    }
}

/// Queues a repetition of a change, and records what it repeats.
async fn check(farm: &Farm, position: usize, breakage: BreakageId, kind: CheckKind) -> BuildId {
    let build = farm.queue(farm.suite(position, Reason::Null)).await;
    put!(farm, tx => tx.put_self_check(build, SelfCheck { breakage, kind }, AT)).unwrap();
    build
}

#[tokio::test]
async fn answers_of_searches_and_repairs_may_be_checked_and_breakages_without_an_answer_may_not() {
    let farm = Farm::new().await;
    let [named, flaky, fixed, _] = answered(&farm).await;
    let answers = ask!(farm, read => read.answers_to_check(AT)).unwrap();
    let found: Vec<_> = answers.iter().map(|answer| (answer.breakage, answer.state)).collect();
    let expected =
        [(named, BreakageState::Named), (flaky, BreakageState::Flaky), (fixed, BreakageState::Fixed)];
    assert_eq!(found, expected);
    assert_eq!(ask!(farm, read => read.answers_to_check(LATER)).unwrap(), [], "they are too old");
}

#[tokio::test]
async fn the_newest_run_with_the_same_inputs_is_repeated_while_they_can_be_had() {
    let farm = Farm::new().await;
    let first = farm.run(1, "P").await;
    let (suites, change, pin) = (farm.suites, farm.change(1), farm.pin);
    let with = InputsId { toolchain: None, pin: Some(pin) };
    let run = || async {
        let found = ask!(farm, read => read.run_to_check(suites, change, with)).unwrap();
        found.map(|(build, worker)| (build.id, worker))
    };
    assert_eq!(run().await, Some((first, farm.worker)));
    let probe = farm.queue(farm.suite(1, Reason::Probe)).await;
    assert_eq!(run().await, Some((first, farm.worker)), "a run that has not ended shows nothing");
    farm.tell(probe, "P").await;
    assert_eq!(run().await, Some((probe, farm.worker)));
    let others = InputsId { toolchain: None, pin: Some(PinId(99)) };
    assert_eq!(ask!(farm, read => read.run_to_check(suites, change, others)).unwrap(), None);
    put!(farm, tx => tx.mark_revision_missing(pin, "r1", AT)).unwrap();
    assert_eq!(run().await, None);
}

#[tokio::test]
async fn a_check_ends_once_and_is_counted_for_ever() {
    let farm = Farm::new().await;
    let [named, ..] = answered(&farm).await;
    let stood = check(&farm, 1, named, CheckKind::Parent).await;
    assert_eq!(ask!(farm, read => read.running_self_checks()).unwrap(), [stood]);
    let repeated = SelfCheck { breakage: named, kind: CheckKind::Parent };
    assert_eq!(ask!(farm, read => read.self_check(stood)).unwrap(), Some(repeated));
    farm.tell(stood, "PP").await;
    put!(farm, tx => tx.end_self_check(stood, CheckResult::Stood, AT)).unwrap();
    assert_eq!(ask!(farm, read => read.self_check(stood)).unwrap(), None);
    let again = put!(farm, tx => tx.end_self_check(stood, CheckResult::Fell, AT));
    assert_eq!(refusal(again), "the self-check has a result");

    let fell = check(&farm, 1, named, CheckKind::Parent).await;
    farm.tell(fell, "FP").await;
    put!(farm, tx => tx.end_self_check(fell, CheckResult::Fell, LATER)).unwrap();
    let mute = check(&farm, 2, named, CheckKind::Culprit).await;
    farm.finish(mute, Outcome::Infra).await;
    put!(farm, tx => tx.end_mute_self_checks(LATER)).unwrap();
    let counted = |counts: Vec<CheckCount>| {
        let line = |count: &CheckCount| format!("{} {} {}", count.kind, count.result, count.checks);
        counts.iter().map(line).collect::<Vec<_>>().join(", ")
    };
    let ever = ask!(farm, read => read.self_checks_ever()).unwrap();
    assert_eq!(counted(ever), "culprit none 1, parent fell 1, parent stood 1");
    let recent = ask!(farm, read => read.self_checks_since(LATER)).unwrap();
    assert_eq!(counted(recent), "culprit none 1, parent fell 1");

    let made = ask!(farm, read => read.checks_of(named, CheckKind::Parent, AT)).unwrap();
    assert_eq!(made, ChecksOf { checks: 2, last: Some(CheckResult::Fell) });
    let before = ask!(farm, read => read.repetitions(repeated, stood)).unwrap();
    assert_eq!(before, [stood]);
    let fallen = ask!(farm, read => read.fallen_rows(AT, 10)).unwrap();
    let fallen: Vec<_> = fallen.iter().map(|row| (row.breakage, row.build, row.kind)).collect();
    assert_eq!(fallen, [(named.0, fell.0, CheckKind::Parent)]);
}

#[tokio::test]
async fn a_check_whose_build_is_dropped_is_forgotten() {
    let farm = Farm::new().await;
    let [named, ..] = answered(&farm).await;
    let build = check(&farm, 1, named, CheckKind::Parent).await;
    let dropped = sqlx::query("delete from build where id = ?").bind(build.0);
    farm.store
        .write(move |tx| Box::pin(async move { Ok(dropped.execute(&mut *tx.connection).await?) }))
        .await
        .unwrap();
    assert_eq!(farm.count("self_check").await, 0);
}

#[tokio::test]
async fn idle_work_is_what_idle_workers_made_of_late() {
    let farm = Farm::new().await;
    let idle = || async { ask!(farm, read => read.idle_work()).unwrap() };
    assert_eq!(idle().await, (0, 0));
    let [named, ..] = answered(&farm).await;
    assert_eq!(idle().await, (0, 0), "tips are no idle work");
    let null = farm.queue(farm.suite(1, Reason::Null)).await;
    farm.tell(null, "PP").await;
    let running = check(&farm, 1, named, CheckKind::Parent).await;
    assert_eq!(idle().await, (2, 1), "what runs counts, too");
    farm.tell(running, "PP").await;
    assert_eq!(idle().await, (2, 1));
}

#[tokio::test]
async fn searches_are_counted_by_their_answers() {
    let farm = Farm::new().await;
    answered(&farm).await;
    let found = ask!(farm, read => read.searches_ended_since(AT)).unwrap();
    assert_eq!(found, [(BreakageState::Flaky, 1), (BreakageState::Named, 2)]);
    assert_eq!(ask!(farm, read => read.searches_ended_since(LATER)).unwrap(), []);
}

/// However many repairs there are: what runs showed there is read only of those that a self-check doubts.
#[tokio::test]
async fn runs_at_a_repair_are_read_once_a_self_check_of_it_has_fallen() {
    let farm = Farm::new().await;
    let [named, flaky, fixed, undecided] = answered(&farm).await;
    for other in [named, flaky, undecided] {
        put!(farm, tx => tx.mark_breakage_gone(other, AT)).unwrap();
    }
    let row = ask!(farm, read => read.builder(farm.suites)).unwrap();
    let read_at_repair = || async {
        let inputs = ask!(farm, read => read.breakage_inputs(&row, &HistoryNews::Any, EVER, AT)).unwrap();
        let of_case = inputs.history.case_histories.into_iter().find(|it| !it.evidence_verdicts.is_empty());
        of_case.map_or(0, |it| it.evidence_verdicts.len())
    };
    for picture in ["PP", "FP"] {
        let build = farm.queue(farm.suite(3, Reason::Null)).await;
        farm.tell(build, picture).await;
    }
    assert_eq!(read_at_repair().await, 0, "no check doubts it");
    let stood = check(&farm, 3, fixed, CheckKind::Repair).await;
    farm.tell(stood, "PP").await;
    put!(farm, tx => tx.end_self_check(stood, CheckResult::Stood, AT)).unwrap();
    assert_eq!(read_at_repair().await, 0, "it stood");
    let fell = check(&farm, 3, fixed, CheckKind::Repair).await;
    farm.tell(fell, "FP").await;
    put!(farm, tx => tx.end_self_check(fell, CheckResult::Fell, AT)).unwrap();
    assert_eq!(read_at_repair().await, 4);
}
