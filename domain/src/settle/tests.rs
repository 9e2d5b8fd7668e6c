//! Each ending of an attempt, with each number of tries and each reason of its build, as words.

use proptest::prelude::*;
use protocol::{Sha256, StepEnd, StepKind};

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);
const REASONS: [Reason; 7] = [
    Reason::Tip,
    Reason::Backfill,
    Reason::Baseline,
    Reason::Probe,
    Reason::Null,
    Reason::Force,
    Reason::Latest,
];
const OTHER_FETCHES: [OtherFetch; 4] =
    [OtherFetch::Unavailable, OtherFetch::Available, OtherFetch::UnderWay, OtherFetch::Failed];
/// Each way in which the attempt of [`ending`] can end.
const ENDINGS: [&str; 15] = [
    "passed",
    "passed on probation",
    "failed",
    "half",
    "no toolchain",
    "tests failed",
    "cancelled",
    "fetch failed",
    "no space",
    "timed out",
    "killed",
    "killed again",
    "declined",
    "lost",
    "never taken",
];

fn toolchain() -> PackedToolchain {
    PackedToolchain { sha256: Sha256([7; 32]), bytes: 9 }
}

fn step(kind: StepKind, end: StepEnd) -> StepRun {
    StepRun { name: kind.as_str().to_string(), kind, end }
}

/// An ending by its name, of an attempt after so many that were spent.
fn ending(name: &str, spent: u32) -> AttemptEnding {
    use StepEnd::{Cancelled, Exit, Signal, TimedOut};
    let is_confirmed = name == "killed again";
    let context =
        OutcomeContext { attempt: spent + 1, is_reported: true, is_confirmed, ..OutcomeContext::default() };
    let whole = ReportedEnd {
        steps: vec![
            step(StepKind::Fetch, Exit { code: 0 }),
            step(StepKind::Compile, Exit { code: 0 }),
            step(StepKind::Test, Exit { code: 0 }),
        ],
        recipe_steps: 3,
        infra_failure: None,
        artifact: Some(toolchain()),
        context,
        is_on_probation: false,
        message: Some("no route to host".into()),
    };
    let last = |end| {
        let mut steps = whole.steps.clone();
        steps[2].end = end;
        steps
    };
    let until = |kind, end| {
        let mut steps = whole.steps.clone();
        steps.retain(|step| step.kind == StepKind::Fetch && kind != StepKind::Fetch);
        steps.push(step(kind, end));
        steps
    };
    AttemptEnding::Reported(match name {
        "passed" => whole,
        "passed on probation" => ReportedEnd { is_on_probation: true, ..whole },
        "failed" => {
            ReportedEnd { steps: until(StepKind::Compile, Exit { code: 1 }), artifact: None, ..whole }
        }
        "half" => ReportedEnd { steps: whole.steps[..2].to_vec(), ..whole },
        "no toolchain" => ReportedEnd { artifact: None, ..whole },
        "tests failed" => ReportedEnd { steps: last(Exit { code: 1 }), ..whole },
        "cancelled" => ReportedEnd { steps: last(Cancelled), ..whole },
        "fetch failed" => ReportedEnd { steps: until(StepKind::Fetch, Exit { code: 1 }), ..whole },
        "no space" => {
            ReportedEnd { infra_failure: Some(InfraFailure::NoSpace { detail: "/".into() }), ..whole }
        }
        "timed out" => ReportedEnd { steps: last(TimedOut), ..whole },
        "killed" | "killed again" => ReportedEnd { steps: last(Signal { signal: 9 }), ..whole },
        "declined" => return AttemptEnding::Declined { reason: "busy".into() },
        "lost" => return AttemptEnding::Lost { reason: "it is gone", was_started: true },
        "never taken" => return AttemptEnding::Lost { reason: "it is gone", was_started: false },
        other => panic!("no ending is called {other}"),
    })
}

fn inputs(reason: Reason, kind: BuilderKind, spent: u32) -> SettleInputs {
    let other_fetch = OtherFetch::Unavailable;
    let is_fetch_failing = false;
    SettleInputs { reason, kind, spent, offers: spent + 1, has_rival: false, other_fetch, is_fetch_failing }
}

