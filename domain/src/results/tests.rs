use proptest::prelude::*;

use super::*;

/// Runs as a picture: `a:pass b:fail(why)`.
fn runs(picture: &str) -> Vec<CaseRun> {
    let run = |word: &str| {
        let (name, rest) = word.split_once(':').unwrap();
        let (verdict, text) = rest.split_once('(').map_or((rest, None), |(v, t)| (v, t.strip_suffix(')')));
        let verdict = Verdict::ALL.into_iter().find(|v| v.as_str() == verdict).unwrap();
        CaseRun {
            name: name.into(),
            verdict,
            duration_ms: None,
            text: text.map(str::to_string),
            places: vec![],
        }
    };
    picture.split(' ').filter(|word| !word.is_empty()).map(run).collect()
}

/// `a b | PF | b x2 | b: why`
fn collected(picture: &str) -> String {
    let (list, results) = collect(runs(picture), true);
    assert_eq!(results.check(&list), Ok(()));
    let names: Vec<&str> = list.names().collect();
    let repeats: Vec<String> =
        results.repeats.iter().map(|(&at, times)| format!("{} x{times}", names[at as usize])).collect();
    let messages: Vec<String> = results
        .failure_messages
        .iter()
        .map(|message| format!("{}: {}", names[message.case as usize], message.text))
        .collect();
    [names.join(" "), results.verdicts.as_letters().into(), repeats.join(" "), messages.join(" ")].join(" | ")
}

#[test]
fn runs_are_merged_into_one_letter_for_each_name() {
    for (picture, expected) in [
        ("", " |  |  | "),
        ("b:pass a:pass", "a b | PP |  | "),
        ("a:pass b:fail(why)", "a b | PF |  | b: why"),
        ("a:fail(first) a:pass a:fail(second)", "a fault:a ×2 | FF | a x3 | a: first"),
        ("a:skip(none) a:error(crash)", "a | E | a x2 | a: crash"),
        ("a:pass(said) b:skip(net)", "a b | PS |  | b: net"),
        ("a:pass b:xfail c:skip d:xpass e:unreached f:fail g:error", "a b c d e f g | PxSXUFE |  | "),
    ] {
        assert_eq!(collected(picture), expected, "{picture}");
    }
}

/// Runs as a picture, each with the places in its brackets: `a[x/y]:pass`.
fn placed(picture: &str) -> Vec<CaseRun> {
    let run = |mut run: CaseRun| {
        if let Some((name, places)) = run.name.clone().split_once('[') {
            run.name = name.into();
            run.places = places.trim_end_matches(']').split('/').map(str::to_string).collect();
        }
        run
    };
    runs(picture).into_iter().map(run).collect()
}

/// `a:fail a [x]:pass`
fn verdicts_of(picture: &str) -> BTreeMap<String, Verdict> {
    let (list, results) = collect(placed(picture), true);
    assert_eq!(results.check(&list), Ok(()));
    list.names().map(str::to_string).zip(results.verdicts.iter()).collect()
}

#[test]
fn cases_of_one_name_are_tell_apart_by_their_places() {
    use Verdict::{Fail, Pass};
    for (picture, expected) in [
        // One name with one place needs no place.
        ("a[x]:pass b[y]:fail", &[("a", Pass), ("b", Fail)][..]),
        ("a[x]:fail a[y]:pass", &[("a", Fail), ("a [x]", Fail), ("a [y]", Pass)]),
        // A later place counts where the first is the same.
        ("a[x/1]:fail a[x/2]:pass", &[("a", Fail), ("a [1]", Fail), ("a [2]", Pass)]),
        (
            "a[x/1]:fail a[x/2]:pass a[y/1]:pass",
            &[("a", Fail), ("a [x]", Fail), ("a [x] [1]", Fail), ("a [x] [2]", Pass), ("a [y]", Pass)],
        ),
        // What nothing tells apart is counted.
        ("a[x]:fail a[x]:pass", &[("a", Fail)]),
        ("a[x]:fail a[x]:fail a:fail", &[("a", Fail), ("a [x]", Fail), ("fault:a [x] ×2", Fail)]),
        ("a:fail a:fail a:pass", &[("a", Fail), ("fault:a ×2", Fail)]),
    ] {
        let expected: BTreeMap<String, Verdict> =
            expected.iter().map(|(name, verdict)| (name.to_string(), *verdict)).collect();
        assert_eq!(verdicts_of(picture), expected, "{picture}");
    }
}