/// The actions as words, without the end of the attempt.
fn words_of(actions: &[SettleAction]) -> String {
    let wait = |at: &Timestamp| (at.0 - NOW.0) / 1000;
    let words: Vec<String> = actions
        .iter()
        .filter_map(|action| {
            Some(match action {
                SettleAction::EndAttempt { .. } | SettleAction::ForgetFetchFailure => return None,
                SettleAction::Requeue { not_before } => format!("requeue in {} s", wait(not_before)),
                SettleAction::HoldBack { not_before } => format!("hold back for {} s", wait(not_before)),
                SettleAction::RerunOtherChange => "rerun another change".into(),
                SettleAction::RecordFetchFailure { is_checked, .. } => {
                    format!("{} fetch failure", if *is_checked { "checked" } else { "unchecked" })
                }
                SettleAction::PutArtifact(_) => "put artifact".into(),
                SettleAction::Finish { result, artifact } => {
                    let cause = result.cause.map_or(String::new(), |cause| format!(" {cause}"));
                    let made = if artifact.is_some() { " with artifact" } else { "" };
                    format!("finish {}{cause}{made}", result.outcome)
                }
                SettleAction::RecordLatestFailure(_) => "latest failed".into(),
                SettleAction::VoidStep(step) => format!("void {step}"),
                SettleAction::PutResults => "results".into(),
                SettleAction::DoubtAnswers => "doubt".into(),
                SettleAction::MakeHistory => "history".into(),
                SettleAction::CompareNullRun => "compare".into(),
                SettleAction::RecordAgreement => "agreement".into(),
                SettleAction::CompareProbe => "probe".into(),
            })
        })
        .collect();
    words.join(", ")
}

fn settled(name: &str, inputs: &SettleInputs) -> String {
    words_of(&settle(&ending(name, inputs.spent), inputs, NOW))
}

#[test]
fn the_reason_of_a_build_says_what_follows_from_its_verdict() {
    let evidence = "finish passed, results, doubt";
    for (reason, ending, expected) in [
        (Reason::Tip, "passed", "finish passed, results, doubt, history"),
        (Reason::Backfill, "passed", "finish passed, results, doubt, history"),
        (Reason::Baseline, "passed", "finish passed, results, doubt, history"),
        (Reason::Null, "passed", "finish passed, results, doubt, compare"),
        (Reason::Null, "passed on probation", "finish passed, results, doubt, agreement"),
        (Reason::Tip, "passed on probation", "finish passed, results, doubt, history"),
        (Reason::Probe, "passed", "finish passed, results, doubt, probe"),
        (Reason::Force, "passed", evidence),
        (Reason::Latest, "passed", "finish passed"),
        (Reason::Latest, "failed", "finish failed exit, latest failed"),
        (Reason::Tip, "failed", "finish failed exit, results, doubt, history"),
        (Reason::Tip, "cancelled", "finish cancelled"),
        (Reason::Latest, "cancelled", "finish cancelled"),
    ] {
        assert_eq!(settled(ending, &inputs(reason, BuilderKind::Suite, 0)), expected, "{reason} {ending}");
    }
}

#[test]
fn a_toolchain_is_put_if_it_is_fit_to_be_tested_with() {
    for (ending, expected) in [
        ("passed", "put artifact, finish passed with artifact, results, doubt, history"),
        ("tests failed", "put artifact, finish failed exit with artifact, results, doubt, history"),
        ("failed", "finish failed exit, results, doubt, history"),
        ("cancelled", "finish cancelled"),
        ("no toolchain", "requeue in 2 s"),
        ("half", "requeue in 2 s"),
    ] {
        let inputs = inputs(Reason::Tip, BuilderKind::Toolchain, 0);
        assert_eq!(settled(ending, &inputs), expected, "{ending}");
    }
    let suite = inputs(Reason::Tip, BuilderKind::Suite, 0);
    assert_eq!(settled("no toolchain", &suite), "finish passed, results, doubt, history");
    assert_eq!(settled("half", &suite), "requeue in 2 s", "a suite must run to the end of its recipe");
}

#[test]
fn an_attempt_that_decides_nothing_is_repeated_until_three_are_spent() {
    for (ending, spent, expected) in [
        ("no space", 0, "requeue in 2 s"),
        ("no space", 1, "requeue in 2 s"),
        ("no space", 2, "finish infra no-space"),
        ("timed out", 1, "requeue in 2 s"),
        ("half", 2, "finish infra worker"),
        ("killed", 0, "requeue in 2 s"),
        ("killed", 1, "requeue in 2 s"),
        ("killed", 2, "finish infra signal"),
        ("killed again", 1, "finish failed signal, results, doubt, history"),
        ("lost", 1, "requeue in 2 s"),
        ("lost", 2, "finish infra worker-lost"),
        ("never taken", 2, "requeue in 2 s"),
        ("never taken", 3, "finish infra worker-lost"),
        ("declined", 2, "requeue in 2 s"),
        ("declined", 3, "finish infra worker"),
    ] {
        let inputs = inputs(Reason::Tip, BuilderKind::Suite, spent);
        assert_eq!(settled(ending, &inputs), expected, "{ending} {spent}");
    }
    let latest = inputs(Reason::Latest, BuilderKind::Suite, 2);
    assert_eq!(settled("lost", &latest), "finish infra worker-lost, latest failed");
}

/// The other steps ended well, and what they showed makes history. The one that ran for too long showed nothing.
#[test]
fn a_test_that_no_machine_ends_does_not_hide_its_neighbours() {
    for (reason, kind, has_rival, expected) in [
        (
            Reason::Tip,
            BuilderKind::Suite,
            false,
            "finish failed timed-out, void test, results, doubt, history",
        ),
        (
            Reason::Backfill,
            BuilderKind::Toolchain,
            false,
            "put artifact, finish failed timed-out with artifact, void test, results, doubt, history",
        ),
        // A search asks for the neighbour's verdict, too.
        (
            Reason::Probe,
            BuilderKind::Suite,
            false,
            "finish failed timed-out, void test, results, doubt, probe",
        ),
        (Reason::Latest, BuilderKind::Suite, false, "finish infra timed-out, latest failed"),
        (Reason::Tip, BuilderKind::Suite, true, "hold back for 2 s"),
    ] {
        let inputs = SettleInputs { has_rival, ..inputs(reason, kind, 2) };
        assert_eq!(settled("timed out", &inputs), expected, "{reason}");
    }
}

#[test]
fn a_build_that_every_worker_declines_is_given_up() {
    let offered = |offers| SettleInputs { offers, ..inputs(Reason::Tip, BuilderKind::Suite, 0) };
    assert_eq!(settled("declined", &offered(49)), "requeue in 2 s");
    assert_eq!(settled("declined", &offered(50)), "finish infra worker");
}

#[test]
fn a_build_that_another_worker_has_is_held_back_and_not_given_up() {
    let shared = SettleInputs { has_rival: true, ..inputs(Reason::Tip, BuilderKind::Suite, 5) };
    assert_eq!(settled("lost", &shared), "hold back for 2 s");
    assert_eq!(settled("declined", &shared), "hold back for 2 s");
    assert_eq!(settled("passed", &shared), "finish passed, results, doubt, history");
}

#[test]
fn a_third_failed_fetch_waits_for_the_fetch_of_another_change() {
    let fetch = |reason, spent, other_fetch| {
        settled("fetch failed", &SettleInputs { other_fetch, ..inputs(reason, BuilderKind::Suite, spent) })
    };
    use OtherFetch::{Available, Failed, Unavailable, UnderWay};
    for (reason, spent, other_fetch, expected) in [
        (Reason::Tip, 0, Available, "requeue in 2 s"),
        (Reason::Tip, 1, Available, "requeue in 2 s"),
        (Reason::Tip, 2, Available, "rerun another change, requeue in 600 s"),
        (Reason::Tip, 3, UnderWay, "requeue in 600 s"),
        (Reason::Tip, 3, Failed, "finish infra fetch, checked fetch failure"),
        (Reason::Tip, 5, Available, "finish infra fetch, unchecked fetch failure"),
        (Reason::Tip, 2, Unavailable, "finish infra fetch, unchecked fetch failure"),
        (Reason::Probe, 3, Failed, "finish infra fetch"),
        (Reason::Latest, 2, Unavailable, "finish infra fetch, latest failed"),
        // A null run is the other change: it waits for none.
        (Reason::Null, 1, Failed, "requeue in 2 s"),
        (Reason::Null, 2, Available, "finish infra fetch"),
    ] {
        assert_eq!(fetch(reason, spent, other_fetch), expected, "{reason} {spent} {other_fetch:?}");
    }
    // Where the last fetches failed as well, one more failure is enough to look at another change.
    let failing = |reason, other_fetch| {
        let inputs = inputs(reason, BuilderKind::Suite, 0);
        settled("fetch failed", &SettleInputs { other_fetch, is_fetch_failing: true, ..inputs })
    };
    assert_eq!(failing(Reason::Tip, Available), "rerun another change, requeue in 600 s");
    assert_eq!(failing(Reason::Tip, Unavailable), "finish infra fetch, unchecked fetch failure");
    assert_eq!(failing(Reason::Null, Available), "finish infra fetch");
    // Once another change was fetched, the third failure is the change's own.
    let AttemptEnding::Reported(mut reported) = ending("fetch failed", 2) else { panic!("it is reported") };
    reported.context.others_fetch = true;
    let actions =
        settle(&AttemptEnding::Reported(reported), &inputs(Reason::Tip, BuilderKind::Suite, 2), NOW);
    assert_eq!(words_of(&actions), "finish failed exit, results, doubt, history");
}