/// What a build of one change shows against the build before it.
#[test]
fn a_second_bearer_of_a_name_is_news_and_the_first_is_not_lost() {
    let news = |before: &str, after: &str| {
        let (before, after) = (verdicts_of(before), verdicts_of(after));
        let is_bad = |of: &BTreeMap<String, Verdict>, name: &str| of.get(name).is_some_and(|v| v.is_bad());
        let failing: Vec<String> =
            after.keys().filter(|name| is_bad(&after, name) && !is_bad(&before, name)).cloned().collect();
        let lost: Vec<String> = before
            .keys()
            .filter(|name| !after.contains_key(*name) && crate::readers::unreported(name) == Verdict::Missing)
            .cloned()
            .collect();
        (failing.join(", "), lost.join(", "))
    };
    for (before, after, failing, lost) in [
        // The second bearer goes bad behind the first.
        ("a[x]:fail a[y]:pass", "a[x]:fail a[y]:fail", "a [y]", ""),
        ("a:fail a:pass", "a:fail a:fail", "fault:a ×2", ""),
        // A second bearer comes: the name keeps its history.
        ("a[x]:pass", "a[x]:pass a[y]:pass", "", ""),
        ("a[x]:fail", "a[x]:fail a[y]:fail", "a [x], a [y]", ""),
        // It goes again: its name with its place is lost, and with it the place of the one that is left.
        ("a[x]:pass a[y]:pass", "a[x]:pass", "", "a [x], a [y]"),
        // One of three goes.
        ("a[x]:pass a[y]:pass a[z]:pass", "a[x]:pass a[y]:pass", "", "a [z]"),
        // What differs in each run is no part of a name.
        (
            "a[run_1b2c3d4e-550e8400-e29b-41d4-a716-446655440000]:pass a[y]:pass",
            "a[run_1b2c3d4e-7f3ac1d2-1b4e-4c8f-9d2a-0aa1b2c3d4e5]:pass a[y]:pass",
            "",
            "",
        ),
    ] {
        assert_eq!(news(before, after), (failing.into(), lost.into()), "{before} -> {after}");
    }
}

#[test]
fn the_upload_is_as_the_protocol_page_shows_it() {
    let (list, results) = collect(runs("a:pass b:fail(why) b:pass"), true);
    let text = serde_json::to_string(&results).unwrap();
    assert_eq!(
        text,
        format!(
            r#"{{"cases":"{}","verdicts":"PF","complete":true,"repeats":{{"1":2}},"failure_messages":[{{"case":1,"duration_ms":null,"text":"why"}}]}}"#,
            list.sha256()
        )
    );
    assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), results);
    assert!(serde_json::from_str::<Results>(&text.replace("\"PF\"", "\"P?\"")).is_err());
}

#[test]
fn a_list_is_named_by_the_hash_of_its_names() {
    let (list, _) = collect(runs("b:pass a:pass"), true);
    assert_eq!(list.to_text(), "a\nb\n");
    assert_eq!(
        list.sha256().to_string(),
        // printf 'a\nb\n' | sha256sum
        "911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2"
    );
    let found: Vec<_> = ["a", "b", "c", ""].map(|name| list.index_of(name)).into();
    assert_eq!(found, [Some(0), Some(1), None, None]);
}