#[test]
fn an_attempt_ends_first_with_its_state_and_what_went_wrong() {
    for (name, state, failure) in [
        ("passed", AttemptState::Ended, None),
        ("half", AttemptState::Ended, Some("before the last step of its recipe")),
        ("no space", AttemptState::Ended, Some("no-space")),
        ("killed", AttemptState::Ended, Some("`test` was killed by signal 9, perhaps from outside")),
        ("killed again", AttemptState::Ended, None),
        ("fetch failed", AttemptState::Ended, Some("fetch step `fetch` ended with exit 1: no route to host")),
        ("declined", AttemptState::Declined, Some("busy")),
        ("lost", AttemptState::Lost, Some("it is gone")),
    ] {
        let actions = settle(&ending(name, 0), &inputs(Reason::Tip, BuilderKind::Suite, 0), NOW);
        let Some(SettleAction::EndAttempt { state: ended, failure: said }) = actions.first() else {
            panic!("{name}: {actions:?}")
        };
        assert_eq!(*ended, state, "{name}");
        match (said, failure) {
            (None, None) => {}
            (Some(said), Some(part)) => assert!(said.contains(part), "{name}: {said}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_build_without_a_plan_is_given_up_though_nobody_tried_it() {
    let inputs = inputs(Reason::Tip, BuilderKind::Suite, 0);
    assert_eq!(words_of(&settle(&AttemptEnding::Unplannable, &inputs, NOW)), "finish infra toolchain");
}

/// What must hold of any list of actions.
fn check(actions: &[SettleAction], name: &str, inputs: &SettleInputs) {
    let said = || format!("{name} {inputs:?}: {actions:?}");
    let count = |is: fn(&SettleAction) -> bool| actions.iter().filter(|action| is(action)).count();
    let fates = count(|action| {
        matches!(
            action,
            SettleAction::Requeue { .. } | SettleAction::HoldBack { .. } | SettleAction::Finish { .. }
        )
    });
    assert_eq!(fates, 1, "it is queued, held or finished: {}", said());
    for action in actions {
        if let SettleAction::Requeue { not_before } | SettleAction::HoldBack { not_before } = action {
            assert!(*not_before <= NOW + MAX_OFFER_DELAY, "{}", said());
        }
    }
    let outcome = actions.iter().find_map(|action| match action {
        SettleAction::Finish { result, .. } => Some(result.outcome),
        _ => None,
    });
    let is_verdict = matches!(outcome, Some(Outcome::Passed | Outcome::Failed));
    let verdicts = count(|action| {
        matches!(
            action,
            SettleAction::PutResults
                | SettleAction::VoidStep(_)
                | SettleAction::PutArtifact(_)
                | SettleAction::DoubtAnswers
                | SettleAction::MakeHistory
                | SettleAction::CompareNullRun
                | SettleAction::RecordAgreement
        )
    });
    assert!(is_verdict || verdicts == 0, "an infra failure is no verdict: {}", said());
    let history = count(|action| matches!(action, SettleAction::MakeHistory));
    assert_eq!(history, usize::from(is_verdict && inputs.reason.makes_history()), "{}", said());
    let ends = count(|action| matches!(action, SettleAction::EndAttempt { .. }));
    assert_eq!(ends, 1, "the attempt ends once: {}", said());
}

#[test]
fn every_ending_leaves_its_build_in_one_state() {
    let mut cases = 0;
    for name in ENDINGS {
        for reason in REASONS {
            for kind in [BuilderKind::Toolchain, BuilderKind::Suite] {
                for (spent, has_rival) in (0..8).flat_map(|spent| [(spent, false), (spent, true)]) {
                    for other_fetch in OTHER_FETCHES {
                        let inputs = SettleInputs { has_rival, other_fetch, ..inputs(reason, kind, spent) };
                        check(&settle(&ending(name, spent), &inputs, NOW), name, &inputs);
                        cases += 1;
                    }
                }
            }
        }
    }
    assert_eq!(cases, 15 * 7 * 2 * 16 * 4);
}

fn any_step() -> impl Strategy<Value = StepRun> {
    let kind =
        prop::sample::select(vec![StepKind::Fetch, StepKind::Compile, StepKind::Install, StepKind::Test]);
    let end = prop_oneof![
        3 => Just(StepEnd::Exit { code: 0 }),
        1 => (1..=255_i32).prop_map(|code| StepEnd::Exit { code }),
        1 => Just(StepEnd::Signal { signal: 9 }),
        1 => Just(StepEnd::TimedOut),
        1 => Just(StepEnd::Silent),
        1 => Just(StepEnd::LogLimit),
        1 => Just(StepEnd::OutOfMemory),
        1 => Just(StepEnd::TooManyProcesses),
        1 => Just(StepEnd::DiskLimit),
        1 => Just(StepEnd::RefusedTree),
        1 => Just(StepEnd::NoTests),
        1 => Just(StepEnd::BadReport { failed: 2 }),
        1 => Just(StepEnd::Cancelled),
    ];
    (kind, end).prop_map(|(kind, end)| step(kind, end))
}

prop_compose! {
    fn any_report()(
        steps in prop::collection::vec(any_step(), 0..5),
        recipe_steps in 0_usize..5,
        fails in any::<bool>(),
        has_artifact in any::<bool>(),
        (proven, others_fetch, is_reported, is_on_probation) in any::<(bool, bool, bool, bool)>(),
        (is_cut, is_confirmed) in any::<(bool, bool)>(),
    ) -> ReportedEnd {
        ReportedEnd {
            steps,
            recipe_steps,
            infra_failure: fails.then(|| InfraFailure::Worker { detail: "it broke".into() }),
            artifact: has_artifact.then(toolchain),
            context: OutcomeContext { attempt: 1, proven, others_fetch, is_reported, is_cut, is_confirmed },
            is_on_probation,
            message: None,
        }
    }
}

proptest! {
    #[test]
    fn any_report_leaves_its_build_in_one_state_and_no_infra_failure_is_a_verdict(
        mut reported in any_report(),
        (reason, kind) in (
            prop::sample::select(REASONS.to_vec()),
            prop::sample::select(vec![BuilderKind::Toolchain, BuilderKind::Suite]),
        ),
        other_fetch in prop::sample::select(OTHER_FETCHES.to_vec()),
        (spent, offers, has_rival) in (0_u32..1000, 1_u32..1000, any::<bool>()),
        is_fetch_failing in any::<bool>(),
    ) {
        reported.context.attempt = spent + 1;
        let inputs =
            SettleInputs { reason, kind, spent, offers, has_rival, other_fetch, is_fetch_failing };
        let actions = settle(&AttemptEnding::Reported(reported.clone()), &inputs, NOW);
        check(&actions, "any report", &inputs);
        // No single attempt that may have been killed from outside is a verdict by that step.
        let first_bad = reported.steps.iter().find(|step| step.end != StepEnd::Exit { code: 0 });
        let is_doubtful = first_bad.is_some_and(|step| outcome::looks_killed(&step.end, reported.context.is_cut));
        let is_failed = actions.iter().any(|action| {
            matches!(action, SettleAction::Finish { result, .. } if result.outcome == Outcome::Failed)
        });
        prop_assert!(!(is_doubtful && !reported.context.is_confirmed && is_failed), "{:?}", actions);
    }
}