#[test]
fn a_text_that_is_no_list_is_refused_with_the_number_of_its_line() {
    for (text, expected) in [
        ("", Ok(0)),
        ("a\nb\n", Ok(2)),
        ("a\nb", Err(BadCaseList::BrokenOff)),
        ("b\na\n", Err(BadCaseList::Order(2))),
        ("a\na\n", Err(BadCaseList::Order(2))),
        ("a\n\nb\n", Err(BadCaseList::Name(2))),
        ("a\nb\r\n", Err(BadCaseList::Name(2))),
        (" a\n", Err(BadCaseList::Name(1))),
    ] {
        assert_eq!(CaseList::from_text(text.into()).map(|list| list.len()), expected, "{text:?}");
    }
    assert_eq!(CaseList::from_text("x".repeat(1025) + "\n"), Err(BadCaseList::Name(1)));
    let many: String = (0..=MAX_CASES).map(|n| format!("{n:06}\n")).collect();
    assert_eq!(CaseList::from_text(many), Err(BadCaseList::TooMany));
}

#[test]
fn results_that_do_not_fit_their_list_are_refused() {
    let (list, good) = collect(runs("a:pass b:fail(why) c:skip(no) c:skip"), true);
    let message = |case, text: &str| FailureMessage { case, duration_ms: None, text: text.into() };
    type Spoil = fn(&mut Results);
    let spoiled: [(Spoil, &str); 6] = [
        (|r| r.cases = Sha256([0; 32]), "the results name case list"),
        (|r| r.verdicts = Verdicts::from_letters("PF").unwrap(), "the results have 2 verdicts for 3 cases"),
        (|r| r.verdicts = Verdicts::from_letters("PFM").unwrap(), "the results call a case missing"),
        (|r| r.repeats = BTreeMap::from([(3, 2)]), "the results repeat case 3 2 times"),
        (|r| r.repeats = BTreeMap::from([(0, 1)]), "the results repeat case 0 1 times"),
        (|r| r.failure_messages.reverse(), "the results have a failure message for case 1"),
    ];
    for (spoil, sentence) in spoiled {
        let mut bad = good.clone();
        spoil(&mut bad);
        let error = bad.check(&list).unwrap_err().to_string();
        assert!(error.starts_with(sentence), "{error}");
    }
    for (failure_messages, expected) in [
        (vec![message(0, "of a pass")], BadResults::Message(0)),
        (vec![message(9, "of none")], BadResults::Message(9)),
        (vec![message(1, &"x".repeat(MAX_CASE_TEXT_BYTES + 1))], BadResults::Text),
    ] {
        assert_eq!(Results { failure_messages, ..good.clone() }.check(&list), Err(expected));
    }
}

#[test]
fn texts_of_a_build_are_bounded_and_failures_come_first() {
    let text = "t".repeat(MAX_CASE_TEXT_BYTES);
    let skips = (0..100).map(|n| format!("a{n:03}:skip({text})"));
    let picture: Vec<String> = skips.chain([format!("z:fail({text})")]).collect();
    let (list, results) = collect(runs(&picture.join(" ")), true);
    assert_eq!(results.check(&list), Ok(()));
    assert_eq!(results.failure_message(100).unwrap().text.len(), MAX_CASE_TEXT_BYTES);
}

#[test]
fn too_many_cases_are_dropped_and_the_results_not_complete() {
    let many = (0..=MAX_CASES).map(|n| CaseRun::of_step(&n.to_string(), Verdict::Pass));
    let (list, results) = collect(many, true);
    assert_eq!((list.len(), results.complete), (MAX_CASES, false));
}

#[test]
fn counts_add_up() {
    let counts = Verdicts::from_letters("PPxSXUMFE").unwrap().counts();
    assert_eq!((counts.pass, counts.bad(), counts.ran(), counts.total()), (2, 2, 6, 9));
    assert_eq!(Verdicts::from_letters("PéP"), Err(BadLetter::Unknown { at: 1, letter: 'é' }));
}

proptest! {
    #[test]
    fn the_results_of_any_runs_fit_their_list(
        runs in prop::collection::vec(
            ("[ab\n]{0,3}", prop::sample::select(Verdict::ALL.to_vec()), any::<Option<u64>>(), any::<Option<String>>())
                .prop_filter("no run is missing", |run| run.1 != Verdict::Missing)
                .prop_map(|(name, verdict, duration_ms, text)| CaseRun { name, verdict, duration_ms, text, places: vec![] }),
            0..40,
        ),
    ) {
        let (list, results) = collect(runs.clone(), true);
        prop_assert_eq!(results.check(&list), Ok(()));
        let again = CaseList::from_text(list.to_text().to_string()).unwrap();
        prop_assert_eq!(&again, &list);
        for run in runs {
            let at = list.index_of(&tidy(&run.name)).unwrap();
            prop_assert!(results.verdicts.get(at).unwrap() >= run.verdict);
        }
        let text = serde_json::to_string(&results).unwrap();
        prop_assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), results);
    }
}

proptest! {
    /// A list and results as a stranger may send them: they are read or refused, and what is read is consistent.
    #[test]
    fn any_text_is_a_case_list_or_none(text in "([a-c \\t\n]|é|\\PC){0,40}") {
        if let Ok(list) = CaseList::from_text(text.clone()) {
            prop_assert_eq!(list.to_text(), text.as_str());
            prop_assert_eq!(list.len(), text.lines().count());
        }
    }

    #[test]
    fn any_results_fit_their_list_or_are_refused(
        letters in "[PxSXUFEMQ]{0,6}",
        complete: bool,
        repeats in prop::collection::btree_map(0_u32..8, 0_u32..4, 0..3),
        messages in prop::collection::vec((0_u32..8, any::<Option<u64>>(), "[a-z]{0,5}"), 0..4),
    ) {
        let list = CaseList::from_text("a\nb\nc\nd\n".to_string()).unwrap();
        let messages: Vec<_> = messages
            .into_iter()
            .map(|(case, duration_ms, text)| serde_json::json!({"case": case, "duration_ms": duration_ms, "text": text}))
            .collect();
        let upload = serde_json::json!({
            "cases": list.sha256(), "verdicts": letters, "complete": complete, "repeats": repeats,
            "failure_messages": messages,
        });
        if let Ok(results) = serde_json::from_value::<Results>(upload)
            && results.check(&list).is_ok()
        {
            prop_assert_eq!(results.verdicts.len(), list.len());
            prop_assert!(results.failure_messages.iter().all(|message| (message.case as usize) < list.len()));
            prop_assert!(results.repeats.keys().all(|case| (*case as usize) < list.len()));
        }
    }
}

#[test]
fn the_results_of_a_build_without_reports_are_complete_only_if_it_passed() {
    let size_and_completeness = |codes: &[i32]| {
        let run = |(at, &code): (usize, &i32)| StepRun {
            name: format!("step {at}"),
            kind: protocol::StepKind::Test,
            end: StepEnd::Exit { code },
        };
        let steps: Vec<StepRun> = codes.iter().enumerate().map(run).collect();
        let (list, results) = of_steps(&steps);
        (list.len(), results.complete)
    };
    assert_eq!(size_and_completeness(&[0, 0]), (2, true));
    assert_eq!(size_and_completeness(&[0, 1]), (2, false), "later steps are unreached, not missing");
}

#[test]
fn a_step_that_was_stopped_shows_nothing_and_its_neighbours_stand() {
    let cases = [
        CaseRun::of_step("build", Verdict::Pass),
        CaseRun::of_step("test", Verdict::Fail),
        CaseRun::of_broken_off("test", &["The plan is for 4 tests, but 2 came.".into()]),
        CaseRun::new("a", Verdict::Fail),
        CaseRun { text: Some(INTERRUPTED.into()), ..CaseRun::new("b", Verdict::Error) },
    ];
    let (list, results) = collect(cases, true);
    let results = without_step(&list, results, "test");
    assert_eq!(results.check(&list), Ok(()));
    let verdicts: Vec<String> =
        list.names().zip(results.verdicts.iter()).map(|(n, v)| format!("{n} {v}")).collect();
    assert_eq!(
        (verdicts.join(", ").as_str(), results.complete),
        (
            "a fail, b unreached, fault:step:test ended before all its cases unreached, step:build pass, step:test unreached",
            false
        )
    );
}
